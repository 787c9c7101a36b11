/**
 * So many at a time: calls of a function that has a limit.
 *
 * @module
 */
import { Fifo } from "../internal/fifo.ts";

/** See the module. */
export class Turns {
  #free: number;
  #waiting = new Fifo<() => void>();
  #ended = false;

  /** So many may run at once. */
  constructor(limit: number) {
    this.#free = limit;
  }

  /** Resolves when it is the caller's turn, first come first served; undefined: it is now. Each turn is given back. */
  take(): Promise<void> | undefined {
    if (this.#ended || this.#free > 0) {
      this.#free--;
      return undefined;
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Gives a turn back. */
  give(): void {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#free++;
  }

  /** Lets all who wait go on at once, and everybody after them. */
  end(): void {
    this.#ended = true;
    for (const resolve of this.#waiting.drain()) {
      this.#free--;
      resolve();
    }
  }
}
