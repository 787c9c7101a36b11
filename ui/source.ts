/**
 * Reads and changes the contents of a namespace, through the admin of its transport and a bus.
 *
 * @module
 */
import process from "node:process";
import { type Bus, engineOf } from "../src/bus.ts";
import { UnsupportedError } from "../src/errors.ts";
import { LimitedTextMap } from "../src/internal/caches.ts";
import { TextMap, textSet } from "../src/internal/text_map.ts";
import { isA } from "../src/internal/thrown.ts";
import { Slices } from "../src/internal/time.ts";
import { bodyOf } from "../src/queue/dead_letters.ts";
import type { DeadLetter } from "../src/queue/letter.ts";
import { peekAll, peekBodies, type PeekedBody } from "../src/queue/peek.ts";
import { TrafficMeter } from "../cli/traffic.ts";
import { COUNTED_TOPICS, type Overview, readOverview } from "../cli/overview.ts";
import type { Admin, BusInfo, TopicInfo } from "../src/provider/admin.ts";
import { type Death, deathOf, hashOf, shownItem, shownLetter } from "./items.ts";
import type { Action, Item, Page, QueueRow, TableName, Tables, TopicRow } from "./protocol.ts";

/** The number of dead letters whose cause is known without reading them again. */
const KNOWN = 16;

/** The contents of a namespace at one moment. */
export interface Snapshot {
  readonly tables: Tables;
  /** The tables that the transport cannot list. */
  readonly unknown: readonly TableName[];
  /** The number of all received events. */
  readonly events: number;
  /** Milliseconds that it took to list them, without the wait for the answers of buses. */
  readonly took: number;
}

/** The counter of a topic's events. */
interface Seen {
  count: number;
  before: number;
}

/** A namespace on a transport. */
export class Source {
  readonly #bus: Bus;
  readonly #admin: Admin | undefined;
  readonly #interval: number;
  readonly #seen = new TextMap<Seen>();
  #events = 0;
  #sampledAt = performance.now();
  #traffic: TrafficMeter;
  /** The hash of a dead letter's body → its cause. A peer may put others in front of it, so it stays the last one of its queue. */
  #deaths = new LimitedTextMap<Death>(KNOWN);

  /** Creates a source of which a snapshot is taken once in `interval` milliseconds. */
  constructor(bus: Bus, admin: Admin | undefined, interval = 1_000) {
    this.#bus = bus;
    this.#admin = admin;
    this.#interval = interval;
    this.#traffic = new TrafficMeter(bus, admin, interval);
  }

  /** Counts the events of all topics until the returned function is called. The traffic of queues is counted from now on. */
  async count(): Promise<() => Promise<void>> {
    this.#traffic = new TrafficMeter(this.#bus, this.#admin, this.#interval);
    const subscription = this.#bus.subscribe("*", (_, { topic }) => {
      this.#events++;
      const seen = this.#seen.get(topic);
      if (seen) seen.count++;
      else if (this.#seen.size < COUNTED_TOPICS.count && topic.length <= COUNTED_TOPICS.length) {
        this.#seen.set(topic, { count: 1, before: 0 });
      }
    }, { pattern: true });
    await subscription.ready;
    return () => subscription.unsubscribe();
  }

  /** Lists everything that the namespace contains. */
  async snapshot(): Promise<Snapshot> {
    const start = performance.now();
    let took = 0;
    const reading: Promise<Overview> = this.#admin ? readOverview(this.#admin) : Promise.resolve({});
    const rows = await this.#traffic.look(async () => {
      const { queues = [], queues: listed } = await reading;
      took = performance.now() - start;
      return { queues, complete: listed !== undefined };
    });
    const { queues, topics, groups, functions, buses } = await reading;
    const answered = performance.now();
    const known = { queues, topics, groups, functions, buses };
    const names = Object.keys(known) as TableName[];
    const tables: Tables = {
      queues: rows.map(queueRow),
      topics: this.#topics(topics),
      groups: (groups ?? []).map(({ target, group, queue, items: { waiting, leased, dead } }) => {
        return { id: queue, target, group, queue, lag: waiting, leased, dead };
      }),
      functions: (functions ?? []).map(({ name, servers }) => ({ id: name, name, servers: servers.map(label) })),
      buses: (buses ?? []).map((bus) => ({ ...bus, process: (bus.process ?? bus.id) + self(bus) })),
    };
    const unknown = names.filter((name) => known[name] === undefined);
    return { tables, unknown, events: this.#events, took: took + performance.now() - answered };
  }

  /** Joins the topics that have subscribers with those whose events were seen. */
  #topics(listed: readonly TopicInfo[] | undefined): TopicRow[] {
    const rates = this.#rates();
    const subscribers = new TextMap(
      (listed ?? []).flatMap((topic) => topic.pattern ? [] : [[topic.name, topic.subscribers]]),
    );
    const names = textSet([...rates.keys(), ...subscribers.keys()]);
    return [
      ...(listed ?? []).filter(({ pattern }) => pattern).flatMap(({ name, subscribers = 0 }): TopicRow[] => {
        // one of those that subscribe to everything is this dashboard
        const others = name === "*" ? subscribers - 1 : subscribers;
        return others > 0 ? [{ id: `pattern ${name}`, name, pattern: true, subscribers: others }] : [];
      }),
      ...[...names.keys()].map((name): TopicRow => {
        const { rate, seen } = rates.get(name) ?? { rate: 0, seen: 0 };
        const count = subscribers.has(name) ? subscribers.get(name) : listed && 0;
        return { id: `topic ${name}`, name, rate, seen, subscribers: count };
      }),
    ];
  }

  #rates(): TextMap<{ rate: number; seen: number }> {
    const now = performance.now();
    const seconds = Math.max(0.001, (now - this.#sampledAt) / 1_000);
    this.#sampledAt = now;
    return new TextMap([...this.#seen].map(([name, seen]) => {
      const rate = (seen.count - seen.before) / seconds;
      seen.before = seen.count;
      return [name, { rate: Math.round(rate * 10) / 10, seen: seen.count }];
    }));
  }

  /** Reads waiting items. */
  items(queue: string, offset: number, limit: number): Promise<Page> {
    const { codec } = engineOf(this.#bus);
    return page(this.#peek(this.#bus.queue(queue).name, offset, limit, true), (each) => shownItem(each, codec));
  }

  /** Reads dead letters. */
  letters(queue: string, offset: number, limit: number): Promise<Page> {
    const { codec } = engineOf(this.#bus);
    return page(this.#peek(this.#bus.queue(queue).dead.name, offset, limit), (each) => shownLetter(each, codec));
  }

  /** Yields waiting items of a queue. `stored` is true if the queue may be that of a group. */
  #peek(queue: string, offset: number, limit: number, stored = false): AsyncIterable<PeekedBody> {
    const core = engineOf(this.#bus);
    const peek = (options: { limit: number; offset: number }) =>
      Array.fromAsync(peekBodies(core, queue, options.limit, options.offset, stored));
    return peekAll({ peek, size: () => core.sender.size(queue) }, limit, offset);
  }

  /** Returns the cause and the time of the last of `count` dead letters, if the transport shows it. */
  async lastLetter(queue: string, count: number): Promise<Death> {
    const [last] = await Array.fromAsync(this.#peek(this.#bus.queue(queue).dead.name, count - 1, 1));
    if (!last) return {};
    const key = hashOf(last.body);
    const death = this.#deaths.get(key) ?? deathOf(last, engineOf(this.#bus).codec);
    this.#deaths.set(key, death);
    return death;
  }

  /** Returns the number of items that an action will change, if it is known. */
  async size({ action, queue, key }: Action): Promise<number | undefined> {
    if (key !== undefined) return 1;
    const it = this.#bus.queue(queue);
    return action === "purge" ? (await it.stats()).waiting : await it.dead.size();
  }

  /** Performs an action. Resolves with the number of items that it changed, if it is known. */
  async act({ action, queue, key }: Action): Promise<number | undefined> {
    const it = this.#bus.queue(queue);
    if (action === "purge") return await it.purge();
    let found = false;
    // equal letters have equal keys, and the action is for one of them
    const only = key === undefined
      ? undefined
      : (letter: DeadLetter) => !found && (found = hashOf(bodyOf(letter)) === key);
    return action === "retry"
      ? await it.dead.retry({ only, limit: only ? 1 : Infinity })
      : await it.dead.purge({ only });
  }
}

function queueRow(row: Omit<QueueRow, "id">): QueueRow {
  const { name, waiting, leased, delayed, dead, in: puts, out, p50, consumers } = row;
  return { id: name, name, waiting, leased, delayed, dead, in: puts, out, p50, consumers };
}

function label({ id, process: program, host, pid }: BusInfo): string {
  const place = [host, pid].filter((part) => part !== undefined).join(" ");
  return (program === undefined && place === "" ? id : `${program ?? "?"} ${place}`).trim() + self({ pid });
}

/** Returns the text that is added to the name of a bus of the dashboard's own process. */
function self({ pid }: Pick<BusInfo, "pid">): string {
  return pid === process.pid ? " (this process)" : "";
}

/** Converts items one by one and in slices, because each may be large. */
async function page(found: AsyncIterable<PeekedBody>, convert: (each: PeekedBody) => Promise<Item>): Promise<Page> {
  const items: Item[] = [];
  const slices = new Slices();
  try {
    for await (const each of found) {
      items.push(await convert(each));
      await slices.next();
    }
    return { items };
  } catch (error) {
    if (isA(error, UnsupportedError)) return { items: [], unsupported: error.message };
    throw error;
  }
}
