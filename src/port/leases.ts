/**
 * The leases that this worker holds. It extends each lease until it is settled. When it closes, it gives back the items that are not
 * settled; an attempt counts only if a handler has started.
 *
 * @module
 */
import { TextMap } from "../internal/text_map.ts";
import type { Delivery, Outcome, Receiver } from "../provider/provider.ts";
import type { Timers } from "./timers.ts";

/** A held lease. */
interface Held {
  /** Whether its handler has started. */
  started: boolean;
  /** The end of the lease, unless it is extended, in milliseconds of `performance.now()`. */
  until: number;
}

/** Extends every held lease after a third of its time, in one call for each queue. */
export class Leases {
  #receiver: Receiver;
  #timers: Timers;
  #lost: (queue: string, receipts: string[]) => void;
  /** Milliseconds of the lease → queue → receipt → the lease. */
  #held = new Map<number, Map<string, TextMap<Held>>>();
  /** Milliseconds of the lease → cancels the timer of the next extension. */
  #stops = new Map<number, () => void>();
  /** The functions that cancel the timers of leases that could not be settled. */
  #unsettled = new Set<() => void>();

  /** Creates an empty list of leases of this receiver. It calls `lost` with leases that ended before they were settled. */
  constructor(receiver: Receiver, timers: Timers, lost: (queue: string, receipts: string[]) => void) {
    this.#receiver = receiver;
    this.#timers = timers;
    this.#lost = lost;
  }

  /** Begins to extend these leases. */
  hold(queue: string, lease: number, deliveries: readonly Delivery[]): void {
    let queues = this.#held.get(lease);
    if (!queues) {
      this.#held.set(lease, queues = new Map());
      this.#extendLater(lease);
    }
    let receipts = queues.get(queue);
    if (!receipts) queues.set(queue, receipts = new TextMap());
    const until = performance.now() + lease;
    for (const { receipt } of deliveries) receipts.set(receipt, { started: false, until });
  }

  /** Records that the handlers of leases start. Resolves with true for each lease that was still valid. */
  start(queue: string, receipts: string[]): Promise<boolean[]> {
    for (const queues of this.#held.values()) {
      const held = queues.get(queue);
      for (const receipt of receipts) {
        const lease = held?.get(receipt);
        if (lease) lease.started = true;
      }
    }
    return this.#receiver.start(queue, receipts);
  }

  /**
   * Settles leases. Resolves with true for each lease that was still valid. If it rejects, the leases are not extended any more, and are
   * reported as lost when they end.
   */
  async settle(queue: string, receipts: string[], outcome: Outcome, delay: number): Promise<boolean[]> {
    const ends = this.#forget(queue, receipts);
    try {
      return await this.#receiver.settle(queue, receipts, outcome, delay);
    } catch (error) {
      // without an end, it was tried before
      if (ends.length > 0) this.#loseAt(ends.reduce((a, b) => Math.max(a, b)), queue, receipts);
      throw error;
    }
  }

  /** Gives back the items of all leases that are not settled. Resolves with the number of these items. */
  async close(): Promise<number> {
    const held = [...this.#held.values()].flatMap((queues) => [...queues]);
    this.stop();
    for (const [queue, receipts] of held) this.#lost(queue, [...receipts.keys()]);
    // items with a started handler are older, so they are given back last, to the head of the queue
    const settled = await Promise.allSettled(
      held.flatMap(([queue, receipts]) =>
        ([["untried", false], ["nack", true]] as const).flatMap(([outcome, started]) => {
          const some = [...receipts.keys()].filter((receipt) => receipts.get(receipt)!.started === started);
          return some.length > 0 ? [this.#receiver.settle(queue, some, outcome, 0)] : [];
        })
      ),
    );
    return settled.flatMap((result) => result.status === "fulfilled" ? result.value.filter(Boolean) : []).length;
  }

  /** Forgets all leases, so that they expire. */
  stop(): void {
    for (const stop of this.#stops.values()) stop();
    for (const stop of this.#unsettled) stop();
    this.#stops.clear();
    this.#unsettled.clear();
    this.#held.clear();
  }

  /** Stops extending leases. Returns the times at which they end. */
  #forget(queue: string, receipts: Iterable<string>): number[] {
    const ends: number[] = [];
    for (const [lease, queues] of this.#held) {
      const held = queues.get(queue);
      if (!held) continue;
      for (const receipt of receipts) {
        const forgotten = held.get(receipt);
        if (forgotten && held.delete(receipt)) ends.push(forgotten.until);
      }
      if (held.size > 0) continue;
      queues.delete(queue);
      if (queues.size > 0) continue;
      this.#held.delete(lease);
      this.#stops.get(lease)?.();
      this.#stops.delete(lease);
    }
    return ends;
  }

  #loseAt(time: number, queue: string, receipts: string[]): void {
    const stop = this.#timers.after(Math.max(0, time - performance.now()), () => {
      this.#unsettled.delete(stop);
      this.#lost(queue, receipts);
    });
    this.#unsettled.add(stop);
  }

  #extendLater(lease: number): void {
    this.#stops.set(lease, this.#timers.after(Math.max(1, Math.floor(lease / 3)), () => this.#extend(lease)));
  }

  #extend(lease: number): void {
    this.#extendLater(lease);
    for (const [queue, held] of this.#held.get(lease) ?? []) {
      const receipts = [...held.keys()];
      const until = performance.now() + lease;
      this.#receiver.extend(queue, receipts, lease).then(
        (kept) => {
          const lost = receipts.filter((receipt, i) => kept[i] === false && held.has(receipt));
          for (const receipt of receipts) {
            const extended = held.get(receipt);
            if (extended) extended.until = until;
          }
          this.#forget(queue, lost);
          if (lost.length > 0) this.#lost(queue, lost);
        },
        // the next extension retries it; until then, another consumer may receive an item whose lease has ended
        () => {
          const now = performance.now();
          const ended = receipts.filter((receipt) => held.has(receipt) && held.get(receipt)!.until <= now);
          if (ended.length > 0) this.#lost(queue, ended);
        },
      );
    }
  }
}
