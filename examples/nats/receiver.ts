/**
 * The receiving half, in the worker.
 *
 * @module
 */
import type { Msg, Subscription } from "@nats-io/transport-node";
import type { Delivery, Emit, Filter, Outcome, ReceiveOptions, Receiver, ReceiverContext } from "@tsmq/tsmq/provider";
import { filterKey, glob } from "@tsmq/tsmq/worker";
import { Connection, registryStream, type Settings, unavailable } from "./connection.ts";
import { Bindings } from "./bindings.ts";
import { Names } from "./names.ts";
import { Queues } from "./queues.ts";

/** Milliseconds that a request to the server may take. */
const TIMEOUT = 5_000;
/** Milliseconds until a registration expires: the longest time for which a killed server stays registered. */
const LEASE = 15_000;
/** Milliseconds between renewals: two may fail. */
const RENEW = 5_000;

/** Milliseconds that closing waits for a broken connection to come back, to remove what this bus created. */
const CLEANUP = 1_000;

/** Opens the receiving half of a NATS bus. */
export async function openReceiver(context: ReceiverContext): Promise<Receiver> {
  const receiver = new NatsReceiver(context);
  await receiver.open(await context.ask("settings", undefined) as Settings);
  return receiver;
}

class NatsReceiver implements Receiver {
  readonly inbox: string;
  #context: ReceiverContext;
  #names: Names;
  #id = crypto.randomUUID();
  #connection!: Connection;
  #queues!: Queues;
  binder!: Bindings;
  #inbox!: Subscription;
  #subscriptions = new Map<string, { readonly filter: Filter; readonly subscription: Subscription }>();
  /** The subscriptions that may have missed events, until a gap reports it. */
  #missed = new Set<Filter>();
  /** The subjects of the registrations of this receiver. */
  #registered = new Set<string>();
  #renewing: ReturnType<typeof setInterval> | undefined;

  constructor(context: ReceiverContext) {
    this.#context = context;
    this.#names = new Names(context.namespace);
    this.inbox = this.#names.inbox(this.#id);
  }

  async open(settings: Settings): Promise<void> {
    const { connectTimeout, state } = this.#context;
    this.#connection = await Connection.open(settings, connectTimeout, TIMEOUT, {
      up: () => this.#restored(),
      down: (error) => {
        for (const { filter } of this.#subscriptions.values()) this.#missed.add(filter);
        state(false, error);
      },
    });
    this.#queues = new Queues(this.#connection, this.#names);
    this.binder = new Bindings(this.#connection, this.#names);
    try {
      this.#inbox = await this.#listen(this.inbox, (message) => this.#context.inbox(message.string()));
    } catch (error) {
      await this.#connection.close();
      throw error;
    }
    this.#renewing = setInterval(() => this.#renew().catch(this.#context.fault), RENEW);
  }

  async subscribe(filter: Filter, emit: Emit): Promise<void> {
    const behind: Emit = (topic, body) => {
      this.#miss(filter);
      emit(topic, body);
    };
    const subscription = await this.#listen(...this.#route(filter, behind));
    this.#subscriptions.set(filterKey(filter), { filter, subscription });
    if (!filter.serves) return;
    const subject = this.#names.server(filter.topic, this.#id);
    this.#registered.add(subject);
    try {
      await this.#register(subject);
    } catch (error) {
      await this.unsubscribe(filter).catch(() => {});
      throw error;
    }
  }

  async unsubscribe(filter: Filter): Promise<void> {
    const { subscription } = this.#subscriptions.get(filterKey(filter)) ?? {};
    this.#subscriptions.delete(filterKey(filter));
    this.#missed.delete(filter);
    if (!filter.serves) return subscription?.unsubscribe();
    const subject = this.#names.server(filter.topic, this.#id);
    try {
      if (this.#registered.delete(subject)) await this.#unregister(subject);
    } finally {
      // the server listens until callers cannot find it any more, so that the core refuses what they sent before
      if (subscription) {
        await this.#connection.run("unsubscribe", () => subscription.drain()).catch(() => subscription.unsubscribe());
      }
    }
  }

  receive(queue: string, options: ReceiveOptions): Promise<Delivery[]> {
    return this.#queues.receive(queue, options);
  }

  restore(_queue: string, deliveries: readonly Delivery[]): Promise<void> {
    return this.#queues.restore(deliveries);
  }

  start(_queue: string, receipts: readonly string[]): Promise<boolean[]> {
    return Promise.resolve(this.#queues.start(receipts));
  }

  settle(_queue: string, receipts: readonly string[], outcome: Outcome, delay: number): Promise<boolean[]> {
    return this.#queues.settle(receipts, outcome, delay);
  }

  extend(_queue: string, receipts: readonly string[], lease: number): Promise<boolean[]> {
    return this.#queues.extend(receipts, lease);
  }

  async close(): Promise<void> {
    clearInterval(this.#renewing);
    await Promise.allSettled([
      this.#queues.close(CLEANUP),
      ...[...this.#registered].map((one) => this.#unregister(one)),
    ]);
    // messages that were posted before are still passed on; later posts find no receiver
    await this.#connection.run("close", () => this.#inbox.drain()).catch(() => {});
    await this.#connection.close();
  }

  abort(): void {
    clearInterval(this.#renewing);
    this.#connection.abort();
  }

  /** NATS matches exact topics. Its wildcards match tokens and tsmq's match text, so a pattern subscribes to all topics. */
  #route({ topic, pattern }: Filter, emit: Emit): [subject: string, take: (message: Msg) => void] {
    if (!pattern) return [this.#names.topic(topic), (message) => emit(topic, message.string())];
    const matches = glob(topic);
    return [this.#names.topics, (message) => {
      const topic = this.#names.digested(message.subject)
        ? decodeURIComponent(message.headers?.get("topic") ?? "")
        : this.#names.topicOf(message.subject);
      if (matches(topic)) emit(topic, message.string());
    }];
  }

  #listen(subject: string, take: (message: Msg) => void): Promise<Subscription> {
    return this.#connection.run("subscribe", async () => {
      let denied: Error | undefined;
      const subscription = this.#connection.nats.subscribe(subject, {
        callback: (error, message) => {
          if (error) denied = error;
          else take(message);
        },
      });
      try {
        await this.#connection.flush(); // a refusal comes before the answer to the flush's ping
      } catch (error) {
        subscription.unsubscribe();
        throw error;
      }
      if (denied) throw denied;
      return subscription;
    });
  }

  async #register(subject: string): Promise<void> {
    await this.#connection.run("register a function", () => this.#connection.store(subject, "", registryStream(LEASE)));
  }

  /** The connection may be broken without being noticed yet. Repeating the request is safe. */
  async #unregister(subject: string): Promise<void> {
    const { streams } = this.#connection.manager;
    for (const end = performance.now() + CLEANUP;;) {
      await this.#connection.recovered(CLEANUP);
      try {
        await this.#connection.run(
          "unregister a function",
          () => streams.purge(registryStream(LEASE).name, { filter: subject }),
        );
        return;
      } catch (error) {
        if (!unavailable(error) || performance.now() > end) throw error;
      }
    }
  }

  async #renew(): Promise<void> {
    if (this.#connection.up) await Promise.all([...this.#registered].map((subject) => this.#register(subject)));
  }

  /** The client has subscribed again by itself. The registry may have been lost with the server, so it is written again. */
  async #restored(): Promise<void> {
    try {
      await this.#connection.flush();
      await this.#renew();
    } catch (error) {
      if (!this.#connection.up) return; // broken again: the next connection does it
      this.#context.fault(error);
    }
    for (const filter of this.#missed) this.#miss(filter);
    this.#context.state(true);
  }

  /** Reports the gap of a subscription, before the first event after it, or after a flush. */
  #miss(filter: Filter): void {
    if (this.#missed.delete(filter)) this.#context.gap("The connection to NATS was lost", filter);
  }
}
