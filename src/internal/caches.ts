/**
 * Maps of a limited size, for values that can be read or computed again. Their keys are copies: a key may be a part of a large text.
 *
 * @module
 */
import { TextMap } from "./text_map.ts";
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
