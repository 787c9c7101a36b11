/**
 * The worker's sleep: in `poll` on the kernel's queues and a doorbell, in slices, with turns of the event loop between them.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import { POLLIN, POLLOUT, type Posix } from "./posix.ts";

/** Milliseconds that the event loop may stand still while nobody waits for anything here. Beats come once a second. */
const SLICE = 250;
/** The same while somebody waits, whose timers count. */
const SHORT_SLICE = 50;
/** Milliseconds of uninterrupted work after which the event loop gets a turn. */
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
  wake(ready: boolean): void;
}

/** See the module. */
export class Loop {
  /** The doorbell. */
  readonly bell: number;
  #posix: Posix;
  #arrived: () => number;
  #fault: (error: unknown) => void;
  #rung = 0;
  /** Called when their descriptor is readable; what they do needs no turn of the event loop. */
  #readers = new Map<number, () => void>();
  #waiters = new Set<Waiter>();
  #set = new Uint8Array(ENTRY);
  #view = new DataView(this.#set.buffer);
  #order: (Waiter | (() => void) | undefined)[] = [];
  #changed = true;
  /** It has ended. */
  closed = false;
  #running: Promise<void> | undefined;

  /** `arrived` counts the batches of frames that have come from main; `fault` is told what a reader throws. */
  constructor(posix: Posix, bell: number, arrived: () => number, fault: (error: unknown) => void) {
    this.#posix = posix;
    this.bell = bell;
    this.#arrived = arrived;
    this.#fault = fault;
  }

  /** Starts to watch. */
  start(): void {
    this.#running = this.#run();
  }

  /** Calls `read` whenever the descriptor is readable; `undefined` ends that. */
  read(descriptor: number, read: (() => void) | undefined): void {
    if (read) this.#readers.set(descriptor, read);
    else this.#readers.delete(descriptor);
    this.#changed = true;
  }

  /** Resolves with true when the descriptor is ready, with false after `ms` or when the signal aborts. */
  wait(descriptor: number | undefined, events: "in" | "out", ms: number, signal?: AbortSignal): Promise<boolean> {
    if (this.closed || signal?.aborted) return Promise.resolve(false);
    return new Promise((resolve) => {
      const abort = () => waiter.wake(false);
      const waiter: Waiter = {
        descriptor,
        events: events === "in" ? POLLIN : POLLOUT,
        deadline: performance.now() + ms,
        wake: (ready) => {
          this.#waiters.delete(waiter);
          this.#changed = true;
          signal?.removeEventListener("abort", abort);
          resolve(ready);
        },
      };
      this.#waiters.add(waiter);
      this.#changed = true;
      signal?.addEventListener("abort", abort, { once: true });
    });
  }

  /** Ends; those who wait are woken. */
  async close(): Promise<void> {
    this.closed = true;
    for (const waiter of this.#waiters) waiter.wake(false);
    await this.#running;
    this.#posix.close(this.bell);
  }

  async #run(): Promise<void> {
    await this.#turn(); // what opened us has a word to say first
    let turned = performance.now();
    while (!this.closed) {
      if (this.#changed) this.#arrange();
      const ready = this.#posix.poll(this.#set, this.#order.length + 1, this.#timeout());
      const worked = ready > 0 && this.#dispatch();
      const now = performance.now();
      for (const waiter of this.#waiters) if (waiter.deadline <= now) waiter.wake(false);
      // a reader posts in a microtask; whatever else there is needs the event loop
      if (worked && now - turned < BUSY) {
        await undefined;
        continue;
      }
      await this.#turn();
      turned = performance.now();
    }
  }

  /** Hands out what is ready; true if it was all for readers. */
  #dispatch(): boolean {
    let onlyReaders = true;
    const order = this.#order;
    const came = (entry: number) => this.#view.getInt16(entry * ENTRY + 6, true);
    if (came(0) !== 0) {
      this.#rung += this.#posix.heard(this.bell);
      onlyReaders = false;
    }
    for (let i = 0; i < order.length; i++) {
      if (came(i + 1) === 0) continue;
      const whose = order[i]!;
      if (typeof whose === "function") {
        try {
          whose();
        } catch (error) {
          this.#fault(error);
        }
        continue;
      }
      onlyReaders = false;
      if (this.#waiters.has(whose)) whose.wake(true);
    }
    return onlyReaders;
  }

  /** A ring says that a batch was posted: the event loop turns until it is there. */
  async #turn(): Promise<void> {
    for (let turns = 0; turns === 0 || (this.#arrived() < this.#rung && turns < TURNS); turns++) {
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    this.#rung = this.#arrived(); // what was posted without a ring must not count as an answer to a later one
  }

  #timeout(): number {
    const now = performance.now();
    let next = now + (this.#waiters.size > 0 ? SHORT_SLICE : SLICE);
    for (const { deadline } of this.#waiters) if (deadline < next) next = deadline;
    return Math.max(0, next - now);
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
    put(entry++, this.bell, POLLIN);
    for (const descriptor of this.#readers.keys()) put(entry++, descriptor, POLLIN);
    for (const { descriptor, events } of waiters) put(entry++, descriptor!, events);
  }
}
