/**
 * Leased items, and the milliseconds of leases.
 *
 * @module
 */
import { type MessageHeaders, userHeaders } from "../codec/headers.ts";
import { ClosedError, closedWhile } from "../errors.ts";
import { type OptionChecks, optionNames, refuseUnknown } from "../internal/arguments.ts";
import type { LeaseWatch } from "../port/lost_leases.ts";
import type { Outcome } from "../provider/provider.ts";
import type { Deliveries, Opened } from "./deliveries.ts";

/** The default lease in milliseconds. */
const LEASE = 30_000;

/** The names of the options of `nack`. */
const NACK = optionNames<{ delay?: number }>({ delay: true });

/** A leased item. It is redelivered unless it is acknowledged. `await using` gives it back if it is not settled. */
export interface Lease<T> extends AsyncDisposable {
  /** The item. */
  readonly item: T;
  /**
   * The number of this attempt: 1 plus the number of handlers that have started with this item before. The count may lack a handler that
   * killed its process immediately.
   */
  readonly attempt: number;
  /** The headers of the item; empty if it has none. */
  readonly headers: MessageHeaders;
  /**
   * Aborts when the lease is lost before it is settled: another consumer may receive the item, so the handler should stop. The lease is
   * lost if it could not be extended in time, if the worker of the bus has died, if the handler has run longer than `handlerTimeout`, or
   * if the bus is closed: not when `close` begins, but when the time for handlers is over. The reason of the signal says which.
   */
  readonly signal: AbortSignal;
  /**
   * Removes the item for good. If it rejects "unavailable", the lease is not extended any more; `ack` can be tried again until `signal`
   * aborts.
   *
   * @throws {BusError} "lease_lost" when the lease had expired, so another consumer may have the item
   */
  ack(): Promise<void>;
  /**
   * Gives the item back to the head of the queue, after `delay` ms (default 0). Does nothing if the lease had expired.
   *
   * @throws {UnsupportedError} when the delay is longer than the transport supports; nothing was sent
   */
  nack(options?: { delay?: number }): Promise<void>;
}

/** A lease that knows whether it was settled. */
export interface Held<T> extends Lease<T> {
  /** The topic of an event that a pattern's group has stored. */
  readonly topic: string | undefined;
  readonly settled: boolean;
  /** Whether the lease has ended before it was settled, so that the item goes back without the holder. */
  readonly lost: boolean;
  /** Acknowledges the item, together with the next request. Repeats it while the transport is unavailable and the lease holds. */
  finish(): Promise<void>;
  /** Ends the lease for its holder, because the handler has timed out: the signal aborts, and the holder cannot settle the item. */
  expire(error: unknown): void;
}

/** The lease of an item, for its holder. */
export class HeldLease<T> implements Held<T> {
  readonly item: T;
  readonly topic: string | undefined;
  readonly attempt: number;
  readonly headers: MessageHeaders;
  readonly #deliveries: Deliveries;
  readonly #delivery: Opened;
  readonly #watch: LeaseWatch;
  #settling: { readonly outcome: Outcome; readonly done: Promise<boolean> } | undefined;
  /** Whether the holder has settled the item, or tried to. */
  #tried = false;
  /** The reason why the lease ended for its holder, if it is known. */
  #expired: unknown;

  /** Creates the lease of a delivery whose item was read. */
  constructor(deliveries: Deliveries, delivery: Opened, item: T) {
    this.item = item;
    this.topic = delivery.topic;
    this.attempt = delivery.attempt;
    this.headers = userHeaders(delivery.headers);
    this.#deliveries = deliveries;
    this.#delivery = delivery;
    this.#watch = delivery.watch;
  }

  get signal(): AbortSignal {
    return this.#watch.signal;
  }

  get settled(): boolean {
    return this.#settling !== undefined;
  }

  get lost(): boolean {
    return !this.#settling && this.#watch.signal.aborted;
  }

  // a handler may take these functions off the lease: `(item, { ack }) => ack()`
  get ack(): () => Promise<void> {
    return () => this.#ack(false);
  }

  get nack(): (options?: { delay?: number }) => Promise<void> {
    return (options) => this.#nack(options);
  }

  finish(): Promise<void> {
    return this.#ack(true);
  }

  expire(error: unknown): void {
    this.#expired = error;
    this.#tried = true;
    this.#settling ??= { outcome: "untried", done: Promise.resolve(false) };
    this.#delivery.watch = this.#watch.take(error);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // settling has already rejected with the reason: a second failure must not hide the first
    if (!this.#tried) await this.#nack();
  }

  async #ack(finish: boolean): Promise<void> {
    if (!await this.#settle("ack", 0, finish)) throw this.#leases.reason(this.#deliveries.queue, this.#expired);
  }

  async #nack(options: { delay?: number } = {}): Promise<void> {
    const { core, queue } = this.#deliveries;
    const check = refuseUnknown(options, NACK, "give back an item of queue", "", queue);
    await this.#settle("nack", check.delay("delay", options.delay ?? 0, core.features.maxDelay), false);
  }

  /** Settles the item. Resolves with false if the lease was lost, or another outcome came before. */
  async #settle(outcome: Outcome, delay: number, finish: boolean): Promise<boolean> {
    if (this.#settling) return this.#settling.outcome === outcome && await this.#settling.done;
    this.#tried = true;
    const { queue } = this.#deliveries;
    const done = this.#request(outcome, delay, finish);
    this.#settling = { outcome, done };
    try {
      const valid = await done;
      if (!valid) this.#watch.end(this.#leases.reason(queue));
      return valid;
    } catch (error) {
      this.#settling = undefined; // so that the user can settle it again
      throw closedWhile(`${outcome === "ack" ? "acknowledge" : "give back"} an item of queue "${queue}"`, error);
    }
  }

  #request(outcome: Outcome, delay: number, finish: boolean): Promise<boolean> {
    // a closing bus has given it back
    if (outcome === "ack" && this.#leases.closing && this.#watch.signal.aborted) {
      return Promise.reject(new ClosedError());
    }
    if (finish) return this.#deliveries.settleWhileHeld(this.#delivery, outcome, delay, true);
    return this.#deliveries.settle(this.#delivery, outcome, delay);
  }

  get #leases(): Deliveries["core"]["link"]["leases"] {
    return this.#deliveries.core.link.leases;
  }
}

/** Checks the milliseconds of a lease, and returns them or the default. */
export function leaseOf(check: OptionChecks, lease: number | undefined): number {
  if (lease === Infinity) {
    throw check.fault("lease", "must not be Infinity: then an item would not be redelivered if its consumer died");
  }
  return check.time("lease", lease ?? LEASE, 1);
}
