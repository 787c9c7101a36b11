/**
 * Counts what happens to the queues of a bus while somebody asks: `tsmq top`, `tsmq queues` or the dashboard. A bus that nobody asks counts
 * nothing, and no bus writes counts anywhere. The answer also names the queues that the bus consumes.
 *
 * @module
 */
import { isCount, nameFault } from "../internal/arguments.ts";
import { after } from "../internal/time.ts";

/** The least and the largest number of milliseconds for which a bus counts after a question. */
const KEEP = { least: 1_000, most: 600_000 };
/** The largest number of queues that a bus counts, and of characters of their names. */
const MAX_QUEUES = 1_000;
const MAX_NAME = 512;
/** The largest number of characters of an answer. */
export const MAX_ANSWER: number = 128 * 1024;

/** The upper end of the first bucket of durations in milliseconds; each bucket is a quarter of an octave wide. */
const SHORTEST = 0.01;
const PER_OCTAVE = 4;
/** The number of buckets. The last one begins at an hour. */
const BUCKETS = 116;

/** The numbers of a queue since a bus began to count. */
export interface QueueActivity {
  /** The name of the queue. */
  readonly name: string;
  /** The items that this bus has put. */
  readonly puts: number;
  /** The items that this bus has removed: acknowledged, got, dead-lettered or purged. */
  readonly takes: number;
  /** The numbers of handlers by their durations: each bucket, followed by its handlers. A map would take far more memory. */
  readonly durations: readonly number[];
}

/** A queue that a bus consumes. The members of a group consume the queue of the group. */
export interface Consumed {
  /** The name of the queue. */
  readonly name: string;
  /** The number of consumers of this bus. */
  readonly consumers: number;
  /** The number of handlers that they may run at once; Infinity for no limit. */
  readonly concurrency: number;
}

/** The answer of a bus. */
export interface BusActivity {
  /** Milliseconds since the bus began to count. */
  readonly ms: number;
  readonly queues: readonly QueueActivity[];
  /** The queues that the bus consumes; absent in the answers of older versions. */
  readonly consumed?: readonly Consumed[];
}

interface Counter {
  puts: number;
  takes: number;
  readonly durations: Map<number, number>;
}

/** The activity of one bus. */
export class Activity {
  /** The number of answers that are being sent. */
  answering = 0;
  #counters: Map<string, Counter> | undefined;
  /** The concurrency of each consumer, by its queue. */
  #consumed = new Map<string, number[]>();
  #since = 0;
  #until = -Infinity;
  #stop = () => {};

  /** Counts an item that was put. */
  put(queue: string): void {
    const counter = this.#counter(queue);
    if (counter) counter.puts++;
  }

  /** Counts items that were removed. */
  taken(queue: string, items = 1): void {
    const counter = this.#counter(queue);
    if (counter) counter.takes += items;
  }

  /** Returns the handler, whose duration is measured if the bus counts. */
  timed<T>(queue: string, handler: () => Promise<T>): () => Promise<T> {
    if (!this.#counters) return handler;
    return async () => {
      const since = performance.now();
      try {
        return await handler();
      } finally {
        const durations = this.#counter(queue)?.durations;
        const bucket = bucketOf(performance.now() - since);
        durations?.set(bucket, (durations.get(bucket) ?? 0) + 1);
      }
    };
  }

  /** Notes a consumer until the returned function is called. */
  consumes(queue: string, concurrency: number): () => void {
    const ofQueue = this.#consumed.get(queue) ?? [];
    this.#consumed.set(queue, [...ofQueue, concurrency]);
    return () => {
      const left = this.#consumed.get(queue)!;
      if (left.length > 1) this.#consumed.set(queue, left.toSpliced(left.indexOf(concurrency), 1));
      else this.#consumed.delete(queue);
    };
  }

  /** Returns the counts and the consumed queues as JSON, which `readActivity` reads, and counts for a further `keep` milliseconds. */
  read(keep: unknown): string {
    const now = performance.now();
    const ms = Number.isFinite(keep) ? keep as number : 0;
    this.#until = Math.max(this.#until, now + Math.min(Math.max(ms, KEEP.least), KEEP.most));
    if (!this.#counters) {
      this.#counters = new Map();
      this.#since = now;
    }
    this.#stop();
    this.#stop = after(this.#until - now, () => this.end());
    let size = 0;
    const fits = (text: string) => (size += text.length + 1) < MAX_ANSWER;
    const named = [...this.#consumed].filter(([name]) => name.length <= MAX_NAME).slice(0, MAX_QUEUES);
    // JSON has no Infinity: null
    const consumed = named.map(([name, each]) => JSON.stringify([name, each.length, each.reduce((a, b) => a + b)]))
      .filter(fits);
    const queues = [...this.#counters].map(([name, { puts, takes, durations }]) =>
      JSON.stringify([name, puts, takes, [...durations].flat()])
    ).filter(fits);
    return `{"ms":${Math.round(now - this.#since)},"queues":[${queues}],"consumed":[${consumed}]}`;
  }

  /** Stops counting. */
  end(): void {
    this.#stop();
    this.#counters = undefined;
    this.#until = -Infinity;
  }

  #counter(queue: string): Counter | undefined {
    const counters = this.#counters;
    if (!counters) return undefined;
    let counter = counters.get(queue);
    if (!counter && counters.size < MAX_QUEUES && queue.length <= MAX_NAME) {
      counters.set(queue, counter = { puts: 0, takes: 0, durations: new Map() });
    }
    return counter;
  }
}

/** Reads the answer of a bus, which any peer may have written. Returns undefined if it is malformed. */
export function readActivity(value: unknown): BusActivity | undefined {
  const fields = (typeof value === "object" ? value : undefined) as Partial<Record<keyof BusActivity, unknown>> ?? {};
  const { ms } = fields;
  const queues = readAll(fields.queues, readQueue);
  const consumed = fields.consumed === undefined ? undefined : readAll(fields.consumed, readConsumed);
  if (!isCount(ms) || !queues || (fields.consumed !== undefined && !consumed)) return undefined;
  return { ms, queues, ...consumed && { consumed } };
}

/** Reads the rows of a list; undefined if one is malformed. */
function readAll<Row>(rows: unknown, read: (row: unknown) => Row | undefined): Row[] | undefined {
  if (!Array.isArray(rows) || rows.length > MAX_QUEUES) return undefined;
  const all = rows.map(read);
  return all.every((row) => row !== undefined) ? all : undefined;
}

function readConsumed(value: unknown): Consumed | undefined {
  const [name, consumers, limit] = Array.isArray(value) ? value : [];
  const concurrency = limit === null ? Infinity : limit;
  if (!isName(name) || !isCount(consumers) || !(isCount(concurrency) || concurrency === Infinity)) return undefined;
  return { name, consumers, concurrency };
}

function isName(value: unknown): value is string {
  return typeof value === "string" && value.length <= MAX_NAME && nameFault(value) === undefined;
}

function readQueue(value: unknown): QueueActivity | undefined {
  if (!Array.isArray(value)) return undefined;
  const [name, puts, takes, durations] = value;
  if (!isName(name) || !isCount(puts) || !isCount(takes)) return undefined;
  if (!Array.isArray(durations) || durations.length > 2 * BUCKETS || !durations.every(isCount)) return undefined;
  return { name, puts, takes, durations };
}

/**
 * Adds the handlers since an earlier answer to the sums of all buckets. A bus writes its buckets in the order in which they were first used,
 * so each has the same place in both answers.
 */
export function addDurations(sums: number[], now: readonly number[], before: readonly number[]): void {
  for (let i = 0; i + 1 < now.length; i += 2) {
    const bucket = Math.min(now[i]!, BUCKETS - 1);
    const more = now[i + 1]! - (before[i] === now[i] ? before[i + 1] ?? 0 : 0);
    sums[bucket] = (sums[bucket] ?? 0) + Math.max(0, more);
  }
}

/** Returns a duration that half of the handlers did not exceed, accurate to a tenth; undefined if there are none. `sums` are those of the buckets. */
export function median(sums: readonly number[]): number | undefined {
  let left = sums.reduce((sum, each) => sum + each, 0) / 2;
  if (left === 0) return undefined;
  for (const [bucket, handlers = 0] of sums.entries()) {
    left -= handlers;
    if (left <= 0) return SHORTEST * 2 ** ((bucket - 0.5) / PER_OCTAVE);
  }
}

function bucketOf(ms: number): number {
  const bucket = Math.ceil(Math.log2(ms / SHORTEST) * PER_OCTAVE);
  return Math.min(Math.max(bucket, 0), BUCKETS - 1);
}
