/**
 * A collector of the values that a handler receives. A case waits until enough have arrived.
 *
 * @module
 */
import { ConformanceError, equal, show } from "./assert.ts";

/** Collects values, so that a case can wait for them without polling. */
export class Collector<T> {
  /** The collected values, in order of arrival. */
  readonly values: T[] = [];
  /** The name of the values in messages. */
  readonly what: string;
  #waiters = new Set<{ count: number; resolve(): void; reject(error: Error): void }>();
  #ended: Error | undefined;

  /** Creates an empty collector. */
  constructor(what: string) {
    this.what = what;
  }

  /** Adds a value. It is bound, so it can be passed as a handler. */
  readonly add = (value: T): void => {
    this.values.push(value);
    for (const waiter of this.#waiters) {
      if (this.values.length < waiter.count) continue;
      this.#waiters.delete(waiter);
      waiter.resolve();
    }
  };

  /** Resolves with the first `count` values as soon as that many have arrived. */
  async count(count: number): Promise<T[]> {
    if (this.#ended) throw this.#ended;
    if (this.values.length < count) {
      await new Promise<void>((resolve, reject) => this.#waiters.add({ count, resolve, reject }));
    }
    return this.values.slice(0, count);
  }

  /** Waits for the number of expected values, then compares the collected values with them. */
  async are(expected: readonly NoInfer<T>[]): Promise<void> {
    equal(await this.count(expected.length), [...expected], this.what);
  }

  /** Rejects all waits when the time of the case is over. */
  end(): void {
    const counts = [...this.#waiters].map(({ count }) => count);
    this.#ended = new ConformanceError(
      `${this.what}: ${counts.join(" or ")} expected, but only ${this.values.length} arrived: ${show(this.values)}`,
    );
    for (const { reject } of this.#waiters) reject(this.#ended);
    this.#waiters.clear();
  }
}
