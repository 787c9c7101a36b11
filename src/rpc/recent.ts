/**
 * What is believed for a while.
 *
 * @module
 */

/** Values that are remembered; the oldest are forgotten first. */
const LIMIT = 10_000;

/** Values by name, each of which expires. */
export class Recent<V> {
  readonly #life: number;
  /** Oldest first. */
  #values = new Map<string, { readonly value: V; readonly until: number }>();

  /** `life`: milliseconds for which a value is believed. */
  constructor(life: number) {
    this.#life = life;
  }

  /** The value of this name, unless it has expired. */
  get(name: string): V | undefined {
    const found = this.#values.get(name);
    if (found && performance.now() < found.until) return found.value;
    this.#values.delete(name);
    return undefined;
  }

  /** Remembers a value, as of `since` milliseconds of `performance.now()`. */
  set(name: string, value: V, since: number = performance.now()): void {
    this.#values.delete(name);
    this.#values.set(name, { value, until: since + this.#life });
    if (this.#values.size > LIMIT) this.#values.delete(this.#values.keys().next().value!);
  }

  /** Forgets a value. */
  delete(name: string): void {
    this.#values.delete(name);
  }
}
