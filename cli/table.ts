/**
 * Tables of text for a terminal.
 *
 * @module
 */
import process from "node:process";
import { printable } from "../src/internal/printable.ts";

/** A cell. An absent value is shown as `-`. */
export type Cell = string | number | undefined;

/** The minimum width of a column that is shortened. */
const LEAST = 8;
/** The largest width of a column: each row is as wide as the widest one, and a name from the wire may have megabytes. */
const MOST = 1_024;

/** Characters that take two columns of a terminal, such as Chinese ones and emoji. */
const WIDE =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Emoji_Presentation}\u3000-\u303f\uff01-\uff60]/u;
/** Characters that take no column of a terminal, because they change the character before them. */
const COMBINING = /[\p{Mn}\p{Me}\p{Cf}]/u;

/** Returns a time as a text: `2026-11-29T18:04:05Z`. */
export function seconds(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, -5)}Z`;
}

/**
 * Returns the lines of a table of at most `width` columns of a terminal, with a header line. Unsafe characters are escaped. Columns of
 * numbers are aligned to the right. If the table is too wide, its widest columns of text are shortened, and none is wider than 1,024.
 */
export function table(
  heads: readonly string[],
  rows: readonly (readonly Cell[])[],
  width: number = terminalWidth(),
): string[] {
  const numeric = heads.map((_, i) => rows.length > 0 && rows.every((row) => typeof row[i] !== "string"));
  const most = Math.min(width, MOST);
  const texts = rows.map((row) => heads.map((_, i) => shorten(printable(beginning(textOf(row[i]), most)), most)));
  const widths = heads.map((head, i) => texts.reduce((most, row) => Math.max(most, widthOf(row[i]!)), head.length));
  shrink(widths, width - 2 * (heads.length - 1), numeric);
  const line = (cells: readonly string[]) => {
    const aligned = cells.map((cell, i) => {
      const text = shorten(cell, widths[i]!);
      const space = " ".repeat(widths[i]! - widthOf(text));
      return numeric[i] ? space + text : text + space;
    });
    return shorten(aligned.join("  ").trimEnd(), width);
  };
  return [heads, ...texts].map(line);
}

/** Returns the number of columns of standard output: Infinity unless it is a terminal. */
function terminalWidth(): number {
  return process.stdout.isTTY ? process.stdout.columns || 80 : Infinity;
}

/** Reduces the widest columns of text until the sum is `room`, or all of them have their minimum width. */
function shrink(widths: number[], room: number, numeric: readonly boolean[]): void {
  let excess = widths.reduce((sum, each) => sum + each, 0) - room;
  while (excess > 0) {
    const text = widths.map((each, i) => numeric[i] ? 0 : each);
    const [widest = 0, next = LEAST] = text.toSorted((a, b) => b - a);
    if (widest <= LEAST) return;
    const less = Math.min(excess, Math.max(1, widest - Math.max(next, LEAST)));
    widths[text.indexOf(widest)]! -= less;
    excess -= less;
  }
}

/** The largest number of characters in one column of a terminal, because a text may contain any number of combining characters. */
const MAX_STACKED = 4;

/** Returns the beginning of a text that fits into this many columns of a terminal. */
export function shorten(text: string, width: number): string {
  const most = MAX_STACKED * width;
  if (text.length <= most && widthOf(text) <= width) return text;
  let [short, left] = ["", width - 1];
  for (const char of text) {
    left -= widthOf(char);
    if (left < 0 || short.length + char.length >= most) break;
    short += char;
  }
  return width > 0 ? `${short}…` : "";
}

/** Returns the part of a text that decides what {@linkcode shorten} returns. */
function beginning(text: string, width: number): string {
  return text.slice(0, MAX_STACKED * width + 1);
}

/** Returns the number of columns that a text takes in a terminal. */
export function widthOf(text: string): number {
  if (/^[\x20-\x7e…]*$/.test(text)) return text.length;
  let width = 0;
  for (const char of text) width += COMBINING.test(char) ? 0 : WIDE.test(char) ? 2 : 1;
  return width;
}

function textOf(cell: Cell): string {
  if (cell === undefined) return "-";
  if (typeof cell === "string" || Number.isInteger(cell)) return String(cell);
  return cell.toFixed(Math.abs(cell) < 1 ? 2 : 1);
}
