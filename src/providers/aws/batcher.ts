/**
 * Combines the items of one turn, and items that arrive while requests are running, into few requests.
 *
 * @module
 */
import type { BusError } from "../../errors.ts";
import { Fifo } from "../../internal/fifo.ts";
import { TextMap } from "../../internal/text_map.ts";
import { BATCH } from "./client.ts";
import { MAX_MESSAGE } from "./message.ts";

/** Makes one request. Returns an error or `undefined` for each item. */
export type Run<T> = (key: string, items: T[]) => Promise<(BusError | undefined)[]>;

/** Options of a batcher. */
export interface BatcherOptions<T> {
  /** The largest number of requests of one key that run at once. */
  readonly parallel: (key: string) => number;
  /** The bytes that an item counts against the limit of a batch. Default: 0. */
  readonly size?: (item: T) => number;
}

interface KeyState<T> {
  readonly waiting: Fifo<{ item: T; resolve(): void; reject(error: BusError): void }>;
  running: number;
  scheduled: boolean;
  readonly empty: PromiseWithResolvers<void>;
}

/** Batches items by key. Items of one key are sent in order. */
export class Batcher<T> {
  readonly #run: Run<T>;
  readonly #options: BatcherOptions<T>;
  readonly #keys = new TextMap<KeyState<T>>();

  /** Creates a batcher that makes its requests with `run`. */
  constructor(run: Run<T>, options: BatcherOptions<T>) {
    this.#run = run;
    this.#options = options;
  }

  /** Adds an item. Resolves when it was sent, or rejects with the error of this item. */
  add(key: string, item: T): Promise<void> {
    let state = this.#keys.get(key);
    if (!state) {
      state = { waiting: new Fifo(), running: 0, scheduled: false, empty: Promise.withResolvers() };
      this.#keys.set(key, state);
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    state.waiting.push({ item, resolve, reject });
    this.#schedule(key, state);
    return promise;
  }

  /** Resolves when no item waits and no request is running. */
  async idle(): Promise<void> {
    while (this.#keys.size > 0) await Promise.all([...this.#keys.values()].map((state) => state.empty.promise));
  }

  #schedule(key: string, state: KeyState<T>): void {
    if (state.scheduled || state.running >= this.#options.parallel(key)) return;
    state.scheduled = true;
    // a timer rather than a microtask, because items of one turn may be added after several promises
    setTimeout(() => {
      state.scheduled = false;
      while (state.waiting.length > 0 && state.running < this.#options.parallel(key)) void this.#send(key, state);
    }, 0);
  }

  async #send(key: string, state: KeyState<T>): Promise<void> {
    const batch = [state.waiting.shift()!];
    let room = MAX_MESSAGE - this.#size(batch[0]!.item);
    for (let next = state.waiting.peek(); next && batch.length < BATCH; next = state.waiting.peek()) {
      room -= this.#size(next.item);
      if (room < 0) break;
      batch.push(state.waiting.shift()!);
    }
    state.running++;
    const results = await this.#run(key, batch.map(({ item }) => item));
    state.running--;
    results.forEach((error, index) => error ? batch[index]!.reject(error) : batch[index]!.resolve());
    if (state.waiting.length > 0) return this.#schedule(key, state);
    if (state.running > 0) return;
    this.#keys.delete(key);
    state.empty.resolve();
  }

  #size(item: T): number {
    return this.#options.size?.(item) ?? 0;
  }
}
