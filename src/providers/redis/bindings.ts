/**
 * The queues that are bound to topics, for groups: a hash with one field for each binding. Publishers read it at most once a second, and
 * only while they publish.
 *
 * @module
 */
import { ClosedError } from "../../errors.ts";
import { pause } from "../../internal/time.ts";
import { writeBinding } from "../../provider/bindings.ts";
import { BINDING_DELAY, GroupPuts } from "../../provider/group_puts.ts";
import type { Binder, TopicFilter } from "../../provider/provider.ts";
import type { Client } from "./client.ts";
import type { Names } from "./names.ts";
import { count, type ReplyReader, texts } from "./replies.ts";

/** Binds queues, in the worker. */
export class RedisBinder implements Binder {
  #client: Client;
  #key: string;
  #closing = new AbortController();

  /** Creates the binder of a namespace. */
  constructor(client: Client, names: Names) {
    this.#client = client;
    this.#key = names.bindings;
  }

  async bind(filter: TopicFilter, queue: string): Promise<void> {
    await this.#client.call(count, "hset", this.#key, writeBinding(filter, queue), "");
    await this.#known();
  }

  async unbind(filter: TopicFilter, queue: string): Promise<void> {
    await this.#client.call(count, "hdel", this.#key, writeBinding(filter, queue));
    await this.#known();
  }

  /** Ends the waits for publishers. */
  stop(): void {
    this.#closing.abort(new ClosedError());
  }

  /** Resolves when every publisher knows of a change. */
  async #known(): Promise<void> {
    const { signal } = this.#closing;
    await pause(BINDING_DELAY, signal);
    signal.throwIfAborted();
  }
}

/** Publishes events, and puts them into the queues that are bound to their topics. */
export class Publisher {
  #events: Client;
  #names: Names;
  #groups: GroupPuts;
  /** Whether queues and events use different connections, so that a publisher has to order its writes. */
  #cluster: boolean;
  #time: number | undefined;
  /** The reader of {@linkcode GroupPuts.noneUntil}. All events share it, because a closure for each would cost a tenth of a publish. */
  #unbound: { readonly until: number; readonly read: ReplyReader<number> } = { until: -Infinity, read: count };
  /** Resolves when the events before the next one are in their queues. Only for a Cluster. */
  #stored: Promise<unknown> | undefined;

  /** Creates a publisher. `queues` is the client for lists, which is `events` unless the server is a Cluster. */
  constructor(events: Client, queues: Client, names: Names) {
    this.#events = events;
    this.#names = names;
    this.#cluster = events !== queues;
    this.#groups = new GroupPuts({
      read: () => queues.call(texts, "hkeys", names.bindings),
      put: (queue, item) => queues.call(count, "lpush", names.list(queue), item),
    });
  }

  /** Publishes an event. Resolves with the reply to PUBLISH when the event is in all bound queues too. */
  publish(topic: string, body: string): Promise<number> {
    const until = this.#groups.noneUntil;
    if (this.#stored || this.#now() >= until) return this.#store(topic, body);
    if (this.#unbound.until !== until) this.#unbound = { until, read: this.#reader(until) };
    return this.#send(topic, body, this.#unbound.read);
  }

  /** Returns a reader for events that are published while no queue is bound, which is known until this time. */
  #reader(until: number): ReplyReader<number> {
    const read: ReplyReader<number | Promise<number>> = (reply, args) => {
      const reached = count(reply);
      if (this.#now() < until) return reached;
      const [channel, body] = args!;
      return this.#groups.late(this.#names.topic(channel!), body!).then(() => reached);
    };
    return read as ReplyReader<number>; // a promise resolves with that of its value
  }

  /** Returns the time at which it was first called in this turn, because it is called twice for each event. */
  #now(): number {
    if (this.#time === undefined) {
      this.#time = performance.now();
      queueMicrotask(() => this.#time = undefined);
    }
    return this.#time;
  }

  async #store(topic: string, body: string): Promise<number> {
    const { put, finish } = this.#groups.begin(topic, body);
    if (this.#cluster) await this.#inOrder(put);
    const [reached] = await Promise.all([this.#send(topic, body, count), put]);
    await finish();
    return reached;
  }

  /** Waits until an event, and all events before it, are in their queues. Rejects if the event itself could not be put. */
  async #inOrder(put: Promise<unknown>): Promise<void> {
    const both = this.#stored = Promise.allSettled([this.#stored, put]);
    await both;
    if (this.#stored === both) this.#stored = undefined;
    await put;
  }

  #send(topic: string, body: string, read: ReplyReader<number>): Promise<number> {
    return this.#events.call(read, "publish", this.#names.channel(topic), body);
  }
}
