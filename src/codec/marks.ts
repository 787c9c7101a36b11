/**
 * Type marks: what the JSON of a body does not say of its values, written behind it as white space.
 *
 * Inside a body everything is plain JSON, as Python writes it and its type hints take it: a Set is a list, a Date its text. The
 * marks say what it was. Every reader of JSON passes over white space, so PyMQ, a tsmq without marks and any other reader get
 * the bare value. The format is described in `docs/wire.md`, "A body".
 *
 * @module
 */
import { OWN } from "./tags.ts";

/** What a value is: one of {@linkcode KINDS}, or `@` and the tag of its class. */
export type Kind = string;

/** Marks of the values in a list or an object: by index or key, or one that all of them have. */
export type Within = { readonly [key: string]: Mark } | readonly [Mark];

/**
 * The mark of a value: its kind, marks of the values in it, or both. The third element is the order of a map's keys, where an object
 * has another one. It comes from the wire: nothing of it is certain but that it is JSON.
 */
export type Mark = Kind | Within | readonly [Kind, Within, (readonly string[])?];

/** The kinds, and the tags that mean the same. An object of kind `R` is the user's own, whatever its keys. */
export const KINDS: ReadonlyMap<Kind, string> = new Map([
  ["B", OWN.bytes],
  ["D", OWN.date],
  ["M", OWN.map],
  ["N", OWN.bigint],
  ["R", "dict"],
  ["S", OWN.set],
  ["U", OWN.undefined],
]);

/** What stands for the digits 0 to 3; four of them are a character. */
const SPACES = " \t\n\r";
/** Ends the marks: the count of deliveries, which may follow, has none. */
const END = "\r";
const END_CODE = 13;

const WRITTEN: readonly string[] = Array.from(
  { length: 128 },
  (_, code) => SPACES[code >> 6]! + SPACES[code >> 4 & 3]! + SPACES[code >> 2 & 3]! + SPACES[code & 3]!,
);

/** The digit of a character that stands for one, else 4. */
const DIGITS = Uint8Array.from({ length: 33 }, (_, code) => {
  const digit = SPACES.indexOf(String.fromCharCode(code));
  return digit < 0 ? 4 : digit;
});

/** Messages of one kind have the same marks: so many are remembered, of up to so many characters. */
const KEPT = 256;
const KEPT_LENGTH = 1_024;
/** Arguments of one call: an engine has room for some ten thousand. */
const CHUNK = 4_096;
const written = new Map<string, string>();
const read = new Map<string, Mark>();

/** What stands behind a JSON text with this mark. */
export function writeMarks(mark: string | undefined): string {
  if (mark === undefined) return "";
  return written.get(mark) ?? keep(written, mark, spaces(mark));
}

function keep<T>(map: Map<string, T>, key: string, value: T): T {
  if (key.length > KEPT_LENGTH) return value;
  if (map.size >= KEPT) map.clear();
  map.set(key, value);
  return value;
}

function spaces(mark: string): string {
  let text = "";
  for (let i = 0; i < mark.length; i++) {
    const code = mark.charCodeAt(i);
    if (code < 128) text += WRITTEN[code];
    else for (const char of `\\u${code.toString(16).padStart(4, "0")}`) text += WRITTEN[char.charCodeAt(0)];
  }
  return text + END;
}

/** The mark behind a JSON text, if there is one. White space that means nothing is no mark. */
export function readMarks(body: string): Mark | undefined {
  const end = body.length - 1;
  if (body.charCodeAt(end) !== END_CODE) return undefined;
  let start = end;
  while (start > 0 && digit(body, start - 1) < 4) start--;
  if (start === end || (end - start) % 4 !== 0) return undefined;
  const text = body.slice(start, end);
  const known = read.get(text);
  if (known !== undefined) return known;
  try {
    return keep(read, text, JSON.parse(characters(text)) as Mark);
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

/** The JSON of a mark. `keys` is JSON too. */
export function markOf(kind: Kind | undefined, within: string | undefined, keys?: string): string | undefined {
  if (kind === undefined) return within;
  const text = JSON.stringify(kind);
  return within || keys ? `[${text},${within ?? "{}"}${keys ? `,${keys}` : ""}]` : text;
}

/**
 * The JSON of the marks of so many values: what is the same for all of them stands once. `marks` has holes where there is none; `keys`
 * are those of an object.
 */
export function marksOfAll(marks: readonly string[], count: number, keys?: readonly string[]): string | undefined {
  if (marks.length === 0) return undefined;
  const [first] = marks;
  let same = 0;
  if (first !== undefined) { while (same < count && marks[same] === first) same++; }
  if (same === count) return `[${first}]`;
  const parts: string[] = [];
  marks.forEach((mark, i) => parts.push(`${JSON.stringify(keys ? keys[i] : String(i))}:${mark}`));
  return `{${parts}}`;
}

/** The kind in a mark. */
export function kindIn(mark: Mark): Kind | undefined {
  if (typeof mark === "string") return mark;
  return Array.isArray(mark) && mark.length > 1 ? typeof mark[0] === "string" ? mark[0] : "" : undefined;
}

/** The marks in a mark. */
export function withinOf(mark: Mark | undefined): Within | undefined {
  if (typeof mark !== "object" || mark === null) return undefined;
  return Array.isArray(mark) && mark.length > 1 ? mark[1] as Within : mark as Within;
}

/** The mark of the value at a key. */
export function markAt(within: Within | undefined, key: PropertyKey): Mark | undefined {
  if (typeof within !== "object" || within === null) return undefined;
  if (Array.isArray(within)) return within[0];
  return Object.hasOwn(within, key) ? (within as Record<PropertyKey, Mark>)[key] : undefined;
}
