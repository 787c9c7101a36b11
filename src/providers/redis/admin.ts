/**
 * Lists what a namespace on a Redis server contains, for the command line and the dashboard. It writes nothing, except for its checks.
 *
 * @module
 */
import type { Admin, BusInfo, Check, FunctionInfo, GroupInfo, QueueInfo, TopicInfo } from "../../provider/admin.ts";
import { groupsOf } from "../../provider/bindings.ts";
import { limited, limitedAsync, MAX_LISTED, MAX_LISTED_SIZE, MAX_SERVERS, warnOfMore } from "../../provider/listing.ts";
import { BusError, ProviderError } from "../../errors.ts";
import { inParallel } from "../../internal/in_parallel.ts";
import { TextMap, textSet } from "../../internal/text_map.ts";
import { isA, textOf } from "../../internal/thrown.ts";
import { within } from "../../internal/time.ts";
import { MAX_BYTES } from "./bindings.ts";
import { checkServer } from "./checks.ts";
import type { Client } from "./client.ts";
import { busId, readClients } from "./client_name.ts";
import { ClusterClient } from "./cluster.ts";
import { Connection } from "./connection.ts";
import { noReply, replyOf, toProviderError } from "./errors.ts";
import { type FieldLimits, readFields } from "./hash_fields.ts";
import { STATS } from "./inspect_scripts.ts";
import { escapeGlob, Names } from "./names.ts";
import { servers } from "./registry.ts";
import { array, count, page, stats, text, texts } from "./replies.ts";
import { run } from "./scripts.ts";
import type { Settings } from "./settings.ts";

/** Milliseconds for connecting, and for each command. */
const TIMEOUT = 5_000;
/** The number of keys that SCAN visits in one step. */
const STEP = 1_000;
/** The number of queues that are read at the same time. */
const PARALLEL = 256;
/** The number of functions that are read at the same time: each may have {@linkcode MAX_LISTED} servers. */
const LOOKUPS = 16;
/** The limits for the groups. The server replies with few at a time, because each may be long. */
const GROUPS: FieldLimits = { step: 256, fields: MAX_LISTED, bytes: MAX_LISTED_SIZE };
/** The largest share of the time that is spent on listing queues and functions, because that visits all keys of the server. */
const SHARE = 0.05;

/** Lists what a namespace on a Redis server contains. */
export class RedisAdmin implements Admin {
  #settings: Settings;
  #namespace: string;
  #names: Names;
  #events: Connection;
  #commands: Connection | ClusterClient;
  #opened: Promise<unknown> | undefined;
  #keys: Promise<Keys> | undefined;
  /** The time until which the listed keys are used. */
  #keysUntil = -Infinity;

  /** Prepares the connections. */
  constructor(settings: Settings, namespace: string) {
    this.#settings = settings;
    this.#namespace = namespace;
    this.#names = new Names(namespace);
    this.#events = new Connection(settings, TIMEOUT);
    this.#commands = new (settings.cluster ? ClusterClient : Connection)(settings, TIMEOUT);
  }

  checks(): AsyncIterable<Check> {
    return checkServer({
      settings: this.#settings,
      namespace: this.#namespace,
      names: this.#names,
      events: this.#events,
      commands: this.#commands,
      open: () => this.#open(),
      leftovers: () => this.leftovers(),
    });
  }

  async queues(): Promise<QueueInfo[]> {
    const { queues } = await this.#list();
    const found = await inParallel(queues, PARALLEL, async (name) => {
      const { list, due } = this.#names.queue(name);
      const counts = await ofOurType(run(this.#commands, stats, STATS, [list, due], []));
      return { name, ...counts ?? { waiting: 0, leased: 0, delayed: 0 } };
    });
    return found.filter(({ waiting, leased, delayed }) => waiting + leased + delayed > 0);
  }

  /** Lists topics. Redis lists no patterns. */
  async topics(): Promise<TopicInfo[]> {
    const channels = await this.#channels("topics", `${escapeGlob(this.#names.prefix)}*`);
    const subscribers = await this.#subscribers(channels);
    return channels.map((channel) => (
      { name: this.#names.topic(channel), pattern: false, subscribers: subscribers.get(channel) ?? 0 }
    ));
  }

  async functions(): Promise<FunctionInfo[]> {
    const [{ functions }, up] = await Promise.all([this.#list(), this.inboxes()]);
    const inboxes = textSet(up);
    let left = MAX_SERVERS;
    const found = await inParallel(functions, LOOKUPS, async (name) => {
      if (left <= 0) {
        warnOfMore(this.#titled("servers of functions"), MAX_SERVERS);
        return { name, servers: [] };
      }
      const all = servers(this.#commands, this.#names, name, Math.min(MAX_LISTED, left)).catch((error) => {
        if (!isA(error, BusError) || error.code !== "busy") throw error;
        warnOfMore(this.#titled("servers of functions"), MAX_SERVERS - left);
        return [];
      });
      const registered = await ofOurType(all) ?? [];
      left -= registered.length;
      return { name, servers: registered.filter((inbox) => inboxes.has(inbox)).map(busId) };
    });
    return found.filter(({ servers }) => servers.length > 0);
  }

  async groups(): Promise<GroupInfo[]> {
    await this.#open();
    const listed = await ofOurType(readFields(this.#commands, this.#names.bindings, GROUPS));
    if (!listed) return [];
    const { found, more } = listed;
    if (more) warnOfMore(this.#titled("groups"), found.length);
    const usable = found.flatMap(([binding, bytes]) => bytes > MAX_BYTES ? [] : [binding]); // no bus uses the others
    return groupsOf(textSet(usable).keys());
  }

  inboxes(): Promise<string[]> {
    return this.#channels("buses", this.#names.everyInbox);
  }

  async buses(): Promise<BusInfo[]> {
    const [inboxes, named] = await Promise.all([
      this.inboxes(),
      // only this needs the permission
      this.#askAll(text, "client", "list", "type", "pubsub").catch(() => []),
    ]);
    const clients = new TextMap(named.flatMap((list) => [...readClients(list)]));
    return inboxes.map(busId).map((id) => clients.get(id) ?? { id });
  }

  leftovers(): Promise<string[]> {
    return limitedAsync(this.#titled("functions with expired registrations"), this.#expired("zcount"));
  }

  reap(): AsyncGenerator<string> {
    return this.#expired("zremrangebyscore");
  }

  async close(): Promise<void> {
    await Promise.all([this.#events.close(), this.#commands.close()]);
  }

  /** Returns what a warning calls these things of the namespace. */
  #titled(things: string): string {
    return `${things} in the namespace ${this.#namespace}`;
  }

  /** Connects. */
  #open(): Promise<unknown> {
    return this.#opened ??= Promise.all([this.#events.open(TIMEOUT), this.#commands.open(TIMEOUT)]);
  }

  /** Counts or removes the expired registrations of each function, and yields a line for it. */
  async *#expired(command: "zcount" | "zremrangebyscore"): AsyncGenerator<string> {
    await this.#open();
    const [seconds, micros] = (await this.#events.call(texts, "time")).map(Number) as [number, number];
    const now = String(seconds * 1_000 + Math.floor(micros / 1_000));
    const prefix = this.#names.servers("");
    for await (const key of this.#scan(`${escapeGlob(prefix)}*`)) {
      const expired = await ofOurType(this.#commands.call(count, command, key, "-inf", now)) ?? 0;
      if (expired > 0) yield `${expired} expired registration(s) of ${key.slice(prefix.length)}`;
    }
  }

  /** Returns the names of the queues and of the registered functions. They may be cached. */
  #list(): Promise<Keys> {
    if (this.#keys && performance.now() < this.#keysUntil) return this.#keys;
    const start = performance.now();
    this.#keysUntil = Infinity; // requests meanwhile share it
    const keys = this.#keys = this.#read();
    keys.then(() => this.#keysUntil = performance.now() + (performance.now() - start) / SHARE, () => {
      this.#keysUntil = -Infinity;
    });
    return keys;
  }

  /** Reads the names. */
  async #read(): Promise<Keys> {
    await this.#open();
    const { prefix } = this.#names;
    const [due, registered] = [`}due:${prefix}`, this.#names.servers("")];
    // the user of another namespace may write any name after its own tag, also one that is too long for the list
    const delayed = (key: string) => {
      const name = key.slice(key.indexOf(due) + due.length);
      return name.length <= MAX_LISTED_SIZE && this.#names.queue(name).due === key ? name : "";
    };
    const [queues, functions] = await Promise.all([
      this.#distinct("queues", [
        [(key) => key.slice(prefix.length), `${escapeGlob(prefix)}*`, "type", "list"],
        // the keys of a queue whose items are all leased or delayed
        [delayed, `__tsmq:{*${escapeGlob(due)}*`],
      ]),
      this.#distinct("functions", [[(key) => key.slice(registered.length), `${escapeGlob(registered)}*`]]),
    ]);
    return { queues, functions };
  }

  /**
   * Returns the names of these things, each once, that the keys of several scans contain. Keys without a name count for the limits of the list
   * too: they have been read.
   */
  async #distinct(things: string, scans: readonly Scan[]): Promise<string[]> {
    const scan = this.#scan.bind(this);
    async function* distinct(): AsyncGenerator<readonly [name: string, ...foreign: string[]]> {
      const seen = textSet([]);
      for (const [nameOf, pattern, ...type] of scans) {
        for await (const key of scan(pattern, ...type)) {
          const name = nameOf(key);
          if (name === "") yield ["", key];
          else if (isNew(name, seen)) yield [name];
        }
      }
    }
    const found = await limitedAsync(this.#titled(things), distinct());
    return [...textSet(found.map(([name]) => name).filter((name) => name !== "")).keys()];
  }

  /** Returns the channels that match this glob and have subscribers. */
  async #channels(things: string, glob: string): Promise<string[]> {
    const lists = await this.#askAll(array, "pubsub", "channels", glob);
    function* distinct(): Generator<string> {
      const seen = textSet([]);
      for (const list of lists) {
        for (const name of list) {
          const channel = text(name);
          if (isNew(channel, seen)) yield channel;
        }
      }
    }
    return [...textSet(limited(this.#titled(things), distinct())).keys()];
  }

  /** Returns the number of subscribers of each of these channels. */
  async #subscribers(channels: readonly string[]): Promise<TextMap<number>> {
    const found = new TextMap<number>();
    for (let at = 0; at < channels.length; at += STEP) {
      const counted = await this.#askAll(array, "pubsub", "numsub", ...channels.slice(at, at + STEP));
      for (const pairs of counted) {
        for (let i = 0; i + 1 < pairs.length; i += 2) {
          const channel = text(pairs[i]);
          found.set(channel, (found.get(channel) ?? 0) + count(pairs[i + 1]));
        }
      }
    }
    return found;
  }

  /** Sends a command to the server, or to all nodes of a Cluster: each knows its own clients only. */
  async #askAll<T>(read: (reply: unknown) => T, name: string, ...args: string[]): Promise<T[]> {
    await this.#open();
    if (!(this.#commands instanceof ClusterClient)) return [await this.#events.call(read, name, ...args)];
    const replies = await this.#commands.askAll(read, name, ...args);
    if (replies) return replies;
    throw new ProviderError("unavailable", `Cannot run ${name.toUpperCase()}: a node of the Cluster does not answer`);
  }

  /** Yields the keys of the server, or of all masters of a Cluster. */
  async *#scan(pattern: string, ...type: string[]): AsyncGenerator<string> {
    const [commands, events] = [this.#commands, this.#events];
    const nodes: Client["call"][] = commands instanceof ClusterClient
      ? commands.masters()
      : [(read, name, ...args) => events.call(read, name, ...args)];
    for (const call of nodes) {
      let cursor = "0";
      do {
        const scanned = call(page(texts), "scan", cursor, "match", pattern, "count", String(STEP), ...type);
        const reply = await within(TIMEOUT, scanned);
        if (!reply) throw toProviderError("read the names of the namespace", noReply(TIMEOUT));
        yield* reply.elements;
        cursor = reply.next;
      } while (cursor !== "0");
    }
  }
}

/** The names that the keys of a namespace contain. */
interface Keys {
  readonly queues: readonly string[];
  readonly functions: readonly string[];
}

/** Returns the name in a key, which is empty if the key is foreign; the pattern of the keys; and their type. */
type Scan = readonly [nameOf: (key: string) => string, pattern: string, ...type: string[]];

/**
 * Returns whether a name counts for the limits of a list, and adds it to those that were seen. One with U+FFFD always counts: all names that
 * are not UTF-8 may have the same text.
 */
function isNew(name: string, seen: TextMap<true>): boolean {
  if (seen.has(name)) return name.includes("\ufffd");
  seen.set(name, true);
  return true;
}

/** Resolves with undefined if a key has a value of another type: any client can write one, and must not hide the other keys. */
async function ofOurType<T>(read: Promise<T>): Promise<T | undefined> {
  try {
    return await read;
  } catch (error) {
    if (isA(error, ProviderError) && replyOf(textOf(error.cause)).startsWith("WRONGTYPE")) return undefined;
    throw error;
  }
}
