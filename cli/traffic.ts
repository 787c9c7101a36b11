/**
 * The traffic of queues: the items that are put and removed each second, and the durations of handlers. Each bus counts them while `tsmq
 * top` or the dashboard asks; nothing is stored. Ended processes and PyMQ do not count. The growth of the queues includes their items, so
 * it completes the counts.
 *
 * @module
 */
import { type Bus, engineOf } from "../src/bus.ts";
import { ExpiringMap } from "../src/internal/caches.ts";
import { warnOnce } from "../src/internal/complain.ts";
import { TextMap, textSet } from "../src/internal/text_map.ts";
import { within } from "../src/internal/time.ts";
import type { Admin } from "../src/provider/admin.ts";
import { DEAD } from "../src/provider/queue_names.ts";
import { ACTIVITY } from "../src/rpc/activity_answers.ts";
import {
  addDurations,
  type BusActivity,
  MAX_ANSWER,
  median,
  type QueueActivity,
  readActivity,
} from "../src/telemetry/activity.ts";
import type { QueueRow } from "./overview.ts";

/** Milliseconds to wait for the answers of buses. */
const PATIENCE = 2_000;
/** Milliseconds for which a bus that did not answer is not asked again. */
const SILENT = 10_000;
/** Milliseconds after which the inboxes are listed again. */
const LISTED = 5_000;
/** Milliseconds for which buses count after a question, in addition to three intervals. */
const KEEP = 10_000;
/** The longest interval between samples, in milliseconds, for which buses are asked to count. */
const SLOWEST = 60_000;
/** The largest number of buses that are asked. */
const MAX_BUSES = 256;
/** The number of buses that are asked at once, and the milliseconds after which further ones are asked although these have not answered. */
const PARALLEL = 16;
const PACE = 100;
/** The number of characters of all answers, written again, beyond which no more buses are asked. */
const MAX_ANSWERS = 2 ** 23;
/** The largest number of characters of a message: an answer, and the addresses and names around it. */
const MAX_MESSAGE = MAX_ANSWER + 8_192;
/** The largest number of queues whose numbers are known. */
const MAX_QUEUES = 10_000;
/** The largest plausible rate. Larger rates are reduced to it. */
const MAX_RATE = 1e9;

/** The explanation of these numbers in `--help`. */
export const TRAFFIC_NOTE: readonly string[] = [
  "The buses that are up count items and handlers while they are asked. Ended processes, PyMQ and versions of tsmq that",
  "cannot count are not included: of their items, only the growth or shrinkage of a queue is known.",
];

/** The traffic of a queue since the last sample. A number is absent if it is not known. */
export interface Traffic {
  /** Items that were put, each second. */
  readonly in?: number;
  /** Items that were removed, each second. */
  readonly out?: number;
  /** Milliseconds that half of the handlers took at most. */
  readonly p50?: number;
  /** The consumers of all buses, and the number of handlers that they may run at once. */
  readonly consumers?: number;
  readonly concurrency?: number;
}

/** A queue with its traffic. */
export type TrafficRow = QueueRow & Traffic;

/** The counts of all buses for a queue since the last sample. */
interface Counted {
  in: number;
  out: number;
  /** The sums of the buckets of {@linkcode addDurations}. */
  readonly durations: number[];
}

/** Queues and the numbers of their items. */
export interface Listed {
  readonly queues: readonly QueueRow[];
  /** Whether all other queues have no items. */
  readonly complete: boolean;
}

/** The answers to one round of questions. */
interface Answers {
  /** Whether any bus has counted since the last sample. */
  readonly known: boolean;
  readonly queues: TextMap<Counted>;
  /** Whether all buses have named the queues that they consume. */
  readonly named: boolean;
  readonly consumed: TextMap<Consumers>;
}

/** The consumers of a queue. */
type Consumers = Required<Pick<Traffic, "consumers" | "concurrency">>;

/** Asks the buses of a namespace for their activity. */
export class TrafficMeter {
  #bus: Bus;
  #admin: Admin | undefined;
  #interval: number;
  #inboxes: { readonly list: readonly string[]; readonly until: number } = { list: [], until: -Infinity };
  /** Inbox → its answer in the last round. */
  #last = new TextMap<BusActivity>();
  #silent = new ExpiringMap<true>(SILENT, MAX_BUSES);
  /** Queue → the number of its items at the last sample. */
  #items = new TextMap<number>();
  #lookedAt = performance.now();

  /** Creates a meter that takes a sample every `interval` milliseconds or, in a large namespace, less often. */
  constructor(bus: Bus, admin: Admin | undefined, interval: number) {
    this.#bus = bus;
    this.#admin = admin;
    this.#interval = interval;
    engineOf(bus).inbox.limit = MAX_MESSAGE;
  }

  /** Takes a sample: lists the queues with `list`, and meanwhile asks all buses. The first sample only begins to count. */
  async look(list: () => Promise<Listed>): Promise<TrafficRow[]> {
    const [answers, listed] = await Promise.all([this.#askAll(), list()]);
    return this.#join(listed, answers);
  }

  /** Asks all buses for their counts. Never rejects. */
  async #askAll(): Promise<Answers> {
    const queues = new TextMap<Counted>();
    const consumed = new TextMap<Consumers>();
    let known = false;
    const interval = Math.max(this.#interval, Math.min(SLOWEST, performance.now() - this.#lookedAt));
    const keep = 3 * interval + KEEP;
    const inboxes = await this.#list();
    let named = inboxes.length > 0 && inboxes.length < MAX_BUSES; // otherwise further buses were not asked
    const before = this.#last;
    const answers = this.#last = new TextMap();
    let size = 0;
    const ask = async (inbox: string) => {
      const now = await this.#ask(inbox, keep);
      named &&= now?.consumed !== undefined;
      if (!now) return;
      size += JSON.stringify(now).length;
      for (const { name, consumers, concurrency } of now.consumed ?? []) {
        const sum = consumed.get(name) ?? { consumers: 0, concurrency: 0 };
        if (consumed.size >= MAX_QUEUES && sum.consumers === 0) break;
        consumed.set(name, { consumers: sum.consumers + consumers, concurrency: sum.concurrency + concurrency });
      }
      answers.set(inbox, now);
      const last = before.get(inbox);
      if (!last) return;
      const earlier = now.ms < last.ms ? undefined : last; // it had stopped counting, or has another worker
      const seconds = Math.max(1, now.ms - (earlier?.ms ?? 0)) / 1_000;
      const counts = new TextMap(earlier?.queues.map((queue) => [queue.name, queue]));
      for (const queue of now.queues) add(queues, queue, counts.get(queue.name), seconds);
      known = true;
    };
    const asked: Promise<void>[] = [];
    for (let at = 0; at < inboxes.length; at += PARALLEL) {
      if (size > MAX_ANSWERS) {
        named = false;
        this.#warn();
        break;
      }
      const part = inboxes.slice(at, at + PARALLEL).map(ask);
      asked.push(...part);
      await within(PACE, Promise.all(part)); // buses that do not answer must not delay the others
    }
    await Promise.all(asked);
    return { known, queues, named, consumed };
  }

  /**
   * Joins queues with the answers of the buses. Growth beyond these counts comes from others, such as PyMQ, or from publishers, in the
   * queue of a group.
   */
  #join({ queues: listed, complete }: Listed, { known, queues, named, consumed }: Answers): TrafficRow[] {
    const now = performance.now();
    const seconds = Math.max(1, now - this.#lookedAt) / 1_000;
    this.#lookedAt = now;
    const names = textSet(listed.map(({ name }) => name));
    const more = [...textSet([...queues.keys(), ...consumed.keys()]).keys()].filter((name) =>
      !names.has(name) && !name.endsWith(DEAD)
    );
    const rows: QueueRow[] = [
      ...listed,
      ...more.map((name) => complete ? { name, waiting: 0, leased: 0, delayed: 0, dead: 0 } : { name }),
    ];
    const before = this.#items;
    this.#items = new TextMap();
    return rows.map((row): TrafficRow => {
      const items = itemsOf(row);
      if (items !== undefined && this.#items.size < MAX_QUEUES) this.#items.set(row.name, items);
      const growth = (items ?? NaN) - (before.get(row.name) ?? NaN);
      const counted = queues.get(row.name) ?? (known ? { in: 0, out: 0, durations: [] } : undefined);
      const consumers = consumed.get(row.name) ?? (named ? { consumers: 0 } : {});
      return { ...row, ...trafficOf(counted, this.#exact ? growth / seconds : NaN), ...consumers };
    });
  }

  #warn(): void {
    const { namespace } = this.#bus;
    const text =
      `The answers of the buses of the namespace ${namespace} have more than ${MAX_ANSWERS} characters: the others are not counted`;
    warnOnce(`answers of ${namespace}`, text);
  }

  get #exact(): boolean {
    return engineOf(this.#bus).features.exactSize;
  }

  async #list(): Promise<readonly string[]> {
    const now = performance.now();
    if (now < this.#inboxes.until) return this.#inboxes.list;
    const list = await Promise.resolve(this.#admin?.inboxes()).catch(() => undefined) ?? [];
    this.#inboxes = { list: list.slice(0, MAX_BUSES), until: now + LISTED };
    return this.#inboxes.list;
  }

  async #ask(inbox: string, keep: number): Promise<BusActivity | undefined> {
    if (this.#silent.get(inbox)) return undefined;
    const { caller } = engineOf(this.#bus);
    const asked = caller.at(inbox, ACTIVITY, [keep], { timeout: PATIENCE });
    const answer = await asked.catch(() => undefined);
    const activity = answer && !answer.isError ? readActivity(answer.result) : undefined;
    if (!activity) this.#silent.set(inbox, true);
    return activity;
  }
}

/** Adds the counts of one bus for a queue to the counts of all buses. */
function add(
  queues: TextMap<Counted>,
  { name, puts, takes, durations }: QueueActivity,
  before: QueueActivity | undefined,
  seconds: number,
): void {
  let sum = queues.get(name);
  if (!sum) {
    if (queues.size >= MAX_QUEUES) return;
    queues.set(name, sum = { in: 0, out: 0, durations: [] });
  }
  sum.in += Math.max(0, puts - (before?.puts ?? 0)) / seconds;
  sum.out += Math.max(0, takes - (before?.takes ?? 0)) / seconds;
  addDurations(sum.durations, durations, before?.durations ?? []);
}

/** Completes the counts of the buses with the growth of the queue: items each second, or NaN if it is not known. */
function trafficOf(counted: Counted | undefined, growth: number): Traffic {
  if (!counted && Number.isNaN(growth)) return {};
  const { in: puts, out: takes, durations } = counted ?? { in: 0, out: 0, durations: [] };
  const p50 = median(durations);
  const most = (...rates: number[]) => round(Math.min(MAX_RATE, Math.max(...rates.filter((rate) => rate >= 0))));
  return {
    in: most(puts, takes + growth),
    out: most(takes, puts - growth),
    p50: p50 === undefined ? undefined : round(p50),
  };
}

function itemsOf({ waiting, leased, delayed }: QueueRow): number | undefined {
  return waiting === undefined || leased === undefined || delayed === undefined
    ? undefined
    : waiting + leased + delayed;
}

/** Rounds a number below 1 to three decimals, below 100 to one, and any other to a whole number. */
function round(value: number): number {
  const unit = value < 1 ? 1_000 : value < 100 ? 10 : 1;
  return Math.round(value * unit) / unit;
}
