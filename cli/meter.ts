/**
 * The samples of `tsmq top`: queues with their traffic, and the events of topics.
 *
 * @module
 */
import type { Bus } from "../mod.ts";
import { TextMap, textSet } from "../src/internal/text_map.ts";
import type { Admin } from "../src/provider/admin.ts";
import { COUNTED_TOPICS, listQueues, type QueueRow } from "./overview.ts";
import { type Listed, TrafficMeter, type TrafficRow } from "./traffic.ts";

/** The largest number of queues that stay listed without items, and of characters of the name of such a queue. */
const EMPTIED = { count: 10_000, length: 1_024 };
/** The name under which the events of further topics are counted. */
const OTHERS = "(other topics)";

/** The events of a topic. */
export interface TopicRow {
  readonly name: string;
  /** Events a second since the last sample. */
  readonly rate: number;
  /** All received events. */
  readonly total: number;
}

/** A sample of a namespace. */
export interface Sample {
  readonly queues: readonly TrafficRow[];
  readonly topics: readonly TopicRow[];
  /** The number of buses that are up, if the transport knows it; without the bus of this command. */
  readonly buses?: number;
}

/** Counts received events, and samples queues. */
export class Meter {
  #bus: Bus;
  #admin: Admin | undefined;
  #given: ReadonlySet<string>;
  #traffic: TrafficMeter;
  #topics = new TextMap<{ seen: number; before: number }>();
  /** The queues of earlier samples. Anybody who may write to the transport can create any number. */
  #seen = new TextMap<true>();
  #last = performance.now();

  /** Creates a meter that samples once in `interval` milliseconds. It always lists the queues of these names. */
  constructor(bus: Bus, admin: Admin | undefined, queues: readonly string[], interval: number) {
    this.#bus = bus;
    this.#admin = admin;
    this.#given = new Set(queues);
    this.#traffic = new TrafficMeter(bus, admin, interval);
  }

  /** Begins to count the events of the topics that match a glob, and the traffic of queues. */
  async watch(pattern: string): Promise<void> {
    await this.#bus.subscribe(pattern, (_, { topic }) => this.#count(topic), { pattern: true }).ready;
    await this.sample();
  }

  /** Takes a sample. */
  async sample(): Promise<Sample> {
    const [queues, buses] = await Promise.all([this.#traffic.look(() => this.#list()), this.#admin?.buses()]);
    for (const { name } of queues) {
      if (this.#seen.size < EMPTIED.count && name.length <= EMPTIED.length) this.#seen.set(name, true);
    }
    const now = performance.now();
    const seconds = Math.max(1, now - this.#last) / 1_000;
    this.#last = now;
    const topics = [...this.#topics].map(([name, counter]): TopicRow => {
      const rate = (counter.seen - counter.before) / seconds;
      counter.before = counter.seen;
      return { name, rate, total: counter.seen };
    });
    return { queues, topics, buses: buses && Math.max(0, buses.length - 1) };
  }

  #count(topic: string): void {
    const counted = this.#topics.has(topic) ||
      this.#topics.size < COUNTED_TOPICS.count && topic.length <= COUNTED_TOPICS.length;
    const name = counted ? topic : OTHERS;
    const known = this.#topics.get(name);
    if (known) known.seen++;
    else this.#topics.set(name, { seen: 1, before: 0 });
  }

  /** Lists the queues: those that the transport lists, those that the user named, and those of earlier samples, which are empty now. */
  async #list(): Promise<Listed> {
    const all = this.#admin && await listQueues(this.#admin);
    const listed = textSet(all?.map(({ name }) => name) ?? []);
    const given = [...this.#given].filter((name) => !listed.has(name));
    const emptied = all ? [...this.#seen.keys()].filter((name) => !listed.has(name) && !this.#given.has(name)) : [];
    const queues = [
      ...all ?? [],
      ...await Promise.all(given.map((name) => this.#read(name))),
      ...emptied.map((name) => ({ name, waiting: 0, leased: 0, delayed: 0, dead: 0 })),
    ];
    return { queues, complete: all !== undefined };
  }

  async #read(name: string): Promise<QueueRow> {
    return { name, ...await this.#bus.queue(name).stats() };
  }
}
