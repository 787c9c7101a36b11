/**
 * The queues that are bound to topics, for groups: a hash with one field for each binding. Publishers read it at most once a second, and
 * only while they publish. A bus that has bound queues keeps a marker, which expires: if it is missing, the server has lost its data (FLUSHALL),
 * and the queues are bound again; a group that was only freed stays free. Other clients may write any number of fields of any length, so the number, each length and their sum are limited.
 *
 * @module
 */
import { BusError, ClosedError, inWords } from "../../errors.ts";
import { pause } from "../../internal/time.ts";
import { checkBytes, MAX_BINDINGS, MAX_TOTAL, tooMany, writeBinding } from "../../provider/bindings.ts";
import { BINDING_DELAY, GroupPuts } from "../../provider/group_puts.ts";
import type { Binder, TopicFilter } from "../../provider/provider.ts";
import type { Client } from "./client.ts";
import type { Names } from "./names.ts";
import { arrayOf, count, exactly, type ReplyReader, texts } from "./replies.ts";
import { LEASE, RENEW } from "./registry.ts";
import { run, type Script, script } from "./scripts.ts";

/** The largest number of bytes of a binding. */
export const MAX_BYTES = 4_096;

/**
 * Replies with the number of bindings, those of at most ARGV[2] bytes, the number of longer ones, which only other clients and older versions
 * write, and whether there are more than ARGV[1], or these have more than ARGV[3] bytes together. If so, it replies with none of them.
 */
const READ: Script = script(
  "publish an event",
  `
local bindings, bytes, long, total = {}, 0, 0, redis.call('HLEN', KEYS[1])
if total > tonumber(ARGV[1]) then return {total, bindings, long, 1} end
for _, binding in ipairs(redis.call('HKEYS', KEYS[1])) do
  if #binding <= tonumber(ARGV[2]) then
    bindings[#bindings + 1] = binding
    bytes = bytes + #binding
  else
    long = long + 1
  end
end
if bytes > tonumber(ARGV[3]) then return {total, {}, long, 1} end
return {total, bindings, long, 0}
`,
);

/**
 * Adds the binding ARGV[1], unless there are ARGV[2] others, or all of them would have more than ARGV[3] bytes. Replies whether it was not there
 * before, and with the number of bindings if it was not added, otherwise with 0.
 */
const BIND: Script = script(
  "bind the queue of a group",
  `
local added, total = redis.call('HSET', KEYS[1], ARGV[1], ''), redis.call('HLEN', KEYS[1])
if added == 0 then return {0, 0} end
if total <= tonumber(ARGV[2]) then
  local bytes = 0
  for _, binding in ipairs(redis.call('HKEYS', KEYS[1])) do bytes = bytes + #binding end
  if bytes <= tonumber(ARGV[3]) then return {1, 0} end
end
redis.call('HDEL', KEYS[1], ARGV[1])
return {1, total - 1}
`,
);

/** The reply of {@linkcode READ}. */
interface Bindings {
  readonly total: number;
  readonly bindings: string[];
  /** The number of those that are too long to be read. */
  readonly long: number;
  /** Whether none was read, because there are more than the limits allow. */
  readonly many: boolean;
}

/** Reads the bindings for publishers. Resolves with an error if there are too many, or some are too long. */
export async function readUsable(client: Client, names: Names): Promise<string[] | BusError> {
  const read: ReplyReader<Bindings> = (reply) => {
    const [total, bindings, long, many] = arrayOf(4, reply);
    return { total: count(total), bindings: texts(bindings), long: count(long), many: count(many) > 0 };
  };
  const limits = [MAX_BINDINGS, MAX_BYTES, MAX_TOTAL];
  const { total, bindings, long, many } = await run(client, read, READ, [names.bindings], limits);
  if (long > 0) {
    return new BusError(
      "busy",
      `Cannot publish an event: ${
        hash(names)
      } has bindings of groups with more than ${MAX_BYTES} bytes, which are not ` +
        `read, so the event would be lost for these groups (${long} of ${total}). Remove these fields, and use shorter names`,
    );
  }
  return many ? tooMany("publish an event", hash(names), total) : bindings;
}

function hash({ bindings }: Names): string {
  return `the hash "${bindings}"`;
}

/** Binds queues, in the worker. */
export class RedisBinder implements Binder {
  #client: Client;
  #names: Names;
  #closing = new AbortController();
  /** The key that exists as long as the server keeps its data. */
  #marker: string;
  #lost: () => void;
  #timer: ReturnType<typeof setInterval> | undefined;

  /** Creates the binder of a namespace. `lost` is called when the server has lost its data, so that all queues have to be bound again. */
  constructor(client: Client, names: Names, lost: () => void) {
    this.#client = client;
    this.#names = names;
    this.#marker = names.bindings + crypto.randomUUID();
    this.#lost = lost;
  }

  async bind(filter: TopicFilter, queue: string): Promise<boolean> {
    const doing = `subscribe to "${filter.topic}"`;
    const binding = writeBinding(filter, queue);
    checkBytes(binding, MAX_BYTES, doing);
    try {
      // before the binding: if the data is lost in between, the marker is missing
      await this.#client.call(exactly("OK"), "set", this.#marker, "", "px", String(LEASE));
      this.#timer ??= setInterval(() => this.#renew().catch(() => {}), RENEW); // the next connection binds again
      const read = (reply: unknown) => arrayOf(2, reply).map(count) as [added: number, total: number];
      const [added, total] = await run(this.#client, read, BIND, [this.#names.bindings], [
        binding,
        MAX_BINDINGS,
        MAX_TOTAL,
      ]);
      if (total > 0) throw tooMany("bind the queue of a group", hash(this.#names), total);
      await this.#known();
      return added > 0;
    } catch (error) {
      throw inWords(doing, error);
    }
  }

  async unbind(filter: TopicFilter, queue: string): Promise<void> {
    try {
      await this.#client.call(count, "hdel", this.#names.bindings, writeBinding(filter, queue));
      await this.#known();
    } catch (error) {
      throw inWords(`end a group of "${filter.topic}"`, error);
    }
  }

  /** Ends the waits for publishers, and the renewals. */
  stop(): void {
    clearInterval(this.#timer);
    this.#closing.abort(new ClosedError());
  }

  /** Removes what expires otherwise. */
  async close(): Promise<void> {
    if (this.#timer !== undefined) await this.#client.call(count, "unlink", this.#marker);
  }

  async #renew(): Promise<void> {
    const kept = await this.#client.call(count, "pexpire", this.#marker, String(LEASE));
    if (kept === 0 && !this.#closing.signal.aborted) this.#lost();
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
  /**
   * The reader of replies while no queue is bound, until {@linkcode GroupPuts.noneUntil}. All events share it, because a closure for each
   * event would add a tenth to the cost of a publish.
   */
  #unbound: { readonly until: number; readonly read: ReplyReader<number> } = { until: -Infinity, read: count };
  /** Resolves when the events before the next one are in their queues. It is used only with a Cluster. */
  #stored: Promise<unknown> | undefined;

  /** Creates a publisher. `queues` is the client for lists, which is `events` unless the server is a Cluster. */
  constructor(events: Client, queues: Client, names: Names) {
    this.#events = events;
    this.#names = names;
    this.#cluster = events !== queues;
    this.#groups = new GroupPuts({
      read: () => readUsable(queues, names),
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

  /** Returns the time, which it reads once in each turn of the event loop, because each event needs it twice. */
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
