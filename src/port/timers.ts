/**
 * The timers of a worker's end, and when the first of them is due: a receiver that sleeps outside its event loop must know.
 *
 * @module
 */

import { after } from "../internal/time.ts";

/** The timers of a worker's end. */
export class Timers {
  #pending = new Map<number, number>();
  #last = 0;
  /** A time no later than that of the first pending timer. */
  #first = Infinity;

  /** When to turn the event loop, in milliseconds of `performance.now()`; `Infinity`: nothing is pending. */
  get due(): number {
    if (this.#first <= performance.now()) {
      this.#first = Infinity;
      for (const due of this.#pending.values()) if (due < this.#first) this.#first = due;
    }
    return this.#first;
  }

  /** Calls `act` once, after `ms` milliseconds. Returns a function that cancels that. */
  after(ms: number, act: () => void): () => void {
    const id = ++this.#last;
    const due = performance.now() + ms;
    this.#pending.set(id, due);
    if (due < this.#first) this.#first = due;
    const stop = after(ms, () => {
      this.#pending.delete(id);
      act();
    });
    return () => {
      this.#pending.delete(id);
      stop();
    };
  }
}
