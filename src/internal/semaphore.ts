import { Fifo } from "./fifo.ts";

/** A semaphore: at most so many run at once, first come first served. */
export class Semaphore {
  #free: number;
  #waiting = new Fifo<() => void>();
  #ended = false;

  /** `limit`: how many may run at once. */
  constructor(limit: number) {
    this.#free = limit;
  }

  /** Resolves when the caller may run; undefined: it may at once. Each `acquire` needs a `release`. */
  acquire(): Promise<void> | undefined {
    if (this.#ended || this.#free > 0) {
      this.#free--;
      return undefined;
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Lets the next one run. */
  release(): void {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#free++;
  }

  /** Ends the limit: all that wait may run, and so may everything after them. */
  end(): void {
    this.#ended = true;
    for (const resolve of this.#waiting.drain()) {
      this.#free--;
      resolve();
    }
  }
}
