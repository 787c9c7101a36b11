/**
 * The leases that this worker holds: extended until they are settled, given back when the worker closes.
 *
 * @module
 */
import type { Delivery, Outcome, Receiver } from "../provider.ts";

/** Extends every held lease at a third of its time, in one call per queue. */
export class Leases {
  #receiver: Receiver;
  /** lease in ms → queue → receipts */
  #held = new Map<number, Map<string, Set<string>>>();
  #timers = new Map<number, ReturnType<typeof setInterval>>();

  /** The leases taken from this receiver. */
  constructor(receiver: Receiver) {
    this.#receiver = receiver;
  }

  /** Keeps these leases alive from now on. */
  hold(queue: string, lease: number, deliveries: readonly Delivery[]): void {
    let queues = this.#held.get(lease);
    if (!queues) {
      this.#held.set(lease, queues = new Map());
      this.#timers.set(lease, setInterval(() => this.#extend(lease), Math.max(1, Math.floor(lease / 3))));
    }
    let receipts = queues.get(queue);
    if (!receipts) queues.set(queue, receipts = new Set());
    for (const delivery of deliveries) receipts.add(delivery.receipt);
  }

  /** Settles leases; true for each that still held. */
  settle(queue: string, receipts: string[], outcome: Outcome, delay: number): Promise<boolean[]> {
    this.#forget(queue, receipts);
    return this.#receiver.settle(queue, receipts, outcome, delay);
  }

  /** Gives back what is still held; resolves with how many items went back. */
  async close(): Promise<number> {
    for (const timer of this.#timers.values()) clearInterval(timer);
    this.#timers.clear();
    const held = [...this.#held.values()].flatMap((queues) => [...queues]);
    this.#held.clear();
    const settled = await Promise.allSettled(
      held.map(([queue, receipts]) => this.#receiver.settle(queue, [...receipts], "nack", 0)),
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
      clearInterval(this.#timers.get(lease));
      this.#timers.delete(lease);
    }
  }

  #extend(lease: number): void {
    for (const [queue, held] of this.#held.get(lease) ?? []) {
      const receipts = [...held];
      // a failed extension is tried again at the next third; a lease that is lost is told to whoever settles it
      this.#receiver.extend(queue, receipts, lease).then(
        (kept) => this.#forget(queue, receipts.filter((_, i) => kept[i] === false)),
        () => {},
      );
    }
  }
}
