/**
 * Long polls on one named queue. A poll cannot be cancelled, because SQS may already have delivered an item for it. So when a wait is
 * cancelled, its poll continues. Its items go to the next wait, or back to the queue if no call waits.
 *
 * @module
 */
import { ReceiveMessageCommand } from "@aws-sdk/client-sqs";
import type { BusError } from "../../errors.ts";
import type { Delivery, ReceiveOptions } from "../../provider/provider.ts";
import { type AwsClient, BATCH, type CallOptions } from "./client.ts";
import { toBusError } from "./errors.ts";
import type { AttributeNames } from "./attribute_names.ts";
import { type Leases, type Received, secondsOf } from "./leases.ts";
import { ATTRIBUTE, readItem } from "./message.ts";
import type { Queues } from "./queues.ts";

/** Seconds that an item received without a lease stays hidden: enough to delete it, with all attempts. After a crash it is redelivered. */
const CLAIM_VISIBILITY = 15;
/**
 * The largest delay in seconds of the answer to a poll without a lease. An item of a later answer is not returned, because SQS may deliver
 * it again before it is deleted.
 */
const CLAIM_LATENESS = 5;
/** Seconds of the shortest long poll. */
const MIN_POLL = 1;
/** The milliseconds from which a wait uses the longest poll, because another wait will follow. */
const LONG_WAIT = 10_000;
/** The number of polls that run at once, to receive more items than one poll can return. */
const PARALLEL = 10;

/** The parts of a receiver that its pollers share. */
export interface PollerContext {
  readonly polls: AwsClient;
  readonly queues: Queues;
  readonly leases: Leases;
  readonly attributes: AttributeNames;
  /** Seconds of the longest poll. */
  readonly seconds: number;
  readonly closing: AbortSignal;
}

/** A call of `receive` that waits. */
interface Waiter {
  readonly max: number;
  /** True for a call that does not wait: only its own poll decides that the queue is empty. */
  readonly once: boolean;
  /** True while items are being received for this call, so that it can no longer end without items. */
  claimed: boolean;
  resolve(deliveries: Delivery[]): void;
  reject(error: unknown): void;
}

/** Receives from one queue, with one length of lease. */
export class QueuePoller {
  readonly #context: PollerContext;
  readonly #queue: string;
  readonly #lease: number | undefined;
  readonly #running = new Set<Promise<void>>();
  #waiter: Waiter | undefined;
  #polls = 0;

  /** Prepares polls of this queue. Without a lease, received items are deleted immediately. */
  constructor(context: PollerContext, queue: string, lease: number | undefined) {
    this.#context = context;
    this.#queue = queue;
    this.#lease = lease;
  }

  /** True while requests are running. */
  get busy(): boolean {
    return this.#running.size > 0;
  }

  /** Resolves when no request is running. */
  async idle(): Promise<void> {
    while (this.busy) await Promise.all(this.#running);
  }

  /** Receives items, as {@linkcode Receiver.receive} does. */
  async receive(options: ReceiveOptions): Promise<Delivery[]> {
    const { max, wait, signal } = options;
    if (signal.aborted) return [];
    const { promise, resolve, reject } = Promise.withResolvers<Delivery[]>();
    const waiter: Waiter = { max, once: wait <= 0, claimed: false, resolve, reject };
    const end = () => this.#endWait(waiter);
    const timer = wait > 0 && wait < Infinity ? setTimeout(end, wait) : undefined;
    signal.addEventListener("abort", end, { once: true });
    this.#waiter = waiter;
    const seconds = wait >= LONG_WAIT ? this.#context.seconds : Math.ceil(wait / 1_000);
    if (waiter.once) this.#track(this.#pollOnce(waiter));
    else if (this.#polls === 0) this.#track(this.#poll(Math.min(seconds, this.#context.seconds), waiter));
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      if (this.#waiter === waiter) this.#waiter = undefined;
    }
  }

  /** Ends a wait without items, unless items are being received for it. */
  #endWait(waiter: Waiter): void {
    if (waiter.claimed) return;
    if (this.#waiter === waiter) this.#waiter = undefined;
    waiter.resolve([]);
  }

  #track(work: Promise<void>): void {
    this.#running.add(work);
    work.finally(() => this.#running.delete(work));
  }

  /** Polls without waiting. SQS then asks only some of its servers, so after an empty poll, the count of the queue is checked. */
  async #pollOnce(waiter: Waiter): Promise<void> {
    let messages: Received[] = [];
    try {
      messages = await this.#request(0, waiter.max);
      const more = messages.length === 0 && this.#waiter === waiter &&
        (await this.#context.queues.count(this.#queue)).waiting > 0;
      if (more) messages = await this.#request(MIN_POLL, waiter.max);
    } catch (error) {
      if (!this.#context.closing.aborted && !waiter.claimed) waiter.reject(this.#failed(error));
    }
    if (messages.length === 0) return this.#endWait(waiter);
    if (this.#waiter === waiter && !waiter.claimed) return await this.#resolve(messages, waiter);
    await this.#giveBack(messages);
  }

  /** Runs one poll. Its items go to the wait that is current when it ends, whichever wait started it. */
  async #poll(seconds: number, starter: Waiter): Promise<void> {
    this.#polls++;
    let messages: Received[] = [];
    let failure: unknown;
    try {
      messages = await this.#request(seconds, starter.max);
    } catch (error) {
      if (!this.#context.closing.aborted) failure = error;
    }
    this.#polls--;
    const waiter = this.#waiter;
    if (!waiter || waiter.claimed) return await this.#giveBack(messages);
    if (messages.length > 0) return await this.#resolve(messages, waiter);
    // another running poll may still return items
    if (waiter.once || (waiter !== starter && this.#polls > 0)) return;
    if (failure === undefined) return this.#endWait(waiter);
    waiter.reject(this.#failed(failure));
  }

  #failed(error: unknown): BusError {
    return toBusError(`get from queue "${this.#queue}"`, error);
  }

  /**
   * Makes one request, and starts the leases of its items. SQS hides an item from the moment when it delivers it. That moment may be just
   * after the request was sent, and the answer may arrive much later. So the duration of the poll is added to the lease, and the lease is
   * counted from the request.
   */
  async #request(seconds: number, max: number, limits: Partial<CallOptions> = {}): Promise<Received[]> {
    const { polls, queues, leases, attributes, closing } = this.#context;
    const visibility = secondsOf(1_000 * seconds + (this.#lease ?? 1_000 * CLAIM_VISIBILITY), 1);
    const complete = attributes.all;
    let sent = 0;
    const input = {
      MaxNumberOfMessages: Math.min(max, BATCH),
      WaitTimeSeconds: seconds,
      VisibilityTimeout: visibility,
      MessageAttributeNames: [complete ? "All" : ATTRIBUTE],
      MessageSystemAttributeNames: ["ApproximateReceiveCount" as const],
    };
    const { Messages = [] } = await polls.call(
      `get from queue "${this.#queue}"`,
      (http) =>
        queues.withUrl(
          this.#queue,
          http.abortSignal,
          (QueueUrl) => {
            sent = performance.now();
            return polls.sqs.send(new ReceiveMessageCommand({ QueueUrl, ...input }), http);
          },
          () => this.#waiter !== undefined, // a poll that nothing waits for must not create a queue that was freed
        ),
      { repeatable: true, signal: closing, wait: seconds * 1_000, ...limits },
    );
    attributes.count(Messages);
    const end = sent + 1_000 * (this.#lease === undefined ? seconds + CLAIM_LATENESS : visibility);
    // another consumer may have the items of an answer that comes so late
    if (performance.now() >= end) return [];
    const received = Messages.map((message) => ({ ...message, complete }));
    if (this.#lease !== undefined) { for (const message of received) leases.hold(message, sent, end); }
    return received;
  }

  /** Resolves a wait with items, under their lease or after SQS has deleted them. Surplus items are given back. */
  async #resolve(messages: Received[], waiter: Waiter): Promise<void> {
    waiter.claimed = true;
    const { leases } = this.#context;
    this.#track(this.#giveBack(messages.slice(waiter.max)));
    const mine = messages.slice(0, waiter.max);
    if (messages.length === BATCH) mine.push(...await this.#receiveMore(waiter.max - BATCH));
    if (this.#lease !== undefined) return waiter.resolve(mine.map(deliver));
    try {
      const claimed = await leases.claim(this.#queue, mine.map(({ ReceiptHandle }) => ReceiptHandle!));
      // SQS redelivers the items that were not deleted
      waiter.resolve(
        mine.filter((_, index) => claimed[index]).map((message) => ({ ...deliver(message), receipt: "" })),
      );
    } catch (error) {
      waiter.reject(this.#failed(error));
    }
  }

  /** Receives more items after a full poll. It must be fast, because the leases of the first items must be extended soon. */
  async #receiveMore(wanted: number): Promise<Received[]> {
    const limits = { attempts: 1, timeout: (this.#lease ?? 1_000 * CLAIM_VISIBILITY) / 3 };
    const polls = Array.from(
      { length: Math.min(PARALLEL, Math.ceil(Math.max(0, wanted) / BATCH)) },
      (_, index) => this.#request(0, wanted - index * BATCH, limits),
    );
    const results = await Promise.allSettled(polls);
    return results.flatMap((result) => result.status === "fulfilled" ? result.value : []);
  }

  async #giveBack(messages: readonly Received[]): Promise<void> {
    if (messages.length === 0) return;
    await this.#context.leases.giveBack(this.#queue, messages);
  }
}

function deliver(message: Received): Delivery {
  return { receipt: message.ReceiptHandle!, ...readItem(message) };
}
