/**
 * Maps of a limited size, for values that can be read or computed again. Their keys are copies: a key may be a part of a large text.
 *
 * @module
 */
import { NumberMap, TextMap } from "./text_map.ts";
import { ownText } from "./utf8.ts";

/** A map that removes its oldest entries beyond a limit. An entry that is set again counts as new. */
export class LimitedMap<V> extends Map<string, V> {
  readonly #limit: number;

  /** Creates an empty map of at most `limit` entries. */
  constructor(limit: number) {
    super();
    this.#limit = limit;
  }

  /** Sets a value. */
  override set(key: string, value: V): this {
    this.delete(key);
    super.set(ownText(key), value);
    if (this.size > this.#limit) this.delete(this.keys().next().value!);
    return this;
  }
}

/** A limited map for keys that others choose. */
export class LimitedTextMap<V> extends TextMap<V> {
  readonly #limit: number;

  /** Creates an empty map of at most `limit` entries. */
  constructor(limit: number) {
    super();
    this.#limit = limit;
  }

  /** Sets a value. */
  override set(key: string, value: V): this {
    this.delete(key);
    super.set(ownText(key), value);
    if (this.size > this.#limit) this.delete(this.oldest!);
    return this;
  }
}

/**
 * The largest weight that the entries of several maps have together, for values whose sizes others choose. Beyond it, the oldest entries are
 * removed. An entry that alone is heavier is kept beside the others, so that it is not read for each use, but only the newest of such entries.
 */
export class Budget {
  readonly #limit: number;
  readonly #entries = new NumberMap<{ readonly weight: number; readonly drop: () => void }>();
  #weight = 0;
  #count = 0;
  #heavy = -1;

  /** Creates a budget that nothing uses yet. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Counts an entry that `drop` removes from its map. Returns its number, for {@linkcode remove}. */
  add(weight: number, drop: () => void): number {
    const id = this.#count++;
    const heavy = weight > this.#limit;
    if (heavy) {
      this.#entries.get(this.#heavy)?.drop();
      this.#heavy = id;
    }
    const counted = heavy ? 0 : weight;
    this.#entries.set(id, { weight: counted, drop });
    this.#weight += counted;
    for (const [oldest, { drop }] of this.#entries) {
      if (this.#weight <= this.#limit) break;
      if (oldest !== this.#heavy) drop();
    }
    return id;
  }

  /** Counts an entry no longer. */
  remove(id: number): void {
    this.#weight -= this.#entries.get(id)!.weight;
    this.#entries.delete(id);
  }
}

/** A map for keys that others choose, whose entries have a part of a budget. */
export class WeighedTextMap<V> {
  readonly #budget: Budget;
  readonly #weigh: (value: V, key: string) => number;
  readonly #entries = new TextMap<{ readonly value: V; readonly id: number }>();

  /** Creates an empty map. An entry is weighed when it is set. */
  constructor(budget: Budget, weigh: (value: V, key: string) => number) {
    this.#budget = budget;
    this.#weigh = weigh;
  }

  /** Returns the value of this key. */
  get(key: string): V | undefined {
    return this.#entries.get(key)?.value;
  }

  /** Sets a value, and weighs it. It is then the newest one. */
  set(key: string, value: V): void {
    this.delete(key);
    const own = ownText(key);
    const id = this.#budget.add(this.#weigh(value, own), () => this.delete(own));
    this.#entries.set(own, { value, id });
  }

  /** Removes a value. */
  delete(key: string): void {
    const entry = this.#entries.get(key);
    if (!entry) return;
    this.#entries.delete(key);
    this.#budget.remove(entry.id);
  }

  /** Removes all values. */
  clear(): void {
    for (const [key] of this.#entries) this.delete(key);
  }
}

/** A map whose entries expire, for keys that others choose: on Deno, even a search in a `Map` may add the key to the engine's table. */
export class ExpiringMap<V> {
  readonly #ttl: number;
  readonly #entries: LimitedTextMap<{ readonly value: V; readonly expires: number }>;

  /** Creates an empty map. Its entries expire after `ttl` milliseconds. */
  constructor(ttl: number, limit = 10_000) {
    this.#ttl = ttl;
    this.#entries = new LimitedTextMap(limit);
  }

  /** Returns the value of this key, unless it has expired. */
  get(key: string): V | undefined {
    const entry = this.#entries.get(key);
    if (entry && performance.now() < entry.expires) return entry.value;
    this.#entries.delete(key);
    return undefined;
  }

  /** Sets a value. Its time begins at `since`, in milliseconds of `performance.now()`. */
  set(key: string, value: V, since: number = performance.now()): void {
    this.#entries.set(key, { value, expires: since + this.#ttl });
  }

  /** Removes a value. */
  delete(key: string): void {
    this.#entries.delete(key);
  }
}
