/**
 * Sets and maps from the wire. The engines' hash functions for numbers are public, so a hostile peer can choose numbers that all collide:
 * then each insertion takes as long as the collection is large. Such a collection is refused before that takes long.
 *
 * @module
 */
import { ValidationError } from "../errors.ts";

/** The size from which collections are watched. In smaller ones, colliding values take less than ten times as long as others. */
const WATCHED = 500;
/** The number of insertions that are measured together. */
const SLICE = 256;
/** Milliseconds that the insertions of one body may take before they are examined: a fixed part, and a part for each value. */
const FREE = 20;
const EACH = 0.001;
/** A collection is refused if its values take at least this multiple of the time for random numbers. */
const MAX_RATIO = 10;
/**
 * The number of insertions in a part, which are timed together. Of the `LATEST` parts, only the fastest one counts, because a pause makes
 * others slow.
 */
const PART = 64;
const LATEST = 8;

/** Creates the sets and maps of bodies, one body at a time. */
export class Collections {
  /** The milliseconds that the watched insertions of the current body have taken. `#inserted` is their number. */
  #spent = 0;
  #inserted = 0;
  /** The factor of the limit. It grows with each slow collection whose values do not collide, as on a busy machine. */
  #patience = 1;

  /** Starts a new body, with new limits. */
  begin(): void {
    this.#spent = this.#inserted = 0;
    this.#patience = 1;
  }

  /** Creates a set. */
  set(values: readonly unknown[]): Set<unknown> {
    if (values.length < WATCHED) return new Set(values);
    const set = new Set();
    this.#insert(values, (i) => set.add(values[i]));
    return set;
  }

  /** Creates a map. */
  map(pairs: readonly (readonly [unknown, unknown])[]): Map<unknown, unknown> {
    if (pairs.length < WATCHED) return new Map(pairs);
    const keys = pairs.map(([key]) => key);
    const map = new Map();
    this.#insert(keys, (i) => map.set(keys[i], pairs[i]![1]));
    return map;
  }

  #insert(keys: readonly unknown[], insert: (i: number) => void): void {
    for (let from = 0; from < keys.length; from += SLICE) {
      const end = Math.min(from + SLICE, keys.length);
      this.#spent += time(from, end, insert);
      this.#inserted += end - from;
      if (this.#spent <= this.#patience * (FREE + EACH * this.#inserted)) continue;
      if (collide(keys.slice(0, end))) {
        throw new ValidationError(
          "Cannot read a body: the hashes of the values of a set or a map collide, so reading it would take too long",
        );
      }
      this.#patience *= 2;
    }
  }
}

/**
 * Returns whether it takes much longer to insert these keys than random numbers. It inserts parts of both alternately, so that both run
 * under the same conditions.
 */
function collide(keys: readonly unknown[]): boolean {
  const shuffled = shuffle(keys); // otherwise a peer could choose which insertions take long
  const random = keys.map(() => Math.random());
  const [set, other] = [new Set(), new Set()];
  const own: number[] = [];
  const others: number[] = [];
  for (let from = 0; from + PART <= keys.length; from += PART) {
    own.push(time(from, from + PART, (i) => set.add(shuffled[i])));
    others.push(time(from, from + PART, (i) => other.add(random[i])));
    if (own.length < LATEST) continue;
    if (Math.min(...own.slice(-LATEST)) > MAX_RATIO * Math.min(...others.slice(-LATEST))) return true;
  }
  return false;
}

/** Returns the milliseconds that the insertions with the indexes from `from` to `end` take. */
function time(from: number, end: number, insert: (i: number) => void): number {
  const since = performance.now();
  for (let i = from; i < end; i++) insert(i);
  return performance.now() - since;
}

function shuffle(values: readonly unknown[]): unknown[] {
  const shuffled = [...values];
  for (let i = shuffled.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [shuffled[i], shuffled[j]] = [shuffled[j], shuffled[i]];
  }
  return shuffled;
}
