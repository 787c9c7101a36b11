/**
 * All who wait for items of one queue, served by one call to the receiver at a time.
 *
 * @module
 */
import { BusError, ClosedError } from "../errors.ts";
import type { Delivery, Receiver } from "../provider/provider.ts";
import type { Leases } from "./leases.ts";
import type { Timers } from "./timers.ts";

/** Milliseconds between looks at a transport that is out of reach: doubled from the first to the second. */
const RETRY = { min: 50, max: 2_000 };
/** The longest wait asked of a receiver in one call. */
const SLICE = 10_000;

interface Waiter {
  readonly id: number;
  readonly max: number;
  /** Milliseconds of `performance.now()`. */
  readonly deadline: number;
  /** Wants one look, no wait. */
  readonly now: boolean;
  /** Stops the timer of its end. */
  stop?: () => void;
  resolve(deliveries: Delivery[]): void;
  reject(error: unknown): void;
}

/** The takers of one queue with one lease, first come first served. */
export class Intake {
  #receiver: Receiver;
  #leases: Leases;
  #timers: Timers;
  #queue: string;
  #lease: number | undefined;
  #idle: () => void;
  #waiters: Waiter[] = [];
  #abort = new AbortController();
  #running: Promise<void> | undefined;
  #closed = false;

  /** `idle` is called when nobody waits any more. */
  constructor(
    receiver: Receiver,
    leases: Leases,
    timers: Timers,
    queue: string,
    lease: number | undefined,
    idle: () => void,
  ) {
    this.#receiver = receiver;
    this.#leases = leases;
    this.#timers = timers;
    this.#queue = queue;
    this.#lease = lease;
    this.#idle = idle;
  }

  /** Resolves with 1 to `max` items, or none when `wait` ms have passed or it was cancelled. */
  take(id: number, max: number, wait: number): Promise<Delivery[]> {
    if (this.#closed) return Promise.reject(new ClosedError());
    const { promise, resolve, reject } = Promise.withResolvers<Delivery[]>();
    const now = wait <= 0;
    const waiter: Waiter = { id, max, now, deadline: performance.now() + wait, resolve, reject };
    if (!now && wait < Infinity) waiter.stop = this.#timers.after(wait, () => this.cancel(id));
    this.#waiters.push(waiter);
    // one who looks once does not wait behind a call that waits
    if (now && this.#running) this.#abort.abort();
    this.#running ??= this.#run();
    return promise;
  }

  /** Ends one wait; what its items would have been goes to the others or back. */
  cancel(id: number): void {
    const waiter = this.#waiters.find((waiter) => waiter.id === id);
    if (!waiter || waiter.now) return;
    this.#serve(waiter, []);
    if (this.#waiters.length === 0) this.#abort.abort();
  }

  /** Ends all waits with a `ClosedError` and gives back what comes too late. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const waiter of this.#waiters.splice(0)) this.#fail(waiter, new ClosedError());
    this.#abort.abort();
    await this.#running;
  }

  #serve(waiter: Waiter, deliveries: Delivery[]): void {
    waiter.stop?.();
    const index = this.#waiters.indexOf(waiter);
    if (index >= 0) this.#waiters.splice(index, 1);
    waiter.resolve(deliveries);
  }

  #fail(waiter: Waiter, error: unknown): void {
    waiter.stop?.();
    waiter.reject(error);
  }

  async #run(): Promise<void> {
    let pause = RETRY.min;
    while (this.#waiters.length > 0) {
      this.#abort = new AbortController();
      const lookers = this.#waiters.filter((waiter) => waiter.now);
      try {
        await this.#distribute(await this.#receive(lookers.length > 0));
        for (const looker of lookers) if (this.#waiters.includes(looker)) this.#serve(looker, []);
        pause = RETRY.min;
      } catch (error) {
        const unavailable = error instanceof BusError && error.code === "unavailable";
        // gets with a wait go on waiting while the transport is unreachable; all others reject
        const failed = this.#waiters.filter((waiter) => waiter.now || !unavailable);
        this.#waiters = this.#waiters.filter((waiter) => !failed.includes(waiter));
        for (const waiter of failed) this.#fail(waiter, error);
        if (this.#waiters.length > 0) await this.#sleep(pause);
        pause = Math.min(pause * 2, RETRY.max);
      }
    }
    this.#running = undefined;
    this.#idle();
  }

  #receive(now: boolean): Promise<Delivery[]> {
    let max = 0;
    let deadline = 0;
    for (const waiter of this.#waiters) {
      max += waiter.max;
      deadline = Math.max(deadline, waiter.deadline);
    }
    const wait = now ? 0 : Math.max(1, Math.min(SLICE, deadline - performance.now()));
    return this.#receiver.receive(this.#queue, { max, wait, lease: this.#lease, signal: this.#abort.signal });
  }

  async #distribute(deliveries: Delivery[]): Promise<void> {
    if (this.#lease !== undefined && deliveries.length > 0) this.#leases.hold(this.#queue, this.#lease, deliveries);
    let next = 0;
    while (next < deliveries.length && this.#waiters.length > 0) {
      const waiter = this.#waiters[0]!;
      this.#serve(waiter, deliveries.slice(next, next + waiter.max));
      next += waiter.max;
    }
    const surplus = deliveries.slice(next);
    if (surplus.length === 0) return;
    if (this.#lease === undefined) await this.#receiver.restore(this.#queue, surplus);
    else await this.#leases.settle(this.#queue, surplus.map((delivery) => delivery.receipt), "untried", 0);
  }

  #sleep(pause: number): Promise<void> {
    const signal = this.#abort.signal;
    return new Promise((resolve) => {
      const stop = this.#timers.after(pause, resolve);
      signal.addEventListener("abort", () => {
        stop();
        resolve();
      }, { once: true });
    });
  }
}
