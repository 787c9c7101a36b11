/**
 * A parser of the JSON that Python writes, with integers of any size and bare `NaN`, `Infinity` and `-Infinity`.
 *
 * @module
 */
import { MAX_DIGITS } from "./tags.ts";

/**
 * Matches a possible beginning of an integer that is too long for a number, but not digits after a point or in a string. The digits are
 * written out, because both engines then skip ahead, at a fifth of the cost of `\d{16}`.
 */
const LONG_INTEGER = new RegExp(`(?:^|[[:,\\s-])${"\\d".repeat(16)}`);
const INTEGER = /^-?\d+$/;
/** Matches a zero with an exponent. The exponent has at most ten digits, because a larger one exceeds the length of any text. */
const EXPONENT_OF_ZERO = /0e(\d{1,10})(?!\d)/g;
const BARE = /(?<=^|[[:,\s])(?:NaN|-?Infinity)(?=$|[\]},\s])/g;

/**
 * Parses JSON. Integers beyond ±(2^53 - 1) become bigints.
 *
 * @throws {SyntaxError} when the text is not JSON
 * @throws {RangeError} when an integer has too many digits, or the text is nested too deeply
 */
export function parse(text: string): unknown {
  try {
    return LONG_INTEGER.test(text) ? parseWith(text, exact) : JSON.parse(text);
  } catch (error) {
    if (!(error instanceof SyntaxError) || !/NaN|Infinity/.test(text)) throw error;
    return parseBare(text);
  }
}

/** Returns the value of a parsed number, which depends on its text. */
type ReadNumber = (value: number, source: string) => unknown;

function parseWith(text: string, read: ReadNumber): unknown {
  // both runtimes pass the source text of a primitive as third argument; TypeScript's library does not have it yet
  const reviver = (_key: string, value: unknown, context?: { source: string }) =>
    typeof value === "number" && context ? read(value, context.source) : value;
  return JSON.parse(text, reviver);
}

function exact(value: number, source: string): unknown {
  if (Number.isSafeInteger(value) || !INTEGER.test(source)) return value;
  if (source.length > MAX_DIGITS) throw new RangeError(`an integer of more than ${MAX_DIGITS} digits`);
  return BigInt(source);
}

function parseBare(text: string): unknown {
  const nan = unusedZero(text);
  const tame = outsideStrings(
    text,
    (part) =>
      part.length < 3 ? part : part.replace(BARE, (bare) => bare === "NaN" ? nan : bare.replace("Infinity", "1e999")),
  );
  return parseWith(tame, (value, source) => source === nan ? NaN : exact(value, source));
}

/** Returns a spelling of zero that the text does not contain and that replaces `NaN`. */
function unusedZero(text: string): string {
  // a text contains fewer exponents than characters, so one of these is unused; a search for each would take quadratic time
  const used = new Uint8Array(text.length);
  for (const [, exponent] of text.matchAll(EXPONENT_OF_ZERO)) used[Number(exponent)] = 1;
  return `0e${used.indexOf(0)}`;
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
