/**
 * Collects what is done in one turn, and while requests are under way, into few requests.
 *
 * @module
 */
import type { BusError } from "../../errors.ts";
import { Fifo } from "../../internal/fifo.ts";
import { BATCH } from "./client.ts";
import { MAX_MESSAGE } from "./message.ts";

/** Makes one request; one result for each item: the error, or nothing if it was done. */
export type Run<T> = (key: string, items: T[]) => Promise<(BusError | undefined)[]>;

/** How a batcher works. */
export interface BatcherOptions<T> {
  /** Requests of one key that may be under way at once. */
  readonly parallel: (key: string) => number;
  /** Bytes that an item counts against the limit of a batch. Default 0. */
  readonly size?: (item: T) => number;
}

interface Lane<T> {
  readonly waiting: Fifo<{ item: T; resolve(): void; reject(error: BusError): void }>;
  running: number;
  scheduled: boolean;
  readonly empty: PromiseWithResolvers<void>;
}

/** Batches items by key; those of one key leave in order. */
export class Batcher<T> {
  readonly #run: Run<T>;
  readonly #options: BatcherOptions<T>;
  readonly #lanes = new Map<string, Lane<T>>();

  /** Batches for this request. */
  constructor(run: Run<T>, options: BatcherOptions<T>) {
    this.#run = run;
    this.#options = options;
  }

  /** Resolves when the item was taken; rejects with its own error. */
  add(key: string, item: T): Promise<void> {
    let lane = this.#lanes.get(key);
    if (!lane) {
      lane = { waiting: new Fifo(), running: 0, scheduled: false, empty: Promise.withResolvers() };
      this.#lanes.set(key, lane);
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    lane.waiting.push({ item, resolve, reject });
    this.#schedule(key, lane);
    return promise;
  }

  /** Resolves when nothing is under way any more. */
  async idle(): Promise<void> {
    while (this.#lanes.size > 0) await Promise.all([...this.#lanes.values()].map((lane) => lane.empty.promise));
  }

  #schedule(key: string, lane: Lane<T>): void {
    if (lane.scheduled || lane.running >= this.#options.parallel(key)) return;
    lane.scheduled = true;
    // a timer rather than a microtask: what belongs together may come at different depths of promises
    setTimeout(() => {
      lane.scheduled = false;
      while (lane.waiting.length > 0 && lane.running < this.#options.parallel(key)) void this.#send(key, lane);
    }, 0);
  }

  async #send(key: string, lane: Lane<T>): Promise<void> {
    const batch = [lane.waiting.shift()!];
    let room = MAX_MESSAGE - this.#size(batch[0]!.item);
    for (let next = lane.waiting.peek(); next && batch.length < BATCH; next = lane.waiting.peek()) {
      room -= this.#size(next.item);
      if (room < 0) break;
      batch.push(lane.waiting.shift()!);
    }
    lane.running++;
    const results = await this.#run(key, batch.map(({ item }) => item));
    lane.running--;
    results.forEach((error, index) => error ? batch[index]!.reject(error) : batch[index]!.resolve());
    if (lane.waiting.length > 0) return this.#schedule(key, lane);
    if (lane.running > 0) return;
    this.#lanes.delete(key);
    lane.empty.resolve();
  }

  #size(item: T): number {
    return this.#options.size?.(item) ?? 0;
  }
}
