/**
 * The kernel's queues as this thread holds them open: opened when they are used, closed when they are not.
 *
 * @module
 */
import { check, limitReached, notOwned, systemError } from "./errors.ts";
import { type Access, modes, trusted } from "./directories.ts";
import { Errno } from "./errno.ts";
import type { Posix } from "./posix.ts";

/** Messages and bytes of a queue. Both count towards RLIMIT_MSGQUEUE, with 96 bytes a message on top. */
export interface Size {
  readonly messages: number;
  readonly size: number;
}

/** Queues held open that nobody uses just now, at most. */
const IDLE_LIMIT = 64;
/** Milliseconds after which a queue that nobody uses is closed: one that was removed counts towards the limits until then. */
const IDLE = 250;

/** Messages that a named queue holds, PyMQ's too: what the sysctl fs.mqueue.msg_max allows unless it was changed. */
export const CAPACITY = 10;

/**
 * What named queues are made like: PyMQ's size if the limits allow it, else smaller ones, whose larger items go into files.
 */
export function itemSizes(messageSize: number): Size[] {
  return [messageSize, 1_024, 128].filter((size) => size <= messageSize).map((size) => ({ messages: CAPACITY, size }));
}

/** PyMQ's answers to one call come one by one, and are fetched at once: two fit. */
export const REPLIES: readonly Size[] = [{ messages: 2, size: 8_192 }, { messages: 1, size: 8_192 }];

/** An open queue. */
export interface OpenQueue {
  readonly name: string;
  /** Its descriptor. */
  readonly descriptor: number;
  /** The largest message that it takes. */
  readonly size: number;
  /** Those who use it now. */
  users: number;
  /** When it was used last, in milliseconds of `performance.now()`. */
  used: number;
}

/** See the module. */
export class MessageQueues {
  #posix: Posix;
  #access: Access;
  #open = new Map<string, OpenQueue>();
  #tidy: ReturnType<typeof setTimeout> | undefined;

  /** Queues that are ours or our group's. */
  constructor(posix: Posix, access: Access) {
    this.#posix = posix;
    this.#access = access;
  }

  /**
   * The open queue of a name; undefined if there is none. With `sizes` it is made: of the first size that the limits allow.
   *
   * @throws {ProviderError} "denied" when it is somebody else's, "unavailable" when a limit is reached
   */
  use(name: string, sizes: readonly Size[] = []): OpenQueue | undefined {
    const known = this.#open.get(name);
    if (known) {
      known.used = performance.now();
      if (this.exists(known)) return known;
      this.#forget(known); // there may be another one by now
    }
    const descriptor = this.#openOrMake(name, sizes);
    if (descriptor === undefined) return undefined;
    const attributes = this.#posix.attributes(descriptor)!;
    const queue = { name, descriptor, size: attributes.size, users: 0, used: performance.now() };
    if (this.#open.size >= IDLE_LIMIT) this.#closeIdle(0);
    this.#open.set(name, queue);
    this.#tidy ??= setTimeout(() => this.#tidyUp(), IDLE);
    return queue;
  }

  /** Makes a queue that must be new, and keeps it open. */
  make(name: string, sizes: readonly Size[]): OpenQueue {
    return this.hold(this.use(name, sizes)!);
  }

  /** Keeps an open queue open, also when it is removed, until it is released as often. */
  hold(queue: OpenQueue): OpenQueue {
    queue.users++;
    return queue;
  }

  /** Ends that. */
  release(queue: OpenQueue): void {
    if (queue.users === 0) return; // all were closed meanwhile
    if (--queue.users === 0 && this.#open.get(queue.name) !== queue) this.#posix.close(queue.descriptor);
  }

  /** Whether an open queue has not been removed. */
  exists({ descriptor }: OpenQueue): boolean {
    const stat = this.#posix.stat(descriptor);
    return typeof stat === "object" && stat.links > 0;
  }

  /** Closes one that is not used any more. */
  done(queue: OpenQueue): void {
    if (queue.users === 0 && this.#open.get(queue.name) === queue) this.#forget(queue);
  }

  /** Closes the queue of a name, which was removed. */
  removed(name: string): void {
    const queue = this.#open.get(name);
    if (queue) this.done(queue);
  }

  /** What becomes of a queue's messages: nobody has touched them for `ms`, they are read, or there is no such queue. */
  readers(name: string, ms: number): "none" | "some" | "gone" {
    const descriptor = this.#posix.openQueue(name);
    if (descriptor < 0) return descriptor === -Errno.ENOENT ? "gone" : "some";
    const waiting = this.#posix.attributes(descriptor)?.current ?? 0;
    const stat = this.#posix.stat(descriptor);
    this.#posix.close(descriptor);
    // the kernel notes when something was put or taken, in whole seconds
    return waiting > 0 && typeof stat === "object" && Date.now() - stat.modified >= 1_000 + ms ? "none" : "some";
  }

  /** Closes all. */
  close(): void {
    clearTimeout(this.#tidy);
    for (const queue of [...this.#open.values()]) {
      queue.users = 0;
      this.#forget(queue);
    }
  }

  #tidyUp(): void {
    this.#tidy = undefined;
    this.#closeIdle(IDLE);
    const idle = [...this.#open.values()].some(({ users }) => users === 0);
    if (idle) this.#tidy = setTimeout(() => this.#tidyUp(), IDLE);
  }

  /** Closes what has not been used for `ms`. */
  #closeIdle(ms: number): void {
    const now = performance.now();
    for (const queue of [...this.#open.values()]) {
      if (queue.users === 0 && now - queue.used >= ms) this.#forget(queue);
    }
  }

  #forget(queue: OpenQueue): void {
    this.#open.delete(queue.name);
    if (queue.users === 0) this.#posix.close(queue.descriptor);
  }

  #openOrMake(name: string, sizes: readonly Size[]): number | undefined {
    const what = `Cannot open the queue ${name}`;
    const { file: mode } = modes(this.#access);
    for (let attempt = 0;; attempt++) {
      let descriptor = this.#posix.openQueue(name);
      if (descriptor === -Errno.EMFILE && attempt === 0) {
        this.#closeIdle(0);
        continue;
      }
      if (descriptor === -Errno.ENOENT && sizes.length > 0) {
        descriptor = this.#create(name, mode, sizes);
        if (descriptor === -Errno.EEXIST) continue; // somebody else was quicker
        return descriptor;
      }
      if (descriptor === -Errno.ENOENT) return undefined;
      check(descriptor, what);
      const stat = this.#posix.stat(descriptor);
      if (typeof stat === "object" && trusted(stat, this.#posix.user, this.#access)) return descriptor;
      this.#posix.close(descriptor);
      throw typeof stat === "number" ? systemError(stat, what) : notOwned(what, stat.uid);
    }
  }

  #create(name: string, mode: number, sizes: readonly Size[]): number {
    const what = `Cannot make the queue ${name}`;
    let refused = 0;
    for (const size of sizes) {
      const descriptor = this.#posix.openQueue(name, { ...size, mode, exclusive: true });
      if (descriptor >= 0 && this.#access.group !== undefined) this.#posix.share(descriptor, mode, this.#access.group);
      if (descriptor >= 0 || descriptor === -Errno.EEXIST) return descriptor;
      if (descriptor === -Errno.ENOSPC) throw limitReached(what, "queues");
      check(descriptor, what, Errno.EMFILE, Errno.EINVAL);
      if (descriptor === -Errno.EMFILE && this.#outOfDescriptors()) throw systemError(descriptor, what);
      refused = descriptor;
    }
    throw limitReached(what, refused === -Errno.EINVAL ? "size" : "bytes");
  }

  /** EMFILE is the answer to two limits. */
  #outOfDescriptors(): boolean {
    const eventfd = this.#posix.eventfd();
    if (eventfd < 0) return true;
    this.#posix.close(eventfd);
    return false;
  }
}
