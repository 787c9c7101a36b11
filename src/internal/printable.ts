/**
 * Text from the wire for a terminal or a log: nothing in it can move the cursor, write to the clipboard, reorder text or begin a new line.
 *
 * @module
 */
import { ownShortText } from "./own_text.ts";

/**
 * Matches control characters (C0, DEL, C1), line and paragraph separators, marks that change the direction of text, and lone surrogates. Made
 * when it is used, because these classes of characters take half a millisecond of the start of a program on Deno.
 */
function unsafe(): RegExp {
  return /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}\p{Cs}]/gu;
}

/**
 * Returns a text as one line, in which each unsafe character is written as `\u001b`. In JSON text such characters stand only inside
 * strings, so the result is the same JSON value.
 */
export function printable(text: string): string {
  return text.replace(unsafe(), escaped);
}

/**
 * Returns a text of several lines, such as a stack, with its unsafe characters escaped. Each line after the first is indented or begins with
 * a closing bracket.
 */
export function printableLines(text: string): string {
  return text.replace(/(?!\n[ \]})])[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}\p{Cs}]/gu, escaped);
}

/** The largest number of characters of a text for people: a name from the wire may have megabytes. */
const LONGEST = 16_384;

/**
 * Returns a text for people. If it is too long, its middle is left out, because the reason of an error is at its end, and the rest does not
 * refer to it.
 */
export function cut(text: string, longest: number = LONGEST): string {
  if (text.length <= longest) return text;
  const end = longest / 2 - 32; // with the note, it is short enough: the message of a worker's error is cut again by main
  return ownShortText(`${text.slice(0, end)} … (${text.length - 2 * end} characters) … ${text.slice(-end)}`);
}

/** The largest number of levels of a value whose JSON is indented. */
const INDENTED = 20;

/**
 * Returns JSON text with indentation, unless it is nested so deeply that the spaces could take a thousand times its length.
 *
 * @throws {SyntaxError} when the text is not JSON
 */
export function indented(json: string): string {
  const value: unknown = JSON.parse(json, exact);
  return JSON.stringify(value, undefined, isDeeper(value, INDENTED) ? undefined : 2);
}

/** Keeps all digits of a number, which can be more than a double holds. */
function exact(_: string, value: unknown, { source }: { source?: string } = {}): unknown {
  const { rawJSON } = JSON as { rawJSON?(text: string): unknown };
  return typeof value === "number" && source !== undefined && rawJSON ? rawJSON(source) : value;
}

/** Returns whether a value has more than this number of levels. */
function isDeeper(value: unknown, levels: number): boolean {
  if (typeof value !== "object" || value === null) return false;
  return levels === 0 || Object.values(value).some((part) => isDeeper(part, levels - 1));
}

function escaped(char: string): string {
  return `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
