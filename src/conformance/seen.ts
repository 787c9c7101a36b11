/**
 * What a handler was given, and the wait for more of it.
 *
 * @module
 */
import { ConformanceError, equal, show } from "./assert.ts";

/** Collects values. A waiting case resolves at once, without polling. */
export class Seen<T> {
  /** What has come, in its order. */
  readonly values: T[] = [];
  /** Its name in messages. */
  readonly what: string;
  #waiters = new Set<{ count: number; resolve(): void; reject(error: Error): void }>();
  #ended: Error | undefined;

  /** Collects nothing yet. */
  constructor(what: string) {
    this.what = what;
  }

  /** Takes a value. Bound: it can be given away as a handler. */
  readonly add = (value: T): void => {
    this.values.push(value);
    for (const waiter of this.#waiters) {
      if (this.values.length < waiter.count) continue;
      this.#waiters.delete(waiter);
      waiter.resolve();
    }
  };

  /** Resolves with the first `count` values when there are so many. */
  async count(count: number): Promise<T[]> {
    if (this.#ended) throw this.#ended;
    if (this.values.length < count) {
      await new Promise<void>((resolve, reject) => this.#waiters.add({ count, resolve, reject }));
    }
    return this.values.slice(0, count);
  }

  /** Waits for as many values as are expected, and compares. */
  async are(expected: readonly NoInfer<T>[]): Promise<void> {
    equal(await this.count(expected.length), [...expected], this.what);
  }

  /** What the waits say when the case's time is over. */
  end(): void {
    const counts = [...this.#waiters].map(({ count }) => count);
    this.#ended = new ConformanceError(
      `${this.what}: ${counts.join(" or ")} expected, but only ${this.values.length} came: ${show(this.values)}`,
    );
    for (const { reject } of this.#waiters) reject(this.#ended);
    this.#waiters.clear();
  }
}
