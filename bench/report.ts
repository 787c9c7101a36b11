/** From rounds to figures, and from figures to text. @module */
import type { Runtime } from "./process.ts";
import type { Point } from "./scale.ts";
import type { Group } from "./systems.ts";
import { METRICS } from "./workloads.ts";

/** A median, and the range of the rounds. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** One metric of one system on one runtime over all rounds. */
export interface Result {
  readonly group: Group;
  readonly system: string;
  readonly runtime: Runtime;
  readonly metric: string;
  readonly value: Spread;
  /** To the metric's peer or the group's first system, on the same runtime if it runs there, round by round. */
  readonly ratio: Spread;
}

/** The results of a run. */
export interface Report {
  readonly date: string;
  readonly machine: readonly string[];
  readonly seconds: number;
  readonly results: readonly Result[];
  readonly scale: readonly Point[];
  /** The systems that failed, and why. */
  readonly failures: readonly string[];
}

/** The middle of the values, the least, and the greatest. */
export function spread(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  const median = (sorted[Math.floor(middle)]! + sorted[Math.ceil(middle)]!) / 2;
  return { median, min: sorted[0]!, max: sorted.at(-1)! };
}

/** A system on a runtime. */
export type Source = Pick<Result, "group" | "system" | "runtime">;

/** The values of all rounds. */
export class Samples {
  /** Group and metric → the values of each source. */
  #values = new Map<string, { source: Source; metric: string; values: number[] }[]>();

  /** Adds the value of a round. */
  add(metric: string, { group, system, runtime }: Source, value: number): void {
    const key = `${group} ${metric}`;
    let sources = this.#values.get(key);
    if (!sources) this.#values.set(key, sources = []);
    const same = sources.find(({ source }) => source.system === system && source.runtime === runtime);
    if (same) same.values.push(value);
    else sources.push({ source: { group, system, runtime }, metric, values: [value] });
  }

  /** Returns the figures. The ratios are to the metric's peer or the first system, on the same runtime where it runs on that. */
  results(): Result[] {
    return [...this.#values.values()].flatMap((sources) => {
      const { peer } = METRICS[sources[0]!.metric]!;
      const first = sources.find(({ source }) => source.system === peer) ?? sources[0]!;
      const ofFirst = sources.filter(({ source }) => source.system === first.source.system);
      return sources.map(({ source, metric, values }): Result => {
        const base = (ofFirst.find((one) => one.source.runtime === source.runtime) ?? first).values;
        const ratio = spread(values.map((value, i) => value / (base[i] ?? spread(base).median)));
        return { ...source, metric, value: spread(values), ratio };
      });
    });
  }
}

/** Returns the name of a system with its runtime. */
export function labelOf({ system, runtime }: Pick<Result, "system" | "runtime">): string {
  return runtime === "python" || runtime === "c"
    ? system
    : `${system}, ${runtime[0]!.toUpperCase()}${runtime.slice(1)}`;
}

/** The figures of a group, a metric a row, a system a column. */
export function tableOf(results: readonly Result[]): string[][] {
  const labels = [...new Set(results.map(labelOf))];
  const rows = Object.entries(METRICS).flatMap(([metric, { text, unit }]) => {
    const some = results.filter((result) => result.metric === metric);
    if (some.length === 0) return [];
    const cells = labels.map((label) => {
      const result = some.find((result) => labelOf(result) === label);
      if (!result) return "";
      const { value, ratio } = result;
      return `${number(value.median)}${ratio.median !== 1 ? ` (${ratio.median.toFixed(2)})` : ""}`;
    });
    return [[`${text}, ${unit}`, ...cells]];
  });
  return [["", ...labels], ...rows];
}

/** The curves, an x a row, a system a column. */
export function curveOf(points: readonly Point[], curve: Point["curve"]): string[][] {
  const some = points.filter((point) => point.curve === curve);
  const systems = [...new Set(some.map(({ system }) => system))];
  const rows = [...new Set(some.map(({ x }) => x))].map((x) => [
    x.toLocaleString("en"),
    ...systems.map((system) => `${number(some.find((point) => point.x === x && point.system === system)!.rate)} /s`),
  ]);
  return [[curve, ...systems], ...rows];
}

/** Rows as lines of a terminal. */
export function toText(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const line = (row: readonly string[]) =>
    row.map((cell, i) => i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)).join("  ");
  return rows.map(line).join("\n");
}

/** Rows as a table of Markdown. */
export function toMarkdown(rows: readonly (readonly string[])[]): string {
  const [head, ...body] = rows;
  const rule = head!.map((_, i) => i === 0 ? "---" : "--:");
  return [head!, rule, ...body].map((row) => `| ${row.join(" | ")} |`).join("\n");
}

/** Formats a figure. */
export function number(value: number): string {
  return value >= 100 ? Math.round(value).toLocaleString("en") : value.toPrecision(3);
}
