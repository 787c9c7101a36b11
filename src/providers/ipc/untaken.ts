/**
 * The class `Untaken`: the items of a queue that could not be taken, for example because another user's directory has the name of one.
 *
 * @module
 */
import { TextMap } from "../../internal/text_map.ts";

/** Milliseconds for which an item is left alone: at first, and at most. Each time it is twice as long. */
const ALONE = { first: 10, most: 10_000 };

/** The items that are left alone for a while. Times are those of the clock that starts at boot. */
export class Untaken {
  #items = new TextMap<{ readonly ms: number; readonly until: number }>();

  /** Leaves an item alone that could not be taken at the time `now`. */
  add(name: string, now: number): void {
    const ms = Math.min(2 * (this.#items.get(name)?.ms ?? ALONE.first / 2), ALONE.most);
    this.#items.set(name, { ms, until: now + ms });
  }

  /** Returns the time until which an item is left alone: 0 for one that may be taken at any time. */
  until(name: string): number {
    return this.#items.size === 0 ? 0 : this.#items.get(name)?.until ?? 0;
  }

  /** Forgets all items except these. */
  keep(names: readonly string[]): void {
    if (this.#items.size === 0) return;
    const before = this.#items;
    this.#items = new TextMap();
    for (const name of names) {
      const item = before.get(name);
      if (item) this.#items.set(name, item);
    }
  }
}
