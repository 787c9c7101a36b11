/**
 * A parser of the JSON that Python writes, with integers of any size and bare `NaN`, `Infinity` and `-Infinity`.
 *
 * @module
 */
import { limitPlaces } from "./places.ts";
import { MAX_DIGITS } from "./tags.ts";

/**
 * Matches a possible beginning of an integer that is too long for a number, but not digits after a point or in a string. The digits are
 * written out, because both engines then skip ahead, at a fifth of the cost of `\d{16}`.
 */
const LONG_INTEGER = new RegExp(`(?:^|[[:,\\s-])${"\\d".repeat(16)}`);
/**
 * Matches `NaN`, an infinity, or an integer that may be too long for a number, in the place of a value. It matches nothing in front of a
 * colon, because JSON has no numbers as keys.
 */
const INEXACT = /(^|[[:,\s])(NaN|-?Infinity|-?[1-9]\d{15,})(?=\s*(?:$|[\]},]))/g;
/** The fewest characters that {@linkcode INEXACT} matches. */
const SHORTEST = 3;

/**
 * Parses JSON. Integers beyond ±(2^53 - 1) become bigints.
 *
 * @throws {SyntaxError} when the text is not JSON
 * @throws {RangeError} when an integer has too many digits, the text is nested more deeply than the runtime allows, or its objects would
 * take far more memory than the text
 */
export function parse(text: string): unknown {
  limitPlaces(text);
  if (LONG_INTEGER.test(text)) return parseInexact(text);
  try {
    return JSON.parse(text);
  } catch (error) {
    if (!(error instanceof SyntaxError) || !/NaN|Infinity/.test(text)) throw error;
    return parseInexact(text);
  }
}

/**
 * Parses JSON with numbers that `JSON.parse` cannot read, or not exactly. It replaces them by strings before it calls `JSON.parse`. A
 * reviver that gets the source text of each value would take 30 times as long.
 */
function parseInexact(text: string): unknown {
  const mark = `\x7f${crypto.randomUUID().slice(0, 8)}`; // short, for the memory; no string of the text begins with it
  const tame = outsideStrings(
    text,
    (part) =>
      part.length < SHORTEST ? part : part.replace(INEXACT, (_, before, number) => before + marked(number, mark)),
  );
  const root = { value: parseTame(tame, text) };
  const pending: object[] = [root];
  const restore = (parent: Record<string | number, unknown>, key: string | number) => {
    const value = parent[key];
    if (typeof value === "object") value && pending.push(value);
    else if (typeof value === "string" && value.startsWith(mark)) parent[key] = numberOf(value.slice(mark.length));
  };
  for (let parent = pending.pop(); parent; parent = pending.pop()) {
    const values = parent as Record<string | number, unknown>;
    // the keys of a long list would take most of the time
    if (Array.isArray(parent)) { for (let i = 0; i < parent.length; i++) restore(values, i); }
    else for (const key of Object.keys(parent)) restore(values, key);
  }
  return root.value;
}

/** Returns a string for a number that is not exact, and other numbers as they are. */
function marked(number: string, mark: string): string {
  return Number.isSafeInteger(Number(number)) ? number : `"${mark}${number}"`;
}

function numberOf(text: string): number | bigint {
  if (text.endsWith("N") || text.endsWith("y")) return Number(text);
  if (text.length > MAX_DIGITS) throw new RangeError(`an integer of more than ${MAX_DIGITS} digits`);
  return BigInt(text);
}

/** Parses a text whose numbers were replaced. If it is malformed, the error is the one for the original text. */
function parseTame(tame: string, text: string): unknown {
  try {
    return JSON.parse(tame);
  } catch {
    return JSON.parse(text);
  }
}

/** Rewrites the parts of a JSON text outside its strings, in a loop because a regular expression overflows on a long string. */
function outsideStrings(text: string, rewrite: (part: string) => string): string {
  const parts: string[] = [];
  for (let from = 0; from < text.length;) {
    const open = text.indexOf('"', from);
    if (open < 0) return parts.join("") + rewrite(text.slice(from));
    let close = text.indexOf('"', open + 1);
    while (close > 0 && escaped(text, close)) close = text.indexOf('"', close + 1);
    if (close < 0) return text;
    parts.push(rewrite(text.slice(from, open)), text.slice(open, close + 1));
    from = close + 1;
  }
  return parts.join("");
}

/** Returns whether an odd number of backslashes precedes this character. */
function escaped(text: string, at: number): boolean {
  let first = at;
  while (text[first - 1] === "\\") first--;
  return (at - first) % 2 === 1;
}
