/**
 * The timers of a worker. A receiver that sleeps outside its event loop must know when the next timer is due.
 *
 * @module
 */

import { after } from "../internal/time.ts";

/** The timers of a worker. */
export class Timers {
  #pending = new Map<number, number>();
  #last = 0;
  /** A time that is not later than the end of the first pending timer. */
  #first = Infinity;

  /** The time at which the event loop must run, in milliseconds of `performance.now()`. `Infinity` if no timer is pending. */
  get due(): number {
    if (this.#first <= performance.now()) {
      this.#first = Infinity;
      for (const due of this.#pending.values()) if (due < this.#first) this.#first = due;
    }
    return this.#first;
  }

  /** Calls `act` once, after `ms` milliseconds. Returns a function that cancels the call. */
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
