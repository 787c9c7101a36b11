/**
 * Tables of text for a terminal.
 *
 * @module
 */
import process from "node:process";
import { printable } from "../src/internal/printable.ts";
import { ownText } from "../src/internal/utf8.ts";

/** A cell. An absent value is shown as `-`. */
export type Cell = string | number | undefined;

/** The minimum width of a column that is shortened. */
const LEAST = 8;
/** The largest width of a column: each row is as wide as the widest one, and a name from the wire may have megabytes. */
const MOST = 1_024;

/** Matches a text of characters that take one column of a terminal each. */
const NARROW = /^[\x20-\x7e…]*$/;
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
  const titles = heads.map((head) => fit(head, most));
  const cells = rows.map((row) => heads.map((_, i) => fit(printable(beginning(textOf(row[i]), most)), most)));
  const widths = titles.map((title, i) => cells.reduce((most, row) => Math.max(most, row[i]!.width), title.width));
  const gaps = 2 * (heads.length - 1);
  shrink(widths, width - gaps, numeric);
  const excess = sum(widths) + gaps > width;
  const line = (row: readonly Fitted[]) => {
    const aligned = row.map((cell, i) => {
      const fits = cell.width <= widths[i]! && cell.text.length <= MAX_STACKED * widths[i]!;
      const { text, width } = fits ? cell : fit(cell.text, widths[i]!);
      const space = " ".repeat(widths[i]! - width);
      return numeric[i] ? space + text : text + space;
    });
    const text = aligned.join("  ").trimEnd();
    return excess || text.length > MAX_STACKED * width ? shorten(text, width) : text;
  };
  return [titles, ...cells].map(line);
}

/** Returns the number of columns of standard output: Infinity unless it is a terminal. */
function terminalWidth(): number {
  return process.stdout.isTTY ? process.stdout.columns || 80 : Infinity;
}

/** Reduces the widest columns of text until the sum is `room`, or all of them have their minimum width. */
function shrink(widths: number[], room: number, numeric: readonly boolean[]): void {
  let excess = sum(widths) - room;
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

/** A text that fits into a column, and the number of columns of a terminal that it takes. */
interface Fitted {
  readonly text: string;
  readonly width: number;
}

/** Returns the beginning of a text that fits into this many columns of a terminal. */
export function shorten(text: string, width: number): string {
  return fit(text, width).text;
}

/** Shortens a text as {@linkcode shorten} does, and measures it. It looks at each character once, and not behind the last one that fits. */
function fit(text: string, width: number): Fitted {
  if (NARROW.test(text)) {
    if (text.length <= width) return { text, width: text.length };
    return width > 0 ? { text: `${text.slice(0, width - 1)}…`, width } : { text: "", width: 0 };
  }
  const most = MAX_STACKED * width;
  // the width so far; the part in front of the ellipsis, if there has to be one, and its width
  let [total, end, short, full] = [0, 0, 0, false];
  for (const char of text) {
    total += widthOfChar(char);
    full ||= total > width - 1 || end + char.length >= most;
    if (!full) [end, short] = [end + char.length, total];
    else if (total > width || text.length > most) {
      return width > 0 ? { text: `${text.slice(0, end)}…`, width: short + 1 } : { text: "", width: 0 };
    }
  }
  return { text, width: total };
}

/** Returns the part of a text that decides what {@linkcode shorten} returns, or what a table shows. It does not keep the whole text in memory. */
export function beginning(text: string, width: number = MOST): string {
  const end = MAX_STACKED * width + 1;
  return text.length <= end ? text : ownText(text.slice(0, end));
}

/** Returns the number of columns that a text takes in a terminal. */
export function widthOf(text: string): number {
  if (NARROW.test(text)) return text.length;
  let width = 0;
  for (const char of text) width += widthOfChar(char);
  return width;
}

/** One more than the width of each character, by its code point; 0 for those that were not measured. Regular expressions take 100 times as long. */
let measured: Uint8Array | undefined;

function widthOfChar(char: string): number {
  if (char <= "~") return 1;
  measured ??= new Uint8Array(0x110000);
  const code = char.codePointAt(0)!;
  const width = measured[code] ||= 1 + (COMBINING.test(char) ? 0 : WIDE.test(char) ? 2 : 1);
  return width - 1;
}

function sum(widths: readonly number[]): number {
  return widths.reduce((sum, each) => sum + each, 0);
}

function textOf(cell: Cell): string {
  if (cell === undefined) return "-";
  if (typeof cell === "string" || Number.isInteger(cell)) return String(cell);
  return cell.toFixed(Math.abs(cell) < 1 ? 2 : 1);
}
