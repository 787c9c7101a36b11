/** From rounds to figures. @module */
import { type Metric, METRICS } from "./workloads.ts";

/** A middle value and how far the rounds were from it. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** One metric of both sides over all rounds. */
export interface Comparison {
  readonly runtime: string;
  readonly provider: string;
  readonly metric: string;
  readonly raw: Spread;
  readonly ours: Spread;
  /** Ours to raw, round by round. */
  readonly ratio: Spread;
  readonly aim?: number;
  readonly met?: boolean;
}

/** Compares what each round gave: raw first, ours second. */
export function compare(
  runtime: string,
  provider: string,
  rounds: readonly (readonly Record<string, number>[])[],
): Comparison[] {
  return Object.keys(rounds[0]![0]!).map((metric) => {
    const raw = rounds.map((round) => round[0]![metric]!);
    const ours = rounds.map((round) => round[1]![metric]!);
    const ratio = spread(ours.map((value, i) => value / raw[i]!));
    const { aim, rate } = METRICS[metric] ?? {};
    const met = aim === undefined ? undefined : rate ? ratio.median >= aim : ratio.median <= aim;
    return { runtime, provider, metric, raw: spread(raw), ours: spread(ours), ratio, aim, met };
  });
}

/** The middle of the values, the least, and the greatest. */
function spread(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  const median = (sorted[Math.floor(middle)]! + sorted[Math.ceil(middle)]!) / 2;
  return { median, min: sorted[0]!, max: sorted.at(-1)! };
}

/** The figures as lines. */
export function table(comparisons: readonly Comparison[]): string {
  const rows = comparisons.map(({ metric, raw, ours, ratio, aim, met }) => {
    const known: Metric = METRICS[metric] ?? { text: metric, unit: "", rate: false };
    const goal = aim === undefined ? "" : `${known.rate ? "≥" : "≤"} ${aim} ${met ? "yes" : "NO"}`;
    return [
      known.text,
      `${number(raw.median)} ${known.unit}`,
      `${number(ours.median)} ${known.unit}`,
      `${ratio.median.toFixed(2)}  (${ratio.min.toFixed(2)} – ${ratio.max.toFixed(2)})`,
      goal,
    ];
  });
  const lines = [["", "raw ioredis", "tsmq", "ratio (least – most)", "aim"], ...rows];
  const widths = lines[0]!.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)));
  return lines.map((line) =>
    line.map((cell, i) => i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)).join("  ")
  )
    .join("\n");
}

function number(value: number): string {
  return value >= 100 ? Math.round(value).toLocaleString("en") : value.toPrecision(3);
}
