/**
 * One who takes items from a queue, with one lease or with none, and what is known of the reply that is under way.
 *
 * @module
 */
import { ProviderError } from "../../errors.ts";
import type { Delivery } from "../../provider/provider.ts";
import type { Client } from "./client.ts";
import { retryUnavailable, unavailable } from "./errors.ts";
import type { QueueKeys } from "./names.ts";
import { array, count, exactly, integer, type ReplyReader, text } from "./replies.ts";
import { GIVE_BACK, run, TAKE } from "./scripts.ts";

/** Milliseconds for which the server remembers what it handed out, so that a lost reply can be had again. */
export const REMEMBER = 60_000;
/** Milliseconds after a reply in which the next take overwrites what the server remembers; then it is removed. */
const FORGET = 5;

/** The receipt of an item whose lease before ran out. */
const UNCONFIRMED = /\.u:\d+$/;

/** What a take gave. */
export interface Taken {
  readonly deliveries: Delivery[];
  /** Milliseconds until an item comes back that is leased or delayed now. */
  readonly next: number;
}

/** See the module. One take at a time. */
export class Taker {
  readonly keys: QueueKeys;
  readonly queue: string;
  readonly lease: number | undefined;
  /** `receive` calls that run. */
  active = 0;
  /** `performance.now()` of the last take. */
  used = performance.now();
  #client: Client;
  #fault: (error: unknown) => void;
  #record: string;
  #id: string;
  #count = 0;
  #lost = false;
  #recorded = false;
  /** When the last take was first sent, by `performance.now()`, and how many items its reply may hold. */
  #since = 0;
  #most = 0;
  /** What is under way; resolves when it has ended. */
  #running: Promise<void> | undefined;
  #forgetting: ReturnType<typeof setTimeout> | undefined;
  #woken = false;
  #wake: (() => void) | undefined;
  #soon: ReturnType<typeof setTimeout> | undefined;

  /** `id` must be unique among all takers of all buses. */
  constructor(
    client: Client,
    keys: QueueKeys,
    id: string,
    queue: string,
    lease: number | undefined,
    fault: (error: unknown) => void,
  ) {
    this.#client = client;
    this.#fault = fault;
    this.keys = keys;
    this.#id = id;
    this.queue = queue;
    this.lease = lease;
    this.#record = `${keys.prefix}record:${id}`;
  }

  /** Whether a reply was lost, with items in it perhaps. */
  get lost(): boolean {
    return this.#lost;
  }

  /** How many items a reply that has not come may hold, where nobody will have them if it never does. */
  get uncertain(): number {
    return this.#lost && this.lease === undefined ? this.#most : 0;
  }

  /** Whether the server still has a record of what it handed out. */
  get recorded(): boolean {
    return this.#recorded;
  }

  /** Takes up to `max` items; more if a lost reply held more. None, if the wait was aborted before its turn. */
  async take(max: number, signal: AbortSignal): Promise<Taken> {
    for (let waited = this.#running; waited; waited = this.#running) {
      await waited;
      if (signal.aborted) return { deliveries: [], next: Infinity };
    }
    this.#woken = false;
    return await this.#run(max, this.#lost ? "again" : "");
  }

  /** Gets the items of a lost reply again, if there were any. */
  async recover(): Promise<Delivery[]> {
    return (await this.#run(1, "only")).deliveries;
  }

  /** Puts what was taken last without a lease back, whether or not its reply has come: once, however often it is called. */
  async giveBack(): Promise<void> {
    const number = this.#number;
    const { list } = this.keys;
    clearTimeout(this.#forgetting);
    // with its text: a bus that closes is not there any more to send it when a frozen server says that it lacks the script
    const back = await retryUnavailable(() =>
      this.#client.call(count, "eval", GIVE_BACK.lua, "2", list, this.#record, number)
    );
    if (number !== this.#number) return;
    if (back === 0) this.#warn();
    this.#lost = this.#recorded = false;
  }

  /** No take begins before this work has ended. */
  hold<T>(work: Promise<T>): Promise<T> {
    const running = this.#running = Promise.allSettled([this.#running, work]).then(() => {
      if (this.#running === running) this.#running = undefined;
    });
    return work;
  }

  /** Resolves when nothing holds the taker. */
  async idle(): Promise<void> {
    while (this.#running) await this.#running;
  }

  /** Resolves after `wait` ms, or when somebody wakes it. */
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

  /** There may be something: look now, or within `delay` ms. */
  wake(delay = 0): void {
    if (delay > 0) {
      if (this.active > 0) this.#soon ??= setTimeout(() => this.wake(), delay);
      return;
    }
    clearTimeout(this.#soon);
    this.#soon = undefined;
    this.#woken = true;
    this.#wake?.();
  }

  /** Removes the server's record of what it handed out: the reply has come. */
  async forget(): Promise<void> {
    clearTimeout(this.#forgetting);
    if (!this.#recorded || this.#lost) return;
    const number = this.#number;
    await this.#client.call(count, "unlink", this.#record);
    if (number === this.#number) this.#recorded = false;
  }

  get #number(): string {
    return `${this.#id}.${this.#count}`;
  }

  #run(max: number, mode: "" | "again" | "only"): Promise<Taken> {
    return this.hold(this.#take(max, mode));
  }

  async #take(max: number, mode: "" | "again" | "only"): Promise<Taken> {
    clearTimeout(this.#forgetting);
    if (mode === "") {
      this.#count++;
      this.#since = performance.now();
      this.#most = 0;
    }
    this.#most = Math.max(this.#most, max);
    this.#lost = true;
    const { list, due, items } = this.keys;
    let taken: Taken;
    try {
      const args = [this.#number, max, Math.ceil(this.lease ?? 0), mode, REMEMBER];
      taken = await run(this.#client, reads(this.#number), TAKE, [list, due, items, this.#record], args);
    } catch (error) {
      // any other reply was a reply
      this.#lost = unavailable(error);
      throw error;
    }
    this.#lost = false;
    this.used = performance.now();
    if (taken.deliveries.length > 0) {
      this.#recorded = true;
      this.#forgetting = setTimeout(() => this.forget().catch(() => {}), FORGET); // where it fails, the sweep does it
    } else if (mode !== "") {
      this.#warn();
    }
    return taken;
  }

  /** The server may have forgotten what a lost reply held. */
  #warn(): void {
    if (this.lease !== undefined || performance.now() - this.#since < REMEMBER) return;
    const text =
      `Cannot tell whether up to ${this.#most} items of queue "${this.queue}" are lost: Redis replied to a get on a ` +
      `connection that broke, and was out of reach for more than ${REMEMBER} ms`;
    this.#fault(new ProviderError("unavailable", text));
  }
}

/** The reply to the take of this number. */
function reads(number: string): ReplyReader<Taken> {
  return (reply) => {
    const [taken, wait, ...items] = array(reply);
    exactly(number)(taken);
    const next = integer(wait);
    const deliveries: Delivery[] = [];
    for (let i = 0; i < items.length; i += 3) {
      const receipt = text(items[i]);
      const unconfirmed = UNCONFIRMED.test(receipt);
      const [attempt, body] = [count(items[i + 1]), text(items[i + 2])];
      deliveries.push({ receipt, body, attempt, ...unconfirmed && { unconfirmed } });
    }
    return { deliveries, next: next < 0 ? Infinity : Math.max(1, next) };
  };
}
