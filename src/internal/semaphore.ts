import { Fifo } from "./fifo.ts";

/** A semaphore: it limits how much work runs at once, and serves waiters in order. */
export class Semaphore {
  #free: number;
  #waiting = new Fifo<() => void>();
  #ended = false;

  /** Creates a semaphore that allows `limit` pieces of work at once. */
  constructor(limit: number) {
    this.#free = limit;
  }

  /** Resolves when the caller may run. Returns undefined if it may run immediately. Each `acquire` needs a `release`. */
  acquire(): Promise<void> | undefined {
    if (this.#ended || this.#free > 0) {
      this.#free--;
      return undefined;
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Ends one piece of work, so that the next waiter may run. */
  release(): void {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#free++;
  }

  /** Removes the limit: all waiters may run, and all later callers too. */
  end(): void {
    this.#ended = true;
    for (const resolve of this.#waiting.drain()) {
      this.#free--;
      resolve();
    }
  }
}
