/**
 * Reads and changes what a namespace contains: by the admin of its transport, and by a bus.
 *
 * @module
 */
import { createHash } from "node:crypto";
import process from "node:process";
import type { Bus } from "../mod.ts";
import type { DeadLetter } from "../mod.ts";
import { Codec } from "../src/codec/codec.ts";
import { UnsupportedError } from "../src/errors.ts";
import { isA } from "../src/internal/thrown.ts";
import type { Admin, BusInfo } from "../src/provider/admin.ts";
import type { QueueStats } from "../src/provider/parts.ts";
import type { Action, BusRow, Item, Page, TableName, Tables } from "./protocol.ts";

/** The characters of an item that the page receives. */
const SHOWN = 65_536;
/** The topics whose events are counted one by one. */
const MAX_TOPICS = 5_000;

const codec = new Codec();

/** One look at a namespace. */
export interface Look {
  readonly tables: Tables;
  /** The tables that the transport cannot list. */
  readonly unknown: readonly TableName[];
  /** All events that were seen. */
  readonly events: number;
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
  readonly #seen = new Map<string, Seen>();
  #events = 0;
  #looked = performance.now();

  constructor(bus: Bus, admin: Admin | undefined) {
    this.#bus = bus;
    this.#admin = admin;
  }

  /** Counts the events of all topics until the returned function is called. */
  async count(): Promise<() => Promise<void>> {
    const subscription = this.#bus.subscribe("*", (_, { topic }) => {
      this.#events++;
      const seen = this.#seen.get(topic);
      if (seen) seen.count++;
      else if (this.#seen.size < MAX_TOPICS) this.#seen.set(topic, { count: 1, before: 0 });
    }, { pattern: true });
    await subscription.ready;
    return () => subscription.unsubscribe();
  }

  /** Lists everything. */
  async look(): Promise<Look> {
    const admin = this.#admin;
    const [queues, topics, groups, functions, buses] = await Promise.all([
      admin?.queues(),
      admin?.topics(),
      admin?.groups(),
      admin?.functions(),
      admin?.buses(),
    ]);
    const known = { queues, topics, groups, functions, buses };
    const names = Object.keys(known) as TableName[];
    const sizes = new Map((queues ?? []).map((queue) => [queue.name, queue]));
    const people = new Map((buses ?? []).map((bus) => [bus.id, bus]));
    const rates = this.#rates();
    const topicNames = new Map((topics ?? []).map((topic) => [topic.name, topic]));
    const tables: Tables = {
      queues: [...new Set([...sizes.keys()].map(ownerOf))].map((name) => {
        const { waiting, leased, delayed } = sizes.get(name) ?? none(sizes.get(`${name}.dead`));
        return { id: name, name, waiting, leased, delayed, dead: all(sizes.get(`${name}.dead`)) };
      }),
      topics: [
        ...[...topicNames.values()].filter(({ pattern }) => pattern).flatMap(({ name, subscribers = 0 }) => {
          // one of those that subscribe to everything is this dashboard
          const others = name === "*" ? subscribers - 1 : subscribers;
          return others > 0 ? [{ id: `glob ${name}`, name, pattern: true, subscribers: others }] : [];
        }),
        ...[...new Set([...rates.keys(), ...topicNames.keys()])].filter((name) => !topicNames.get(name)?.pattern)
          .map((name) => {
            const { rate = 0, seen = 0 } = rates.get(name) ?? {};
            return { id: name, name, rate, seen, subscribers: topics && (topicNames.get(name)?.subscribers ?? 0) };
          }),
      ],
      groups: (groups ?? []).map(({ target, group, queue }) => {
        const { waiting, leased } = sizes.get(queue) ?? none(sizes.get(`${queue}.dead`));
        return { id: queue, target, group, queue, lag: waiting, leased, dead: all(sizes.get(`${queue}.dead`)) };
      }),
      functions: (functions ?? []).map(({ name, servers }) => ({
        id: name,
        name,
        servers: servers.map((id) => label(people.get(id) ?? { id })),
      })),
      buses: (buses ?? []).map((bus): BusRow => ({ ...bus, process: bus.process ?? bus.id })),
    };
    return { tables, unknown: names.filter((name) => known[name] === undefined), events: this.#events };
  }

  #rates(): Map<string, { rate: number; seen: number }> {
    const now = performance.now();
    const seconds = Math.max(0.001, (now - this.#looked) / 1_000);
    this.#looked = now;
    return new Map([...this.#seen].map(([name, seen]) => {
      const rate = (seen.count - seen.before) / seconds;
      seen.before = seen.count;
      return [name, { rate: Math.round(rate * 10) / 10, seen: seen.count }];
    }));
  }

  /** Reads waiting items. */
  items(queue: string, offset: number, limit: number): Promise<Page> {
    return page(async () => {
      const items = await this.#bus.queue(queue).peek({ offset, limit });
      return items.map(({ item, error, attempt, headers, ...rest }): Item => ({
        ...(error === undefined ? text(codec.line(item)) : text((rest as { body: string }).body)),
        attempts: attempt,
        headers,
        ...error && { cause: { name: error.name, message: error.message } },
      }));
    });
  }

  /** Reads dead letters. */
  letters(queue: string, offset: number, limit: number): Promise<Page> {
    return page(async () => {
      const letters = await this.#bus.queue(queue).dead.peek({ offset, limit });
      return letters.map((letter): Item => {
        const { error, headers } = letter;
        if (error !== undefined) {
          return { ...text(letter.body), attempts: 0, headers, cause: { name: error.name, message: error.message } };
        }
        const { item, attempts, cause, unreadable, queue: owner } = letter.item;
        return {
          key: keyOf(letter.item),
          ...text(unreadable ? String(item) : codec.line(item)),
          attempts: Number(attempts),
          headers,
          cause: { name: String(cause?.name), message: String(cause?.message) },
          queue: String(owner),
        };
      });
    });
  }

  /** Returns the cause of the last of `count` dead letters, if the transport shows it. */
  async lastCause(queue: string, count: number): Promise<string | undefined> {
    const { items } = await this.letters(queue, count - 1, 1);
    const cause = items[0]?.cause;
    return cause && `${cause.name}: ${cause.message}`;
  }

  /** Returns the number of items that an action will change, if it is known. */
  async size({ action, queue, key }: Action): Promise<number | undefined> {
    if (key !== undefined) return 1;
    const { dead, ...stats } = { ...await this.#bus.queue(queue).stats(), dead: 0 };
    void dead;
    return action === "purge" ? stats.waiting : await this.#bus.queue(queue).dead.size();
  }

  /** Does an action. Resolves with the number of items that it changed, if it is known. */
  async act({ action, queue, key }: Action): Promise<number | undefined> {
    const it = this.#bus.queue(queue);
    if (action === "purge") return await it.purge();
    let found = false;
    // equal letters have equal keys, and one of them is meant
    const only = key === undefined ? undefined : (letter: DeadLetter) => !found && (found = keyOf(letter) === key);
    return action === "retry"
      ? await it.dead.retry({ only, limit: only ? 1 : Infinity })
      : await it.dead.purge({ only });
  }
}

/** Returns the queue to which a queue of dead letters belongs; the queue itself if it has none. */
function ownerOf(name: string): string {
  return name.length > 5 && name.endsWith(".dead") ? name.slice(0, -5) : name;
}

/** Returns the number of dead letters. A retry or purge leases them. */
function all({ waiting = 0, leased = 0, delayed = 0 }: QueueStats = {}): number {
  return waiting + leased + delayed;
}

/** Returns the numbers of an empty queue: those that are known of another one. */
function none(other: QueueStats = { waiting: 0 }): QueueStats {
  const zero = (count: number | undefined) => count === undefined ? undefined : 0;
  return { waiting: 0, leased: zero(other.leased), delayed: zero(other.delayed) };
}

function label({ id, process: program, host, pid }: BusInfo): string {
  const place = [host, pid].filter((part) => part !== undefined).join(" ");
  const self = pid === process.pid ? " (this process)" : "";
  return (program === undefined && place === "" ? id : `${program ?? "?"} ${place}`).trim() + self;
}

function text(all: string): Pick<Item, "text" | "cut"> {
  return all.length <= SHOWN ? { text: all } : { text: all.slice(0, SHOWN), cut: all.length - SHOWN };
}

function keyOf(letter: unknown): string {
  return createHash("sha256").update(codec.line(letter)).digest("base64url");
}

async function page(read: () => Promise<Item[]>): Promise<Page> {
  try {
    return { items: await read() };
  } catch (error) {
    if (isA(error, UnsupportedError)) return { items: [], unsupported: error.message };
    throw error;
  }
}
