/**
 * The items that were given back to their queues, cached for one half of a bus. `leases.ts` describes their files.
 *
 * @module
 */
import type { WeighedTextMap } from "../../internal/caches.ts";
import type { Postponed } from "../../internal/postponed.ts";
import { TextMap } from "../../internal/text_map.ts";
import { Errno } from "./errno.ts";
import { parseItem, pathOf, queueDirectory, untaken } from "./items.ts";
import { Listing } from "./listing.ts";
import type { Namespace } from "./namespace.ts";

/** A modification time above this value is from the wall clock. */
export const WALL = 1.5e12;
/** The largest number of items whose times are read at once. The next access continues with the others. */
const PART = 256;

/** The cached state of the files of one queue. */
interface QueueState {
  readonly listing: Listing;
  names: readonly string[];
  /** The times when the items are due, by their names. */
  due: TextMap<number>;
  /** The names of the items whose times are not read yet. */
  unread: string[];
  /** The items that could not be taken. */
  readonly untaken: Postponed;
}

/** The returned items of the queues of one namespace. */
export class ReturnedItems {
  #namespace: Namespace;
  #states: WeighedTextMap<QueueState>;

  /** Creates the returned items of a namespace's queues. */
  constructor(namespace: Namespace) {
    this.#namespace = namespace;
    this.#states = namespace.directories.listings.map(({ names }) => names.length);
  }

  /** Returns the names of the items that are due, in the order in which they are taken. */
  due(queue: string): string[] {
    const { due, untaken } = this.#read(queue);
    const now = this.#namespace.posix.now();
    const names: string[] = [];
    for (const [name, time] of due) if (time <= now && untaken.until(name) <= now) names.push(name);
    return names.sort();
  }

  /** Returns the number of items that are due at the time `now`, and the number of the others. */
  counts(queue: string, now: number): { readonly due: number; readonly delayed: number } {
    const times = [...this.#read(queue).due.values()];
    const due = times.filter((time) => time <= now).length;
    return { due, delayed: times.length - due };
  }

  /** Returns the names of the files. */
  files(queue: string): readonly string[] {
    return this.#read(queue).names;
  }

  /** Returns whether the queue had returned items at the last check. */
  any(queue: string): boolean {
    return (this.#states.get(queue)?.names.length ?? 0) > 0;
  }

  /** Hides an item for a while, because it cannot be taken now. */
  postpone(queue: string, name: string): void {
    this.#states.get(queue)?.untaken.add(name, this.#namespace.posix.now());
  }

  /** Forgets a queue that was removed. */
  forget(queue: string): void {
    this.#states.delete(queue);
  }

  #read(queue: string): QueueState {
    const { directories } = this.#namespace;
    const state: QueueState = this.#states.get(queue) ?? {
      listing: new Listing(directories, `${queueDirectory(queue)}/back`),
      names: [],
      due: new TextMap(),
      unread: [],
      untaken: untaken(),
    };
    const names = state.listing.names();
    if (names !== state.names) {
      const before = state.due;
      state.names = names;
      this.#states.set(queue, state);
      state.untaken.keep(names);
      state.due = new TextMap();
      state.unread = [];
      for (const name of names.filter(parseItem)) {
        const known = before.get(name);
        if (known === undefined) state.unread.push(name);
        else state.due.set(name, known);
      }
    }
    for (const name of state.unread.splice(-PART)) {
      const stat = directories.stat(pathOf(queue, `back/${name}`));
      if (typeof stat === "object") state.due.set(name, stat.modified > WALL ? 0 : stat.modified);
      else if (stat !== -Errno.ENOENT) state.unread.unshift(name); // no descriptor was left: read it again
    }
    return state;
  }
}
