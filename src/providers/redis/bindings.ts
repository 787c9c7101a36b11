/**
 * The queues that are bound to topics, for groups: a hash with one field for each binding. Publishers read it at most once a second, and
 * only while they publish. A bus that has bound queues keeps a marker, which expires: if it is missing, the server has lost its data (FLUSHALL),
 * and the queues are bound again; a group that was only freed stays free. Other clients may write any number of fields of any length, so the number, each length and their sum are limited.
 *
 * @module
 */
import { BusError, ClosedError, inWords } from "../../errors.ts";
import { backoff, pause, RETRY, spread } from "../../internal/time.ts";
import { checkBytes, MAX_BINDINGS, MAX_TOTAL, tooMany, writeBinding } from "../../provider/bindings.ts";
import { BINDING_DELAY, GroupPuts } from "../../provider/group_puts.ts";
import type { Binder, TopicFilter } from "../../provider/provider.ts";
import type { Client } from "./client.ts";
import { type FieldLimits, readFields } from "./hash_fields.ts";
import { ENOUGH, MEMORY } from "./lua.ts";
import type { Names } from "./names.ts";
import { arrayOf, count, exactly, integer, type ReplyReader } from "./replies.ts";
import { LEASE, RENEW } from "./registry.ts";
import { run, type Script, script } from "./scripts.ts";

/** The largest number of bytes of a binding. */
export const MAX_BYTES = 4_096;
/** The number of attempts to bind a queue, each after a look, while others add bindings. */
const ROUNDS = 10;
/** The limits for a read, which nearly always takes one reply. With more bytes, of memory or of fields and values, nothing is read. */
const LIMITS: FieldLimits = { step: MAX_BINDINGS, fields: MAX_BINDINGS, bytes: ENOUGH };

/**
 * Replies with the number of bindings, and the bytes of memory that they take: -1 if they are more than ARGV[1], and 0 if the server does not
 * tell. No name comes into Lua (see `hash_fields.ts`), and no binding is sent to a bus before it is known that all of them are small.
 */
const LOOK: Script = script(
  "read the bindings of groups",
  `
${MEMORY}
local total = redis.call('HLEN', KEYS[1])
if total == 0 then return {0, 0} end
if total > tonumber(ARGV[1]) then return {total, -1} end
return {total, memory(KEYS[1])}
`,
);

/**
 * Adds the binding ARGV[1], unless there would be more than ARGV[2]. Replies whether it was not there before, and with the number of
 * bindings if it was not added, otherwise with -1.
 */
const BIND: Script = script(
  "bind the queue of a group",
  `
local added, total = redis.call('HSET', KEYS[1], ARGV[1], ''), redis.call('HLEN', KEYS[1])
if added == 0 or total <= tonumber(ARGV[2]) then return {added, -1} end
redis.call('HDEL', KEYS[1], ARGV[1])
return {1, total - 1}
`,
);

/** The bindings of a namespace. */
interface Bindings {
  readonly total: number;
  /** The texts of bindings that are not too long. */
  readonly usable: string[];
  /** The number of longer ones. */
  readonly long: number;
  /** The bytes of all bindings. */
  readonly bytes: number;
}

/** Reads the bindings. Resolves with their number if there are more than the limits allow. */
async function read(client: Client, { bindings }: Names): Promise<Bindings | number> {
  const look: ReplyReader<number[]> = (reply) => arrayOf(2, reply).map(integer);
  const [total, memory] = await run(client, look, LOOK, [bindings], [MAX_BINDINGS]) as [number, number];
  if (memory < 0 || memory > LIMITS.bytes) return total;
  if (total === 0) return { total, usable: [], long: 0, bytes: 0 };
  const { found, more } = await readFields(client, bindings, LIMITS);
  if (more) return total;
  const usable: string[] = [];
  let bytes = 0;
  for (const [binding, length] of found) {
    bytes += length;
    if (length <= MAX_BYTES) usable.push(binding);
  }
  // others may have bound queues since the look
  return { total: Math.max(total, found.length), usable, long: found.length - usable.length, bytes };
}

/** Reads the bindings for publishers. Resolves with an error if there are too many, or some are too long. */
export async function readUsable(client: Client, names: Names): Promise<string[] | BusError> {
  const bindings = await read(client, names);
  const many = (total: number) => tooMany("publish an event", hash(names), total);
  if (typeof bindings === "number") return many(bindings);
  const { total, usable, long, bytes } = bindings;
  if (long > 0) {
    return new BusError(
      "busy",
      `Cannot publish an event: ${
        hash(names)
      } has bindings of groups with more than ${MAX_BYTES} bytes, which are not ` +
        `read, so the event would be lost for these groups (${long} of ${total}). Remove these fields, and use shorter names`,
    );
  }
  return bytes > MAX_TOTAL ? many(total) : usable;
}

/**
 * Returns up to how many bindings of the namespace one of this many bytes may be added, so that all together stay within the limits, though
 * others bind queues at the same time.
 */
async function roomFor(client: Client, names: Names, length: number): Promise<number> {
  const bindings = await read(client, names);
  if (typeof bindings === "number") return 0;
  const left = MAX_TOTAL - bindings.bytes - length;
  return left < 0 ? 0 : Math.min(MAX_BINDINGS, bindings.total + 1 + Math.floor(left / MAX_BYTES));
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
    const { length } = checkBytes(binding, MAX_BYTES, doing);
    try {
      // before the binding: if the data is lost in between, the marker is missing
      await this.#client.call(exactly("OK"), "set", this.#marker, "", "px", String(LEASE));
      this.#timer ??= setInterval(() => this.#renew().catch(() => {}), RENEW); // the next connection binds again
      const added = await this.#add(binding, length);
      await this.#known();
      return added;
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

  /** Adds a binding of this many bytes. Resolves with false if it was there already. */
  async #add(binding: string, length: number): Promise<boolean> {
    const reply: ReplyReader<number[]> = (reply) => arrayOf(2, reply).map(integer);
    const { signal } = this.#closing;
    for (let round = 0; round < ROUNDS; round++) {
      if (round > 0) await pause(spread(backoff(RETRY.prompt, round)), signal);
      signal.throwIfAborted();
      const room = await roomFor(this.#client, this.#names, length);
      const [added, total] = await run(this.#client, reply, BIND, [this.#names.bindings], [binding, room]) as number[];
      if (total! < 0) return added! > 0;
      // otherwise others have added so many since that it is not known whether they left room
      if (room === 0 || total! >= MAX_BINDINGS) throw tooMany("bind the queue of a group", hash(this.#names), total!);
    }
    const where = `others add bindings of groups to ${
      hash(this.#names)
    } all the time, so it is not known whether there is room`;
    throw new BusError("busy", `Cannot bind the queue of a group: ${where}. Subscribe again`);
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
      queueMicrotask(() => this.#time = undefined); // first: it throws if the stack is full
      this.#time = performance.now();
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
