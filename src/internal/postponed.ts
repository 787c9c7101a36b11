/**
 * The class `Postponed`: names that others chose, and that are tried again later: less and less often, because there may be any number.
 *
 * @module
 */
import { LimitedTextMap } from "./caches.ts";

/** Names that are left alone for a while. The caller chooses the clock, in milliseconds. */
export class Postponed {
  readonly #first: number;
  readonly #most: number;
  readonly #limit: number;
  #names: LimitedTextMap<{ readonly ms: number; readonly until: number }>;

  /** A name is left alone for `first` milliseconds, then twice as long each time, up to `most`. At most `limit` names are remembered. */
  constructor(first: number, most: number, limit = Infinity) {
    this.#first = first;
    this.#most = most;
    this.#limit = limit;
    this.#names = new LimitedTextMap(limit);
  }

  /** Leaves a name alone that failed at the time `now`. */
  add(name: string, now: number): void {
    const ms = Math.min(2 * (this.#names.get(name)?.ms ?? this.#first / 2), this.#most);
    this.#names.set(name, { ms, until: now + ms });
  }

  /** Returns the time until which a name is left alone: `-Infinity` for one that may be tried at any time. */
  until(name: string): number {
    return this.#names.get(name)?.until ?? -Infinity;
  }

  /** Forgets a name that has not failed. */
  delete(name: string): void {
    this.#names.delete(name);
  }

  /** Forgets all names except these. */
  keep(names: readonly string[]): void {
    if (this.#names.size === 0) return;
    const before = this.#names;
    this.#names = new LimitedTextMap(this.#limit);
    for (const name of names) {
      const known = before.get(name);
      if (known) this.#names.set(name, known);
    }
  }
}
