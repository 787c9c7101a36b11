/**
 * The kernel queues that this thread holds open. They are opened on first use and closed when they are idle.
 *
 * @module
 */
import { type Access, modes, OWNER, trusted } from "./access.ts";
import { check, isLimit, limitReached, notOpened, notOwned, notShared, systemError } from "./errors.ts";
import { Errno } from "./errno.ts";
import { LimitedTextMap } from "../../internal/caches.ts";
import { TextMap } from "../../internal/text_map.ts";
import { MAX_CACHED, type Names, probeOf } from "./names.ts";
import type { Posix, Stat } from "./posix.ts";

/** The directory in which the kernel lists its queues, if it is mounted. PyMQ finds a queue by a link to its file there. */
export const MQUEUE = "/dev/mqueue";

/** The number of messages that a queue holds, and the bytes of each. RLIMIT_MSGQUEUE counts both, and 96 bytes more for each message. */
export interface Size {
  readonly messages: number;
  readonly size: number;
}

/**
 * The mode bit of a queue that was created for a group and not given to it yet. Without the bit, it would be like a queue of a namespace
 * without a group.
 */
const UNSHARED = 0o1000;
/** All mode bits except those of the owner. */
const ACCESS = 0o7077;

/** The largest number of idle queues that stay open. */
const IDLE_LIMIT = 64;
/** Milliseconds after which an idle queue is closed. A removed queue counts towards the limits as long as it is open. */
const IDLE = 250;

/**
 * The priority of an item that was sent back because an item whose delay had passed must be taken first. All other items have 0, as PyMQ's
 * do.
 */
export const WAITS = 1;
/** The priority of items that were put with a delay which has passed. */
export const DUE = 2;
/** The lowest and the highest priority of items that were given back. */
const FIRST = { min: 3, max: 32_767 };

/** The number of messages that a named queue holds: the default of the sysctl fs.mqueue.msg_max, as in PyMQ. */
export const CAPACITY = 10;

/** Returns the sizes to try for a named queue: PyMQ's, then smaller ones, for which larger items go into files. */
export function itemSizes(messageSize: number): Size[] {
  return [messageSize, 1_024, 128].filter((size) => size <= messageSize).map((size) => ({ messages: CAPACITY, size }));
}

/**
 * The room that a named queue leaves for buses and for PyMQ's answer queues: four queues of PyMQ's size, 331,520 of the 819,200 bytes
 * of a user. A hundred small buses fit into it.
 */
const ITEMS_LEAVE: readonly Size[] = Array.from({ length: 4 }, () => ({ messages: CAPACITY, size: 8_192 }));
/** The room that a bus with large queues leaves for others: half of a user's bytes. When there is less, buses have smaller queues. */
const BUS_LEAVES: readonly Size[] = [...ITEMS_LEAVE, { messages: CAPACITY, size: 8_192 }];
/** Milliseconds for which a lack of room for named queues is cached. */
const NO_ROOM = 100;

/** The sizes to try for the queue of a PyMQ call. Its answers arrive one at a time and are read immediately, so two messages suffice. */
export const REPLIES: readonly Size[] = [{ messages: 2, size: 8_192 }, { messages: 1, size: 8_192 }];

/**
 * The sizes to try for a bus's events and for its direct messages. 60 buses share the 819,200 bytes of a user, so each may have
 * 13,653, with 96 for each message. PyMQ writes events of up to 8,192 bytes; tsmq packs many into one message.
 */
export const EVENTS: readonly Size[] = [8_192, 2_048, 512].map((size) => ({ messages: 1, size }));
export const INBOX: readonly Size[] = [
  { messages: 2, size: 2_048 },
  { messages: 2, size: 512 },
  { messages: 1, size: 256 },
];

/** An open queue. */
export interface OpenQueue {
  readonly name: string;
  /** The descriptor of the queue. */
  readonly descriptor: number;
  /** The size in bytes of the largest message that fits into the queue. */
  readonly size: number;
  /** The number of calls of {@linkcode MessageQueues.hold} without a release. */
  users: number;
  /** The time when the queue was last used, by `performance.now()`. */
  used: number;
  /** Whether nothing was put into it since it was opened. */
  fresh: boolean;
}

/** The open queues of one thread. */
export class MessageQueues {
  #posix: Posix;
  #names: Names;
  readonly #access: Access;
  /** The mode of the queues of the namespace. */
  readonly #mode: number;
  #open = new TextMap<OpenQueue>();
  /** Queue → the priority of the last message that was put to its front. */
  #first = new LimitedTextMap<number>(MAX_CACHED);
  #idleTimer: ReturnType<typeof setTimeout> | undefined;
  /** The time until which named queues have no room, by `performance.now()`. */
  #noRoomUntil = 0;

  /** Creates an empty list of open queues. It opens only queues with the names, the owner or group, and the mode of the namespace. */
  constructor(posix: Posix, names: Names, access: Access) {
    this.#posix = posix;
    this.#names = names;
    this.#access = access;
    this.#mode = modes(access).file;
  }

  /**
   * Returns a queue, which it opens if it is not open yet. Returns undefined if the queue does not exist. With `sizes`, a missing queue is
   * created, with the first size that the limits allow.
   *
   * @throws {ProviderError} "denied" when it belongs to another user or namespace, "unavailable" when a limit is reached
   */
  use(name: string, sizes: readonly Size[] = []): OpenQueue | undefined {
    const known = this.#open.get(name);
    if (known) {
      known.used = performance.now();
      const stat = this.#posix.stat(known.descriptor);
      if (typeof stat === "object" && stat.links > 0 && this.#belongs(name, stat)) return known;
      this.#forget(known); // it was removed; another one may have its name
    }
    const descriptor = this.#openOrCreate(name, sizes);
    if (descriptor === undefined) return undefined;
    const attributes = this.#posix.attributes(descriptor)!;
    const queue = { name, descriptor, size: attributes.size, users: 0, used: performance.now(), fresh: true };
    if (this.#open.size >= IDLE_LIMIT) this.#closeUnused(0);
    this.#open.set(name, queue);
    this.#idleTimer ??= setTimeout(() => this.#closeIdleQueues(), IDLE);
    return queue;
  }

  /** Returns a named queue, which it creates if there is room for it. If this returns undefined, items go into the overflow. */
  useNamed(name: string, messageSize: number): OpenQueue | undefined {
    const known = this.use(name);
    if (known || performance.now() < this.#noRoomUntil) return known;
    const sizes = itemSizes(messageSize);
    try {
      if (this.#hasRoom([sizes[0]!, ...ITEMS_LEAVE])) return this.use(name, sizes);
    } catch (error) {
      if (!isLimit(error)) throw error;
    }
    this.#noRoomUntil = performance.now() + NO_ROOM;
    return undefined;
  }

  /** Creates a queue of a bus and holds it. If other buses would have too little room, the queue is small. */
  create(name: string, sizes: readonly Size[]): OpenQueue {
    const fitting = this.#hasRoom(BUS_LEAVES) ? sizes : sizes.slice(1);
    return this.hold(this.use(name, fitting.length > 0 ? fitting : sizes)!);
  }

  /** Returns whether queues of these sizes could be created now. Sizes that the kernel does not allow do not count. */
  #hasRoom(sizes: readonly Size[]): boolean {
    const made: number[] = [];
    for (const [i, size] of sizes.entries()) {
      let name = probeOf(this.#posix.user, i);
      const create = () => this.#posix.openQueue(name, { ...size, mode: 0o600, exclusive: true });
      this.#posix.unlinkQueue(name); // a process that was killed here has left it
      let descriptor = create();
      if (descriptor === -Errno.EEXIST) { // another user can create it first
        name += `_${crypto.randomUUID()}`;
        descriptor = create();
      }
      if (descriptor < 0 && descriptor !== -Errno.EINVAL) break;
      if (descriptor >= 0) this.#posix.unlinkQueue(name);
      made.push(descriptor);
    }
    for (const descriptor of made) if (descriptor >= 0) this.#posix.close(descriptor);
    return made.length === sizes.length;
  }

  /** Puts a message in front of all others, if there is room. Those that other buses put to the front may stay in front of it. */
  putFirst({ name, descriptor }: OpenQueue, message: Uint8Array): boolean {
    const { min, max } = FIRST;
    const last = this.#posix.attributes(descriptor)?.current ? this.#first.get(name) ?? 0 : 0;
    const priority = Math.min(Math.max(min, last + 1), max);
    if (this.#posix.send(descriptor, message, message.length, priority) !== 0) return false;
    this.#first.set(name, priority);
    return true;
  }

  /** Keeps a queue open, even if it is removed, until {@linkcode release} was called the same number of times. */
  hold(queue: OpenQueue): OpenQueue {
    queue.users++;
    return queue;
  }

  /** Undoes one {@linkcode hold}. */
  release(queue: OpenQueue): void {
    if (queue.users === 0) return; // close() came first
    if (--queue.users === 0 && this.#open.get(queue.name) !== queue) this.#posix.close(queue.descriptor);
  }

  /** Returns whether a queue still exists under its name, so that it has not been removed. */
  exists({ descriptor }: OpenQueue): boolean {
    const stat = this.#posix.stat(descriptor);
    return typeof stat === "object" && stat.links > 0;
  }

  /** Closes a queue, unless it is held. */
  closeIdle(queue: OpenQueue): void {
    if (queue.users === 0 && this.#open.get(queue.name) === queue) this.#forget(queue);
  }

  /** Closes a queue that was removed. */
  removed(name: string): void {
    const queue = this.#open.get(name);
    if (queue) this.closeIdle(queue);
  }

  /** Returns whether a queue may be one of a stranger, which root could remove too. False if it does not exist. */
  strange(name: string): boolean {
    const descriptor = this.#posix.openQueue(name);
    if (descriptor < 0) return descriptor !== -Errno.ENOENT;
    const stat = this.#posix.stat(descriptor);
    this.#posix.close(descriptor);
    return !this.#trusted(stat);
  }

  /**
   * Returns whether a process reads the queue: "gone" if the queue does not exist, "none" if a message waits and nothing was put or taken
   * for `ms`, otherwise "some". That of a stranger has "some", because nothing is known about it.
   */
  readers(name: string, ms: number): "none" | "some" | "gone" {
    const descriptor = this.#posix.openQueue(name);
    if (descriptor < 0) return descriptor === -Errno.ENOENT ? "gone" : "some";
    const waiting = this.#posix.attributes(descriptor)?.current ?? 0;
    const stat = this.#posix.stat(descriptor);
    this.#posix.close(descriptor);
    // the kernel records the last put or take in whole seconds
    return waiting > 0 && this.#trusted(stat) && Date.now() - stat.modified >= 1_000 + ms ? "none" : "some";
  }

  #trusted(stat: Stat | number): stat is Stat {
    return typeof stat === "object" && trusted(stat, this.#posix.user, this.#access);
  }

  /** Closes all queues. */
  close(): void {
    clearTimeout(this.#idleTimer);
    this.#idleTimer = undefined;
    for (const queue of [...this.#open.values()]) {
      queue.users = 0;
      this.#forget(queue);
    }
  }

  #closeIdleQueues(): void {
    this.#idleTimer = undefined;
    this.#closeUnused(IDLE);
    const idle = [...this.#open.values()].some(({ users }) => users === 0);
    if (idle) this.#idleTimer = setTimeout(() => this.#closeIdleQueues(), IDLE);
  }

  /** Closes the queues that have not been used for `ms`. */
  #closeUnused(ms: number): void {
    const now = performance.now();
    for (const queue of [...this.#open.values()]) {
      if (queue.users === 0 && now - queue.used >= ms) this.#forget(queue);
    }
  }

  #forget(queue: OpenQueue): void {
    this.#open.delete(queue.name);
    if (queue.users === 0) this.#posix.close(queue.descriptor);
  }

  #openOrCreate(name: string, sizes: readonly Size[]): number | undefined {
    const what = `Cannot open ${this.#names.title(name)}`;
    if (!this.#names.owns(name)) throw notShared(what);
    for (let attempt = 0;; attempt++) {
      let descriptor = this.#posix.openQueue(name);
      if (descriptor === -Errno.EMFILE && attempt === 0) {
        this.#closeUnused(0);
        continue;
      }
      if (descriptor === -Errno.ENOENT && sizes.length > 0) {
        descriptor = this.#create(name, sizes);
        if (descriptor === -Errno.EEXIST) continue; // another process has just created it
      }
      if (descriptor === -Errno.ENOENT) return undefined;
      if (descriptor === -Errno.EACCES) throw notOpened(what);
      check(descriptor, what);
      const stat = this.#share(descriptor);
      if (typeof stat === "object" && this.#belongs(name, stat)) return descriptor;
      this.#posix.close(descriptor);
      if (typeof stat === "number") throw systemError(stat, what);
      throw stat.uid === this.#posix.user ? notShared(what) : notOwned(what, stat.uid);
    }
  }

  /**
   * Gives a queue to the group, if that has not been done: another process of this user may have created it a moment ago. That of another
   * user stays as it is, though root could give it away: its user has it open.
   */
  #share(descriptor: number): Stat | number {
    const stat = this.#posix.stat(descriptor);
    if (this.#access.group === undefined || typeof stat === "number" || (stat.mode & UNSHARED) === 0) return stat;
    if (stat.uid !== this.#posix.user) return stat;
    this.#posix.share(descriptor, this.#mode, this.#access.group);
    return this.#posix.stat(descriptor);
  }

  /**
   * Returns whether a queue has the owner or group and the mode of the namespace. Its name does not show that: the names of two namespaces
   * may be ambiguous.
   */
  #belongs(name: string, { uid, gid, mode }: Stat): boolean {
    const shared = this.#access.group !== undefined;
    if (shared && gid === this.#access.group && (mode & ACCESS) === (this.#mode & ACCESS)) return true;
    return uid === this.#posix.user && (mode & ACCESS) === 0 && (!shared || this.#names.madeByPymq(name));
  }

  /** Returns whether an open descriptor is a queue of this namespace. */
  owns(name: string, descriptor: number): boolean {
    const stat = this.#posix.stat(descriptor);
    return this.#names.owns(name) && typeof stat === "object" && this.#belongs(name, stat);
  }

  #create(name: string, sizes: readonly Size[]): number {
    const mode = this.#mode & OWNER | (this.#access.group === undefined ? 0 : UNSHARED);
    const what = `Cannot create ${this.#names.title(name)}`;
    let refused = 0;
    for (const size of sizes) {
      const descriptor = this.#posix.openQueue(name, { ...size, mode, exclusive: true });
      if (descriptor >= 0 || descriptor === -Errno.EEXIST) return descriptor;
      if (descriptor === -Errno.ENOSPC) throw limitReached(what, "queues");
      check(descriptor, what, Errno.EMFILE, Errno.EINVAL);
      if (descriptor === -Errno.EMFILE && this.#outOfDescriptors()) throw systemError(descriptor, what);
      refused = descriptor;
    }
    throw limitReached(what, refused === -Errno.EINVAL ? "size" : "bytes");
  }

  /** Returns whether this process has no descriptors left. The kernel reports EMFILE for that, but also for RLIMIT_MSGQUEUE. */
  #outOfDescriptors(): boolean {
    const eventfd = this.#posix.eventfd();
    if (eventfd < 0) return true;
    this.#posix.close(eventfd);
    return false;
  }
}
