/** One queue of the broker. @module */
import { QueueFullError } from "../../errors.ts";
import { Fifo } from "../../internal/fifo.ts";
import { after } from "../../internal/time.ts";
import type { Delivery, Outcome, ReceiveOptions } from "../../provider/provider.ts";

interface Item {
  readonly body: string;
  /** The number of recorded attempts. */
  starts: number;
  /** Whether its last lease expired. */
  unconfirmed: boolean;
}

interface Leased {
  readonly item: Item;
  started: boolean;
  /** When the lease or the delay ends, in milliseconds of `performance.now()`. */
  due: number;
}

interface Taker {
  readonly options: ReceiveOptions;
  resolve(deliveries: Delivery[]): void;
}

interface Putter {
  readonly id: string;
  readonly body: string;
  resolve(put: boolean): void;
}

/** Makes the receipts of this broker unique, so that a receipt of another broker or of a dropped queue matches no item. */
const BROKER = crypto.randomUUID();
let lastReceipt = 0;

/** A queue of the broker: its items and leases, waiting receives, and puts that wait for room. */
export class MemoryQueue {
  #name: string;
  #capacity: number;
  #items = new Fifo<Item>();
  /** Items that were given back to the head. The last one is the next. */
  #returned: Item[] = [];
  #leased = new Map<string, Leased>();
  #delayed = new Set<Leased>();
  #takers = new Set<Taker>();
  #putters = new Fifo<Putter>();
  #stop = () => {};

  /** Creates an empty queue for at most `capacity` waiting items. */
  constructor(name: string, capacity: number) {
    this.#name = name;
    this.#capacity = capacity;
  }

  /** The number of waiting items. */
  get size(): number {
    return this.#items.length + this.#returned.length;
  }

  /** Whether the queue has no item and no waiting call, so that it can be removed. */
  get idle(): boolean {
    return this.size + this.#leased.size + this.#delayed.size + this.#takers.size + this.#putters.length === 0;
  }

  /** Puts an item. Resolves with false if it was cancelled. Rejects with `QueueFullError` if there was no room in time. */
  put(id: string, body: string, wait: number): true | Promise<boolean> {
    if (this.size < this.#capacity && this.#putters.length === 0) {
      this.#items.push({ body, starts: 0, unconfirmed: false });
      this.#serve();
      return true;
    }
    if (wait <= 0) throw new QueueFullError(this.#name);
    const { promise, resolve, reject } = Promise.withResolvers<boolean>();
    const putter: Putter = { id, body, resolve };
    this.#putters.push(putter);
    const stop = after(wait, () => {
      if (this.#putters.remove(putter)) reject(new QueueFullError(this.#name));
    });
    return promise.finally(stop);
  }

  /** Cancels the waiting put with this id or, with `all`, those whose ids begin with it. */
  unput(id: string, all = false): void {
    const kept = this.#putters.drain();
    for (const putter of kept) {
      if (all ? putter.id.startsWith(id) : putter.id === id) putter.resolve(false);
      else this.#putters.push(putter);
    }
  }

  /** Takes items, or waits for the first. */
  take(options: ReceiveOptions): Promise<Delivery[]> {
    if (this.size > 0 || options.wait <= 0 || options.signal.aborted) return Promise.resolve(this.#pop(options));
    return new Promise((resolve) => {
      const end = () => {
        stop();
        options.signal.removeEventListener("abort", giveUp);
        this.#takers.delete(taker);
      };
      const giveUp = () => {
        end();
        resolve([]);
      };
      const stop = after(options.wait, giveUp);
      options.signal.addEventListener("abort", giveUp, { once: true });
      const taker: Taker = {
        options,
        resolve: (deliveries) => {
          end();
          resolve(deliveries);
        },
      };
      this.#takers.add(taker);
    });
  }

  /** Puts items back to the head, in their order. */
  restore(deliveries: readonly Delivery[]): void {
    for (const { body, attempt, unconfirmed = false } of deliveries.toReversed()) {
      this.#returned.push({ body, starts: attempt - 1, unconfirmed });
    }
    this.#serve();
  }

  /** Records starts; true for each lease that still held. */
  start(receipts: readonly string[]): boolean[] {
    return receipts.map((receipt) => {
      const leased = this.#leased.get(receipt);
      if (leased) leased.started = true;
      return leased !== undefined;
    });
  }

  /** Settles leases; true for each that still held. */
  settle(receipts: readonly string[], outcome: Outcome, delay: number): boolean[] {
    // the last item first, so that they are at the head in their order
    const held = receipts.toReversed().map((receipt) => {
      const leased = this.#leased.get(receipt);
      if (!leased) return false;
      this.#leased.delete(receipt);
      if (outcome === "ack") return true;
      if (outcome === "nack") count(leased.item);
      if (delay > 0) this.#delayed.add({ ...leased, due: performance.now() + delay });
      else this.#returned.push(leased.item);
      return true;
    });
    this.#serve();
    this.#schedule();
    return held.reverse();
  }

  /** Extends leases from now. */
  extend(receipts: readonly string[], lease: number): boolean[] {
    return receipts.map((receipt) => {
      const leased = this.#leased.get(receipt);
      if (leased) leased.due = performance.now() + lease;
      return leased !== undefined;
    });
  }

  /** Removes all items. Waiting puts get their room. */
  clear(): void {
    this.#items.drain();
    this.#returned = [];
    this.#leased.clear();
    this.#delayed.clear();
    this.#stop();
    this.#serve();
  }

  #pop({ max, lease }: ReceiveOptions): Delivery[] {
    const deliveries: Delivery[] = [];
    while (deliveries.length < max) {
      const item = this.#returned.pop() ?? this.#items.shift();
      if (!item) break;
      let receipt = "";
      if (lease !== undefined) {
        receipt = `${BROKER}:${++lastReceipt}`;
        this.#leased.set(receipt, { item, started: false, due: performance.now() + lease });
      }
      const { body, starts, unconfirmed } = item;
      deliveries.push({ receipt, body, attempt: starts + 1, ...unconfirmed && { unconfirmed } });
    }
    if (lease !== undefined && deliveries.length > 0) this.#schedule();
    this.#admit();
    return deliveries;
  }

  #serve(): void {
    this.#admit();
    for (const taker of this.#takers) {
      if (this.size === 0) return;
      taker.resolve(this.#pop(taker.options));
    }
  }

  #admit(): void {
    while (this.size < this.#capacity) {
      const putter = this.#putters.shift();
      if (!putter) return;
      this.#items.push({ body: putter.body, starts: 0, unconfirmed: false });
      putter.resolve(true);
    }
  }

  /** Sets one timer for the next lease or delay that ends. */
  #schedule(): void {
    this.#stop();
    let next = Infinity;
    for (const { due } of this.#leased.values()) next = Math.min(next, due);
    for (const { due } of this.#delayed) next = Math.min(next, due);
    this.#stop = after(Math.max(0, next - performance.now()), () => this.#return());
  }

  #return(): void {
    const now = performance.now();
    for (const [receipt, leased] of [...this.#leased].reverse()) {
      if (leased.due > now) continue;
      this.#leased.delete(receipt);
      if (leased.started) count(leased.item);
      leased.item.unconfirmed = true;
      this.#returned.push(leased.item);
    }
    for (const delayed of this.#delayed) {
      if (delayed.due > now) continue;
      this.#delayed.delete(delayed);
      this.#returned.push(delayed.item);
    }
    this.#serve();
    this.#schedule();
  }
}

/** One attempt was made. */
function count(item: Item): void {
  item.starts++;
  item.unconfirmed = false;
}
