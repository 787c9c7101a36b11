/** The largest number of entries. The oldest are removed first. */
const MAX_ENTRIES = 10_000;

/** A map whose entries expire. */
export class ExpiringMap<V> {
  readonly #ttl: number;
  /** Oldest first. */
  #entries = new Map<string, { readonly value: V; readonly expires: number }>();

  /** Creates an empty map. Its entries expire after `ttl` milliseconds. */
  constructor(ttl: number) {
    this.#ttl = ttl;
  }

  /** Returns the value of this name, unless it has expired. */
  get(name: string): V | undefined {
    const entry = this.#entries.get(name);
    if (entry && performance.now() < entry.expires) return entry.value;
    this.#entries.delete(name);
    return undefined;
  }

  /** Sets a value. Its time begins at `since`, in milliseconds of `performance.now()`. */
  set(name: string, value: V, since: number = performance.now()): void {
    this.#entries.delete(name);
    this.#entries.set(name, { value, expires: since + this.#ttl });
    if (this.#entries.size > MAX_ENTRIES) this.#entries.delete(this.#entries.keys().next().value!);
  }

  /** Removes a value. */
  delete(name: string): void {
    this.#entries.delete(name);
  }
}
