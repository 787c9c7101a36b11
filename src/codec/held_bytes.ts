/**
 * An estimate of the memory that a decoded body takes, for limits. For each character of its text, a list of empty objects takes twenty bytes,
 * one of empty sets eighty, and on Bun, objects with large integer keys up to ten thousand.
 *
 * @module
 */
import { hasLongKey, KEY, placesOf } from "./places.ts";
import { sample } from "./sample.ts";
import { integer, OWN } from "./tags.ts";

/** About how many bytes an empty value of a tag takes in addition to its JSON's value. */
const TYPES: ReadonlyMap<string, number> = new Map([
  ["set", 256],
  [OWN.set, 256],
  [OWN.map, 256],
  [OWN.bytes, 256],
  [OWN.date, 96],
  [OWN.bigint, 48],
]);
/** The most that the types of a body take for each of its characters: an empty set in a list has three. */
export const MOST_TYPED = 86;
/** About how many bytes a field takes that is undefined, and one with an integer as its key (`prepare`). */
const MISSING = { field: 72, integer: 256 };

/**
 * About how many bytes a character, an object or a list, a field, and a place of an object for an integer key take. A field takes 8 bytes where
 * many objects have the same ones, and up to 90 where each has others.
 */
const [CHARACTER, OBJECT, FIELD, PLACE] = [2, 64, 32, 8];
/**
 * To search a whole text would take as long as to parse it: one window of this size is searched in each part of this size, in at most this
 * number of parts.
 */
const [WINDOW, PART, MOST_PARTS] = [512, 2_048, 16];

/**
 * Returns about how many bytes the value of a JSON text takes, with its text. `typed` are those for its types (`Codec.typed`). Of many texts that
 * are shorter than a part, only some are searched, and count for the others. A text with an integer key in a window is read as a whole, because
 * a window does not show where its objects and strings begin; on Bun also each text with a key of four or five digits, because one object may
 * then take a MB.
 */
export function heldBytes(text: string, typed = 0): number {
  const { length } = text;
  const long = length >= PART && hasLongKey(text);
  const bytes = CHARACTER * length + typed + (long ? PLACE * placesOf(text) : 0);
  const searched = Math.min(1, length / PART);
  if (searched < 1 && Math.random() >= searched) return bytes;
  const parts = Math.min(MOST_PARTS, Math.ceil(length / PART));
  let [objects, keys] = [0, false];
  for (let part = 0; part < parts; part++) {
    const window = sample(text, WINDOW, part, parts);
    objects += objectsIn(window);
    keys ||= !long && (length < PART ? text : window).search(KEY) >= 0;
  }
  const all = objects * (length + WINDOW) / (parts * WINDOW) + (keys ? PLACE * placesOf(text) : 0);
  return bytes + all / searched;
}

/** Returns about how many bytes the objects and lists in a part of a text take, with their fields. */
function objectsIn(text: string): number {
  let bytes = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 0x7b || code === 0x5b) bytes += OBJECT; // { and [
    else if (code === 0x3a) bytes += FIELD; // : also in a string, which is rare
  }
  return bytes;
}

/** Returns about how many bytes an empty value of a tag takes in addition to its JSON's value. */
export function typeBytes(tag: string): number {
  return TYPES.get(tag) ?? 0;
}

/** Returns about how many bytes an undefined field takes, which JSON leaves out. */
export function missingBytes(key: string): number {
  return integer(key) ? MISSING.integer : MISSING.field;
}
