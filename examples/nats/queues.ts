/**
 * Queues over JetStream: a stream for each, and one durable consumer of it that all who take share.
 *
 * @module
 */
import { AckPolicy, type ConsumerConfig, JetStreamApiCodes, JetStreamApiError, StorageType } from "@nats-io/jetstream";
import { createInbox, type Msg, nanos } from "@nats-io/transport-node";
import type { Delivery, Outcome, ReceiveOptions } from "@tsmq/tsmq/provider";
import { type Connection, notFound, type Stream, unavailable } from "./connection.ts";
import type { Names } from "./names.ts";

/** The name of the consumer of each queue. */
export const CONSUMER = "takers";
/** Milliseconds after which an item comes back that was delivered into a connection that had just died. */
const UNHEARD = 10_000;
/** Buses that may wait for items of one queue; NATS' own default is 512. */
const MAX_WAITING = 10_000;
/** Milliseconds that one request for items waits. */
const SLICE = 2_000;
/** Milliseconds of silence after which the consumer is taken to be gone: its stream was deleted, and nobody says so. */
const SILENCE = 1_000;
/** Milliseconds between two attempts to tell the server what becomes of an item. */
const RETRY = 100;
/** The longest time in milliseconds that the server, which counts nanoseconds, can hold. */
const MAX_AWAY = 100 * 365 * 24 * 3_600 * 1_000;

const ACK = "+ACK";
/** Gives an item back after so long. It can be settled until then, so this is how long a lease lasts, too. */
const away = (ms: number) => ms > 0 ? `-NAK {"delay":${nanos(Math.min(ms, MAX_AWAY))}}` : "-NAK";

const consumer: Partial<ConsumerConfig> = {
  durable_name: CONSUMER,
  ack_policy: AckPolicy.Explicit,
  ack_wait: nanos(UNHEARD),
  max_waiting: MAX_WAITING,
  max_ack_pending: -1,
};

/** The stream of a queue, made by who puts the first item. */
export function queueStream(name: string, subject: string): Stream {
  return { name, subjects: [subject], storage: StorageType.File, consumer };
}

/** What the server is asked for. */
interface Pull {
  readonly batch: number;
  readonly no_wait: true;
  readonly expires?: number;
}

/** The named queues of a receiver, over JetStream. */
export class Queues {
  #connection: Connection;
  #names: Names;
  /** Queues whose consumer is there, as far as we know. */
  #ready = new Set<string>();
  /** Leases: receipt → when it ends, in milliseconds of `performance.now()`. */
  #leased = new Map<string, number>();
  /** Items taken without a lease → their receipts, until the server removes them. */
  #handed = new Map<Delivery, string>();
  #removing = new Set<Promise<unknown>>();

  /** The queues of a namespace. */
  constructor(connection: Connection, names: Names) {
    this.#connection = connection;
    this.#names = names;
  }

  /** Takes items; see `Receiver.receive`. */
  async receive(queue: string, { max, wait, lease, signal }: ReceiveOptions): Promise<Delivery[]> {
    const messages = wait > 0 ? await this.#wait(queue, max, wait, signal) : await this.#look(queue, max);
    const deliveries = messages.map(toDelivery);
    if (lease === undefined) return this.#hand(deliveries);
    const until = performance.now() + lease;
    for (const { receipt } of deliveries) this.#leased.set(receipt, until);
    const held = await this.extend(deliveries.map(({ receipt }) => receipt), lease);
    return deliveries.filter((_, i) => held[i]);
  }

  /** Gives back what was handed over just now. */
  async restore(deliveries: readonly Delivery[]): Promise<void> {
    const receipts = deliveries.map((delivery) => this.#handed.get(delivery)!);
    for (const delivery of deliveries) this.#handed.delete(delivery);
    await Promise.all(receipts.map((receipt) => this.#tell(receipt, away(0))));
  }

  /** JetStream counts deliveries, and has nowhere to record a start: true for each lease that holds. */
  start(receipts: readonly string[]): boolean[] {
    const now = performance.now();
    return receipts.map((receipt) => (this.#leased.get(receipt) ?? 0) >= now);
  }

  /** Settles leases; see `Receiver.settle`. What was not tried goes back to the head too, but JetStream has counted it. */
  settle(receipts: readonly string[], outcome: Outcome, delay: number): Promise<boolean[]> {
    return Promise.all(receipts.map(async (receipt) => {
      const until = this.#leased.get(receipt) ?? 0;
      this.#leased.delete(receipt);
      if (until < performance.now()) return false;
      try {
        return await this.#tell(receipt, outcome === "ack" ? ACK : away(delay));
      } catch (error) {
        this.#leased.set(receipt, until); // to be tried again
        throw error;
      }
    }));
  }

  /** Makes leases last; see `Receiver.extend`. */
  extend(receipts: readonly string[], lease: number): Promise<boolean[]> {
    return Promise.all(receipts.map(async (receipt) => {
      const now = performance.now();
      if ((this.#leased.get(receipt) ?? 0) < now) return false;
      const held = await this.#tell(receipt, away(lease));
      if (held) this.#leased.set(receipt, now + lease);
      return held;
    }));
  }

  /** Resolves when the server has removed what was handed over, or `ms` have passed. */
  async close(ms: number): Promise<void> {
    await Promise.race([Promise.allSettled(this.#removing), pause(ms)]);
  }

  /** As many as there are as soon as there is one. */
  async #wait(queue: string, max: number, wait: number, signal: AbortSignal): Promise<Msg[]> {
    const slice = Math.min(wait, SLICE);
    if (!await this.#prepare(queue)) {
      await this.#made(queue, slice, signal);
      return []; // and are called again
    }
    return await this.#pull(queue, { batch: max, no_wait: true, expires: nanos(slice) }, slice + SILENCE, signal);
  }

  /** One after the other: the answer to a request for more would not say that it has come to its end. */
  async #look(queue: string, max: number): Promise<Msg[]> {
    const messages: Msg[] = [];
    while (messages.length < max && await this.#prepare(queue)) {
      const found = await this.#pull(queue, { batch: 1, no_wait: true }, SILENCE);
      messages.push(...found);
      if (found.length === 0 && this.#ready.has(queue)) break;
    }
    return messages;
  }

  /** Whether there is the queue. Only who puts makes one; its consumer is made here if that process died in between. */
  #prepare(queue: string): Promise<boolean> {
    const { consumers } = this.#connection.manager;
    const stream = this.#names.stream(queue);
    return this.#connection.run("take", async () => {
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

  /** Resolves when somebody has made the queue, or after `ms`. */
  async #made(queue: string, ms: number, signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const { broken } = this.#connection;
    const made = this.#connection.nats.subscribe(this.#names.made(queue), { callback: () => resolve() });
    const timer = setTimeout(resolve, ms);
    const stop = () => resolve();
    signal.addEventListener("abort", stop);
    broken.addEventListener("abort", stop);
    if (signal.aborted || broken.aborted) stop();
    try {
      await this.#connection.flush();
      if (!await this.#prepare(queue)) await promise; // not even in the meantime
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
      broken.removeEventListener("abort", stop);
      made.unsubscribe();
    }
  }

  /** Asks for items. Whatever had been sent to us when the wait is ended is taken, and what comes later goes back at once. */
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
   * Hands items over for good. They are removed a moment later: until then `restore` puts them to the head, where they were,
   * which nothing could do with what is removed.
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
      if (receipt !== undefined && this.#handed.delete(delivery)) await this.#tell(receipt, ACK);
    }));
  }

  #track(work: Promise<unknown>): void {
    this.#removing.add(work);
    work.catch(() => {}).finally(() => this.#removing.delete(work));
  }

  /** Tells the server what becomes of an item, again while it is out of reach; false: it has none of this receipt. */
  async #tell(receipt: string, what: string): Promise<boolean> {
    const tell = async () => await this.#connection.request(receipt, what) !== undefined;
    for (const end = performance.now() + UNHEARD;;) {
      try {
        return await this.#connection.run("settle", tell);
      } catch (error) {
        if (!unavailable(error) || performance.now() > end) throw error;
        await pause(RETRY);
      }
    }
  }
}

/** The receipt is where the server wants to hear of the item; it tells how often it was delivered. */
function toDelivery(message: Msg): Delivery {
  const receipt = message.reply!;
  const tokens = receipt.split(".");
  // $JS.ACK.<stream>.<consumer>.<deliveries>. … ; newer servers put a domain and an account before the stream
  const attempt = Number(tokens.length === 9 ? tokens[4] : tokens[6]);
  return { receipt, body: message.string(), attempt };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
