/**
 * A custom provider, written like a package outside tsmq: events over core NATS, queues over JetStream.
 *
 * It imports nothing but what tsmq exports, and passes its conformance kit (`tests/conformance/nats_test.ts`).
 *
 * @module
 */
import { createInbox, headers } from "@nats-io/transport-node";
import { type GroupPuts, writeTopic } from "@tsmq/tsmq/worker";
import type {
  Provider,
  QueueInspector,
  RegisteredServer,
  Sender,
  SenderContext,
  SendOptions,
} from "@tsmq/tsmq/provider";
import { Connection, notFound, registryStream, type Settings } from "./connection.ts";
import { groupPuts } from "./bindings.ts";
import { Names } from "./names.ts";
import { CONSUMER, queueStream } from "./queues.ts";

/** Options of {@linkcode nats}. They cross to a worker, so none may be a function. */
export interface NatsOptions {
  /** The addresses of the servers. Default `127.0.0.1:4222`. */
  readonly servers?: string | readonly string[];
  /** The user's name. */
  readonly user?: string;
  /** The user's password. */
  readonly pass?: string;
  /** A token in place of user and password. */
  readonly token?: string;
  /** The servers' `max_payload` in bytes. Default 1 MiB, NATS' own default. */
  readonly maxPayload?: number;
}

/**
 * Creates a provider for a NATS server, 2.10.14 or later, that runs with JetStream. An earlier one delivers the latest item twice when
 * it redelivers another one at the moment at which a wait for items has been cancelled.
 */
export function nats(options: NatsOptions = {}): Provider {
  const { servers = "127.0.0.1:4222", maxPayload = 1024 * 1024, ...login } = options;
  const settings: Settings = { ...login, servers: [servers].flat(), maxPayload };
  return {
    name: "nats",
    features: {
      counts: false,
      ordered: true,
      durable: true,
      shared: true,
      capacity: Infinity,
      maxBody: maxPayload,
      // items that were given back and have not been received again count as leased
      exactSize: false,
      exactAttempts: false,
      maxDelay: Infinity,
      maxPutDelay: 0,
      peek: false,
      groups: true,
      latency: 50,
    },
    worker: new URL("./worker.ts", import.meta.url),
    // a printed provider shows its options, so the worker asks for the login
    options: { servers: settings.servers, maxPayload },
    askHandler: { answer: () => settings },
    open: (context) => NatsSender.open(settings, context),
  };
}

class NatsSender implements Sender {
  readonly inspector: QueueInspector = {
    stats: (queue) => this.#stats(queue),
  };
  #connection: Connection;
  #names: Names;
  /** The subject to which the server reports, under the number of a message, that it had no receiver. */
  #echo = createInbox();
  #gone = new Set<string>();
  #groups: GroupPuts;
  #posted = 0;

  private constructor(connection: Connection, names: Names) {
    this.#connection = connection;
    this.#names = names;
    this.#groups = groupPuts(connection, names, (queue, item) => this.#put(queue, item));
    connection.nats.subscribe(`${this.#echo}.*`, {
      callback: (_, { subject }) => void this.#gone.add(subject),
    });
  }

  static async open(settings: Settings, context: SenderContext): Promise<Sender> {
    const connection = await Connection.open(settings, context.connectTimeout, context.sendTimeout, {
      up: () => context.state(true),
      down: (error) => context.state(false, error),
    });
    return new NatsSender(connection, new Names(context.namespace));
  }

  async publish(topic: string, body: string): Promise<undefined> {
    const { put, finish } = this.#groups.begin(topic, body);
    await Promise.all([this.#publish(topic, body), put]);
    await finish();
  }

  async #publish(topic: string, body: string): Promise<void> {
    const subject = this.#names.topic(topic);
    if (!this.#names.digested(subject)) return await this.#connection.publish(subject, body);
    const topicHeader = headers();
    topicHeader.set("topic", encodeURIComponent(topic));
    await this.#connection.publish(subject, body, { headers: topicHeader });
  }

  /** The receiver does not answer. But the server reports a message without a receiver before it answers the ping of a flush. */
  async post(inbox: string, body: string): Promise<boolean> {
    if (!this.#names.isInbox(inbox)) return false;
    const reply = `${this.#echo}.${++this.#posted}`;
    try {
      await this.#connection.publish(inbox, body, { reply });
      return !this.#gone.has(reply);
    } finally {
      this.#gone.delete(reply);
    }
  }

  servers(topic: string): Promise<RegisteredServer[]> {
    return this.#connection.run("look up servers", async () => {
      const filter = { subjects_filter: this.#names.server(topic, "*") };
      const { name } = registryStream(0);
      const info = await this.#connection.manager.streams.info(name, filter).catch(unless(notFound));
      return Object.keys(info?.state.subjects ?? {}).map((subject) => ({ inbox: this.#names.registered(subject) }));
    });
  }

  send(queue: string, body: string, { signal }: SendOptions): Promise<void> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    return this.#put(queue, writeTopic(body));
  }

  #put(queue: string, item: string): Promise<void> {
    return this.#connection.run(`put into queue "${queue}"`, async () => {
      const subject = this.#names.queue(queue);
      const created = await this.#connection.store(subject, item, queueStream(this.#names.stream(queue), subject));
      if (created) this.#connection.nats.publish(this.#names.created(queue));
    });
  }

  async size(queue: string): Promise<number> {
    return (await this.#stats(queue)).waiting;
  }

  /** JetStream counts an item that was given back with a delay as leased. */
  #stats(queue: string): Promise<{ waiting: number; leased: number }> {
    const { consumers, streams } = this.#connection.manager;
    const stream = this.#names.stream(queue);
    return this.#connection.run(`count the items of queue "${queue}"`, async () => {
      const taken = await consumers.info(stream, CONSUMER).catch(unless(notFound));
      if (taken) return { waiting: taken.num_pending, leased: taken.num_ack_pending };
      const waiting = (await streams.info(stream).catch(unless(notFound)))?.state.messages ?? 0;
      return { waiting, leased: 0 };
    });
  }

  async drop(queue: string): Promise<void> {
    await this.#connection.run(`remove queue "${queue}"`, async () => {
      await this.#connection.manager.streams.delete(this.#names.stream(queue)).catch(unless(notFound));
    });
  }

  close(): Promise<void> {
    return this.#connection.close();
  }
}

/** Returns a handler that turns an expected error into `undefined`, and rethrows any other. */
function unless(expected: (error: unknown) => boolean): (error: unknown) => undefined {
  return (error) => {
    if (!expected(error)) throw error;
  };
}
