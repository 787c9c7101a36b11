/**
 * The gets that wait for items of one queue. One call to the receiver at a time serves all of them.
 *
 * @module
 */
import { type BusError, ClosedError, isUnavailable, ProviderError } from "../errors.ts";
import { textOf } from "../internal/thrown.ts";
import { backoff, RETRY } from "../internal/time.ts";
import type { Delivery, Receiver } from "../provider/provider.ts";
import type { Leases } from "./leases.ts";
import type { Timers } from "./timers.ts";

/** The longest wait of one call to the receiver, in milliseconds. The call is repeated while gets wait. */
const MAX_WAIT = 10_000;

interface Waiter {
  readonly id: number;
  readonly max: number;
  /** The time at which this get times out, by `performance.now()`. */
  readonly deadline: number;
  /** True for a get that does not wait: it ends after one call to the receiver. */
  readonly now: boolean;
  /** Stops the timer that ends this get. */
  stop?: () => void;
  resolve(deliveries: Delivery[]): void;
  reject(error: unknown): void;
}

/** The gets that wait for items of one queue, all with the same length of lease, in order. */
export class Intake {
  #receiver: Receiver;
  #leases: Leases;
  #timers: Timers;
  #queue: string;
  #lease: number | undefined;
  #idle: () => void;
  #outage: () => unknown;
  /** The error of the last call to the receiver, if it failed because the transport was unreachable, until the next call begins. */
  #unavailable: BusError | undefined;
  #waiters: Waiter[] = [];
  #abort = new AbortController();
  #running: Promise<void> | undefined;
  /** Whether the running call to the receiver waits for items, or its next call waits for a pause. */
  #waits = false;
  #closed = false;

  /**
   * Creates an intake without gets. It calls `idle` when no get waits any more. `outage` returns why the transport is unreachable now;
   * undefined if it is reachable.
   */
  constructor(
    receiver: Receiver,
    leases: Leases,
    timers: Timers,
    queue: string,
    lease: number | undefined,
    idle: () => void,
    outage: () => unknown = () => undefined,
  ) {
    this.#receiver = receiver;
    this.#leases = leases;
    this.#timers = timers;
    this.#queue = queue;
    this.#lease = lease;
    this.#idle = idle;
    this.#outage = outage;
  }

  /**
   * Resolves with 1 to `max` items, or with none when `wait` ms have passed or the get was cancelled. If the transport is unreachable when
   * they have passed, it rejects, because the queue may have items.
   */
  take(id: number, max: number, wait: number): Promise<Delivery[]> {
    if (this.#closed) return Promise.reject(new ClosedError());
    const { promise, resolve, reject } = Promise.withResolvers<Delivery[]>();
    const now = wait <= 0;
    const waiter: Waiter = { id, max, now, deadline: performance.now() + wait, resolve, reject };
    if (!now && wait < Infinity) waiter.stop = this.#timers.after(wait, () => this.#expire(waiter));
    this.#waiters.push(waiter);
    // a get that does not wait must not queue behind a call that waits; another call would return no items if it was cancelled
    if (now && this.#waits) this.#abort.abort();
    this.#running ??= this.#run();
    return promise;
  }

  /** Cancels one get. Items that arrive for it go to the other gets, or back to the queue. */
  cancel(id: number): void {
    const waiter = this.#waiters.find((waiter) => waiter.id === id);
    if (!waiter || waiter.now) return;
    this.#serve(waiter, []);
    if (this.#waiters.length === 0) this.#abort.abort();
  }

  /** Rejects all gets with a `ClosedError`, and gives back items that arrive later. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const waiter of this.#waiters.splice(0)) this.#fail(waiter, new ClosedError());
    this.#abort.abort();
    await this.#running;
  }

  #expire(waiter: Waiter): void {
    const outage = this.#outage();
    if (outage === undefined && !this.#unavailable) return this.cancel(waiter.id);
    // the error of a connection names another operation
    const text = textOf(outage).replace(/^Cannot [^:"]*: /, "");
    const verb = this.#lease === undefined ? "get" : "receive";
    const error = this.#unavailable ??
      new ProviderError("unavailable", `Cannot ${verb} from queue "${this.#queue}": ${text}`, { cause: outage });
    this.#remove(waiter);
    this.#fail(waiter, error);
    if (this.#waiters.length === 0) this.#abort.abort();
  }

  #remove(waiter: Waiter): void {
    const index = this.#waiters.indexOf(waiter);
    if (index >= 0) this.#waiters.splice(index, 1);
  }

  #serve(waiter: Waiter, deliveries: Delivery[]): void {
    waiter.stop?.();
    this.#remove(waiter);
    waiter.resolve(deliveries);
  }

  #fail(waiter: Waiter, error: unknown): void {
    waiter.stop?.();
    waiter.reject(error);
  }

  async #run(): Promise<void> {
    let failures = 0;
    await undefined; // the gets that arrive together share a call; otherwise the first one would have a call of its own
    while (this.#waiters.length > 0) {
      this.#abort = new AbortController();
      this.#unavailable = undefined; // a call that waits has reached the transport, unless there is an outage
      const immediate = this.#waiters.filter((waiter) => waiter.now);
      try {
        await this.#distribute(await this.#receive(immediate.length > 0));
        for (const waiter of immediate) if (this.#waiters.includes(waiter)) this.#serve(waiter, []);
        failures = 0;
      } catch (error) {
        const unavailable = isUnavailable(error);
        this.#unavailable = unavailable ? error : undefined;
        // gets with a wait continue to wait while the transport is unreachable; all others reject
        const failed = this.#waiters.filter((waiter) => waiter.now || !unavailable);
        this.#waiters = this.#waiters.filter((waiter) => !failed.includes(waiter));
        for (const waiter of failed) this.#fail(waiter, error);
        failures++;
        if (this.#waiters.length > 0) await this.#pause(backoff(RETRY.send, failures));
      }
    }
    this.#running = undefined;
    this.#idle();
  }

  #receive(now: boolean): Promise<Delivery[]> {
    this.#waits = !now;
    let max = 0;
    let deadline = 0;
    for (const waiter of this.#waiters) {
      max += waiter.max;
      deadline = Math.max(deadline, waiter.deadline);
    }
    const wait = now ? 0 : Math.max(1, Math.min(MAX_WAIT, deadline - performance.now()));
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

  /** Pauses with this worker's timers, so that a receiver that sleeps outside its event loop wakes in time. */
  #pause(ms: number): Promise<void> {
    this.#waits = true;
    const signal = this.#abort.signal;
    return new Promise((resolve) => {
      const stop = this.#timers.after(ms, resolve);
      signal.addEventListener("abort", () => {
        stop();
        resolve();
      }, { once: true });
    });
  }
}
