/**
 * The items of failed attempts: they are retried after a delay, or become dead letters.
 *
 * @module
 */
import { BusError, ValidationError } from "../errors.ts";
import type { ErrorContext } from "../events.ts";
import { causesOf, isA, isAbort } from "../internal/thrown.ts";
import { attemptsOf, type Deliveries, type Opened } from "./deliveries.ts";
import type { Held } from "./lease.ts";

/** Settles an item after its attempt. */
export type Settle = () => Promise<unknown>;

/** Settles nothing: the item was settled, or its lease was lost. */
export const NOTHING: Settle = () => Promise.resolve();

/** Decides about the items of a consumer whose attempts have failed, and reports the errors. */
export class FailedAttempts {
  readonly #deliveries: Deliveries;
  readonly #maxAttempts: number;
  readonly #deadLetter: string;
  readonly #delayOf: (attempt: number) => number;

  /** Creates it for a consumer. `delayOf` returns the milliseconds before the item of the failed attempt of this number is retried. */
  constructor(
    deliveries: Deliveries,
    maxAttempts: number,
    deadLetter: string,
    delayOf: (attempt: number) => number,
  ) {
    this.#deliveries = deliveries;
    this.#maxAttempts = maxAttempts;
    this.#deadLetter = deadLetter;
    this.#delayOf = delayOf;
  }

  /** Reports a failed attempt, and returns what settles its item. Without a lease, no handler has started. */
  settle(delivery: Opened, readable: boolean, error: unknown, held?: Held<unknown>): Settle {
    if (held?.lost) return () => this.#lost(delivery, readable, error, held.signal.reason);
    const exhausted = delivery.attempt >= this.#maxAttempts || (!held && isA(error, ValidationError));
    if (exhausted) return this.#dead(delivery, readable, error);
    try {
      const delay = this.#delayOf(delivery.attempt);
      this.report(delivery, error, !readable, { next: "retry", delay });
      return this.#leavingErrors(() => this.#deliveries.settleWhileHeld(delivery, "nack", delay));
    } catch (why) { // the function `backoff` threw
      this.report(delivery, error, !readable);
      return () => Promise.reject(why);
    }
  }

  /**
   * Returns what dead-letters an item that comes again, though it has no further attempts. The item is read for its dead letter. If its last
   * process died, that may end this process too, so it is recorded like an attempt, and the item is not read again after it.
   */
  async exhausted(delivery: Opened, closing: AbortSignal): Promise<Settle> {
    const text = `Cannot handle an item of queue "${this.#deliveries.queue}" again: attempt ${attemptsOf(delivery)} ` +
      "was its last, and the process of that attempt died, gave the item back, or could not acknowledge it";
    if (delivery.unconfirmed) {
      if (delivery.attempt > this.#maxAttempts + 1) return this.#dead(delivery, false, new Error(text));
      if (!await this.#deliveries.startReading(delivery)) return NOTHING;
    }
    try {
      await this.#deliveries.readOpened(delivery);
    } catch (error) {
      return this.settle(delivery, false, error);
    }
    return closing.aborted ? this.untried(delivery) : this.#dead(delivery, true, new Error(text));
  }

  /** Returns what gives back an item whose handler has not started. */
  untried(delivery: Opened): Settle {
    return this.#leavingErrors(() => this.#deliveries.settle(delivery, "untried"));
  }

  /** Reports that an item could be neither acknowledged nor given back nor dead-lettered, and gives it back later. */
  async unsettled(delivery: Opened, error: unknown, readable = true): Promise<void> {
    await this.#deliveries.giveBack(delivery, error, this.#next(delivery, readable));
  }

  /** Reports the error of an attempt. `rejected` is that of `Core.report`. */
  report(delivery: Opened, error: unknown, rejected: boolean, more: ErrorContext = {}): void {
    const attempt = attemptsOf(delivery);
    this.#deliveries.report(delivery, error, rejected, { verb: "consume", attempt, ...more });
  }

  /** Reports the error of an item that has no further attempts, and moves the item to the dead-letter queue. */
  #dead(delivery: Opened, readable: boolean, error: unknown): Settle {
    return async () => {
      let begun = false;
      const begin = () => {
        begun = true;
        this.report(delivery, error, !readable, { next: "dead-letter" });
      };
      try {
        await this.#deliveries.moveToDeadLetters(delivery, readable, error, this.#deadLetter, begin);
      } catch (why) {
        if (begun) await this.unsettled(delivery, why, readable);
        else await this.#lost(delivery, readable, error);
      }
    };
  }

  /**
   * Handles the error of an attempt that has lost its lease. The item has not failed, because another consumer may have it. A handler that
   * ended because of that, or because the bus is closed, is reported with the reason why the lease ended.
   */
  async #lost(delivery: Opened, readable: boolean, error: unknown, reason?: unknown): Promise<void> {
    const closed = (cause: unknown) =>
      isA(cause, BusError) && (cause.code === "closed" || cause.code === "not_initialized");
    const interrupted = reason !== undefined &&
      (isAbort(error, reason) || closed(reason) && causesOf(error).some(closed));
    this.report(delivery, interrupted ? reason : error, !readable, { next: this.#next(delivery, readable) });
    await this.#deliveries.release(delivery, true);
  }

  /** Returns what becomes of an item that was neither acknowledged nor dead-lettered, as far as a consumer like this one decides about it. */
  #next(delivery: Opened, readable: boolean): ErrorContext["next"] {
    const { durable, exactAttempts } = this.#deliveries.core.features;
    if (!durable && delivery.watch.orphaned) return "drop"; // the queue was lost with its worker
    const exhausted = exactAttempts && attemptsOf(delivery) >= this.#maxAttempts;
    return exhausted || !readable ? "dead-letter" : "retry";
  }

  /** Settles an item. A closing bus gives back all its items itself, so a failure is ignored then. */
  #leavingErrors(settle: Settle): Settle {
    return () =>
      settle().catch((error) => {
        if (!this.#deliveries.core.link.leases.closing) throw error;
      });
  }
}
