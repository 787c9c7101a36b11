/**
 * Moves overflow, and items whose delay has passed, into the kernel's queues, in order, for PyMQ's processes, which cannot read files. One
 * bus of the namespace does it at a time.
 *
 * @module
 */
import { Errno } from "./errno.ts";
import { parseItem } from "./items.ts";
import { Listing } from "./listing.ts";
import type { Moves } from "./moves.ts";
import { DUE, type OpenQueue } from "./mqueues.ts";
import type { Namespace } from "./namespace.ts";

/** Milliseconds between two passes while a queue has overflow. */
const INTERVAL = 200;
/** Milliseconds after a pass within which another bus need not do one. */
const FRESH = 150;
/** Milliseconds for which a bus keeps checking for overflow after it has found overflow, or an item that is due within this time. */
const ACTIVE = 1_000;
/** Milliseconds between checks while there is nothing to move: a bus that has ended may have left overflow. */
const IDLE_INTERVAL = 2_000;
/**
 * The number of queues that one call of {@linkcode Refill.run} looks at at most, the milliseconds after which it looks at no further one, and
 * the milliseconds until the next call if some are left.
 */
const PART = { queues: 512, ms: 10, pause: 20 };
/** The directory of all queues. Its access time is that of the last pass, by the clock that starts at boot. */
const QUEUES = "queues";

/** Fills kernel queues for one bus. */
export class Refill {
  #namespace: Namespace;
  #moves: Moves;
  #key: () => string;
  #fault: (error: unknown) => void;
  #queues: Listing;
  /** The time until which this bus keeps checking for overflow, by `performance.now()`. */
  #activeUntil = 0;
  /** The names of the queues that are left in this pass: members of the group can create any number of directories. */
  #left: string[] = [];
  /** The milliseconds until the next item of the queues that were looked at in this pass is due. */
  #due = Infinity;

  /** Creates the refill of a bus. `key` returns a key for an item that is taken now; `fault` reports an error of {@linkcode run}. */
  constructor(namespace: Namespace, moves: Moves, key: () => string, fault: (error: unknown) => void) {
    this.#namespace = namespace;
    this.#moves = moves;
    this.#key = key;
    this.#fault = fault;
    this.#queues = new Listing(namespace.directories, QUEUES);
  }

  /** Moves items into all kernel queues that have room. Returns the milliseconds until the next call. */
  run(): number {
    let next = Infinity;
    try {
      next = this.#pass();
    } catch (error) {
      this.#fault(error);
    }
    return Math.min(next, IDLE_INTERVAL - performance.now() % IDLE_INTERVAL);
  }

  /** Makes a part of a pass. Returns the milliseconds until the next part or pass: Infinity if there is nothing to move. */
  #pass(): number {
    const { delayed, directories, names, overflow, posix } = this.#namespace;
    const next = INTERVAL - performance.now() % INTERVAL;
    const stat = directories.stat(QUEUES);
    if (typeof stat === "number") return Infinity;
    if (this.#left.length === 0) {
      const since = posix.now() - stat.read;
      if (since >= 0 && since < FRESH) return next; // another bus has just done it
      this.#left = this.#queues.names().filter((name) => names.ownsNamed(`/${name}`));
      this.#due = Infinity;
    }
    const now = performance.now();
    const full: string[] = [];
    for (let looked = 0; looked < PART.queues && performance.now() - now < PART.ms; looked++) {
      const name = this.#left.pop();
      if (name === undefined) break;
      const queue = `/${name}`;
      const wait = delayed.wait(queue);
      if (wait === 0 || overflow.any(queue)) full.push(queue);
      if (wait > 0) this.#due = Math.min(this.#due, wait);
    }
    // more items with short delays may be put without a message to this bus
    if (full.length > 0 || this.#due < ACTIVE) this.#activeUntil = now + ACTIVE;
    if (full.length > 0) this.#fillAll(full);
    if (this.#left.length > 0) return PART.pause;
    return Math.min(this.#due, now < this.#activeUntil ? next : Infinity);
  }

  /** Fills these queues, unless another bus fills some. */
  #fillAll(full: readonly string[]): void {
    const { directories, posix } = this.#namespace;
    const lock = directories.openDirectory(QUEUES);
    if (lock < 0) return;
    try {
      if (posix.lock(lock) < 0) return;
      directories.setTimes(QUEUES, (name, at) => posix.setRead(name, posix.now(), at));
      for (const queue of full) this.#fill(queue);
    } finally {
      posix.close(lock);
    }
  }

  #fill(queue: string): void {
    const { delayed, overflow, posix, queues } = this.#namespace;
    let open: OpenQueue | undefined;
    try {
      open = queues.use(queue);
    } catch {
      return; // it is another user's, or another namespace's
    }
    if (!open) return;
    queues.hold(open);
    try {
      const { current = 0, messages = 0 } = posix.attributes(open.descriptor) ?? {};
      let room = messages - current;
      for (const { path, name } of delayed.due(queue, room)) {
        const moved = this.#moves.move(queue, path, parseItem(name)!, DUE);
        if (moved !== 0) {
          if (moved === -Errno.EAGAIN) delayed.refresh(queue);
          else delayed.postpone(queue, name);
          if (moved !== -Errno.ENOENT) return;
          break;
        }
        delayed.taken(queue);
        room--;
      }
      let missing: string | undefined;
      while (room > 0) {
        const oldest = overflow.oldest(queue);
        if (!oldest || oldest.path === missing) return;
        const item = { ...parseItem(oldest.name)!, key: this.#key() };
        const moved = this.#moves.move(queue, oldest.path, item, 0);
        if (moved === 0) {
          overflow.taken(queue);
          room--;
          continue;
        }
        if (moved !== -Errno.ENOENT) return;
        missing = oldest.path; // another bus has just taken it, or it can never be moved
        overflow.refresh(queue);
      }
    } finally {
      queues.release(open);
      queues.closeIdle(open);
    }
  }
}
