/**
 * Reports a consumer that makes no progress: all its handlers have been running for a long time while items wait.
 *
 * @module
 */
import type { Core } from "../core.ts";
import { BusError } from "../errors.ts";
import { after, STALLED } from "../internal/time.ts";

/** Watches the handlers of one consumer, with one timer while all of them are busy. */
export class StallWatch {
  #core: Core;
  #queue: string;
  #busy: () => boolean;
  #stop: (() => void) | undefined;
  #since = 0;
  #ended = false;

  /** Watches a consumer of this queue. `busy` returns whether as many handlers run as may run at once. */
  constructor(core: Core, queue: string, busy: () => boolean) {
    this.#core = core;
    this.#queue = queue;
    this.#busy = busy;
  }

  /** Records that a handler has started, at the time `since` of `performance.now()`. */
  started(since: number): void {
    this.#since = since;
  }

  /** Begins to watch, because no further handler may start now. */
  begin(): void {
    if (!this.#stop) this.#checkIn(STALLED.after);
  }

  /** Stops watching. */
  end(): void {
    this.#ended = true;
    this.#stop?.();
  }

  #checkIn(ms: number): void {
    if (!this.#ended) this.#stop = after(ms, () => void this.#check());
  }

  async #check(): Promise<void> {
    const since = this.#since;
    const left = since + STALLED.after - performance.now();
    if (this.#busy() && left > 0) return this.#checkIn(left);
    const waiting = this.#busy() ? await this.#core.sender.size(this.#queue).catch(() => 0) : 0;
    if (this.#busy() && since === this.#since) {
      if (waiting === 0) return this.#checkIn(STALLED.after);
      const text =
        `Cannot handle items of queue "${this.#queue}": the handler has been running for ${STALLED.after} ms`;
      if (!this.#ended) this.#core.report(new BusError("stalled", text), this.#queue);
    }
    this.#stop = undefined; // the next start of a handler begins to watch again
  }
}
