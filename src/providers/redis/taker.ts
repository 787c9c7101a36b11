/**
 * One who takes items from a queue, with one lease or with none, and what is known of the reply that is under way.
 *
 * @module
 */
import type { Delivery } from "../../provider.ts";
import type { Client } from "./client.ts";
import { unavailable } from "./failures.ts";
import type { QueueKeys } from "./keys.ts";
import { array, count, exactly, integer, type Reads, text } from "./replies.ts";
import { run, TAKE } from "./scripts.ts";

/** Milliseconds for which the server remembers what it handed out, so that a lost reply can be had again. */
const REMEMBER = 300_000;
/** Characters above which what was handed out is not kept a moment longer than needed. */
const LARGE = 1024 * 1024;
/** How the queues begin that PyMQ answers one call over: nobody takes from them again, so nothing overwrites what is kept. */
const ANSWERS = "__rpc_";

/** The receipt of an item whose lease before ran out without a start. */
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
  #record: string;
  #id: string;
  #count = 0;
  #lost = false;
  #recorded = false;
  #recovery: Promise<unknown> | undefined;
  #woken = false;
  #wake: (() => void) | undefined;
  #soon: ReturnType<typeof setTimeout> | undefined;

  /** `id` must be unique among all takers of all buses. */
  constructor(client: Client, keys: QueueKeys, id: string, queue: string, lease: number | undefined) {
    this.#client = client;
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

  /** Takes up to `max` items; more if a lost reply held more. */
  async take(max: number): Promise<Taken> {
    await this.#recovery; // it has what we would be given again
    this.#woken = false;
    return await this.#run(max, this.#lost ? "again" : "");
  }

  /** Gets the items of a lost reply, if there were any. */
  async recover(): Promise<Delivery[]> {
    const recovery = this.#run(1, "only");
    this.#recovery = recovery.catch(() => {});
    return (await recovery).deliveries;
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

  /** Lets the server forget what it handed out: the reply has come. */
  async forget(): Promise<void> {
    if (!this.#recorded || this.#lost) return;
    this.#recorded = false;
    try {
      await this.#client.call(count, "unlink", this.#record);
    } catch (error) {
      this.#recorded = true;
      throw error;
    }
  }

  async #run(max: number, mode: "" | "again" | "only"): Promise<Taken> {
    if (mode === "") this.#count++;
    this.#lost = true;
    const { list, due, items } = this.keys;
    const number = `${this.#id}.${this.#count}`;
    let taken: Taken;
    try {
      const args = [number, max, Math.ceil(this.lease ?? 0), mode, REMEMBER];
      taken = await run(this.#client, reads(number), TAKE, [list, due, items, this.#record], args);
    } catch (error) {
      // any other reply was a reply
      this.#lost = unavailable(error);
      throw error;
    }
    this.#lost = false;
    this.used = performance.now();
    if (taken.deliveries.length > 0) this.#recorded = true;
    const needless = this.queue.startsWith(ANSWERS) || taken.deliveries.some(({ body }) => body.length > LARGE);
    if (needless) this.forget().catch(() => {}); // the sweep does it
    return taken;
  }
}

/** The reply to the take of this number. */
function reads(number: string): Reads<Taken> {
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
