/**
 * Shows the progress of long work on standard error: as a bar on a terminal, otherwise as a line of JSON each second.
 *
 * @module
 */
import process from "node:process";
import { printable } from "../src/internal/printable.ts";
import { shorten } from "./table.ts";

/** Milliseconds between two updates of a bar. */
const BAR = 100;
/** Milliseconds between two lines. Shorter work prints none. */
const LINE = 1_000;
/** The number of characters of a full bar. */
const WIDTH = 30;

/** Removes the bar, if one is shown. Every line is printed after it, so that both do not share a line of the terminal. */
export function clearBar(): void {
  if (barShown) process.stderr.write("\r\x1b[K");
  barShown = false;
}

let barShown = false;

/** Shows the progress of work while it runs. `done` returns how much of `total` is done. */
export async function withProgress<T>(
  what: string,
  total: number | undefined,
  done: () => number | Promise<number>,
  work: () => Promise<T>,
): Promise<T> {
  const { stderr } = process;
  const show = stderr.isTTY ? bar : line;
  let asking = false;
  const update = async () => {
    if (asking) return;
    asking = true;
    // the work itself reports an error
    const part = await Promise.resolve(done()).catch(() => undefined);
    asking = false;
    if (part === undefined || ended) return;
    stderr.write(show(what, part, total));
    barShown = stderr.isTTY === true;
  };
  let ended = false;
  const timer = setInterval(update, stderr.isTTY ? BAR : LINE);
  try {
    return await work();
  } finally {
    ended = true;
    clearInterval(timer);
    clearBar();
  }
}

function bar(what: string, done: number, total: number | undefined): string {
  const part = total ? Math.min(1, done / total) : 0;
  const full = "█".repeat(Math.round(part * WIDTH)).padEnd(WIDTH, "░");
  const numbers = total ? ` ${full} ${done} of ${total}` : ` ${done}`;
  const room = (process.stderr.columns || 80) - 1 - numbers.length;
  return `\r\x1b[K${shorten(printable(what), Math.max(0, room))}${numbers}`;
}

function line(what: string, done: number, total: number | undefined): string {
  return `${printable(JSON.stringify({ progress: what, done, total }))}\n`;
}
