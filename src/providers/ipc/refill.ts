/**
 * Fills the kernel's queues again from their overflow, in order, for PyMQ's processes, which cannot read files. One bus of the namespace
 * does it at a time.
 *
 * @module
 */
import { Errno } from "./errno.ts";
import { parseItem } from "./items.ts";
import type { Listing } from "./listing.ts";
import type { Moves } from "./moves.ts";
import type { OpenQueue } from "./mqueues.ts";
import type { Namespace } from "./namespace.ts";

/** Milliseconds between two passes while a queue has overflow. */
const INTERVAL = 200;
/** Milliseconds after a pass within which another bus need not do one. */
const FRESH = 150;
/** Milliseconds for which a bus looks for overflow after it has seen some. */
const ACTIVE = 1_000;
/** The directory of all queues. Its access time is that of the last pass, by the clock that starts at boot. */
const QUEUES = "queues";

/** Fills kernel queues for one bus. */
export class Refill {
  #namespace: Namespace;
  #moves: Moves;
  #key: () => string;
  #queues: Listing;
  /** The time until which this bus looks for overflow, by `performance.now()`. */
  #activeUntil = 0;

  /** Creates the refill of a bus. `key` returns a key for an item that is taken now. */
  constructor(namespace: Namespace, moves: Moves, key: () => string) {
    this.#namespace = namespace;
    this.#moves = moves;
    this.#key = key;
    this.#queues = namespace.directories.listing(QUEUES);
  }

  /** Moves items into all kernel queues that have room. Returns the milliseconds until the next pass: Infinity without overflow. */
  pass(): number {
    const { directories, overflow, posix } = this.#namespace;
    const next = INTERVAL - performance.now() % INTERVAL;
    const stat = directories.stat(QUEUES);
    if (typeof stat === "number") return Infinity;
    const since = posix.now() - stat.read;
    if (since >= 0 && since < FRESH) return next; // another bus has just done it
    const overflowing = this.#queues.names().map((name) => `/${name}`).filter((queue) => overflow.any(queue));
    const now = performance.now();
    if (overflowing.length > 0) this.#activeUntil = now + ACTIVE;
    else return now < this.#activeUntil ? next : Infinity;
    const lock = directories.openDirectory(QUEUES);
    if (lock < 0) return next;
    try {
      if (posix.lock(lock) < 0) return next;
      directories.setRead(QUEUES, posix.now());
      for (const queue of overflowing) this.#fill(queue);
    } finally {
      posix.close(lock);
    }
    return next;
  }

  #fill(queue: string): void {
    const { overflow, posix, queues } = this.#namespace;
    let open: OpenQueue | undefined;
    try {
      open = queues.use(queue);
    } catch {
      return; // it is another user's
    }
    if (!open) return;
    queues.hold(open);
    try {
      const { current = 0, messages = 0 } = posix.attributes(open.descriptor) ?? {};
      for (let room = messages - current; room > 0;) {
        const oldest = overflow.oldest(queue);
        if (!oldest) return;
        const item = { ...parseItem(oldest.name)!, key: this.#key() };
        const moved = this.#moves.move(queue, oldest.path, item, "end");
        if (moved === 0) room--;
        else if (moved !== -Errno.ENOENT) return;
        if (moved === 0) overflow.taken(queue);
        else overflow.refresh(queue);
      }
    } finally {
      queues.release(open);
      queues.closeIdle(open);
    }
  }
}
