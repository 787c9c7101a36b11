/**
 * Numbers, times and text from the wire as the page shows them.
 *
 * @module
 */
import { indented, printable } from "../../src/internal/printable.ts";

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const hundredth = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

/** Returns text from the wire as one line with its unsafe characters escaped. */
export function shown(text: string): string {
  return printable(text);
}

/** Formats a count: as a dash if the transport does not know it. */
export function count(value: number | undefined): string {
  return value === undefined ? "–" : whole.format(value);
}

/** Formats a rate, with one decimal below 100. */
export function rate(value: number | undefined): string {
  if (value === undefined) return "–";
  return (Math.abs(value) < 100 ? tenth : whole).format(value);
}

/** Formats milliseconds, with two decimals below 1. */
export function duration(ms: number | undefined): string {
  return ms !== undefined && ms < 1 ? hundredth.format(ms) : rate(ms);
}

/** Formats a number for an axis. */
export function axis(value: number): string {
  return short.format(value);
}

/** Formats a time as the time of day. */
export function time(ms: number): string {
  return clock.format(ms);
}

/** Formats a time as the date and the time of day. */
export function date(ms: number): string {
  return day.format(ms);
}

/** Returns JSON with indentation, unless it is nested very deeply; any other text as it is. Unsafe characters are escaped, except the line feeds of the indentation. */
export function pretty(text: string): string {
  try {
    // each line of the result is safe after it is escaped, because JSON has no raw line feed inside a string
    return indented(text).split("\n").map(printable).join("\n");
  } catch {
    return printable(text);
  }
}
