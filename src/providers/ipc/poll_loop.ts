/**
 * The loop in which the worker sleeps: `poll` on the kernel queues and on an eventfd by which the main thread wakes it. The
 * runtime's event loop runs only when it has work.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import { POLLIN, POLLOUT, type Posix } from "./posix.ts";

/** Milliseconds for which `poll` may block the event loop. A terminated worker ends only when its event loop runs. */
const SLICE = 5_000;
/**
 * Milliseconds for which `poll` may block before main has woken the worker for the first time. If the sender fails to open, main never
 * wakes it.
 */
const OPENING = 100;
/** Milliseconds for which `poll` may block while there is work. */
const BUSY = 10;
/** The number of turns of the event loop within which a posted message must arrive. Both runtimes need one or two. */
const TURNS = 200;
/** Bytes of a descriptor in the array for `poll`: `struct pollfd`. */
const ENTRY = 8;

/** A wait for a descriptor. */
interface Waiter {
  readonly descriptor: number | undefined;
  readonly events: number;
  /** The end of the wait, by `performance.now()`. */
  readonly deadline: number;
  readonly probe: Probe;
  /** The time of the next probe. */
  next: number;
  wake(ready: boolean): void;
}

/** Reads a descriptor whenever it is readable, without a turn of the event loop. */
interface Reader {
  readonly descriptor: number;
  read(): void;
}

/**
 * Checks a condition that no descriptor reports. Returns 0 if the condition may be true, otherwise the milliseconds until the next check.
 */
export type Probe = () => number;

/** The functions of a worker that its {@linkcode PollLoop} uses. */
export interface PollLoopContext {
  /** The number of batches of frames that have arrived from the main thread. */
  readonly arrived: number;
  /** The time when the next timer of the event loop is due, by `performance.now()`. */
  readonly due: number;
  /** Reports an error that a reader throws. */
  fault(error: unknown): void;
}

/** The poll loop of one worker. */
export class PollLoop {
  /** The eventfd to which the main thread writes to wake this thread. */
  readonly eventfd: number;
  #posix: Posix;
  #context: PollLoopContext;
  #announced = 0;
  #slice = OPENING;
  #readers = new Map<number, Reader>();
  #waiters = new Set<Waiter>();
  /** The time of the next probe or deadline of a wait. */
  #next = Infinity;
  #set = new Uint8Array(ENTRY);
  #view = new DataView(this.#set.buffer);
  #order: (Waiter | Reader)[] = [];
  #changed = true;
  /** Whether {@linkcode close} was called. */
  closed = false;
  #running: Promise<void> | undefined;

  /** Creates a loop, which {@linkcode start} starts. */
  constructor(posix: Posix, eventfd: number, context: PollLoopContext) {
    this.#posix = posix;
    this.eventfd = eventfd;
    this.#context = context;
  }

  /** Starts the loop. */
  start(): void {
    this.#running = this.#run();
  }

  /** Calls `read` whenever the descriptor is readable. `undefined` removes the reader. */
  read(descriptor: number, read: (() => void) | undefined): void {
    if (read) this.#readers.set(descriptor, { descriptor, read });
    else this.#readers.delete(descriptor);
    this.#changed = true;
  }

  /** Resolves with true when the descriptor is ready or `probe` returns 0, with false after `ms` or when the signal aborts. */
  wait(
    descriptor: number | undefined,
    events: "in" | "out",
    ms: number,
    { probe = () => Infinity, signal }: { probe?: Probe; signal?: AbortSignal } = {},
  ): Promise<boolean> {
    if (this.closed || signal?.aborted) return Promise.resolve(false);
    return new Promise((resolve) => {
      const abort = () => waiter.wake(false);
      const now = performance.now();
      const waiter: Waiter = {
        descriptor,
        events: events === "in" ? POLLIN : POLLOUT,
        deadline: now + ms,
        probe,
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

  /** Makes all probes run now, because their conditions may have changed. */
  probeAll(): void {
    for (const waiter of this.#waiters) waiter.next = 0;
    this.#next = 0;
  }

  /** Ends the loop and all waits. */
  async close(): Promise<void> {
    this.closed = true;
    for (const waiter of this.#waiters) waiter.wake(false);
    await this.#running;
    // if main knows the eventfd, main closes it: after a close here, main could write to another file that has the same number
    if (this.#slice === OPENING && this.#posix.readEventfd(this.eventfd) === 0) this.#posix.close(this.eventfd);
  }

  async #run(): Promise<void> {
    await this.#turn(); // the code that opened the receiver runs first
    let turned = performance.now();
    while (!this.closed) {
      if (this.#changed) this.#arrange();
      const until = Math.min(turned + this.#slice, this.#next, this.#context.due);
      const ready = this.#posix.poll(this.#set, this.#order.length + 1, Math.max(0, until - performance.now()));
      const announced = ready > 0 && this.#dispatch();
      const now = performance.now();
      const woken = this.#wakeDue(now);
      // frames that a reader posts leave in a microtask; everything else needs the event loop
      if (!announced && !woken && now < turned + (ready > 0 ? BUSY : this.#slice) && now < this.#context.due) {
        await undefined;
        continue;
      }
      await this.#turn();
      turned = performance.now();
    }
  }

  /** Ends the waits whose time is over or whose probe returns 0. Returns true if it ended a wait. */
  #wakeDue(now: number): boolean {
    if (now < this.#next) return false;
    const before = this.#waiters.size;
    this.#next = Infinity;
    for (const waiter of this.#waiters) {
      if (waiter.deadline <= now) {
        waiter.wake(false);
        continue;
      }
      if (waiter.next <= now) waiter.next = Math.min(waiter.deadline, now + this.#probe(waiter));
      if (waiter.next <= now) waiter.wake(true);
      else if (waiter.next < this.#next) this.#next = waiter.next;
    }
    return this.#waiters.size < before;
  }

  /** Runs the probe of a wait. If the probe throws, the wait ends: the waiting code gets the same error and reports it. */
  #probe({ probe }: Waiter): number {
    try {
      return probe();
    } catch {
      return 0;
    }
  }

  /** Calls the readers, and ends the waits whose descriptors are ready. Returns true unless only readers were called. */
  #dispatch(): boolean {
    let others = false;
    const order = this.#order;
    const ready = (entry: number) => this.#view.getInt16(entry * ENTRY + 6, true);
    if (ready(0) !== 0) {
      this.#announced += this.#posix.readEventfd(this.eventfd);
      this.#slice = SLICE;
      others = true;
    }
    for (let i = 0; i < order.length; i++) {
      if (ready(i + 1) === 0) continue;
      const entry = order[i]!;
      // an earlier one may have removed it
      if ("wake" in entry) {
        others = true;
        if (this.#waiters.has(entry)) entry.wake(true);
      } else if (this.#readers.get(entry.descriptor) === entry) {
        try {
          entry.read();
        } catch (error) {
          this.#context.fault(error);
        }
      }
    }
    return others;
  }

  /** Runs the event loop until each batch that main has announced by the eventfd has arrived. */
  async #turn(): Promise<void> {
    for (let turns = 0; turns === 0 || (this.#context.arrived < this.#announced && turns < TURNS); turns++) {
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    this.#announced = this.#context.arrived; // a batch that was posted without a wake-up must not count for a later one
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
    const write = (entry: number, descriptor: number, events: number) => {
      this.#view.setInt32(entry * ENTRY, descriptor, true);
      this.#view.setInt16(entry * ENTRY + 4, events, true);
    };
    let entry = 0;
    write(entry++, this.eventfd, POLLIN);
    for (const descriptor of this.#readers.keys()) write(entry++, descriptor, POLLIN);
    for (const { descriptor, events } of waiters) write(entry++, descriptor!, events);
  }
}
