/**
 * A limit for the rate of reports: a peer that sends many bad messages must not fill the log of this process.
 *
 * @module
 */
import { builtin } from "./builtin.ts";

/** Milliseconds of a window. */
export const WINDOW = 5_000;

/** Lets a number of reports pass in each window, and counts the others. */
export class ReportLimit {
  readonly #most: number;
  readonly #leftOut: (count: number) => void;
  readonly #window: number;
  /** The end of the window, by `performance.now()`. */
  #end = -Infinity;
  #passed = 0;
  #count = 0;

  /**
   * Creates a limit of `most` reports in a window. At the end of the window, `leftOut` receives the number of the reports beyond the limit,
   * if there were any.
   */
  constructor(most: number, leftOut: (count: number) => void, window: number = WINDOW) {
    this.#most = most;
    this.#leftOut = leftOut;
    this.#window = window;
  }

  /** Counts a report. Returns whether it may be made. */
  pass(): boolean {
    const now = performance.now();
    if (now >= this.#end) {
      this.flush();
      this.#end = now + this.#window;
      this.#passed = 0;
    }
    if (this.#passed < this.#most) {
      this.#passed++;
      return true;
    }
    if (this.#count++ === 0) this.#flushLater(this.#end - now);
    return false;
  }

  /** Reports the number of reports that were left out. */
  flush(): void {
    const count = this.#count;
    this.#count = 0;
    if (count > 0) this.#leftOut(count);
  }

  /** Flushes at the end of the window, unless the process ends before. */
  #flushLater(ms: number): void {
    const { setTimeout } = builtin<{ setTimeout(act: () => void, ms: number): { unref(): void } }>("timers")!;
    setTimeout(() => this.flush(), ms).unref();
  }
}
