/**
 * The receiving half: the bus's own queue for events and its inbox, and long polls on named queues.
 *
 * @module
 */
import { BusError, ProviderError } from "../../errors.ts";
import { pause, within } from "../../internal/time.ts";
import type {
  AskHandler,
  Delivery,
  Emit,
  Filter,
  Outcome,
  ReceiveOptions,
  Receiver,
  ReceiverContext,
} from "../../provider/provider.ts";
import { type AskCredentials, AwsClient, BATCH } from "./client.ts";
import { AttributeNames } from "./attribute_names.ts";
import { Bindings } from "./bindings.ts";
import { BusQueue } from "./bus_queue.ts";
import { failureOf, noQueue, toBusError } from "./errors.ts";
import { Leases, secondsOf } from "./leases.ts";
import { Names } from "./names.ts";
import type { AwsCredentials, Settings } from "./options.ts";
import { received } from "./posted.ts";
import { BusQueueReader, type ReaderEvents } from "./bus_queue_reader.ts";
import { Queues } from "./queues.ts";
import { cleanUp } from "./cleanup.ts";
import { Subscriptions } from "./subscriptions.ts";
import { QueuePoller } from "./queue_poller.ts";
import { Topics } from "./topics.ts";
import { type Content, PATTERNS_TTL, write } from "./message.ts";

/** Milliseconds that a request may take, with all its attempts. */
const TIMEOUT = 10_000;
/** The number of sockets for long polls. Each polled queue uses one socket, and more while it is busy. */
const POLL_SOCKETS = 1_024;
/** Milliseconds that closing waits for items to be given back. */
const GIVE_BACK_TIMEOUT = 500;
/**
 * The longest time in milliseconds that closing waits for the bus's own queue to become empty, and the time without a message after which no
 * other bus seems to send to it. Callers learn within a second that a server has ended (`SERVERS_TTL`), and a request that SQS accepts between
 * the last poll and the end of the queue is lost.
 */
const EMPTY = { other: { timeout: 300, quiet: 0 }, server: { timeout: 1_500, quiet: 250 } };

/** Opens the receiving half. */
export async function openReceiver(context: ReceiverContext): Promise<Receiver> {
  const settings = await received(context);
  const receiver = new AwsReceiver(settings, context);
  try {
    await receiver.open(context.connectTimeout);
    return receiver;
  } catch (error) {
    receiver.abort();
    throw toBusError("open an AWS bus", error);
  }
}

class AwsReceiver implements AskHandler, Receiver {
  readonly askHandler: AskHandler = this;
  readonly inbox: string;
  readonly binder: Bindings;
  readonly #settings: Settings;
  readonly #context: ReceiverContext;
  readonly #names: Names;
  readonly #client: AwsClient;
  readonly #polls: AwsClient;
  readonly #queue: BusQueue;
  readonly #topics: Topics;
  readonly #queues: Queues;
  readonly #leases: Leases;
  readonly #attributes: AttributeNames;
  readonly #closing = new AbortController();
  readonly #subscriptions: Subscriptions;
  /** Resolves when every publisher knows that this bus subscribes to patterns. */
  #patternsKnown: Promise<void> | undefined;
  readonly #pollers = new Map<string, QueuePoller>();
  #reader: BusQueueReader | undefined;
  /** Whether the bus has served functions. */
  #served = false;
  #closed: Promise<void> | undefined;

  constructor(settings: Settings, context: ReceiverContext) {
    const ask: AskCredentials = async () => await context.ask("credentials", undefined) as AwsCredentials;
    this.#settings = settings;
    this.#context = context;
    this.#names = new Names(context.namespace);
    this.inbox = this.#names.bus();
    this.#client = new AwsClient(settings, ask, TIMEOUT);
    this.#polls = new AwsClient(settings, ask, TIMEOUT, POLL_SOCKETS);
    this.#queue = new BusQueue(this.#client, this.inbox, this.#names.prefix, settings.lease, context.origin, {
      fault: (error) => context.fault(toBusError("renew the lease of the bus", error)),
      expired: () => this.#topics.check(),
    });
    this.#subscriptions = new Subscriptions(this.#names, context, this.#closing.signal);
    this.#topics = new Topics(this.#client, this.#queue, settings.rawDelivery, this.#subscriptions);
    this.#queues = new Queues(this.#client, this.#names, true);
    this.#leases = new Leases(this.#client, this.#queues);
    this.#attributes = new AttributeNames((error) => context.fault(error));
    this.binder = new Bindings(this.#client, this.#names, this.#queues, this.#queue, this.#closing.signal);
  }

  async open(timeout: number): Promise<void> {
    await this.#queue.open(timeout);
    const events: ReaderEvents = {
      deliver: (content) => this.#deliver(content),
      deleted: () => this.#reopen(timeout),
      state: (connected, error) => this.#context.state(connected, error),
      fault: (error) => this.#context.fault(error),
    };
    this.#reader = new BusQueueReader(this.#polls, this.#client, this.#queue, this.#settings, events);
    // opening the bus does not wait for this cleanup of dead buses, and does not fail if it fails
    cleanUp(this.#client, this.#names, this.#closing.signal).catch((error) => {
      // if many buses open at once, the next bus cleans up
      if (this.#closing.signal.aborted || failureOf(error) === "throttled") return;
      this.#context.fault(toBusError("remove the remains of dead buses", error));
    });
  }

  async subscribe(filter: Filter, emit: Emit): Promise<void> {
    this.#subscriptions.add(filter, emit);
    try {
      await this.#subscribe(filter);
    } catch (error) {
      this.#subscriptions.remove(filter);
      const doing = `subscribe to "${filter.topic}"`;
      if (!noQueue(error)) throw toBusError(doing, error);
      // the core retries until the reader has created the queue again
      throw new ProviderError("unavailable", `Cannot ${doing}: the queue of the bus was deleted`, { cause: error });
    }
  }

  async unsubscribe(filter: Filter): Promise<void> {
    if (!this.#subscriptions.remove(filter)) return;
    try {
      // deregister first: callers must not find a server that no longer listens
      if (filter.serves) await this.#topics.remove(this.#names.registry(filter.topic));
      await this.#topics.remove(this.#subscriptions.topicOf(filter));
    } catch (error) {
      throw toBusError(`unsubscribe from "${filter.topic}"`, error);
    }
  }

  async receive(queue: string, options: ReceiveOptions): Promise<Delivery[]> {
    const key = `${options.lease ?? ""}:${queue}`;
    let poller = this.#pollers.get(key);
    if (!poller) {
      for (const [key, poller] of this.#pollers) if (!poller.busy) this.#pollers.delete(key);
      const shared = {
        polls: this.#polls,
        queues: this.#queues,
        leases: this.#leases,
        attributes: this.#attributes,
        seconds: this.#settings.poll,
        closing: this.#closing.signal,
      };
      this.#pollers.set(key, poller = new QueuePoller(shared, queue, options.lease));
    }
    return await poller.receive(options);
  }

  /** Puts items back at the end of the queue, as new items, because SQS cannot put an item at the head. */
  async restore(queue: string, deliveries: readonly Delivery[]): Promise<void> {
    for (let at = 0; at < deliveries.length; at += BATCH) {
      const items = deliveries.slice(at, at + BATCH).map(({ body, topic, attempt }) => {
        const label = { ...topic !== undefined && { topic }, ...attempt > 1 && { attempts: attempt - 1 } };
        return write(body, label, `put back into queue "${queue}"`);
      });
      for (const error of await this.#queues.put(queue, items)) if (error) throw error;
    }
  }

  /** Returns which leases are still valid. SQS counts deliveries, and cannot record starts. */
  start(_queue: string, receipts: readonly string[]): Promise<boolean[]> {
    return Promise.resolve(this.#leases.holds(receipts));
  }

  settle(queue: string, receipts: readonly string[], outcome: Outcome, delay: number): Promise<boolean[]> {
    return outcome === "ack" ? this.#leases.ack(queue, receipts) : this.#leases[outcome](queue, receipts, delay);
  }

  extend(queue: string, receipts: readonly string[], lease: number): Promise<boolean[]> {
    return this.#leases.extend(queue, receipts, secondsOf(lease, 1));
  }

  answer(verb: string): unknown {
    if (verb === "arns") return this.#queue.arns;
    throw new BusError("internal", `Cannot answer "${verb}": the AWS receiver has no such request`);
  }

  close(): Promise<void> {
    return this.#closed ??= this.#close();
  }

  /** Stops all work and closes all sockets, without removing anything from AWS. */
  abort(): void {
    this.#closing.abort();
    this.#reader?.close();
    this.#topics.stop();
    this.#queue.stop();
    this.#client.close();
    this.#polls.close();
  }

  /** Reads the bus's own queue until it is empty. The core refuses late calls, so that their callers try other servers. */
  async #close(): Promise<void> {
    this.#closing.abort();
    const pollers = Promise.all([...this.#pollers.values()].map((poller) => poller.idle()));
    try {
      // each step runs even when another one fails
      const [topics] = await Promise.allSettled([
        this.#topics.close().then(() => this.#empty()),
        within(GIVE_BACK_TIMEOUT, pollers),
      ]);
      // a later cleanup needs the queue: its policy lists the topics whose subscriptions are left
      if (topics.status === "rejected") throw topics.reason;
      await this.#queue.close();
    } catch (error) {
      throw toBusError("remove the queue and topics of the bus", error);
    } finally {
      this.abort();
    }
  }

  async #empty(): Promise<void> {
    const { timeout, quiet } = EMPTY[this.#served ? "server" : "other"];
    await this.#reader?.empty(timeout, quiet);
  }

  async #subscribe(filter: Filter): Promise<void> {
    const name = this.#subscriptions.topicOf(filter);
    const fresh = await this.#topics.add(name);
    if (filter.pattern) {
      // publishers that found no topic for patterns do not ask again during this time
      if (fresh) this.#patternsKnown = pause(PATTERNS_TTL, this.#closing.signal);
      return await this.#patternsKnown;
    }
    // `unsubscribe` may have been called meanwhile: it removes the topic
    if (!filter.serves || !this.#subscriptions.has(filter)) return;
    this.#served = true;
    try {
      await this.#topics.add(this.#names.registry(filter.topic), true);
    } catch (error) {
      // the first error is more useful than an error of the rollback
      if (this.#subscriptions.remove(filter)) await this.#topics.remove(name).catch(() => {});
      throw error;
    }
  }

  #deliver(content: Content): boolean {
    if (content.label.inbox) {
      this.#context.inbox(content.body);
      return true;
    }
    if (this.#context.congested) return false;
    return this.#subscriptions.emit(content);
  }

  /** Creates the bus's own queue again. Another bus deletes it if this one has not renewed its lease, for example on a suspended laptop. */
  async #reopen(timeout: number): Promise<boolean> {
    if (this.#closing.signal.aborted || !await this.#queue.reopen(timeout)) return false;
    const reason = "the queue of the bus was deleted and created again";
    // the inbox may have lost messages even without subscriptions
    if (this.#subscriptions.empty) this.#context.gap(reason);
    try {
      await this.#topics.restore(reason);
    } catch (error) {
      this.#context.fault(toBusError("subscribe again", error));
    }
    return true;
  }
}
