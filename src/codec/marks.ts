/**
 * Type marks: the types that JSON cannot express. They follow the JSON of a body, written as white space.
 *
 * A body is plain JSON, as Python's type hints expect it: a Set is a list, a Date its ISO text. The marks keep the types. Every reader
 * of JSON skips white space, so PyMQ and older versions of tsmq read the bare value. The format is described in `docs/wire.md`, "A body".
 *
 * @module
 */
import { LimitedTextMap } from "../internal/caches.ts";
import { excessPlaces } from "./places.ts";
import { OWN } from "./tags.ts";

/** The type of a value: one of {@linkcode KINDS}, or `@` and the tag of its class. */
export type Kind = string;

/** The marks of the values in a list or an object: by index or key, or one mark for all values. */
export type Within = { readonly [key: string]: Mark } | readonly [Mark];

/**
 * The mark of a value: its kind, the marks of the values in it, or both. The third element is the order of a map's keys, if an object
 * would have another order. A received mark can be any JSON, whatever its type says.
 */
export type Mark = Kind | Within | readonly [Kind, Within, (readonly string[])?];

/** The kinds, with the equivalent tags. Kind `R` is a user's object whose keys look like a tag. */
export const KINDS: ReadonlyMap<Kind, string> = new Map([
  ["B", OWN.bytes],
  ["D", OWN.date],
  ["M", OWN.map],
  ["N", OWN.bigint],
  ["R", "dict"],
  ["S", OWN.set],
  ["U", OWN.undefined],
]);

/** The white space for the digits 0 to 3. Four digits encode one character. */
const SPACES = " \t\n\r";
/** The code of the end of the marks, a carriage return. A count of deliveries, which may follow, does not contain it. */
const END_CODE = 13;

/** The number of characters of white space for a character of a mark. One above U+007F is written as an escape of six. */
const DIGITS_EACH = 4;
const ESCAPE = 6;
const HEX = "0123456789abcdef";

/** The digit of each character code; 4 for characters that are not digits. */
const DIGITS = Uint8Array.from({ length: 33 }, (_, code) => {
  const digit = SPACES.indexOf(String.fromCharCode(code));
  return digit < 0 ? 4 : digit;
});

/**
 * The number of characters of a body for each undefined field, and for each 16 characters of its name. One mark may add such fields to all elements
 * of a list: more of them than this are not read, because a value that is written again would be far larger than its body.
 */
const MISSING_SHARE = 4;
const NAME_PART = 16;

/** Returns the smallest number of characters of a body that has an undefined field with this name. */
export function sizeOfMissing(name: string): number {
  return MISSING_SHARE * (1 + name.length / NAME_PART);
}

/** The largest number of marks in each cache. Messages of one kind have the same marks. */
const MAX_CACHED = 256;
/** The largest number of characters of a cached mark, and of the places of its objects (`excessPlaces`). */
const MAX_CACHED_LENGTH = 1_024;
/** The largest number of places of the objects of a mark, or one for each character of its body, if they are more: an element of a list has two. */
const MAX_PLACES = 2 ** 20;
/** The number of arguments in one call of `String.fromCharCode`. Engines accept about ten thousand. */
const CHUNK = 4_096;
const written = new LimitedTextMap<string>(MAX_CACHED);
const read = new LimitedTextMap<Mark>(MAX_CACHED);
const decoder = new TextDecoder();

/** Writes the JSON of a mark as white space. Returns an empty string if there is no mark. */
export function writeMarks(mark: string | undefined): string {
  if (mark === undefined) return "";
  return cached(written, mark) ?? cache(written, mark, spaces(mark));
}

/** Returns the number of characters of a mark that {@linkcode writeMarks} writes, without its end. */
export function sizeOfMarks(mark: string): number {
  let size = mark.length;
  for (let i = 0; i < mark.length; i++) if (mark.charCodeAt(i) > 127) size += ESCAPE - 1;
  return DIGITS_EACH * size;
}

function cached<T>(map: LimitedTextMap<T>, key: string): T | undefined {
  return key.length > MAX_CACHED_LENGTH ? undefined : map.get(key);
}

function cache<T>(map: LimitedTextMap<T>, key: string, value: T): T {
  if (key.length <= MAX_CACHED_LENGTH) map.set(key, value);
  return value;
}

function spaces(mark: string): string {
  const bytes = new Uint8Array(sizeOfMarks(mark) + 1);
  let at = 0;
  const write = (code: number) => {
    for (let shift = 6; shift >= 0; shift -= 2) bytes[at++] = SPACES.charCodeAt(code >> shift & 3);
  };
  for (let i = 0; i < mark.length; i++) {
    const code = mark.charCodeAt(i);
    if (code < 128) write(code);
    else {
      write(92); // a backslash
      write(117); // the letter u
      for (let shift = 12; shift >= 0; shift -= 4) write(HEX.charCodeAt(code >> shift & 15));
    }
  }
  bytes[at] = END_CODE;
  return decoder.decode(bytes);
}

/**
 * Reads the mark that follows a JSON text. Returns undefined if no mark follows.
 *
 * @throws {RangeError} when its objects would take far more memory than the body
 */
export function readMarks(body: string): Mark | undefined {
  const end = body.length - 1;
  if (body.charCodeAt(end) !== END_CODE) return undefined;
  let start = end;
  while (start > 0 && digit(body, start - 1) < 4) start--;
  if (start === end || (end - start) % 4 !== 0) return undefined;
  const text = body.slice(start, end);
  const known = cached(read, text);
  if (known !== undefined) return known;
  const json = characters(text);
  const places = excessPlaces(json);
  if (places > Math.max(MAX_PLACES, body.length)) {
    throw new RangeError("its type marks have integer keys that take too much memory");
  }
  try {
    const mark = JSON.parse(json) as Mark;
    return places > MAX_CACHED_LENGTH ? mark : cache(read, text, mark);
  } catch {
    return undefined;
  }
}

function characters(spaces: string): string {
  const codes = new Uint8Array(spaces.length / 4);
  for (let i = 0; i < spaces.length; i++) codes[i >> 2] = codes[i >> 2]! << 2 | digit(spaces, i);
  let text = "";
  for (let i = 0; i < codes.length; i += CHUNK) text += String.fromCharCode(...codes.subarray(i, i + CHUNK));
  return text;
}

function digit(text: string, at: number): number {
  const code = text.charCodeAt(at);
  return code > 32 ? 4 : DIGITS[code]!;
}

/** Composes the JSON of a mark from the JSON of its parts. */
export function markOf(kind: Kind | undefined, within: string | undefined, keys?: string): string | undefined {
  if (kind === undefined) return within;
  const text = JSON.stringify(kind);
  return within || keys ? `[${text},${within ?? "{}"}${keys ? `,${keys}` : ""}]` : text;
}

/**
 * Composes the JSON of the marks of values with these texts. A mark that all values have is written once; without `share`, only if it adds no
 * undefined fields. `marks` has holes for values without a mark. `keys` are the keys of an object; a list has no keys.
 */
export function marksOfAll(
  marks: readonly string[],
  texts: readonly string[],
  share: boolean,
  keys?: readonly string[],
): string | undefined {
  if (marks.length === 0) return undefined;
  const [first] = marks;
  const count = texts.length;
  let same = 0;
  if (first !== undefined) { while (same < count && marks[same] === first) same++; }
  if (same === count && (share || count === 1 || !first!.includes(':"U"'))) return `[${first}]`;
  const parts: string[] = [];
  marks.forEach((mark, i) => parts.push(`${JSON.stringify(keys ? keys[i] : String(i))}:${mark}`));
  return `{${parts}}`;
}

/** Returns the kind of a mark. */
export function kindIn(mark: Mark): Kind | undefined {
  if (typeof mark === "string") return mark;
  return Array.isArray(mark) && mark.length > 1 ? typeof mark[0] === "string" ? mark[0] : "" : undefined;
}

/** Returns the part of a list's or an object's mark that contains the marks of its values. */
export function withinOf(mark: Mark | undefined): Within | undefined {
  if (typeof mark !== "object" || mark === null) return undefined;
  return Array.isArray(mark) && mark.length > 1 ? mark[1] as Within : mark as Within;
}

/** Returns the mark of the value at a key. */
export function markAt(within: Within | undefined, key: PropertyKey): Mark | undefined {
  if (typeof within !== "object" || within === null) return undefined;
  if (Array.isArray(within)) return within[0];
  return Object.hasOwn(within, key) ? (within as Record<PropertyKey, Mark>)[key] : undefined;
}
