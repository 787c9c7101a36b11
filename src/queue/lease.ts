/**
 * The interface of a leased item, and the milliseconds of leases.
 *
 * @module
 */
import type { MessageHeaders } from "../codec/headers.ts";
import type { OptionChecks } from "../internal/arguments.ts";

/** The default lease in milliseconds. */
const LEASE = 30_000;

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

/** Checks the milliseconds of a lease, and returns them or the default. */
export function leaseOf(check: OptionChecks, lease: number | undefined): number {
  if (lease === Infinity) {
    throw check.fault("lease", "must not be Infinity: then an item would not be redelivered if its consumer died");
  }
  return check.time("lease", lease ?? LEASE, 1);
}
