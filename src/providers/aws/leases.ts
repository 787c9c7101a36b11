/**
 * Leases of items: the visibility timeouts of SQS. SQS does not say when one has ended, so their ends are kept here.
 *
 * SQS counts what is taken. An item that no handler had is therefore put anew, with its count in an attribute, and then deleted: a
 * crash in between makes two of it, never none. In a queue that keeps the order it stays where it is, and was counted.
 *
 * @module
 */
import { ChangeMessageVisibilityBatchCommand, DeleteMessageBatchCommand, type Message } from "@aws-sdk/client-sqs";
import type { BusError } from "../../errors.ts";
import type { AwsClient } from "./client.ts";
import { Batcher } from "./batcher.ts";
import { noQueue } from "./errors.ts";
import { keepsOrder } from "./names.ts";
import type { Queues } from "./queues.ts";
import { MAX_VISIBILITY, type Outgoing, untaken } from "./message.ts";

/** Requests of one kind for one queue under way at once; what is settled meanwhile shares the next. */
const PARALLEL = 2;
/** Seconds less than the 12 hours that SQS allows from the receipt on, of which it does not tell the moment. */
const MARGIN = 60;
/** The longest delay of an item that is put, in seconds. */
const MAX_DELAY = 900;
/** What SQS says of a receipt whose message is no longer held by it. */
const LOST = /ReceiptHandleIsInvalid|MessageNotInflight|InvalidParameterValue|NonExistentQueue|QueueDoesNotExist/;

interface Change {
  readonly receipt: string;
  readonly seconds: number;
}

/** The leases held by this worker. */
export class Leases {
  /** Receipt → its item, and when its lease began and ends, in milliseconds of `performance.now()`. */
  readonly #held = new Map<string, { readonly message: Message; readonly since: number; end: number }>();
  readonly #puts: Batcher<Outgoing & { readonly delay: number }>;
  readonly #deletes: Batcher<string>;
  readonly #changes: Batcher<Change>;

  /** Leases on items of these queues. */
  constructor(client: AwsClient, queues: Queues) {
    const options = { parallel: () => PARALLEL };
    this.#puts = new Batcher((queue, items) => queues.put(queue, items, true), {
      ...options,
      size: ({ size }) => size,
    });
    this.#deletes = new Batcher(
      (queue, receipts) =>
        client.batch(
          `remove items of queue "${queue}"`,
          receipts,
          (entries, abortSignal) =>
            queues.have(queue, async (QueueUrl) => {
              const Entries = entries.map(({ Id, item }) => ({ Id, ReceiptHandle: item }));
              return (await client.sqs.send(new DeleteMessageBatchCommand({ QueueUrl, Entries }), { abortSignal }))
                .Failed;
            }),
          { repeatable: true },
        ),
      options,
    );
    this.#changes = new Batcher(
      (queue, changes) =>
        client.batch(
          `change leases of queue "${queue}"`,
          changes,
          (entries, abortSignal) =>
            queues.have(queue, async (QueueUrl) => {
              const Entries = entries.map(({ Id, item }) => (
                { Id, ReceiptHandle: item.receipt, VisibilityTimeout: item.seconds }
              ));
              const command = new ChangeMessageVisibilityBatchCommand({ QueueUrl, Entries });
              return (await client.sqs.send(command, { abortSignal })).Failed;
            }),
          { repeatable: true },
        ),
      options,
    );
  }

  /** An item was received under a lease of so many seconds. */
  hold(message: Message, seconds: number): void {
    const since = performance.now();
    this.#held.set(message.ReceiptHandle!, { message, since, end: since + seconds * 1_000 });
  }

  /** True for each lease that still holds. */
  holds(receipts: readonly string[]): boolean[] {
    const now = performance.now();
    return receipts.map((receipt) => (this.#held.get(receipt)?.end ?? 0) > now);
  }

  /** Removes the items; true for each whose lease still held. */
  ack(queue: string, receipts: readonly string[]): Promise<boolean[]> {
    return this.#settle(receipts, (receipt) => this.#deletes.add(queue, receipt));
  }

  /** Gives the items back after so many milliseconds; true for each whose lease still held. */
  nack(queue: string, receipts: readonly string[], delay: number): Promise<boolean[]> {
    const seconds = secondsOf(delay, 0);
    return this.#settle(receipts, (receipt) => this.#change(queue, receipt, seconds));
  }

  /** Gives items back that no handler had, after so many milliseconds; true for each whose lease still held. */
  untried(queue: string, receipts: readonly string[], delay: number): Promise<boolean[]> {
    return this.#settle(receipts, (receipt) => this.#putAnew(queue, this.#held.get(receipt)!.message, delay));
  }

  /** Makes leases end so many seconds from now; true for each that still held. */
  extend(queue: string, receipts: readonly string[], seconds: number): Promise<boolean[]> {
    const now = performance.now();
    return this.#each(receipts, async (receipt) => {
      const held = this.#held.get(receipt)!;
      held.end = now + await this.#change(queue, receipt, seconds) * 1_000;
    });
  }

  /**
   * Removes items that were received for good; true for each that is ours now. One of which SQS does not say whether it is removed
   * is ours too: it may come twice, as anything on SQS, but must not be lost. Rejects if it was refused and none is ours.
   */
  async claim(queue: string, receipts: readonly string[]): Promise<boolean[]> {
    let refused: unknown;
    const ours = await Promise.all(
      receipts.map((receipt) =>
        this.#deletes.add(queue, receipt).then(() => true, (error: BusError) => {
          if (error.code !== "unavailable" && !isLost(error)) refused = error;
          return error.code === "unavailable";
        })
      ),
    );
    if (refused !== undefined && !ours.includes(true)) throw refused;
    return ours;
  }

  /** Gives items back that nobody wants. What does not succeed comes back by itself when its visibility ends. */
  async giveBack(queue: string, messages: readonly Message[]): Promise<void> {
    await Promise.allSettled(messages.map((message) => this.#putAnew(queue, message, 0)));
  }

  async #putAnew(queue: string, message: Message, delay: number): Promise<void> {
    const receipt = message.ReceiptHandle!;
    const seconds = secondsOf(delay, 0);
    const put = !keepsOrder(queue) &&
      await this.#puts.add(queue, { ...untaken(message), delay: Math.min(seconds, MAX_DELAY) })
        .then(() => true, () => false);
    // what cannot be put anew (it may be too large with its count, or the queue be gone) is counted
    await (put ? this.#deletes.add(queue, receipt) : this.#changes.add(queue, { receipt, seconds }));
  }

  /** Makes the item come back after so many seconds, or as many as SQS allows yet: resolves with how many. */
  async #change(queue: string, receipt: string, wanted: number): Promise<number> {
    const left = MAX_VISIBILITY - MARGIN - Math.ceil((performance.now() - this.#held.get(receipt)!.since) / 1_000);
    const seconds = left > 0 ? Math.min(wanted, left) : wanted;
    await this.#changes.add(queue, { receipt, seconds });
    return seconds;
  }

  async #settle(receipts: readonly string[], change: (receipt: string) => Promise<unknown>): Promise<boolean[]> {
    const held = await this.#each(receipts, change);
    for (const receipt of receipts) this.#held.delete(receipt);
    return held;
  }

  /** SQS would remove an item by a receipt whose lease has ended, though another may hold it by now: it is not asked. */
  #each(receipts: readonly string[], change: (receipt: string) => Promise<unknown>): Promise<boolean[]> {
    const now = performance.now();
    return Promise.all(receipts.map(async (receipt) => {
      try {
        if ((this.#held.get(receipt)?.end ?? 0) > now) {
          await change(receipt);
          return true;
        }
      } catch (error) {
        if (!isLost(error as BusError)) throw error;
      }
      this.#held.delete(receipt);
      return false;
    }));
  }
}

function isLost(error: BusError): boolean {
  return noQueue(error.cause) || LOST.test(error.message);
}

/** Whole seconds that are not less than so many milliseconds, as far as SQS allows. */
export function secondsOf(ms: number, least: number): number {
  return Math.min(MAX_VISIBILITY, Math.max(least, Math.ceil(ms / 1_000)));
}
