/** Writes the figures: JSON, the chart, the page of the documentation, the README. @module */
import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { chart } from "./chart.ts";
import { output } from "./process.ts";
import { aimsTable, verdicts } from "./aims.ts";
import { curveOf, labelOf, number, type Report, type Result, tableOf, toMarkdown } from "./report.ts";
import { CURVES } from "./scale.ts";
import type { Group } from "./systems.ts";
import { METRICS } from "./workloads.ts";

const GROUPS = { redis: "Redis", ipc: "POSIX message queues", nats: "NATS", memory: "Memory", aws: "AWS" } as const;
/** The figures of tsmq from the report before jobs and calls were measured. */
const BEFORE = JSON.parse(await readFile(inRoot("bench/before.json"), "utf8")) as {
  readonly date: string;
  readonly figures: readonly {
    readonly group: Group;
    readonly metric: string;
    /** The bare client of the transport. */
    readonly client: string | null;
    /** The figure, and its ratio to the bare client. */
    readonly deno: readonly (number | null)[];
    readonly bun: readonly (number | null)[];
  }[];
};
/** The metrics that the README shows. */
const SHOWN = ["consumed1", "consumed64", "called64", "p50", "events", "queued"];

/** Writes the JSON to a given path, or all figures of the repository. */
export async function write(report: Report, { json, all }: { json?: string; all: boolean }): Promise<void> {
  if (json) await writeFile(json, toJson(report));
  if (!all) return;
  await writeFile(inRoot("bench/report.json"), toJson(report));
  await writeFile(inRoot("bench/report.svg"), chart(report));
  await between(inRoot("docs/benchmarks.md"), page(report));
  await between(inRoot("README.md"), summary(report));
  const written = ["README.md", "docs/benchmarks.md", "bench/report.json", "bench/report.svg"];
  await output("deno", "fmt", "--quiet", ...written.map(inRoot));
}

function page(report: Report): string {
  const { date, machine, seconds, results, scale, failures } = report;
  const parts = [`Taken on ${date.slice(0, 10)}, in ${number(seconds)} s, on ${machine.join("; ")}.`];
  const judged = verdicts(results);
  if (judged.length > 0) {
    const met = judged.filter(({ met }) => met).length;
    parts.push(
      "### Aims",
      `${met} of ${judged.length} are met on both runtimes. In parentheses: least – most of the rounds.`,
    );
    parts.push(toMarkdown(aimsTable(results)));
  }
  const compared = besideBefore(results);
  if (compared.length > 1) {
    parts.push(
      "### Before and now",
      `tsmq on ${BEFORE.date} and now: the figure, and its ratio to the bare client of that run. The machine differs from day to day, so compare the ratios.`,
      toMarkdown(compared),
    );
  }
  for (const [group, title] of Object.entries(GROUPS)) {
    const some = results.filter((result) => result.group === group);
    if (some.length > 0) parts.push(`### ${title}`, toMarkdown(tableOf(some)));
  }
  if (scale.length > 0) {
    parts.push(
      "### More of everything, over Redis\n\nEvents received a second. Topics: with events on each; subscribed: so many topics, with events on ten others.",
      ...CURVES.map((curve) => toMarkdown(curveOf(scale, curve))),
    );
  }
  if (failures.length > 0) parts.push("### Not measured", failures.map((failure) => `- ${failure}`).join("\n"));
  return parts.join("\n\n");
}

function summary({ machine, results }: Report): string {
  const some = results.filter(({ group, metric }) => group === "redis" && SHOWN.includes(metric));
  const labels = [...new Set(some.map(labelOf))];
  const cell = (label: string, metric: string) => {
    const found: Result | undefined = some.find((result) => result.metric === metric && labelOf(result) === label);
    return found ? number(found.value.median) : "";
  };
  const rows = labels.map((label) => [label, ...SHOWN.map((metric) => cell(label, metric))]);
  const head = ["over Redis", ...SHOWN.map((metric) => `${METRICS[metric]!.text}, ${METRICS[metric]!.unit}`)];
  return `![The figures as a chart](bench/report.svg)\n\n${toMarkdown([head, ...rows])}\n\nOn ${
    machine.slice(0, 4).join("; ")
  }.`;
}

/** The figures of an earlier report beside the new ones. */
function besideBefore(results: readonly Result[]): string[][] {
  const cell = (value: number, ratio: number | undefined) =>
    `${number(value)}${ratio === undefined ? "" : ` (${ratio.toFixed(2)})`}`;
  const rows = BEFORE.figures.flatMap(({ group, metric, client, deno, bun }) => {
    const now = (runtime: string) => {
      const found = (system: string) =>
        results.find((one) =>
          one.group === group && one.metric === metric && one.system === system &&
          (one.runtime === runtime || one.runtime === "c")
        )?.value.median;
      const [ours, theirs] = [found("tsmq"), client === null ? undefined : found(client)];
      return ours === undefined ? "" : cell(ours, theirs === undefined ? undefined : ours / theirs);
    };
    const before = ([value, ratio]: readonly (number | null)[]) => cell(value!, ratio ?? undefined);
    const { text, unit } = METRICS[metric]!;
    const both = [now("deno"), now("bun")] as const;
    if (both.every((one) => one === "")) return [];
    return [[`${group}: ${text}, ${unit}`, before(deno), both[0], before(bun), both[1]]];
  });
  return [["", "Deno, before", "Deno, now", "Bun, before", "Bun, now"], ...rows];
}

/** Replaces the text between the marks of a file. */
async function between(path: string, text: string): Promise<void> {
  const file = await readFile(path, "utf8");
  const [before, after] = file.split(/(?<=<!-- figures -->)[^]*(?=<!-- \/figures -->)/);
  if (after === undefined) throw new Error(`Cannot write the figures into ${path}: it has no marks for them`);
  await writeFile(path, `${before}\n\n${text}\n\n${after}`);
}

function toJson(report: Report): string {
  const short = (_: string, value: unknown) => typeof value === "number" ? Number(value.toPrecision(6)) : value;
  return `${JSON.stringify(report, short, 2)}\n`;
}

function inRoot(path: string): string {
  return fileURLToPath(new URL(`../${path}`, import.meta.url));
}
