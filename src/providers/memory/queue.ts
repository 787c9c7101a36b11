/**
 * One queue of the in-memory broker.
 *
 * @module
 */
import { QueueFullError } from "../../errors.ts";
import { Fifo } from "../../internal/fifo.ts";
import { after } from "../../internal/time.ts";
import type { WaitingItem } from "../../provider/parts.ts";
import type { Delivery, Outcome, ReceiveOptions } from "../../provider/provider.ts";

interface Item {
  readonly body: string;
  /** The topic of an event that was stored for a binding. */
  readonly topic?: string;
  /** The number of recorded attempts. */
  starts: number;
  /** Whether the last lease of the item expired. */
  unconfirmed: boolean;
  /** The end of the item's last delay, in milliseconds of `performance.now()`. */
  due?: number;
}

interface Leased {
  readonly item: Item;
  started: boolean;
  /** The end of the lease, in milliseconds of `performance.now()`. */
  due: number;
}

interface Delayed {
  readonly item: Item;
  /** The end of the delay, in milliseconds of `performance.now()`. */
  readonly due: number;
}

/** A receive that waits for an item. */
interface WaitingReceive {
  readonly options: ReceiveOptions;
  resolve(deliveries: Delivery[]): void;
}

/** A put that waits for room. */
interface WaitingPut {
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
  /** Items that were given back to the head. The last one is taken first. */
  #returned: Item[] = [];
  /** Items whose delay has passed, the earliest first. They are taken before items without a delay. */
  #due = new Fifo<Item>();
  /** Items that were given back after their delay had passed. The last one is the earliest, so it is taken before all other items. */
  #returnedDue: Item[] = [];
  #leased = new Map<string, Leased>();
  /** Items that were put or given back with a delay, the earliest first. */
  #delayed: Delayed[] = [];
  #receives = new Set<WaitingReceive>();
  #puts = new Fifo<WaitingPut>();
  #stop = () => {};

  /** Creates an empty queue for at most `capacity` waiting items. */
  constructor(name: string, capacity: number) {
    this.#name = name;
    this.#capacity = capacity;
  }

  /** The number of waiting items. */
  get size(): number {
    return this.#returnedDue.length + this.#due.length + this.#items.length + this.#returned.length;
  }

  /** Whether the queue has no item and no waiting call, so that it can be removed. */
  get idle(): boolean {
    return this.size + this.#leased.size + this.#delayed.length + this.#receives.size + this.#puts.length === 0;
  }

  /** The numbers of waiting, leased and delayed items. */
  get stats(): { waiting: number; leased: number; delayed: number } {
    return { waiting: this.size, leased: this.#leased.size, delayed: this.#delayed.length };
  }

  /** Returns up to `limit` waiting items after the first `offset` ones. */
  peek(offset: number, limit: number): WaitingItem[] {
    const end = offset + limit;
    const returned = (items: readonly Item[]) => items.slice(-end).reverse();
    const due = [...returned(this.#returnedDue), ...this.#due.first(end)];
    const waiting = [...due, ...returned(this.#returned), ...this.#items.first(end)];
    return waiting.slice(offset, end).map(({ body, starts, topic }) => (
      { body, attempt: starts + 1, ...topic !== undefined && { topic } }
    ));
  }

  /** Puts an item. With a delay, the queue never counts as full. Resolves with false if it was cancelled. Rejects with `QueueFullError` if there was no room in time. */
  put(id: string, body: string, wait: number, delay = 0): true | Promise<boolean> {
    if (delay > 0) {
      this.#delay({ body, starts: 0, unconfirmed: false }, delay);
      return true;
    }
    if (this.size < this.#capacity && this.#puts.length === 0) {
      this.#items.push({ body, starts: 0, unconfirmed: false });
      this.#serve();
      return true;
    }
    if (wait <= 0) throw new QueueFullError(this.#name);
    const { promise, resolve, reject } = Promise.withResolvers<boolean>();
    const waiting: WaitingPut = { id, body, resolve };
    this.#puts.push(waiting);
    const stop = after(wait, () => {
      if (this.#puts.remove(waiting)) reject(new QueueFullError(this.#name));
    });
    return promise.finally(stop);
  }

  /** Stores an event at the end of the queue, even if the queue is full. */
  store(body: string, topic: string): void {
    this.#items.push({ body, topic, starts: 0, unconfirmed: false });
    this.#serve();
  }

  /** Cancels the waiting put with this id or, with `all`, those whose ids begin with it. */
  cancelPut(id: string, all = false): void {
    const kept = this.#puts.drain();
    for (const waiting of kept) {
      if (all ? waiting.id.startsWith(id) : waiting.id === id) waiting.resolve(false);
      else this.#puts.push(waiting);
    }
  }

  /** Resolves with items. If the queue is empty, it waits for the first item. */
  receive(options: ReceiveOptions): Promise<Delivery[]> {
    if (this.size > 0 || options.wait <= 0 || options.signal.aborted) return Promise.resolve(this.#pop(options));
    return new Promise((resolve) => {
      const end = () => {
        stop();
        options.signal.removeEventListener("abort", giveUp);
        this.#receives.delete(receive);
      };
      const giveUp = () => {
        end();
        resolve([]);
      };
      const stop = after(options.wait, giveUp);
      options.signal.addEventListener("abort", giveUp, { once: true });
      const receive: WaitingReceive = {
        options,
        resolve: (deliveries) => {
          end();
          resolve(deliveries);
        },
      };
      this.#receives.add(receive);
    });
  }

  /** Puts items back to the head, in their order. */
  restore(deliveries: readonly Delivery[]): void {
    for (const { body, topic, attempt, unconfirmed = false } of deliveries.toReversed()) {
      this.#returned.push({ body, topic, starts: attempt - 1, unconfirmed });
    }
    this.#serve();
  }

  /** Records starts. Returns true for each lease that was still valid. */
  start(receipts: readonly string[]): boolean[] {
    return receipts.map((receipt) => {
      const leased = this.#leased.get(receipt);
      if (leased) leased.started = true;
      return leased !== undefined;
    });
  }

  /** Settles leases. Returns true for each lease that was still valid. */
  settle(receipts: readonly string[], outcome: Outcome, delay: number): boolean[] {
    // the last item first, so that they are at the head in their order
    const held = receipts.toReversed().map((receipt) => {
      const leased = this.#leased.get(receipt);
      if (!leased) return false;
      this.#leased.delete(receipt);
      if (outcome === "ack") return true;
      if (outcome === "nack") count(leased.item);
      if (delay > 0) this.#delay(leased.item, delay);
      else this.#giveBack(leased.item);
      return true;
    });
    this.#serve();
    this.#schedule();
    return held.reverse();
  }

  /** Extends leases from now. Returns true for each lease that was still valid. */
  extend(receipts: readonly string[], lease: number): boolean[] {
    return receipts.map((receipt) => {
      const leased = this.#leased.get(receipt);
      if (leased) leased.due = performance.now() + lease;
      return leased !== undefined;
    });
  }

  /** Removes all items. Waiting puts continue. */
  clear(): void {
    this.#due.drain();
    this.#returnedDue = [];
    this.#items.drain();
    this.#returned = [];
    this.#leased.clear();
    this.#delayed = [];
    this.#stop();
    this.#serve();
  }

  #pop({ max, lease }: ReceiveOptions): Delivery[] {
    const deliveries: Delivery[] = [];
    while (deliveries.length < max) {
      const item = this.#returnedDue.pop() ?? this.#due.shift() ?? this.#returned.pop() ?? this.#items.shift();
      if (!item) break;
      let receipt = "";
      if (lease !== undefined) {
        receipt = `${BROKER}:${++lastReceipt}`;
        this.#leased.set(receipt, { item, started: false, due: performance.now() + lease });
      }
      const { body, topic, starts, unconfirmed } = item;
      const attempt = starts + 1;
      deliveries.push({
        receipt,
        body,
        attempt,
        ...topic !== undefined && { topic },
        ...unconfirmed && { unconfirmed },
      });
    }
    if (lease !== undefined && deliveries.length > 0) this.#schedule();
    this.#admit();
    return deliveries;
  }

  /** Puts an item back: to its position among the delayed items if it had a delay, otherwise to the head of the other items. */
  #giveBack(item: Item): void {
    const { due } = item;
    if (due === undefined) return void this.#returned.push(item);
    const earlier = this.#returnedDue.findLastIndex((other) => other.due! >= due);
    this.#returnedDue.splice(earlier + 1, 0, item);
  }

  #serve(): void {
    this.#admit();
    for (const receive of this.#receives) {
      if (this.size === 0) return;
      receive.resolve(this.#pop(receive.options));
    }
  }

  #admit(): void {
    while (this.size < this.#capacity) {
      const waiting = this.#puts.shift();
      if (!waiting) return;
      this.#items.push({ body: waiting.body, starts: 0, unconfirmed: false });
      waiting.resolve(true);
    }
  }

  #delay(item: Item, delay: number): void {
    const due = performance.now() + delay;
    let [from, to] = [0, this.#delayed.length];
    while (from < to) {
      const middle = (from + to) >> 1;
      if (this.#delayed[middle]!.due <= due) from = middle + 1;
      else to = middle;
    }
    this.#delayed.splice(from, 0, { item, due });
    if (from === 0) this.#schedule();
  }

  /** Sets one timer for the next lease or delay that ends. */
  #schedule(): void {
    this.#stop();
    let next = Infinity;
    for (const { due } of this.#leased.values()) next = Math.min(next, due);
    next = Math.min(next, this.#delayed[0]?.due ?? Infinity);
    this.#stop = after(Math.max(0, next - performance.now()), () => this.#return());
  }

  #return(): void {
    const now = performance.now();
    for (const [receipt, leased] of [...this.#leased].reverse()) {
      if (leased.due > now) continue;
      this.#leased.delete(receipt);
      if (leased.started) count(leased.item);
      leased.item.unconfirmed = true;
      this.#giveBack(leased.item);
    }
    const later = this.#delayed.findIndex(({ due }) => due > now);
    const due = this.#delayed.splice(0, later < 0 ? this.#delayed.length : later);
    for (const { item, due: time } of due) {
      item.due = time;
      this.#due.push(item);
    }
    this.#serve();
    this.#schedule();
  }
}

/** Counts an attempt of an item. */
function count(item: Item): void {
  item.starts++;
  item.unconfirmed = false;
}
