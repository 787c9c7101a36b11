/**
 * Queues over JetStream: each queue is a stream with one durable consumer, which all buses share.
 *
 * @module
 */
import { AckPolicy, type ConsumerConfig, JetStreamApiCodes, JetStreamApiError, StorageType } from "@nats-io/jetstream";
import { createInbox, type Msg, nanos } from "@nats-io/transport-node";
import type { Delivery, Outcome, ReceiveOptions } from "@tsmq/tsmq/provider";
import { readTopic } from "@tsmq/tsmq/worker";
import { type Connection, notFound, type Stream, unavailable } from "./connection.ts";
import type { Names } from "./names.ts";

/** The name of the durable consumer of each queue's stream. */
export const CONSUMER = "tsmq";
/** Milliseconds until the server redelivers an item that it sent into a broken connection. */
const ACK_WAIT = 10_000;
/** The largest number of buses that wait for items of one queue. The default of NATS is 512. */
const MAX_WAITING = 10_000;
/** Milliseconds that one request for items waits at the server. */
const PULL_WAIT = 2_000;
/** Milliseconds after which a request without an answer means that the consumer was deleted: the server does not answer then. */
const NO_ANSWER = 1_000;
/** Milliseconds between two attempts to settle an item. */
const RETRY = 100;
/** The longest delay in milliseconds. The server counts nanoseconds in 64 bits. */
const MAX_DELAY = 100 * 365 * 24 * 3_600 * 1_000;

const ACK = "+ACK";
/** Gives an item back after a delay. The item can be settled until then, so this also sets the time of a lease. */
const nakAfter = (ms: number) => ms > 0 ? `-NAK {"delay":${nanos(Math.min(ms, MAX_DELAY))}}` : "-NAK";

const consumer: Partial<ConsumerConfig> = {
  durable_name: CONSUMER,
  ack_policy: AckPolicy.Explicit,
  ack_wait: nanos(ACK_WAIT),
  max_waiting: MAX_WAITING,
  max_ack_pending: -1,
};

/** Returns the stream of a queue. The sender that puts the first item creates it. */
export function queueStream(name: string, subject: string): Stream {
  return { name, subjects: [subject], storage: StorageType.File, consumer };
}

/** A request for items. */
interface Pull {
  readonly batch: number;
  readonly no_wait: true;
  readonly expires?: number;
}

/** The named queues of a receiver, over JetStream. */
export class Queues {
  #connection: Connection;
  #names: Names;
  /** The queues whose consumer exists, as far as this process knows. */
  #ready = new Set<string>();
  /** Leases: receipt → when it ends, in milliseconds of `performance.now()`. */
  #leased = new Map<string, number>();
  /** Items that were taken without a lease → their receipts, until the server has removed them. */
  #handed = new Map<Delivery, string>();
  #removing = new Set<Promise<unknown>>();

  /** Creates the queues of a namespace. */
  constructor(connection: Connection, names: Names) {
    this.#connection = connection;
    this.#names = names;
  }

  /** Receives items, as `Receiver.receive` describes. */
  async receive(queue: string, { max, wait, lease, signal }: ReceiveOptions): Promise<Delivery[]> {
    const messages = wait > 0 ? await this.#wait(queue, max, wait, signal) : await this.#takeNow(queue, max);
    const deliveries = messages.map(toDelivery);
    if (lease === undefined) return this.#hand(deliveries);
    const until = performance.now() + lease;
    for (const { receipt } of deliveries) this.#leased.set(receipt, until);
    const held = await this.extend(deliveries.map(({ receipt }) => receipt), lease);
    return deliveries.filter((_, i) => held[i]);
  }

  /** Gives back items that were taken a moment ago. */
  async restore(deliveries: readonly Delivery[]): Promise<void> {
    const receipts = deliveries.map((delivery) => this.#handed.get(delivery)!);
    for (const delivery of deliveries) this.#handed.delete(delivery);
    await Promise.all(receipts.map((receipt) => this.#settle(receipt, nakAfter(0))));
  }

  /** Returns true for each lease that holds. Nothing is recorded: JetStream counts deliveries, not starts. */
  start(receipts: readonly string[]): boolean[] {
    const now = performance.now();
    return receipts.map((receipt) => (this.#leased.get(receipt) ?? 0) >= now);
  }

  /** Settles leases, as `Receiver.settle` describes. JetStream counts a delivery as an attempt even if no handler started. */
  settle(receipts: readonly string[], outcome: Outcome, delay: number): Promise<boolean[]> {
    return Promise.all(receipts.map(async (receipt) => {
      const until = this.#leased.get(receipt) ?? 0;
      this.#leased.delete(receipt);
      if (until < performance.now()) return false;
      try {
        return await this.#settle(receipt, outcome === "ack" ? ACK : nakAfter(delay));
      } catch (error) {
        this.#leased.set(receipt, until); // so that the caller can retry
        throw error;
      }
    }));
  }

  /** Extends leases, as `Receiver.extend` describes. */
  extend(receipts: readonly string[], lease: number): Promise<boolean[]> {
    return Promise.all(receipts.map(async (receipt) => {
      const now = performance.now();
      if ((this.#leased.get(receipt) ?? 0) < now) return false;
      const held = await this.#settle(receipt, nakAfter(lease));
      if (held) this.#leased.set(receipt, now + lease);
      else this.#leased.delete(receipt);
      return held;
    }));
  }

  /** Resolves when the server has removed all taken items, or after `ms`. */
  async close(ms: number): Promise<void> {
    await Promise.race([Promise.allSettled(this.#removing), pause(ms)]);
  }

  /** Resolves with up to `max` items as soon as there is one, or with none after `wait` ms. */
  async #wait(queue: string, max: number, wait: number, signal: AbortSignal): Promise<Msg[]> {
    const slice = Math.min(wait, PULL_WAIT);
    if (!await this.#prepare(queue)) {
      await this.#waitForQueue(queue, slice, signal);
      return []; // the caller asks again
    }
    return await this.#pull(queue, { batch: max, no_wait: true, expires: nanos(slice) }, slice + NO_ANSWER, signal);
  }

  /** Takes the items that are there, one request for each: a larger request would not report that the queue is empty. */
  async #takeNow(queue: string, max: number): Promise<Msg[]> {
    const messages: Msg[] = [];
    while (messages.length < max && await this.#prepare(queue)) {
      const found = await this.#pull(queue, { batch: 1, no_wait: true }, NO_ANSWER);
      messages.push(...found);
      if (found.length === 0 && this.#ready.has(queue)) break;
    }
    return messages;
  }

  /** Resolves with true if the queue exists. A sender creates the queue; if it died before it created the consumer, this does so. */
  #prepare(queue: string): Promise<boolean> {
    const { consumers } = this.#connection.manager;
    const stream = this.#names.stream(queue);
    return this.#connection.run(`take from queue "${queue}"`, async () => {
      if (this.#ready.has(queue)) return true;
      try {
        await consumers.info(stream, CONSUMER).catch((error) => {
          if (!(error instanceof JetStreamApiError) || error.code !== JetStreamApiCodes.ConsumerNotFound) throw error;
          return consumers.add(stream, consumer);
        });
      } catch (error) {
        if (notFound(error)) return false;
        throw error;
      }
      this.#ready.add(queue);
      return true;
    });
  }

  /** Resolves when a sender has created the queue, or after `ms`. */
  async #waitForQueue(queue: string, ms: number, signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const { broken } = this.#connection;
    const created = this.#connection.nats.subscribe(this.#names.created(queue), { callback: () => resolve() });
    const timer = setTimeout(resolve, ms);
    const stop = () => resolve();
    signal.addEventListener("abort", stop);
    broken.addEventListener("abort", stop);
    if (signal.aborted || broken.aborted) stop();
    try {
      await this.#connection.flush();
      if (!await this.#prepare(queue)) await promise; // nor was it created before the subscription
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
      broken.removeEventListener("abort", stop);
      created.unsubscribe();
    }
  }

  /** Requests items. When the wait ends, it keeps the items that have arrived; the server keeps the others. */
  #pull(queue: string, pull: Pull, patience: number, signal?: AbortSignal): Promise<Msg[]> {
    const { nats, broken } = this.#connection;
    const { promise, resolve } = Promise.withResolvers<Msg[]>();
    const messages: Msg[] = [];
    const inbox = createInbox();
    const subscription = nats.subscribe(inbox, {
      callback: (error, message) => {
        const status = error ? 503 : message.headers?.code ?? 0;
        if (status === 0) messages.push(message);
        else if (status !== 404 && status !== 408) this.#ready.delete(queue);
        if (status !== 0 || messages.length === pull.batch) end();
      },
    });
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", stop);
      broken.removeEventListener("abort", end);
      subscription.unsubscribe();
      resolve(messages);
    };
    const stop = () => subscription.drain().then(end, end);
    const timer = setTimeout(() => {
      this.#ready.delete(queue);
      stop();
    }, patience);
    signal?.addEventListener("abort", stop, { once: true });
    broken.addEventListener("abort", end);
    nats.publish(`$JS.API.CONSUMER.MSG.NEXT.${this.#names.stream(queue)}.${CONSUMER}`, JSON.stringify(pull), {
      reply: inbox,
    });
    if (broken.aborted) end();
    else if (signal?.aborted) stop();
    return promise;
  }

  /**
   * Takes items without a lease. They are removed from the server a moment later, so that `restore` can still put them back to the
   * head of the queue.
   */
  #hand(deliveries: readonly Delivery[]): Delivery[] {
    const handed = deliveries.map((delivery) => ({ ...delivery, receipt: "" }));
    handed.forEach((delivery, i) => this.#handed.set(delivery, deliveries[i]!.receipt));
    if (handed.length > 0) this.#track(pause(0).then(() => this.#remove(handed)));
    return handed;
  }

  async #remove(deliveries: readonly Delivery[]): Promise<void> {
    await Promise.all(deliveries.map(async (delivery) => {
      const receipt = this.#handed.get(delivery);
      if (receipt !== undefined && this.#handed.delete(delivery)) await this.#settle(receipt, ACK);
    }));
  }

  #track(work: Promise<unknown>): void {
    this.#removing.add(work);
    work.catch(() => {}).finally(() => this.#removing.delete(work));
  }

  /** Acknowledges an item or gives it back, and retries while the server is unreachable. Resolves with false if it has no such item. */
  async #settle(receipt: string, what: string): Promise<boolean> {
    const settle = async () => await this.#connection.request(receipt, what) !== undefined;
    for (const end = performance.now() + ACK_WAIT;;) {
      try {
        return await this.#connection.run("settle an item", settle);
      } catch (error) {
        if (!unavailable(error) || performance.now() > end) throw error;
        await pause(RETRY);
      }
    }
  }
}

/** Returns a delivery. Its receipt is the subject that settles the item; this subject also contains the number of deliveries. */
function toDelivery(message: Msg): Delivery {
  const receipt = message.reply!;
  const tokens = receipt.split(".");
  // $JS.ACK.<stream>.<consumer>.<deliveries>. … ; newer servers add a domain and an account before the stream
  const attempt = Number(tokens.length === 9 ? tokens[4] : tokens[6]);
  return { receipt, ...readTopic(message.string()), attempt };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
