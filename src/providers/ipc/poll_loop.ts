/**
 * The worker's sleep: in `poll` on the kernel's queues and a doorbell, until something is there or due. The event loop turns only
 * for what needs it.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import { POLLIN, POLLOUT, type Posix } from "./posix.ts";

/** Milliseconds that the event loop may stand still: also when nobody rings, a thread that is to end must notice. */
const SLICE = 5_000;
/** The same before main has rung for the first time: who is to end because the other half could not be opened is never rung. */
const OPENING = 100;
/** The same while there is work. */
const BUSY = 10;
/** Turns of the event loop in which what main has posted must arrive; on both runtimes it takes one or two. */
const TURNS = 200;
/** Bytes of a descriptor in `poll`. */
const ENTRY = 8;

/** Somebody who waits for a descriptor. */
interface Waiter {
  readonly descriptor: number | undefined;
  readonly events: number;
  /** Milliseconds of `performance.now()`. */
  readonly deadline: number;
  readonly look: Look;
  /** When to look next. */
  next: number;
  wake(ready: boolean): void;
}

/** Reads a descriptor whenever it is readable. */
interface Reader {
  readonly descriptor: number;
  read(): void;
}

/** Looks for what no descriptor tells: 0 if it may be there, else the milliseconds until it is looked again. */
export type Look = () => number;

/** What the loop needs of its worker. */
export interface PollLoopContext {
  /** How many batches of frames have come from main. */
  readonly arrived: number;
  /** When the event loop has a timer to serve, in milliseconds of `performance.now()`. */
  readonly due: number;
  /** Told what a reader throws. */
  fault(error: unknown): void;
}

/** See the module. */
export class PollLoop {
  /** The doorbell. */
  readonly eventfd: number;
  #posix: Posix;
  #home: PollLoopContext;
  #announced = 0;
  #slice = OPENING;
  /** Called when their descriptor is readable; what they do needs no turn of the event loop. */
  #readers = new Map<number, Reader>();
  #waiters = new Set<Waiter>();
  /** When the first of them is to be looked at. */
  #next = Infinity;
  #set = new Uint8Array(ENTRY);
  #view = new DataView(this.#set.buffer);
  #order: (Waiter | Reader)[] = [];
  #changed = true;
  /** It has ended. */
  closed = false;
  #running: Promise<void> | undefined;

  /** Sleeps for the worker of this home. */
  constructor(posix: Posix, eventfd: number, home: PollLoopContext) {
    this.#posix = posix;
    this.eventfd = eventfd;
    this.#home = home;
  }

  /** Starts to watch. */
  start(): void {
    this.#running = this.#run();
  }

  /** Calls `read` whenever the descriptor is readable; `undefined` ends that. */
  read(descriptor: number, read: (() => void) | undefined): void {
    if (read) this.#readers.set(descriptor, { descriptor, read });
    else this.#readers.delete(descriptor);
    this.#changed = true;
  }

  /** Resolves with true when the descriptor is ready or `look` says 0, with false after `ms` or when the signal aborts. */
  wait(
    descriptor: number | undefined,
    events: "in" | "out",
    ms: number,
    { look = () => Infinity, signal }: { look?: Look; signal?: AbortSignal } = {},
  ): Promise<boolean> {
    if (this.closed || signal?.aborted) return Promise.resolve(false);
    return new Promise((resolve) => {
      const abort = () => waiter.wake(false);
      const now = performance.now();
      const waiter: Waiter = {
        descriptor,
        events: events === "in" ? POLLIN : POLLOUT,
        deadline: now + ms,
        look,
        next: now,
        wake: (ready) => {
          this.#waiters.delete(waiter);
          this.#changed = true;
          signal?.removeEventListener("abort", abort);
          resolve(ready);
        },
      };
      this.#waiters.add(waiter);
      this.#next = now;
      this.#changed = true;
      signal?.addEventListener("abort", abort, { once: true });
    });
  }

  /** All look again at once: something has changed that they look for. */
  look(): void {
    for (const waiter of this.#waiters) waiter.next = 0;
    this.#next = 0;
  }

  /** Ends; those who wait are woken. */
  async close(): Promise<void> {
    this.closed = true;
    for (const waiter of this.#waiters) waiter.wake(false);
    await this.#running;
    // main closes what it may still ring: another descriptor could have its number by then
    if (this.#slice === OPENING && this.#posix.readEventfd(this.eventfd) === 0) this.#posix.close(this.eventfd);
  }

  async #run(): Promise<void> {
    await this.#turn(); // what opened us has a word to say first
    let turned = performance.now();
    while (!this.closed) {
      if (this.#changed) this.#arrange();
      const until = Math.min(turned + this.#slice, this.#next, this.#home.due);
      const ready = this.#posix.poll(this.#set, this.#order.length + 1, Math.max(0, until - performance.now()));
      const announced = ready > 0 && this.#dispatch();
      const now = performance.now();
      const woken = this.#wakeDue(now);
      // what a reader posts leaves in a microtask; whatever else there is needs the event loop
      if (!announced && !woken && now < turned + (ready > 0 ? BUSY : this.#slice) && now < this.#home.due) {
        await undefined;
        continue;
      }
      await this.#turn();
      turned = performance.now();
    }
  }

  /** Wakes those whose time is over, and those who find what they wait for. */
  #wakeDue(now: number): boolean {
    if (now < this.#next) return false;
    const before = this.#waiters.size;
    this.#next = Infinity;
    for (const waiter of this.#waiters) {
      if (waiter.deadline <= now) {
        waiter.wake(false);
        continue;
      }
      if (waiter.next <= now) waiter.next = Math.min(waiter.deadline, now + this.#lookFor(waiter));
      if (waiter.next <= now) waiter.wake(true);
      else if (waiter.next < this.#next) this.#next = waiter.next;
    }
    return this.#waiters.size < before;
  }

  /** What fails when it is looked for fails again when it is taken, and is told there. */
  #lookFor({ look }: Waiter): number {
    try {
      return look();
    } catch {
      return 0;
    }
  }

  /** Hands out what is ready; true if there was anything but for readers. */
  #dispatch(): boolean {
    let others = false;
    const order = this.#order;
    const came = (entry: number) => this.#view.getInt16(entry * ENTRY + 6, true);
    if (came(0) !== 0) {
      this.#announced += this.#posix.readEventfd(this.eventfd);
      this.#slice = SLICE;
      others = true;
    }
    for (let i = 0; i < order.length; i++) {
      if (came(i + 1) === 0) continue;
      const whose = order[i]!;
      // one that comes before it may have ended it
      if ("wake" in whose) {
        others = true;
        if (this.#waiters.has(whose)) whose.wake(true);
      } else if (this.#readers.get(whose.descriptor) === whose) {
        try {
          whose.read();
        } catch (error) {
          this.#home.fault(error);
        }
      }
    }
    return others;
  }

  /** A ring says that a batch was posted: the event loop turns until it is there. */
  async #turn(): Promise<void> {
    for (let turns = 0; turns === 0 || (this.#home.arrived < this.#announced && turns < TURNS); turns++) {
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    this.#announced = this.#home.arrived; // what was posted without a ring must not count as an answer to a later one
  }

  #arrange(): void {
    this.#changed = false;
    const waiters = [...this.#waiters].filter(({ descriptor }) => descriptor !== undefined);
    this.#order = [...this.#readers.values(), ...waiters];
    const size = (this.#order.length + 1) * ENTRY;
    if (this.#set.length < size) {
      this.#set = new Uint8Array(2 * size);
      this.#view = new DataView(this.#set.buffer);
    }
    const put = (entry: number, descriptor: number, events: number) => {
      this.#view.setInt32(entry * ENTRY, descriptor, true);
      this.#view.setInt16(entry * ENTRY + 4, events, true);
    };
    let entry = 0;
    put(entry++, this.eventfd, POLLIN);
    for (const descriptor of this.#readers.keys()) put(entry++, descriptor, POLLIN);
    for (const { descriptor, events } of waiters) put(entry++, descriptor!, events);
  }
}
