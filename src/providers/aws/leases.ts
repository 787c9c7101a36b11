/**
 * Leases of items: the visibility timeouts of SQS. SQS does not report when a timeout ends. So this module stores the ends, counted from
 * the time of the request, because the answer may be late.
 *
 * SQS counts each delivery. So if no handler has started with an item, it is sent again, with its count in an attribute, and then deleted.
 * A crash between these steps duplicates the item, but does not lose it. In a FIFO queue, and without all its attributes, the item stays, and
 * the delivery counts.
 *
 * @module
 */
import { ChangeMessageVisibilityBatchCommand, DeleteMessageBatchCommand, type Message } from "@aws-sdk/client-sqs";
import type { BusError } from "../../errors.ts";
import { type AwsClient, REPEATABLE } from "./client.ts";
import { Batcher } from "./batcher.ts";
import { noQueue } from "./errors.ts";
import { keepsOrder } from "./names.ts";
import type { Queues } from "./queues.ts";
import { asUntried, MAX_PUT_DELAY, MAX_VISIBILITY, type Outgoing } from "./message.ts";

/** The number of requests of one kind that run at once for one queue. Later items share the next request. */
const PARALLEL = 2;
/** Seconds by which the longest lease is shorter than the 12 hours that SQS allows, because SQS does not report when they began. */
const MARGIN = 60;
/** Matches the errors of SQS for an expired receipt. */
const LOST = /ReceiptHandleIsInvalid|MessageNotInflight|InvalidParameterValue|NonExistentQueue|QueueDoesNotExist/;

interface Change {
  readonly receipt: string;
  readonly seconds: number;
}

/** An item as it was received. */
export interface Received extends Message {
  /** True if it has all its attributes, also those that other programs gave it. */
  readonly complete: boolean;
}

/** A lease. At SQS it ends at the recorded time or later. */
interface Held {
  readonly message: Received;
  /** The time of the request for the item, in milliseconds of `performance.now()`. `end` is the end of the lease. */
  readonly since: number;
  end: number;
}

/** The leases that this worker holds, by their receipts. */
export class Leases {
  readonly #held = new Map<string, Held>();
  readonly #puts: Batcher<Outgoing & { readonly delay: number }>;
  readonly #deletes: Batcher<string>;
  readonly #changes: Batcher<Change>;

  /** Creates an empty list of leases of items of these queues. */
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
          (entries, http) =>
            queues.withKnownUrl(queue, async (QueueUrl) => {
              const Entries = entries.map(({ Id, item }) => ({ Id, ReceiptHandle: item }));
              return (await client.sqs.send(new DeleteMessageBatchCommand({ QueueUrl, Entries }), http))
                .Failed;
            }),
          REPEATABLE,
        ),
      options,
    );
    this.#changes = new Batcher(
      (queue, changes) =>
        client.batch(
          `change leases of queue "${queue}"`,
          changes,
          (entries, http) =>
            queues.withKnownUrl(queue, async (QueueUrl) => {
              const Entries = entries.map(({ Id, item }) => (
                { Id, ReceiptHandle: item.receipt, VisibilityTimeout: item.seconds }
              ));
              const command = new ChangeMessageVisibilityBatchCommand({ QueueUrl, Entries });
              return (await client.sqs.send(command, http)).Failed;
            }),
          REPEATABLE,
        ),
      options,
    );
  }

  /** Records the lease of an item. `since` is the time of the request for it, `end` the end of the lease, by `performance.now()`. */
  hold(message: Received, since: number, end: number): void {
    this.#held.set(message.ReceiptHandle!, { message, since, end });
  }

  /** Returns true for each lease that is still valid. */
  holds(receipts: readonly string[]): boolean[] {
    const now = performance.now();
    return receipts.map((receipt) => (this.#held.get(receipt)?.end ?? 0) > now);
  }

  /** Deletes items. Resolves with true for each item whose lease was still valid. */
  ack(queue: string, receipts: readonly string[]): Promise<boolean[]> {
    return this.#settle(receipts, (receipt) => this.#deletes.add(queue, receipt));
  }

  /** Gives items back after a delay in milliseconds. Resolves with true for each item whose lease was still valid. */
  nack(queue: string, receipts: readonly string[], delay: number): Promise<boolean[]> {
    const wanted = secondsOf(delay, 0);
    return this.#settle(receipts, (receipt) => {
      const seconds = allow(this.#held.get(receipt)!, wanted);
      return this.#changes.add(queue, { receipt, seconds });
    });
  }

  /**
   * Gives back items that no handler has started, after a delay in milliseconds. Resolves with true for each item whose lease was still
   * valid.
   */
  untried(queue: string, receipts: readonly string[], delay: number): Promise<boolean[]> {
    return this.#settle(receipts, (receipt) => this.#putAnew(queue, this.#held.get(receipt)!.message, delay));
  }

  /** Extends leases to a number of seconds from now. Resolves with true for each lease that was still valid. */
  extend(queue: string, receipts: readonly string[], seconds: number): Promise<boolean[]> {
    const now = performance.now();
    return this.#each(receipts, async (receipt) => {
      const held = this.#held.get(receipt)!;
      const { end } = held;
      const allowed = allow(held, seconds);
      const extended = now + allowed * 1_000;
      held.end = Math.min(end, extended); // the answer may be lost
      await this.#changes.add(queue, { receipt, seconds: allowed });
      held.end = extended;
      return performance.now() < end; // later, another consumer may have had it before it was extended
    });
  }

  /**
   * Deletes items that were received without a lease. Resolves with true for each item that the caller now owns. If SQS did not confirm a
   * deletion, the caller owns the item too, because it may be delivered twice, but must not be lost. Rejects if the caller owns no item.
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

  /** Gives back items that nothing waits for. SQS redelivers those that could not be given back when their visibility timeout ends. */
  async giveBack(queue: string, messages: readonly Received[]): Promise<void> {
    for (const { ReceiptHandle } of messages) this.#held.delete(ReceiptHandle!);
    await Promise.allSettled(messages.map((message) => this.#putAnew(queue, message, 0)));
  }

  async #putAnew(queue: string, message: Received, delay: number): Promise<void> {
    const receipt = message.ReceiptHandle!;
    const seconds = secondsOf(delay, 0);
    const put = !keepsOrder(queue) && message.complete &&
      await this.#puts.add(queue, { ...asUntried(message), delay: Math.min(seconds, MAX_PUT_DELAY) })
        .then(() => true, () => false);
    // an item that cannot be sent again (too large with its count, or its queue is gone) keeps the counted delivery
    await (put ? this.#deletes.add(queue, receipt) : this.#changes.add(queue, { receipt, seconds }));
  }

  async #settle(receipts: readonly string[], change: (receipt: string) => Promise<unknown>): Promise<boolean[]> {
    const held = await this.#each(receipts, change);
    for (const receipt of receipts) this.#held.delete(receipt);
    return held;
  }

  /**
   * Makes a change for each lease that is still valid. A request with an expired receipt is not sent, because SQS would delete an item that
   * another consumer holds.
   */
  #each(receipts: readonly string[], change: (receipt: string) => Promise<unknown>): Promise<boolean[]> {
    const now = performance.now();
    return Promise.all(receipts.map(async (receipt) => {
      try {
        if ((this.#held.get(receipt)?.end ?? 0) > now) {
          if (await change(receipt) !== false) return true;
        }
      } catch (error) {
        if (!isLost(error as BusError)) throw error;
      }
      this.#held.delete(receipt);
      return false;
    }));
  }
}

/** Limits a number of seconds to the number that SQS still allows for the lease. */
function allow({ since }: Held, wanted: number): number {
  const left = MAX_VISIBILITY - MARGIN - Math.ceil((performance.now() - since) / 1_000);
  return left > 0 ? Math.min(wanted, left) : wanted;
}

function isLost(error: BusError): boolean {
  return noQueue(error.cause) || LOST.test(error.message);
}

/** Rounds milliseconds up to seconds, within the limit of SQS. */
export function secondsOf(ms: number, least: number): number {
  return Math.min(MAX_VISIBILITY, Math.max(least, Math.ceil(ms / 1_000)));
}
