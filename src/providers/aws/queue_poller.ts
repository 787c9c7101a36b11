/**
 * Long polls on one named queue. A poll cannot be called back: SQS may have taken an item for it already. So a wait that
 * is cancelled leaves its poll running; the next wait takes it over, and what it brings to nobody is given back at once.
 *
 * @module
 */
import { type Message, ReceiveMessageCommand } from "@aws-sdk/client-sqs";
import type { BusError } from "../../errors.ts";
import type { Delivery, ReceiveOptions } from "../../provider/provider.ts";
import { type AwsClient, BATCH, type CallOptions } from "./client.ts";
import { toBusError } from "./errors.ts";
import { type Leases, secondsOf } from "./leases.ts";
import type { Queues } from "./queues.ts";
import { readItem } from "./message.ts";

/** Seconds that an item taken for good stays hidden: enough to delete it, with all attempts. Then a lost one comes back. */
const CLAIM = 15;
/** Seconds of the shortest long poll. */
const LOOK = 1;
/** From a wait of so many milliseconds on, the poll is as long as it may be: another wait will follow. */
const LONG = 10_000;
/** Polls at once to fetch more than one poll can bring. */
const PARALLEL = 10;

/** What a poller needs. */
export interface PollerContext {
  readonly polls: AwsClient;
  readonly queues: Queues;
  readonly leases: Leases;
  /** The longest poll in seconds. */
  readonly seconds: number;
  readonly closing: AbortSignal;
}

/** One who waits for items. */
interface Waiter {
  readonly max: number;
  /** Looks once: no poll but his own says that there is nothing. */
  readonly once: boolean;
  /** True from the moment at which items are being taken for him. */
  claimed: boolean;
  resolve(deliveries: Delivery[]): void;
  reject(error: unknown): void;
}

/** Takes from one queue with one lease. */
export class QueuePoller {
  readonly #home: PollerContext;
  readonly #queue: string;
  readonly #lease: number | undefined;
  readonly #running = new Set<Promise<void>>();
  #waiter: Waiter | undefined;
  #polls = 0;

  /** A poller on this queue; without a lease items are taken for good. */
  constructor(home: PollerContext, queue: string, lease: number | undefined) {
    this.#home = home;
    this.#queue = queue;
    this.#lease = lease;
  }

  /** True while something is under way. */
  get busy(): boolean {
    return this.#running.size > 0;
  }

  /** Resolves when nothing is under way any more. */
  async idle(): Promise<void> {
    while (this.busy) await Promise.all(this.#running);
  }

  /** As {@linkcode Receiver.receive}. */
  async take(options: ReceiveOptions): Promise<Delivery[]> {
    const { max, wait, signal } = options;
    if (signal.aborted) return [];
    const { promise, resolve, reject } = Promise.withResolvers<Delivery[]>();
    const waiter: Waiter = { max, once: wait <= 0, claimed: false, resolve, reject };
    const leave = () => this.#leave(waiter);
    const timer = wait > 0 && wait < Infinity ? setTimeout(leave, wait) : undefined;
    signal.addEventListener("abort", leave, { once: true });
    this.#waiter = waiter;
    const seconds = wait >= LONG ? this.#home.seconds : Math.ceil(wait / 1_000);
    if (waiter.once) this.#track(this.#look(waiter));
    else if (this.#polls === 0) this.#track(this.#poll(Math.min(seconds, this.#home.seconds), waiter));
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", leave);
      if (this.#waiter === waiter) this.#waiter = undefined;
    }
  }

  /** Ends a wait with nothing, unless something is being taken for it. */
  #leave(waiter: Waiter): void {
    if (waiter.claimed) return;
    if (this.#waiter === waiter) this.#waiter = undefined;
    waiter.resolve([]);
  }

  #track(work: Promise<void>): void {
    this.#running.add(work);
    work.finally(() => this.#running.delete(work));
  }

  /** A poll without a wait may miss items, for SQS then asks only some of its servers: so it is asked how many there are. */
  async #look(waiter: Waiter): Promise<void> {
    let messages: Message[] = [];
    try {
      messages = await this.#receive(0, waiter.max);
      const more = messages.length === 0 && this.#waiter === waiter && await this.#home.queues.count(this.#queue) > 0;
      if (more) messages = await this.#receive(LOOK, waiter.max);
    } catch (error) {
      if (!this.#home.closing.aborted && !waiter.claimed) waiter.reject(this.#failed(error));
    }
    if (messages.length === 0) return this.#leave(waiter);
    if (this.#waiter === waiter && !waiter.claimed) return await this.#give(messages, waiter);
    await this.#giveBack(messages);
  }

  /** One poll. Whoever waits when it ends gets what it brought, be it the one for whom it was started or not. */
  async #poll(seconds: number, starter: Waiter): Promise<void> {
    this.#polls++;
    let messages: Message[] = [];
    let failure: unknown;
    try {
      messages = await this.#receive(seconds, starter.max);
    } catch (error) {
      if (!this.#home.closing.aborted) failure = error;
    }
    this.#polls--;
    const waiter = this.#waiter;
    if (!waiter || waiter.claimed) return await this.#giveBack(messages);
    if (messages.length > 0) return await this.#give(messages, waiter);
    // he may wait for another poll, if there is one
    if (waiter.once || (waiter !== starter && this.#polls > 0)) return;
    if (failure === undefined) return this.#leave(waiter);
    waiter.reject(this.#failed(failure));
  }

  #failed(error: unknown): BusError {
    return toBusError(`take from queue "${this.#queue}"`, error);
  }

  async #receive(seconds: number, max: number, limits: Partial<CallOptions> = {}): Promise<Message[]> {
    const { polls, queues, closing } = this.#home;
    const input = {
      MaxNumberOfMessages: Math.min(max, BATCH),
      WaitTimeSeconds: seconds,
      VisibilityTimeout: this.#visibility,
      MessageAttributeNames: ["All"], // those of others go back with their item
      MessageSystemAttributeNames: ["ApproximateReceiveCount" as const],
    };
    const { Messages } = await polls.call(
      `take from queue "${this.#queue}"`,
      (abortSignal) =>
        queues.use(
          this.#queue,
          abortSignal,
          (QueueUrl) => polls.sqs.send(new ReceiveMessageCommand({ QueueUrl, ...input }), { abortSignal }),
        ),
      { repeatable: true, signal: closing, wait: seconds * 1_000, ...limits },
    );
    return Messages ?? [];
  }

  get #visibility(): number {
    return this.#lease === undefined ? CLAIM : secondsOf(this.#lease, 1);
  }

  /** Makes items the waiter's: under their lease, or for good once SQS has deleted them. Those too many go back. */
  async #give(messages: Message[], waiter: Waiter): Promise<void> {
    waiter.claimed = true;
    const { leases } = this.#home;
    this.#track(this.#giveBack(messages.slice(waiter.max)));
    const mine = this.#hold(messages.slice(0, waiter.max));
    if (messages.length === BATCH) mine.push(...await this.#more(waiter.max - BATCH));
    if (this.#lease !== undefined) return waiter.resolve(mine.map(deliver));
    try {
      const claimed = await leases.claim(this.#queue, mine.map(({ ReceiptHandle }) => ReceiptHandle!));
      // what was not deleted comes back by itself
      waiter.resolve(
        mine.filter((_, index) => claimed[index]).map((message) => ({ ...deliver(message), receipt: "" })),
      );
    } catch (error) {
      waiter.reject(this.#failed(error));
    }
  }

  /** Their leases run from now on, whenever the waiter gets them. */
  #hold(messages: Message[]): Message[] {
    if (this.#lease === undefined) return messages;
    for (const message of messages) this.#home.leases.hold(message, this.#visibility);
    return messages;
  }

  /** What a full poll did not bring. Those that it brought are to be extended soon: they do not wait for long. */
  async #more(wanted: number): Promise<Message[]> {
    const limits = { attempts: 1, timeout: this.#visibility * 1_000 / 3 };
    const polls = Array.from(
      { length: Math.min(PARALLEL, Math.ceil(Math.max(0, wanted) / BATCH)) },
      async (_, index) => this.#hold(await this.#receive(0, wanted - index * BATCH, limits)),
    );
    const results = await Promise.allSettled(polls);
    return results.flatMap((result) => result.status === "fulfilled" ? result.value : []);
  }

  async #giveBack(messages: readonly Message[]): Promise<void> {
    if (messages.length === 0) return;
    await this.#home.leases.giveBack(this.#queue, messages);
  }
}

function deliver(message: Message): Delivery {
  return { receipt: message.ReceiptHandle!, ...readItem(message) };
}
