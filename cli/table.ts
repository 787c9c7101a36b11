/**
 * Tables of text for a terminal.
 *
 * @module
 */
import { printable } from "../src/internal/printable.ts";

/** A cell. An absent value is shown as `-`. */
export type Cell = string | number | undefined;

/** The minimum width of a column that is shortened, in characters. */
const LEAST = 8;

/**
 * Returns the lines of a table of at most `width` characters, with a line of heads. Unsafe characters are escaped. Columns of numbers are aligned to the right;
 * the first column is shortened if the table is too wide.
 */
export function table(
  heads: readonly string[],
  rows: readonly (readonly Cell[])[],
  width: number = Infinity,
): string[] {
  const texts = rows.map((row) => heads.map((_, i) => printable(textOf(row[i]))));
  const numeric = heads.map((_, i) => rows.length > 0 && rows.every((row) => typeof row[i] !== "string"));
  const widths = heads.map((head, i) => Math.max(head.length, ...texts.map((row) => row[i]!.length)));
  const rest = widths.slice(1).reduce((sum, each) => sum + each + 2, 0);
  widths[0] = Math.min(widths[0]!, Math.max(LEAST, width - rest));
  const line = (cells: readonly string[]) =>
    cells.map((cell, i) => numeric[i] ? cell.padStart(widths[i]!) : shorten(cell, widths[i]!).padEnd(widths[i]!))
      .join("  ").trimEnd().slice(0, width === Infinity ? undefined : width);
  return [heads, ...texts].map(line);
}

/** Returns a text of at most this many characters. */
export function shorten(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1)).toWellFormed()}…`;
}

function textOf(cell: Cell): string {
  if (cell === undefined) return "-";
  return typeof cell === "string" || Number.isInteger(cell) ? String(cell) : cell.toFixed(1);
}
