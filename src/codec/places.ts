/**
 * A limit for the memory of objects with integer keys. Bun's engine gives an object with the one key 999 a list of 1,000 places, and one with
 * thirteen chosen keys a list of 130,000, so that a message of a few hundred kB would use up the memory of the process. V8 chooses a hash table.
 *
 * @module
 */
import { sample } from "./sample.ts";

/** The engines that do so. */
const AFFECTED = "Bun" in globalThis;
/** One window of this size is searched in each part of this size for keys of two or three digits. */
const [WINDOW, PART] = [8_192, 65_536];
/** The smallest key that can make a hash table. V8 compares its size with that of the list; Bun's engine makes one if the key is beyond the list. */
const SPARSE = AFFECTED ? 1_000 : 36;
/** The smallest key that makes a hash table of any list without many values. */
const LARGE = 100_000;
/** A list that has to grow for a further key gets this number of places for each that it needs. */
const GROWTH = AFFECTED ? 1.5 : 1;
/** A list of fewer places than `FULL` may get up to this number for each, but not more than `FULL`. Any list may have `MARGIN` more or fewer. */
const [ROUNDING, FULL, MARGIN] = AFFECTED ? [1.5, 1_003, 6] : [1, 0, 0];
/** The largest number of ranges that are kept apart for one object. */
const MOST_RANGES = 32;
/** The largest number of places: `any` in each text, and `each` for each of its characters. A place has eight bytes. */
const MAX = { any: 8 * 2 ** 20, each: 8 };
/** Keys of two or three digits give a text at most this number of places for each character. */
const MOST_EACH = 128;
/** Matches an integer key of which an object may have many places, or a digit that is escaped. */
export const KEY: RegExp = AFFECTED ? /"\d{2,3}"\s*:|\\u003\d/ : /"[1-3]\d"\s*:|\\u003[1-3]/;
/** A body of fewer characters has at most `MAX.any` places: no chosen keys are known that give more than 1,081 for each character. */
const SHORT = 7_600;
/** It matches a key that may make a long list longer. */
const LONG_KEY = /"\d{4,5}"\s*:/;
/** They match the end of such a key, or an escaped digit. Bun searches for both in up to a quarter of the time that it takes to parse the text. */
const [LONG_END, ESCAPED] = [/\d{4}"[\s:]/, /\\u003\d/];
/** The length of such a key whose digits are escaped. */
const LONGEST_KEY = 30;

/** The fewest and the most places that the list of an object may have. */
type Range = readonly [fewest: number, most: number];

/** The list of an open object. Which of the `ranges` holds is not known; the first one is that of the keys below {@linkcode SPARSE}. */
interface List {
  used: boolean;
  ranges: Range[];
}

/**
 * Refuses a JSON text whose objects would have far more places than values.
 *
 * @throws {RangeError} when they take more than 64 MiB, and 64 bytes for each character
 */
export function limitPlaces(text: string): void {
  if (!AFFECTED || text.length < SHORT) return;
  if (!hasLongKey(text) && !(text.length > MAX.any / MOST_EACH && sampled(text))) return;
  if (placesOf(text) > Math.max(MAX.any, MAX.each * text.length)) {
    throw new RangeError("its objects have integer keys that take too much memory");
  }
}

/** Returns whether a JSON text has a key of four or five digits, or may have one, on an engine that can make a list of many places for it. */
export function hasLongKey(text: string): boolean {
  return AFFECTED && ((LONG_END.test(text) && LONG_KEY.test(text)) || ESCAPED.test(text));
}

/** Returns about how many places the objects in a JSON text have that are not in proportion to it. On V8 it has no such objects. */
export function excessPlaces(text: string): number {
  return AFFECTED && KEY.test(text) ? placesOf(text) : 0;
}

function sampled(text: string): boolean {
  const parts = Math.ceil(text.length / PART);
  for (let part = 0; part < parts; part++) if (sample(text, WINDOW, part, parts).search(KEY) >= 0) return true;
  return false;
}

/** Returns about how many places all objects in a JSON text have, at most. */
export function placesOf(text: string): number {
  const open: (List | undefined)[] = [];
  const colon = /\s*:/y;
  let places = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === 0x7b) open.push(undefined); // {
    else if (code === 0x7d) { // }
      const closed = open.pop();
      if (closed) places += mostOf(closed.ranges);
    } else if (code === 0x22) { // "
      const from = at + 1;
      at = endOf(text, from);
      if (at < 0) break;
      const first = text.charCodeAt(from);
      if (open.length === 0 || at - from > LONGEST_KEY) continue;
      if (first !== 0x5c && !(first >= 0x30 && first <= 0x39)) continue;
      const key = keyOf(text.slice(from - 1, at + 1));
      colon.lastIndex = at + 1;
      if (!Number.isInteger(key) || !colon.test(text)) continue;
      add(open[open.length - 1] ??= { used: false, ranges: [[0, 0]] }, key);
    }
  }
  return places;
}

/** Adds a key to an object, as the engine does. */
function add(list: List, key: number): void {
  const { ranges } = list;
  if (key < SPARSE) {
    const needed = key + 1;
    if (needed > ranges[0]![0]) ranges[0] = [needed, mostFor(list.used ? GROWTH * needed : needed)];
    list.used = true;
    return;
  }
  if (!AFFECTED || key >= LARGE) return;
  let grows = false;
  for (let i = 0; i < ranges.length; i++) {
    const [fewest, most] = ranges[i]!;
    if (key < fewest || key > most) continue; // inside the list, or it becomes a hash table
    grows = true;
    ranges[i] = [key + 1, Math.max(most, key + 1)];
  }
  if (grows) include(ranges, GROWTH * (key + 1));
}

/** Returns the most places that the engine gives to a list for this number of them. */
function mostFor(places: number): number {
  return Math.max(places, Math.min(ROUNDING * places, FULL)) + MARGIN;
}

/** Adds a range around this number of places. */
function include(ranges: Range[], places: number): void {
  const [fewest, most] = [places - MARGIN, places + MARGIN];
  const at = ranges.findIndex((range, i) => i > 0 && range[0] <= most && fewest <= range[1]);
  if (at > 0) ranges[at] = [Math.min(fewest, ranges[at]![0]), Math.max(most, ranges[at]![1])];
  else if (ranges.push([fewest, most]) > MOST_RANGES) {
    ranges.splice(0, Infinity, [Math.min(...ranges.map(([fewest]) => fewest)), mostOf(ranges)]);
  }
}

function mostOf(ranges: readonly Range[]): number {
  let largest = 0;
  for (const [, most] of ranges) if (most > largest) largest = most;
  return largest;
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
