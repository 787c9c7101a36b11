/** The results of the scenarios as a table. */
import { type Style, STYLES, type Tally } from "./tally.ts";

/** The effect of one fault on one style. */
export interface Row {
  readonly provider: string;
  readonly runtime: string;
  readonly fault: string;
  readonly style: Style | "group";
  readonly injected: number;
  readonly sent: number;
  /** Sends that rejected. */
  readonly failed: number;
  readonly delivered: number;
  readonly redelivered: number;
  /** Missed, and reported by a gap. */
  readonly missed: number;
  /** Accepted, and lost without a report. */
  readonly lost: number;
  /** Wrong answers, wrong order, or executed twice. */
  readonly wrong: number;
  /** Never settled. */
  readonly hung: number;
}

const NUMBERS = ["injected", "sent", "failed", "delivered", "redelivered", "missed", "lost", "wrong", "hung"] as const;

/** The rows of one scenario. */
export function rowsOf(
  about: Pick<Row, "provider" | "runtime" | "fault" | "injected">,
  tallies: Readonly<Record<Style, Tally>>,
  mayMiss: (style: Style) => boolean,
): (Row & { readonly style: Style })[] {
  return STYLES.map((style) => {
    const { sent, failures, delivered, redelivered, missing, wrong, pending } = tallies[style];
    const missed = mayMiss(style) ? missing : 0;
    return {
      ...about,
      style,
      sent,
      failed: failures,
      delivered,
      redelivered,
      missed,
      lost: missing - missed,
      wrong: wrong.length,
      hung: pending,
    };
  });
}

/** The table of these rows, and its last line. Faults are counted once, not for each style. */
export function table(rows: readonly Row[]): string {
  const head = ["provider", "runtime", "fault", "style", ...NUMBERS];
  const lines = rows.map((row) => head.map((name) => String(row[name as keyof Row])));
  const total = {
    injected: 0,
    sent: 0,
    failed: 0,
    delivered: 0,
    redelivered: 0,
    missed: 0,
    lost: 0,
    wrong: 0,
    hung: 0,
  };
  for (const row of rows) {
    const counts = row.style === STYLES[0] || row.style === "group";
    for (const name of NUMBERS) total[name] += name === "injected" && !counts ? 0 : row[name];
  }
  lines.push(["all", "", "", "", ...NUMBERS.map((name) => String(total[name]))]);
  const widths = head.map((name, i) => Math.max(name.length, ...lines.map((line) => line[i]!.length)));
  const text = (line: readonly string[]) =>
    line.map((cell, i) => i < 4 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)).join("  ").trimEnd();
  return [head, ...lines].map(text).join("\n");
}
