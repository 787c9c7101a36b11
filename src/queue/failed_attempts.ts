/**
 * The items of failed attempts: they are retried after a delay, or become dead letters.
 *
 * @module
 */
import { BusError, ValidationError } from "../errors.ts";
import type { ErrorContext } from "../events.ts";
import { causesOf, isA, isAbort } from "../internal/thrown.ts";
import { attemptsOf, type Deliveries, type Opened, REDELIVERY_DELAY } from "./deliveries.ts";
import type { Held } from "./lease.ts";

/** Settles an item after its attempt. */
export type Settle = () => Promise<unknown>;

/** Settles nothing: the item was settled, or its lease was lost. */
export const NOTHING: Settle = () => Promise.resolve();

/** Returns the milliseconds before the item of a failed attempt is retried; `Infinity` if it is not. */
export type DelayOf = (attempt: number, error: unknown) => number;

/** Decides about the items of a consumer whose attempts have failed, and reports the errors. */
export class FailedAttempts {
  readonly #deliveries: Deliveries;
  readonly #maxAttempts: number;
  readonly #deadLetter: string;
  readonly #delayOf: DelayOf;

  /** Creates it for a consumer. */
  constructor(
    deliveries: Deliveries,
    maxAttempts: number,
    deadLetter: string,
    delayOf: DelayOf,
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
    const delay = this.#delay(delivery, error);
    return delay === Infinity ? this.#dead(delivery, readable, error) : this.#retry(delivery, readable, error, delay);
  }

  /**
   * Returns what dead-letters an item that comes again, though it has no further attempts. The item is read for its dead letter. If its last
   * process died, that may end this process too, so it is recorded like an attempt, and the item is not read again after it.
   */
  async exhausted(delivery: Opened, closing: AbortSignal): Promise<Settle> {
    const text = `Cannot handle an item of queue "${this.#deliveries.queue}" again: attempt ${attemptsOf(delivery)} ` +
      "was its last, and the process of that attempt died, gave the item back, or could not acknowledge it";
    const error = new BusError("lease_lost", text);
    if (delivery.unconfirmed) {
      if (delivery.attempt > this.#maxAttempts + 1) return this.#dead(delivery, false, error);
      if (!await this.#deliveries.startReading(delivery)) return NOTHING;
    }
    try {
      await this.#deliveries.readOpened(delivery);
    } catch (unreadable) {
      return this.settle(delivery, false, unreadable);
    }
    return closing.aborted ? this.untried(delivery) : this.#dead(delivery, true, error);
  }

  /** Returns what gives back an item whose handler has not started. */
  untried(delivery: Opened): Settle {
    return this.#leavingErrors(() => this.#deliveries.settle(delivery, "untried"));
  }

  /** Reports that an item could be neither acknowledged nor given back nor dead-lettered, and gives it back later. */
  async unsettled(delivery: Opened, error: unknown): Promise<void> {
    const attempt = delivery.started ? delivery.attempt : undefined;
    await this.#deliveries.giveBack(delivery, error, { attempt, next: this.#next(delivery, true, error) });
  }

  /** Reports a further error of an attempt that was reported: without its number, so that each attempt is counted once. */
  reportFurther(delivery: Opened, error: unknown): void {
    this.#deliveries.report(delivery, error, false, { verb: this.#deliveries.verb });
  }

  /** Reports the error of an attempt. `rejected` is that of `Core.report`. */
  report(delivery: Opened, error: unknown, rejected: boolean, more: ErrorContext = {}): void {
    const attempt = attemptsOf(delivery);
    this.#deliveries.report(delivery, error, rejected, { verb: this.#deliveries.verb, attempt, ...more });
  }

  /** Returns the milliseconds before the next attempt; `Infinity` if there must be none. */
  #delay(delivery: Opened, error: unknown): number {
    try {
      return this.#delayOf(delivery.attempt, error);
    } catch (why) { // the function `backoff` threw
      this.reportFurther(delivery, why);
      return REDELIVERY_DELAY;
    }
  }

  /**
   * Gives back the item of a failed attempt, and reports the attempt with the first answer, which shows whether the lease still held: another
   * consumer may have finished the item while this process was frozen. In an outage, the report does not wait for its end.
   */
  #retry(delivery: Opened, readable: boolean, error: unknown, delay: number): Settle {
    const deliveries = this.#deliveries;
    const { leases } = deliveries.core.link;
    const report = (more: ErrorContext) => this.report(delivery, error, !readable, more);
    return async () => {
      try {
        const held = await deliveries.settle(delivery, "nack", delay);
        const next = () => this.#next(delivery, readable, leases.reason(deliveries.queue));
        return report(held ? { next: "retry", delay } : { next: next() });
      } catch {
        report({ next: "retry", delay: leases.closing ? undefined : delay });
      }
      await deliveries.settleWhileHeld(delivery, "nack", delay).catch(async (why) => {
        if (!leases.closing) await deliveries.giveBack(delivery, why, {});
      });
    };
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
        if (begun) await this.#deliveries.giveBack(delivery, why, {});
        else await this.#lost(delivery, readable, error, undefined, why);
      }
    };
  }

  /**
   * Handles the error of an attempt that has lost its lease. The item has not failed, because another consumer may have it. A handler that
   * ended because of that, or because the bus is closed, is reported with `reason`, which its signal has. `why` is why the lease ended.
   */
  async #lost(delivery: Opened, readable: boolean, error: unknown, reason?: unknown, why = reason): Promise<void> {
    const closed = (cause: unknown) =>
      isA(cause, BusError) && (cause.code === "closed" || cause.code === "not_initialized");
    const interrupted = reason !== undefined &&
      (isAbort(error, reason) || closed(reason) && causesOf(error).some(closed));
    this.report(delivery, interrupted ? reason : error, !readable, {
      next: this.#next(delivery, readable, why),
    });
    await this.#deliveries.release(delivery, true);
  }

  /**
   * Returns what becomes of an item that was neither acknowledged nor dead-lettered, as far as a consumer like this one decides about it;
   * undefined if the lease ended, for this reason, and another consumer may have finished the item.
   */
  #next(delivery: Opened, readable: boolean, why: unknown): ErrorContext["next"] {
    const { durable, exactAttempts } = this.#deliveries.core.features;
    const { orphaned } = delivery.watch;
    if (!durable && orphaned) return "drop"; // the queue was lost with its worker
    if (!orphaned && isA(why, BusError) && why.code === "lease_lost") return undefined;
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
