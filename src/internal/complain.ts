/**
 * Reports on the console. Their text may come from the wire, so it is escaped, and it is never a format string.
 *
 * @module
 */
import { builtin } from "./builtin.ts";
import { printable, printableLines } from "./printable.ts";
import { ReportLimit } from "./report_limit.ts";
import { textOf } from "./thrown.ts";

/**
 * The largest number of reports in a window. The limit of a bus for rejected messages is lower, so that its report of how many it left out
 * is written too.
 */
const MOST = 300;

const limit = new ReportLimit(MOST, (count) => console.error("tsmq: %d more reports were left out", count));

/** Writes a thrown value to the console, with its stack if it can be formatted. Beyond the limit of a window, it only counts reports. */
export function complain(text: string, thrown: unknown): void {
  if (limit.pass()) console.error("tsmq: %s %s", printable(text), shown(thrown));
}

/**
 * Returns the escaped text of a thrown value. The console must not format the value itself, because the value can give a different text
 * each time.
 */
function shown(thrown: unknown): string {
  if (typeof thrown === "string") return printable(thrown);
  try {
    return printableLines(builtin<{ inspect(value: unknown): string }>("util")!.inspect(thrown));
  } catch {
    return printableLines(textOf(thrown)); // formatting the value threw
  }
}

/** Writes a warning to the console. */
export function warn(text: string): void {
  console.warn("tsmq: %s", printable(text));
}

const warned = new Set<string>();

/** Writes the first warning of each kind to the console. */
export function warnOnce(kind: string, text: string): void {
  if (warned.has(kind)) return;
  warned.add(kind);
  warn(text);
}

/** Calls a function of the user that should not fail. If it throws or rejects, the error is written to the console. */
export function guard(what: string, work: () => unknown): void {
  const failed = (thrown: unknown) => complain(`${what} threw:`, thrown);
  try {
    const result = work();
    if (result instanceof Promise) result.catch(failed);
  } catch (thrown) {
    failed(thrown);
  }
}
