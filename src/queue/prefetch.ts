/**
 * The items that a consumer has fetched ahead of its handlers, so that a fast handler does not wait for the transport each time.
 *
 * @module
 */
import { after } from "../internal/time.ts";
import type { Delivery } from "../provider/provider.ts";

/** The largest number of items that wait for a handler of one consumer. */
const COUNT = 64;
/** The largest number of characters of the items that are fetched ahead. */
const CHARACTERS = 1024 * 1024;
/** Milliseconds that an item may wait for a handler. Then it goes back, because another consumer may be free. */
const TIME = 50;
/** The weight of the last handler, and of the last item, in the running averages. */
const WEIGHT = 1 / 8;

/** Leased items that wait for a handler of one consumer. */
export class Prefetch {
  #giveBack: (deliveries: readonly Delivery[]) => Promise<unknown>;
  #waiting: Delivery[] = [];
  /** The index of the first item that still waits. */
  #next = 0;
  /** The number of items of the last fetch that had a free handler. */
  #free = 0;
  #fetchedAt = 0;
  #stop: (() => void) | undefined;
  #returned: Promise<void> = Promise.resolve();
  /** The average milliseconds of the last handlers, and the average number of characters of the last items, once there was one. */
  #duration: number | undefined;
  #size: number | undefined;

  /** Creates an empty list. `giveBack` gives items back as if they had never been received. */
  constructor(giveBack: (deliveries: readonly Delivery[]) => Promise<unknown>) {
    this.#giveBack = giveBack;
  }

  /** Whether no item waits for a handler. */
  get empty(): boolean {
    return this.#next === this.#waiting.length;
  }

  /**
   * Returns the number of items to fetch in addition to those that start now. They are as many as will start within half of the time that
   * an item may wait, if `concurrency` handlers run at once, and the next handlers and items are like the last ones.
   */
  room(concurrency: number): number {
    if (this.#duration === undefined) return 0;
    const inTime = concurrency * TIME / 2 / this.#duration;
    const inMemory = CHARACTERS / (this.#size || 1);
    return Math.floor(Math.min(COUNT, inTime, inMemory));
  }

  /** Counts the duration of a handler. */
  ran(ms: number): void {
    this.#duration = average(this.#duration, ms);
  }

  /**
   * Adds fetched items, oldest first; `free` of them start now. An item that may have killed its process must not wait for the handlers
   * of other items: it goes back, with all items after it.
   */
  add(deliveries: readonly Delivery[], free: number): void {
    for (const { body } of deliveries) this.#size = average(this.#size, body.length);
    const end = deliveries.findIndex(({ unconfirmed }, i) => unconfirmed && i >= free);
    this.#waiting = end < 0 ? [...deliveries] : deliveries.slice(0, end);
    this.#next = 0;
    this.#free = free;
    this.#fetchedAt = performance.now();
    if (end >= 0) this.#return(deliveries.slice(end));
    if (this.#waiting.length > free) this.#stop = after(TIME, () => this.clear());
  }

  /** Removes and returns the oldest item. Returns undefined if no item waits, or if the items have waited for too long and go back. */
  take(): Delivery | undefined {
    if (this.empty) return undefined;
    // a busy thread has not called the timer
    if (this.#next >= this.#free && performance.now() - this.#fetchedAt > TIME) return void this.clear();
    const delivery = this.#waiting[this.#next++];
    if (this.empty) this.#forget();
    return delivery;
  }

  /** Gives back all items. */
  clear(): void {
    const rest = this.#waiting.slice(this.#next);
    this.#forget();
    if (rest.length === 0) return;
    this.#duration = Math.max(this.#duration ?? 0, TIME);
    this.#return(rest);
  }

  /** Resolves when no items are being given back. The next items must be received after that, or they would overtake the returned ones. */
  returned(): Promise<void> {
    return this.#returned;
  }

  #forget(): void {
    this.#stop?.();
    this.#stop = undefined;
    this.#waiting = [];
    this.#next = 0;
  }

  #return(deliveries: readonly Delivery[]): void {
    const given = this.#giveBack(deliveries).catch(() => {}); // then their leases end by themselves
    // resolves without a value, which would contain the values of all earlier returns
    this.#returned = Promise.all([this.#returned, given]).then(() => {});
  }
}

/** Returns a running average after one more value. */
function average(before: number | undefined, value: number): number {
  return before === undefined ? value : before + (value - before) * WEIGHT;
}
