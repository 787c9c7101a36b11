/** The aims, and whether they are met. @module */
import { number, type Result } from "./report.ts";
import type { Group } from "./systems.ts";
import { METRICS } from "./workloads.ts";

const RUNTIMES = ["deno", "bun"] as const;

/** A limit for both runtimes, or one for each. */
type Limit = number | Readonly<Record<(typeof RUNTIMES)[number], number>>;

/** An aim for one metric of tsmq. */
interface Aim {
  readonly group: Group;
  readonly metric: string;
  /** The system that tsmq is compared with. Without it, the limit applies to the figure itself. */
  readonly to?: string;
  /** The least value of a rate, or the largest value of any other metric. */
  readonly limit: Limit;
}

/** The aims for jobs and calls, then those for the rest. */
const AIMS: readonly Aim[] = [
  { group: "redis", metric: "consumed1", to: "BullMQ", limit: 2 },
  { group: "redis", metric: "consumed1Cpu", to: "BullMQ", limit: 0.5 },
  { group: "redis", metric: "consumed64", to: "BullMQ", limit: 3 },
  { group: "redis", metric: "consumed64Cpu", to: "BullMQ", limit: 0.5 },
  { group: "redis", metric: "picked", to: "BullMQ", limit: 0.6 },
  { group: "redis", metric: "called64", to: "Moleculer", limit: 1.5 },
  { group: "redis", metric: "called64Caller", to: "Moleculer", limit: 0.6 },
  { group: "redis", metric: "called1000", to: "Moleculer", limit: 1.5 },
  { group: "redis", metric: "called1000Caller", to: "Moleculer", limit: 0.6 },
  { group: "redis", metric: "p50", to: "Moleculer", limit: { deno: 1.2, bun: 1 } },
  { group: "redis", metric: "further", limit: 5 },
  { group: "redis", metric: "furtherMemory", limit: 1.5 },
  { group: "memory", metric: "further", limit: 5 },
  { group: "memory", metric: "furtherMemory", limit: 1.5 },
  { group: "aws", metric: "further", limit: 60 },
  { group: "aws", metric: "further30", limit: 2_000 },
  { group: "redis", metric: "bytes10000", to: "ioredis", limit: 0.9 },
  { group: "redis", metric: "bytes100000", to: "ioredis", limit: 0.9 },
  { group: "redis", metric: "bytes1000000", to: "ioredis", limit: 0.9 },
  { group: "redis", metric: "processes50", to: "ioredis", limit: 0.6 },
  { group: "ipc", metric: "roundTrip", to: "bare Workers", limit: 1.5 },
  { group: "ipc", metric: "oneWay", to: "C", limit: 0.6 },
  { group: "ipc", metric: "idleBus", limit: { deno: 1.65, bun: 2.15 } },
  { group: "redis", metric: "events", to: "ioredis", limit: 0.85 },
  { group: "redis", metric: "queued", to: "ioredis", limit: 0.85 },
  { group: "redis", metric: "received", to: "ioredis", limit: 0.85 },
  { group: "redis", metric: "receivedCpu", to: "ioredis", limit: 0.35 },
  { group: "redis", metric: "published", to: "ioredis", limit: 0.85 },
  { group: "redis", metric: "p50", to: "ioredis", limit: 1.5 },
  { group: "redis", metric: "events", to: "PyMQ", limit: 10 },
  { group: "redis", metric: "queued", to: "PyMQ", limit: 10 },
  { group: "redis", metric: "p50", to: "PyMQ", limit: 0.1 },
  { group: "nats", metric: "events", to: "nats.js", limit: 0.85 },
  { group: "nats", metric: "p50", to: "nats.js", limit: 1.5 },
];

/** An aim with the figures of the runtimes. */
export interface Verdict {
  readonly text: string;
  readonly limit: string;
  /** The figures on Deno and on Bun; empty if one was not measured. */
  readonly figures: readonly string[];
  readonly met: boolean;
}

/** Judges the aims that were measured. */
export function verdicts(results: readonly Result[]): Verdict[] {
  return AIMS.flatMap((aim) => {
    const { text, unit, rate, peer } = METRICS[aim.metric]!;
    const found = (system: string, runtime?: string) =>
      results.find((one) =>
        one.group === aim.group && one.metric === aim.metric && one.system === system &&
        (runtime === undefined || one.runtime === runtime)
      );
    const judged = RUNTIMES.map((runtime) => {
      const ours = found("tsmq", runtime);
      const theirs = aim.to === undefined ? undefined : found(aim.to, runtime) ?? found(aim.to);
      if (!ours || (aim.to !== undefined && !theirs)) return undefined;
      const { value, ratio } = ours;
      const limit = typeof aim.limit === "number" ? aim.limit : aim.limit[runtime];
      const direct = aim.to === peer || aim.to === undefined;
      const { median, min, max } = aim.to === undefined ? value : ratio;
      const figure = direct ? median : value.median / theirs!.value.median;
      const met = rate ? figure >= limit : figure <= limit;
      const range = direct ? ` (${short(min)} – ${short(max)})` : "";
      return { met, figure: `${short(figure)}${aim.to === undefined ? ` ${unit}` : " ×"}${range}` };
    });
    if (judged.every((one) => one === undefined)) return [];
    const limits = typeof aim.limit === "number" ? number(aim.limit) : `${aim.limit.deno}, ${aim.limit.bun}`;
    return {
      text: `${aim.group}: ${text}${aim.to === undefined ? "" : `, to ${aim.to}`}`,
      limit: `${rate ? "≥" : "≤"} ${limits}${aim.to === undefined ? ` ${unit}` : " ×"}`,
      figures: judged.map((one) => one === undefined ? "" : `${one.figure}${one.met ? "" : ", missed"}`),
      met: judged.every((one) => one === undefined || one.met),
    };
  });
}

/** The verdicts as rows of a table. */
export function aimsTable(results: readonly Result[]): string[][] {
  const rows = verdicts(results).map(({ text, limit, figures }) => [text, limit, ...figures]);
  return rows.length === 0 ? [] : [["what", "aim", "Deno", "Bun"], ...rows];
}

function short(value: number): string {
  return value >= 100 ? number(value) : value.toFixed(2);
}
