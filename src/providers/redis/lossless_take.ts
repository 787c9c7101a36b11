/**
 * Takes items from a queue, and recovers the items of a reply that was lost with the connection.
 *
 * @module
 */
import { isUnavailable, ProviderError } from "../../errors.ts";
import type { Delivery, ReceiverContext } from "../../provider/provider.ts";
import { readTopic } from "../../provider/topic_mark.ts";
import type { Client } from "./client.ts";
import { retryUnavailable } from "./errors.ts";
import type { QueueKeys } from "./names.ts";
import { array, count, exactly, integer, type ReplyReader, text } from "./replies.ts";
import type { HandedOver } from "./hand_over.ts";
import { GIVE_BACK, MAX_WAIT, RECORD_LIFE, run, TAKE } from "./scripts.ts";

/** Milliseconds between a reply and the removal of its record. If the next take comes before that, it overwrites the record. */
const REMOVE_AFTER = 5;

/** Matches the receipt of an item whose previous lease expired. */
const UNCONFIRMED = /\.u:\d+$/;

/** The result of a take. */
export interface Taken {
  readonly deliveries: Delivery[];
  /** Milliseconds until the next leased or delayed item is due; 0 if the take only removed items, and others may be behind them. */
  readonly next: number;
}

/** Takes items from one queue, one take at a time. All its takes have the same length of lease, or none has a lease. */
export class LosslessTaker {
  readonly id: string;
  readonly keys: QueueKeys;
  readonly queue: string;
  readonly lease: number | undefined;
  /** The size in bytes of the largest item that this taker takes. */
  readonly #longest: number;
  /** The number of operations that use the taker: calls of `receive`, and items that are being given back. */
  active = 0;
  /** The time when the taker was last used, by `performance.now()`. */
  used = performance.now();
  #client: Client;
  #fault: ReceiverContext["fault"];
  #record: string;
  #count = 0;
  #lost = false;
  /** Whether the last take found no item and waits for one to be handed over. Until an item arrives, it counts as a lost reply. */
  #waiting = false;
  #handedOver: Delivery | undefined;
  #taking = false;
  #recorded = false;
  /** The time when the last take was first sent. `#most` is the largest number of items in its reply. */
  #sentAt = 0;
  #most = 0;
  /** The running work. */
  #running: Promise<void> | undefined;
  #removal: ReturnType<typeof setTimeout> | undefined;
  #woken = false;
  #wake: (() => void) | undefined;
  #wakeLater: ReturnType<typeof setTimeout> | undefined;

  /** Creates a taker. `id` must be unique among the takers of all buses. It puts items of more than `longest` bytes aside. */
  constructor(
    client: Client,
    keys: QueueKeys,
    id: string,
    queue: string,
    lease: number | undefined,
    longest: number,
    fault: ReceiverContext["fault"],
  ) {
    this.#client = client;
    this.#fault = fault;
    this.keys = keys;
    this.id = id;
    this.queue = queue;
    this.lease = lease;
    this.#longest = longest;
    this.#record = keys.records + id;
  }

  /** Whether a reply was lost that may contain items. */
  get lost(): boolean {
    return this.#lost;
  }

  /** The largest number of items that are lost if a missing reply never arrives. With a lease it is 0, because they are redelivered. */
  get uncertain(): number {
    return this.#lost && this.lease === undefined ? this.#most : 0;
  }

  /** Whether the server still has a record. */
  get recorded(): boolean {
    return this.#recorded;
  }

  /** Whether the last take waits, so that an item may be handed over at any time. */
  get waiting(): boolean {
    return this.#waiting;
  }

  /**
   * Takes up to `max` items, or all items of a lost reply. Takes nothing if the signal aborts before its turn. If there are none, an item
   * may be handed over in the next `wait` milliseconds. It wakes {@linkcode sleep}, and {@linkcode arrived} returns it.
   */
  async take(max: number, signal: AbortSignal, wait = 0): Promise<Taken> {
    for (let waited = this.#running; waited; waited = this.#running) {
      await waited;
      if (signal.aborted) return { deliveries: [], next: Infinity };
    }
    this.#woken = false;
    return this.arrived() ?? await this.#run(max, this.#lost ? "again" : "", wait);
  }

  /** Accepts an item that was handed over to the take with this number. */
  handOver({ number, delivery }: HandedOver): void {
    // a later take has fetched the item like that of a lost reply
    if (number !== this.#number || !this.#lost) return;
    this.#handedOver = delivery;
    this.wake();
  }

  /** Returns the items of a lost reply, if any. */
  async recover(): Promise<Delivery[]> {
    return (this.arrived() ?? await this.#run(1, "only")).deliveries;
  }

  /** Puts the items of the last take without a lease back, whether or not its reply arrived. Repeating it has no effect. */
  async giveBack(): Promise<void> {
    const number = this.#number;
    const { list } = this.keys;
    clearTimeout(this.#removal);
    // EVAL, because a bus that closes could not send the script any more when a frozen server thaws and replies NOSCRIPT
    const back = await retryUnavailable(() =>
      this.#client.call(count, "eval", GIVE_BACK.lua, "2", list, this.#record, number)
    );
    if (number !== this.#number) return;
    if (back === 0) this.#reportLoss();
    this.#lost = this.#recorded = false;
  }

  /** Delays the next take until this work has ended. */
  block<T>(work: Promise<T>): Promise<T> {
    const running = this.#running = Promise.allSettled([this.#running, work]).then(() => {
      if (this.#running === running) this.#running = undefined;
    });
    return work;
  }

  /** Resolves when no work is running. */
  async idle(): Promise<void> {
    while (this.#running) await this.#running;
  }

  /** Resolves after `wait` milliseconds, or at {@linkcode wake}. */
  sleep(wait: number, signal: AbortSignal): Promise<void> {
    const woken = this.#woken;
    this.#woken = false;
    if (woken || signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", end);
        this.#wake = undefined;
        resolve();
      };
      const timer = setTimeout(end, wait);
      signal.addEventListener("abort", end);
      this.#wake = end;
    });
  }

  /** Ends {@linkcode sleep}, now or after `delay` milliseconds, because items may have arrived. */
  wake(delay = 0): void {
    if (delay > 0) {
      if (this.active > 0) this.#wakeLater ??= setTimeout(() => this.wake(), delay);
      return;
    }
    clearTimeout(this.#wakeLater);
    this.#wakeLater = undefined;
    this.#woken = true;
    this.#wake?.();
  }

  /** Removes the record of a reply that has arrived. */
  async removeRecord(): Promise<void> {
    clearTimeout(this.#removal);
    if (!this.#recorded || this.#lost) return;
    const number = this.#number;
    await this.#client.call(count, "unlink", this.#record);
    if (number === this.#number) this.#recorded = false;
  }

  get #number(): string {
    return `${this.id}.${this.#count}`;
  }

  /** Returns the item that was handed over, if it has arrived and no call has returned it. */
  arrived(): Taken | undefined {
    const delivery = this.#handedOver;
    if (!delivery || this.#taking) return undefined; // the running take fetches it, or returns it
    this.#received();
    return { deliveries: [delivery], next: Infinity };
  }

  #run(max: number, mode: "" | "again" | "only", wait = 0): Promise<Taken> {
    return this.block(this.#take(max, mode, wait));
  }

  async #take(max: number, mode: "" | "again" | "only", wait = 0): Promise<Taken> {
    clearTimeout(this.#removal);
    this.#waiting = false;
    this.#taking = true;
    if (mode === "") {
      clearTimeout(this.#wakeLater); // this take sees all earlier changes
      this.#wakeLater = undefined;
      this.#count++;
      this.#sentAt = performance.now();
      this.#most = 0;
    }
    this.#most = Math.max(this.#most, max);
    this.#lost = true;
    const { list, due, items, receivers, aside } = this.keys;
    const keys = [list, due, items, this.#record, receivers, aside];
    let taken: Taken & { readonly tooLong: readonly number[] };
    try {
      const args = [this.#number, max, Math.ceil(this.lease ?? 0), mode, RECORD_LIFE, wait, this.#longest];
      taken = await run(this.#client, takenBy(this.#number), TAKE, keys, args);
    } catch (error) {
      // with any other error, the reply has arrived
      this.#lost = isUnavailable(error);
      throw error;
    } finally {
      this.#taking = false;
    }
    for (const bytes of taken.tooLong) this.#reportTooLong(bytes);
    if (taken.deliveries.length > 0 || taken.tooLong.length > 0) {
      this.#received();
      return taken;
    }
    const arrived = this.arrived(); // its message was faster than the reply
    if (arrived) return arrived;
    this.#lost = this.#waiting = wait > 0;
    this.used = performance.now();
    if (mode !== "") this.#reportLoss();
    return taken;
  }

  /** Notes that the items of the last take have arrived. */
  #received(): void {
    this.#handedOver = undefined;
    this.#lost = this.#waiting = false;
    this.used = performance.now();
    this.#recorded = true;
    this.#removal = setTimeout(() => this.removeRecord().catch(() => {}), REMOVE_AFTER); // if that fails, the sweep repeats it
  }

  /** Reports an item of this many bytes. The number is negative if the item could not be put aside. */
  #reportTooLong(bytes: number): void {
    const { aside } = this.keys;
    const text =
      `Cannot take an item from queue "${this.queue}": it has ${Math.abs(bytes)} bytes, and this bus takes items ` +
      `of up to ${this.#longest} (maxReceive). ` +
      (bytes > 0
        ? `It was moved to the list "${aside}", where it stays until the queue is freed`
        : `It stays in the queue for ${
          MAX_WAIT / 1_000
        } s: Redis refused to move it to the list "${aside}". If that key is not a list, remove it`);
    this.#fault(new ProviderError("too_large", text), true);
  }

  /** Reports items that may be lost because the record of a lost reply has expired. */
  #reportLoss(): void {
    if (this.lease !== undefined || performance.now() - this.#sentAt < RECORD_LIFE) return;
    const text =
      `Cannot tell whether up to ${this.#most} items of queue "${this.queue}" are lost: the connection broke while Redis ` +
      `replied to a get, and Redis was unreachable for more than ${RECORD_LIFE} ms`;
    this.#fault(new ProviderError("unavailable", text));
  }
}

/** Returns a reader of the reply to the take with this number. */
function takenBy(number: string): ReplyReader<Taken & { readonly tooLong: readonly number[] }> {
  return (reply) => {
    const [taken, wait, tooLong, ...items] = array(reply);
    exactly(number)(taken);
    const next = integer(wait);
    const deliveries: Delivery[] = [];
    for (let i = 0; i < items.length; i += 3) {
      const receipt = text(items[i]);
      const unconfirmed = UNCONFIRMED.test(receipt);
      const [attempt, item] = [count(items[i + 1]), text(items[i + 2])];
      deliveries.push({ receipt, attempt, ...readTopic(item), ...unconfirmed && { unconfirmed } });
    }
    return {
      deliveries,
      next: next < 0 ? Infinity : next,
      tooLong: tooLong === 0 ? [] : array(tooLong).map(integer),
    };
  };
}
