/**
 * The signed requests that a server has received, until they are too old to be accepted. Until then an attacker can send a request again,
 * even after the memory for served calls has forgotten it.
 *
 * @module
 */
import { TextMap } from "../internal/text_map.ts";

/**
 * The largest number of remembered requests. Beyond it, the oldest ones are forgotten, and all requests that were signed before them are
 * refused.
 */
const MAX = 2 ** 20;
/** The smallest number of new requests after which the requests that are too old are removed. */
const BATCH = 2 ** 14;
/** The share by which the number of requests grows before the next search, so that the searches look at each only a few times. */
const GROWTH = 1 / 4;

/** The requests that a server must not run again. */
export class SeenRequests {
  /** Request → the time after which it is refused because of its deadline, and the time of its signature. The oldest request is first. */
  #requests = new TextMap<{ readonly until: number; readonly signed: number }>();
  /** The number of requests beyond which those that are too old are removed. */
  #most = BATCH;
  /** The latest signature of a forgotten request. */
  #forgotten = -Infinity;

  /**
   * Adds a request. Returns false if it was or may have been added before. `until` is the time after which it is refused because of its
   * deadline.
   */
  add(id: string, signed: number, until: number): boolean {
    if (signed <= this.#forgotten || this.#requests.has(id)) return false;
    this.#requests.set(id, { until, signed });
    if (this.#requests.size >= this.#most) this.#clean();
    return true;
  }

  #clean(): void {
    const now = Date.now();
    for (const [id, { until }] of this.#requests) if (until < now) this.#requests.delete(id);
    for (const [id, { signed }] of this.#requests) {
      if (this.#requests.size <= MAX) break;
      this.#forgotten = Math.max(this.#forgotten, signed);
      this.#requests.delete(id);
    }
    const { size } = this.#requests;
    this.#most = Math.min(size + Math.max(BATCH, size * GROWTH), MAX + BATCH);
  }
}
