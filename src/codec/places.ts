/**
 * A limit for the memory of objects with integer keys. Bun's engine gives an object with the one key 999 a list of 1,000 places, so that a
 * message of a few MiB would use up the memory of the process. V8 chooses a hash table.
 *
 * @module
 */
import { sample } from "./sample.ts";

/** The engines that do so. */
const AFFECTED = "Bun" in globalThis;
/** The number of characters of a text that is never refused. Its objects take at most 64 MiB. */
const NOT_REFUSED = 65_536;
/** One window of this size is searched in each part of this size. A search of the whole text takes as long as to parse it. */
const [WINDOW, PART] = [8_192, 65_536];
/** The smallest key for which the engine chooses a hash table. V8 compares its size with that of the list. */
const SPARSE = AFFECTED ? 1_000 : 36;
/** A list that has to grow for a second key gets this number of places for each that it needs. */
const GROWTH = AFFECTED ? 1.5 : 1;
/** The largest number of places: `any` in each text, and `each` for each of its characters. A place has eight bytes. */
const MAX = { any: 8 * 2 ** 20, each: 8 };
/** Matches an integer key of which an object may have many places, or a digit that is escaped. */
export const KEY: RegExp = AFFECTED ? /"\d{2,3}"\s*:|\\u003\d/ : /"[1-3]\d"\s*:|\\u003[1-3]/;
/** The length of such a key whose digits are escaped. */
const LONGEST_KEY = 18;

/**
 * Refuses a JSON text whose objects would have far more places than values.
 *
 * @throws {RangeError} when they take more than 64 MiB, and 64 bytes for each character
 */
export function limitPlaces(text: string): void {
  if (!AFFECTED || text.length <= NOT_REFUSED || !sampled(text)) return;
  if (placesOf(text) > Math.max(MAX.any, MAX.each * text.length)) {
    throw new RangeError("its objects have integer keys that take too much memory");
  }
}

function sampled(text: string): boolean {
  const parts = Math.ceil(text.length / PART);
  for (let part = 0; part < parts; part++) if (sample(text, WINDOW, part, parts).search(KEY) >= 0) return true;
  return false;
}

/** Returns about how many places all objects in a JSON text have: each has those up to the largest of its integer keys for which it has a place. */
export function placesOf(text: string): number {
  /** The integer keys of each open object: the largest one that has a place, and their number. */
  const open: { largest: number; keys: number }[] = [];
  const colon = /\s*:/y;
  let places = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === 0x7b) open.push({ largest: 0, keys: 0 }); // {
    else if (code === 0x7d) { // }
      const closed = open.pop();
      if (closed) places += closed.keys > 1 ? GROWTH * closed.largest : closed.largest;
    } else if (code === 0x22) { // "
      const from = at + 1;
      at = endOf(text, from);
      if (at < 0) break;
      const object = open.at(-1);
      const first = text.charCodeAt(from);
      if (!object || at - from > LONGEST_KEY || first !== 0x5c && !(first >= 0x30 && first <= 0x39)) continue;
      const key = keyOf(text.slice(from - 1, at + 1));
      colon.lastIndex = at + 1;
      if (!Number.isInteger(key) || !colon.test(text)) continue;
      object.keys++;
      if (key < SPARSE && key > object.largest) object.largest = key;
    }
  }
  return places;
}

/** Returns the index of the quote that ends a string. */
function endOf(text: string, from: number): number {
  for (let to = text.indexOf('"', from); to >= 0; to = text.indexOf('"', to + 1)) {
    let first = to;
    while (text.charCodeAt(first - 1) === 0x5c) first--;
    if ((to - first) % 2 === 0) return to;
  }
  return -1;
}

function keyOf(json: string): number {
  if (!json.includes("\\")) return Number(json.slice(1, -1));
  try {
    return Number(JSON.parse(json));
  } catch {
    return NaN;
  }
}
