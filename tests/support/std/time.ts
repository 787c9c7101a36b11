/** The part of `@std/testing/time` that our tests use, over the timers of `node:test`. */
import { mock } from "node:test";

/** Replaces `Date`, `performance.now` and the timers until it is disposed of. Only `tick` advances the time. */
export class FakeTime {
  #now: number;
  #performanceNow = performance.now;

  /** Starts the fake clock at `start` (milliseconds or a date; default: now). */
  constructor(start: number | Date = Date.now()) {
    this.#now = Number(start);
    const since = this.#now - performance.now();
    performance.now = () => this.#now - since;
    mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: this.#now });
  }

  /** Milliseconds since 1970 on the fake clock. */
  get now(): number {
    return this.#now;
  }

  /** Advances the time by `ms` and runs the timers that are due. */
  tick(ms = 0): void {
    this.#now += ms;
    mock.timers.tick(ms);
  }

  /** Like {@linkcode tick}, with the microtasks before and after it. */
  async tickAsync(ms = 0): Promise<void> {
    await settle();
    this.tick(ms);
    await settle();
  }

  /** Gives the real clock back. */
  restore(): void {
    mock.timers.reset();
    performance.now = this.#performanceNow;
  }

  /** Gives the real clock back. */
  [Symbol.dispose](): void {
    this.restore();
  }
}

/** Long promise chains need many turns of the microtask queue; there is no event to await. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 50; turn++) await Promise.resolve();
}
