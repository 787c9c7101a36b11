/**
 * The leases that this worker holds. It extends each lease until it is settled. When it closes, it gives back the items that are not
 * settled; an attempt counts only if a handler has started.
 *
 * @module
 */
import type { Delivery, Outcome, Receiver } from "../provider/provider.ts";
import type { Timers } from "./timers.ts";

/** Extends every held lease after a third of its time, in one call for each queue. */
export class Leases {
  #receiver: Receiver;
  #timers: Timers;
  /** Milliseconds of the lease → queue → receipt → whether its handler has started. */
  #held = new Map<number, Map<string, Map<string, boolean>>>();
  /** Milliseconds of the lease → cancels the timer of the next extension. */
  #stops = new Map<number, () => void>();

  /** Creates an empty list of leases of this receiver. */
  constructor(receiver: Receiver, timers: Timers) {
    this.#receiver = receiver;
    this.#timers = timers;
  }

  /** Begins to extend these leases. */
  hold(queue: string, lease: number, deliveries: readonly Delivery[]): void {
    let queues = this.#held.get(lease);
    if (!queues) {
      this.#held.set(lease, queues = new Map());
      this.#extendLater(lease);
    }
    let receipts = queues.get(queue);
    if (!receipts) queues.set(queue, receipts = new Map());
    for (const delivery of deliveries) receipts.set(delivery.receipt, false);
  }

  /** Records that the handlers of leases start. Resolves with true for each lease that was still valid. */
  start(queue: string, receipts: string[]): Promise<boolean[]> {
    for (const queues of this.#held.values()) {
      const held = queues.get(queue);
      for (const receipt of receipts) if (held?.has(receipt)) held.set(receipt, true);
    }
    return this.#receiver.start(queue, receipts);
  }

  /** Settles leases. Resolves with true for each lease that was still valid. */
  settle(queue: string, receipts: string[], outcome: Outcome, delay: number): Promise<boolean[]> {
    this.#forget(queue, receipts);
    return this.#receiver.settle(queue, receipts, outcome, delay);
  }

  /** Gives back the items of all leases that are not settled. Resolves with the number of these items. */
  async close(): Promise<number> {
    for (const stop of this.#stops.values()) stop();
    this.#stops.clear();
    const held = [...this.#held.values()].flatMap((queues) => [...queues]);
    this.#held.clear();
    // items with a started handler are older, so they are given back last, to the head of the queue
    const settled = await Promise.allSettled(
      held.flatMap(([queue, receipts]) =>
        ([["untried", false], ["nack", true]] as const).flatMap(([outcome, started]) => {
          const some = [...receipts.keys()].filter((receipt) => receipts.get(receipt) === started);
          return some.length > 0 ? [this.#receiver.settle(queue, some, outcome, 0)] : [];
        })
      ),
    );
    return settled.flatMap((result) => result.status === "fulfilled" ? result.value.filter(Boolean) : []).length;
  }

  #forget(queue: string, receipts: Iterable<string>): void {
    for (const [lease, queues] of this.#held) {
      const held = queues.get(queue);
      if (!held) continue;
      for (const receipt of receipts) held.delete(receipt);
      if (held.size > 0) continue;
      queues.delete(queue);
      if (queues.size > 0) continue;
      this.#held.delete(lease);
      this.#stops.get(lease)?.();
      this.#stops.delete(lease);
    }
  }

  #extendLater(lease: number): void {
    this.#stops.set(lease, this.#timers.after(Math.max(1, Math.floor(lease / 3)), () => this.#extend(lease)));
  }

  #extend(lease: number): void {
    this.#extendLater(lease);
    for (const [queue, held] of this.#held.get(lease) ?? []) {
      const receipts = [...held.keys()];
      // the next extension retries a failed one; settle() reports a lost lease
      this.#receiver.extend(queue, receipts, lease).then(
        (kept) => this.#forget(queue, receipts.filter((_, i) => kept[i] === false)),
        () => {},
      );
    }
  }
}
