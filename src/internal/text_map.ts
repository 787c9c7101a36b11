/**
 * Maps for keys that others choose, and for entries that come and go. They have two properties that a `Map` lacks:
 *
 * - The hashes of strings are known on both runtimes (Bun has no seed, Deno's is a constant of its program), so a peer can choose any
 *   number of names with one hash, and each access to a `Map` of 10,000 of them takes milliseconds.
 * - In V8, the table that a `Map` or a `Set` has outgrown or cleared refers to its successor. Once a table is in the old generation, so are all
 *   later ones, with all their values. With 64 calls at once, the collector took 4.2 µs for each call because of that, and takes 0.6 µs now.
 *
 * @module
 */

/** The smallest number of buckets, a power of two. */
const SMALLEST = 8;
/** The largest number of buckets: the highest 16 of the hash's 32 bits are random for all keys, because a character has 17 (with the one that is added). */
const LARGEST = 2 ** 16;
/** The number of characters of a part of a key. Most keys are one part: the address of an inbox and a binding have at most as many. */
const PART = 4_096;

/** A random factor for each position in a part. Two keys of one part are in the same of 65,536 buckets with a probability of 1 in 65,536, whatever they are. */
const FACTORS = crypto.getRandomValues(new Int32Array(PART));
/**
 * A random factor for each further part of the longest key so far. The factor of a position is the product of both. All of these are odd, so
 * keys that differ in one further part collide as rarely as short ones. Those that differ in several parts collide if the sum of their
 * differences at one position, each times its part's factor, is a multiple of a high power of 2, which nobody can choose without these
 * factors. With powers of one factor, one could: (x² - 1)(x⁴ - 1)(x⁸ - 1) … is such a multiple for every odd x.
 */
const PARTS: number[] = [];

/** Returns the hash of a number: successive ones are far apart (2³² divided by the golden ratio, as in Knuth's multiplicative hashing). */
function hashOfNumber(key: number): number {
  return Math.imul(key, 0x9e3779b1);
}

/** Returns the hash of a text, whose highest bits are to be used. */
function hashOfText(key: string): number {
  let hash = hashOfPart(key, 0, Math.min(key.length, PART));
  for (let part = 0, at = PART; at < key.length; part++, at += PART) {
    const factor = PARTS[part] ??= crypto.getRandomValues(new Int32Array(1))[0]! | 1;
    hash = (hash + Math.imul(factor, hashOfPart(key, at, Math.min(key.length - at, PART)))) | 0;
  }
  return hash;
}

function hashOfPart(key: string, at: number, length: number): number {
  let hash = 0;
  for (let i = 0; i < length; i++) hash = (hash + Math.imul(FACTORS[i]!, key.charCodeAt(at + i) + 1)) | 0;
  return hash;
}

interface Entry<K, V> {
  readonly key: K;
  readonly hash: number;
  value: V;
  /** The next entry of the bucket. */
  next: Entry<K, V> | undefined;
  /** The entries that were added before and after this one. */
  earlier: Entry<K, V> | undefined;
  later: Entry<K, V> | undefined;
}

/** The place of a loop over a map. */
interface Cursor<K, V> {
  next: Entry<K, V> | undefined;
}

/** A map in the order in which the keys were added. A loop over it may add and remove any keys, as with a `Map`. */
class HashMap<K, V> implements Iterable<[K, V]> {
  #hashOf: (key: K) => number;
  /** Created with the first key: a call has several maps that stay empty. */
  #buckets: (Entry<K, V> | undefined)[] | undefined;
  #shift = shiftFor(SMALLEST);
  #first: Entry<K, V> | undefined;
  #last: Entry<K, V> | undefined;
  #size = 0;
  /** The loops that are running. */
  #cursors: Cursor<K, V>[] = [];

  constructor(hashOf: (key: K) => number, entries: Iterable<readonly [K, V]> = []) {
    this.#hashOf = hashOf;
    for (const [key, value] of entries) this.set(key, value);
  }

  /** The number of keys. */
  get size(): number {
    return this.#size;
  }

  /** The key that was added first. */
  get oldest(): K | undefined {
    return this.#first?.key;
  }

  /** Returns whether there is such a key. */
  has(key: K): boolean {
    return this.#size > 0 && this.#find(key, this.#hashOf(key)) !== undefined;
  }

  /** Returns the value of a key. */
  get(key: K): V | undefined {
    return this.#size > 0 ? this.#find(key, this.#hashOf(key))?.value : undefined;
  }

  /** Sets the value of a key. A new key is the last one. */
  set(key: K, value: V): this {
    const hash = this.#hashOf(key);
    const found = this.#find(key, hash);
    if (found) {
      found.value = value;
      return this;
    }
    let buckets = this.#buckets ??= new Array(SMALLEST).fill(undefined);
    if (this.#size >= buckets.length && this.#size < LARGEST) buckets = this.#resize(buckets.length * 2);
    const bucket = hash >>> this.#shift;
    const entry = { key, hash, value, next: buckets[bucket], earlier: this.#last, later: undefined };
    buckets[bucket] = entry;
    if (this.#last) this.#last.later = entry;
    else this.#first = entry;
    this.#last = entry;
    this.#size++;
    for (const cursor of this.#cursors) cursor.next ??= entry;
    return this;
  }

  /** Removes a key. Returns whether there was one. */
  delete(key: K): boolean {
    if (this.#size === 0) return false;
    const buckets = this.#buckets!;
    const hash = this.#hashOf(key);
    const bucket = hash >>> this.#shift;
    let before: Entry<K, V> | undefined;
    for (let entry = buckets[bucket]; entry; before = entry, entry = entry.next) {
      if (entry.hash !== hash || entry.key !== key) continue;
      if (before) before.next = entry.next;
      else buckets[bucket] = entry.next;
      if (entry.earlier) entry.earlier.later = entry.later;
      else this.#first = entry.later;
      if (entry.later) entry.later.earlier = entry.earlier;
      else this.#last = entry.earlier;
      for (const cursor of this.#cursors) if (cursor.next === entry) cursor.next = entry.later;
      // a removed entry refers to no other one: in V8, it may be in the old generation
      entry.next = entry.earlier = entry.later = undefined;
      this.#size--;
      return true;
    }
    return false;
  }

  /** Removes all keys. */
  clear(): void {
    for (let entry = this.#first; entry;) {
      const { later } = entry;
      entry.next = entry.earlier = entry.later = undefined; // see delete
      entry = later;
    }
    this.#first = this.#last = undefined;
    if (this.#size > 0) this.#buckets!.fill(undefined);
    this.#size = 0;
    for (const cursor of this.#cursors) cursor.next = undefined;
  }

  /** Yields the keys. */
  *keys(): Generator<K, undefined> {
    for (const [key] of this) yield key;
  }

  /** Yields the values. */
  *values(): Generator<V, undefined> {
    for (const [, value] of this) yield value;
  }

  /** Yields the keys with their values. */
  *[Symbol.iterator](): Generator<[K, V], undefined> {
    const cursor = { next: this.#first };
    this.#cursors.push(cursor);
    try {
      for (let entry; (entry = cursor.next);) {
        cursor.next = entry.later;
        yield [entry.key, entry.value];
      }
    } finally {
      this.#cursors.splice(this.#cursors.indexOf(cursor), 1);
    }
  }

  #find(key: K, hash: number): Entry<K, V> | undefined {
    let entry = this.#buckets?.[hash >>> this.#shift];
    while (entry && (entry.hash !== hash || entry.key !== key)) entry = entry.next;
    return entry;
  }

  #resize(size: number): (Entry<K, V> | undefined)[] {
    const buckets = new Array<Entry<K, V> | undefined>(size).fill(undefined);
    this.#shift = shiftFor(size);
    for (let entry = this.#first; entry; entry = entry.later) {
      const bucket = entry.hash >>> this.#shift;
      entry.next = buckets[bucket];
      buckets[bucket] = entry;
    }
    return this.#buckets = buckets;
  }
}

/** A map from strings. */
export class TextMap<V> extends HashMap<string, V> {
  /** Creates a map of these entries. */
  constructor(entries?: Iterable<readonly [string, V]>) {
    super(hashOfText, entries);
  }
}

/** A map from integers that this process counts. */
export class NumberMap<V> extends HashMap<number, V> {
  /** Creates an empty map. */
  constructor() {
    super(hashOfNumber);
  }
}

/** Returns a map whose keys are these texts. */
export function textSet(texts: Iterable<string>): TextMap<true> {
  const set = new TextMap<true>();
  for (const text of texts) set.set(text, true);
  return set;
}

/** Returns the number of bits by which a hash is shifted to get the number of its bucket. */
function shiftFor(buckets: number): number {
  return 32 - Math.log2(buckets);
}
