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

/** An aim, and whether it was met. */
export interface Verdict {
  readonly text: string;
  readonly figure: string;
  readonly met: boolean;
}

/** The middle of the values, the least, and the greatest. */
export function spread(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  const median = (sorted[Math.floor(middle)]! + sorted[Math.ceil(middle)]!) / 2;
  return { median, min: sorted[0]!, max: sorted.at(-1)! };
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

/** Returns the aims: close to the bare client, ten times PyMQ, faster than every other JavaScript library. */
export function verdicts(results: readonly Result[]): Verdict[] {
  return results.filter(({ system }) => system === "tsmq").flatMap((ours) => {
    const { aim, rate, text, peer } = METRICS[ours.metric]!;
    const verdicts: Verdict[] = [];
    const judge = (text: string, factor: number, aim: number, better: boolean, spread = "") => {
      const met = better ? factor >= aim : factor <= aim;
      verdicts.push({ text, figure: `${factor.toFixed(2)} ×${spread}, aim ${better ? "≥" : "≤"} ${aim}`, met });
    };
    const what = `${ours.group} on ${ours.runtime}: ${text}`;
    const same = results.filter(({ group, metric }) => group === ours.group && metric === ours.metric);
    const { system } = same.find(({ system }) => system === peer) ?? same[0]!;
    if (aim !== undefined && system !== "tsmq" && system !== "PyMQ") {
      const { median, min, max } = ours.ratio;
      judge(`${what}, to ${system}`, median, aim, rate, ` (${min.toFixed(2)} – ${max.toFixed(2)})`);
    }
    if (!["events", "queued", "p50"].includes(ours.metric)) return verdicts;
    for (const other of results) {
      if (other.group !== ours.group || other.metric !== ours.metric) continue;
      const peer = ["Moleculer", "BullMQ"].includes(other.system) && other.runtime === ours.runtime;
      if (!peer && other.system !== "PyMQ") continue;
      const factor = rate ? ours.value.median / other.value.median : other.value.median / ours.value.median;
      judge(`${what}, ahead of ${other.system}`, factor, peer ? 1 : 10, true);
    }
    return verdicts;
  });
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
