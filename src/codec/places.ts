/**
 * A limit for the memory of objects with integer keys. Bun's engine gives an object with the one key 999 a list of 1,000 places, so that a
 * message of a few MiB would use up the memory of the process. V8 chooses a hash table.
 *
 * @module
 */

/** The engines that do so. */
const AFFECTED = "Bun" in globalThis;
/** The number of characters of a text that is never refused. Its objects take at most 50 MiB. */
const NOT_REFUSED = 65_536;
/** One window of this size, at a random place, is searched in each part of this size. A search of the whole text takes as long as to parse it. */
const [WINDOW, PART] = [8_192, 65_536];
/** The smallest key for which the engine chooses a hash table. V8 compares its size with that of the list. */
const SPARSE = AFFECTED ? 1_000 : 36;
/** The largest number of places: `any` in each text, and `each` for each of its characters. A place has eight bytes. */
const MAX = { any: 8 * 2 ** 20, each: 8 };
/** Matches an integer key of which an object may have many places, or a digit that is escaped. */
export const KEY: RegExp = /"\d{2,3}"\s*:|\\u003\d/g;
/** The length of such a key whose digits are escaped. */
const LONGEST_KEY = 18;

/**
 * Refuses a JSON text whose objects would have far more places than values.
 *
 * @throws {RangeError} when they take more than 64 MiB, and 64 bytes for each character
 */
export function limitPlaces(text: string): void {
  if (!AFFECTED || text.length <= NOT_REFUSED || !sampled(text)) return;
  const most = Math.max(MAX.any, MAX.each * text.length);
  if (hasKeys(text, most / SPARSE) && placesOf(text) > most) {
    throw new RangeError("its objects have integer keys that take too much memory");
  }
}

function sampled(text: string): boolean {
  for (let from = 0; from < text.length; from += PART) {
    const start = from + Math.floor(Math.random() * (PART - WINDOW));
    if (text.slice(start, start + WINDOW).search(KEY) >= 0) return true;
  }
  return false;
}

/** Returns whether a text has more than this number of such keys. */
function hasKeys(text: string, least: number): boolean {
  const key = new RegExp(KEY);
  let count = 0;
  while (count <= least && key.test(text)) count++;
  return count > least;
}

/** Returns the number of places of all objects in a text, or in a part of one: for each, the largest of its integer keys for which the engine has a place. */
export function placesOf(text: string): number {
  const open: number[] = [];
  let places = 0;
  const mark = /[{}"]/g;
  for (let found = mark.exec(text); found; found = mark.exec(text)) {
    const from = found.index + 1;
    if (found[0] === "{") open.push(0);
    else if (found[0] === "}") places += open.pop() ?? 0;
    else {
      const to = endOf(text, from);
      if (to < 0) break;
      mark.lastIndex = to + 1;
      if (to - from > LONGEST_KEY || open.length === 0) continue;
      const key = keyOf(text.slice(from - 1, to + 1));
      const value = /\s*:/y;
      value.lastIndex = to + 1;
      if (key < SPARSE && key > open.at(-1)! && value.test(text)) open[open.length - 1] = key;
    }
  }
  return places;
}

/** Returns the index of the quote that ends a string. */
function endOf(text: string, from: number): number {
  for (let to = text.indexOf('"', from); to >= 0; to = text.indexOf('"', to + 1)) {
    let first = to;
    while (text[first - 1] === "\\") first--;
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
