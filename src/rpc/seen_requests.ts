/**
 * The signed requests that a server has received, until they are too old to be accepted. Until then an attacker can send a request again,
 * even after the memory for served calls has forgotten it.
 *
 * @module
 */
import type { Signed } from "../codec/envelope.ts";
import { TextMap } from "../internal/text_map.ts";
import { CLOCK_SKEW } from "../internal/time.ts";
import type { Request } from "./wire.ts";

/**
 * The largest number of remembered requests. Beyond it, the oldest ones are forgotten, and all requests that were signed before them are
 * refused.
 */
const MAX = 2 ** 20;
/** The smallest number of new requests after which the requests that are too old are removed. */
const BATCH = 2 ** 14;
/** The share by which the number of requests grows before the next search, so that the searches look at each only a few times. */
const GROWTH = 1 / 4;

type Called = Pick<NonNullable<Request["call"]>, "id" | "attempt" | "deadline">;

/** The requests that a server must not run again. */
export class SeenRequests {
  /** Request → the time after which it is refused because of its deadline, and the time of its latest signature. The oldest request is first. */
  #requests = new TextMap<{ readonly until: number; signed: number }>();
  /** The number of requests beyond which those that are too old are removed. */
  #most = BATCH;
  /** The latest signature of a forgotten request. */
  #forgotten = -Infinity;
  /** The latest time after which a forgotten request is refused. If the clock is set back, that time has not passed any more. */
  #ended = -Infinity;

  /** Adds a request. Returns false if it was or may have been added before. */
  add(call: Called, { time }: Pick<Signed, "time">): boolean {
    const key = keyOf(call);
    const until = call.deadline + CLOCK_SKEW;
    if (time <= this.#forgotten || until <= this.#ended || this.#requests.has(key)) return false;
    this.#requests.set(key, { until, signed: time });
    if (this.#requests.size >= this.#most) this.#clean();
    return true;
  }

  /**
   * Returns whether the caller asks again for the answer of a call. Then it has signed its request again; a message that was sent before can
   * come from anybody, and would have the server send a large answer each time.
   */
  asksAgain(call: Called, { time }: Pick<Signed, "time">): boolean {
    const seen = this.#requests.get(keyOf(call));
    if (!seen) return true;
    if (time <= seen.signed) return false;
    seen.signed = time;
    return true;
  }

  #clean(): void {
    const now = Date.now();
    for (const [id, { until }] of this.#requests) {
      if (until >= now) continue;
      this.#ended = Math.max(this.#ended, until);
      this.#requests.delete(id);
    }
    for (const [id, { signed }] of this.#requests) {
      if (this.#requests.size <= MAX) break;
      this.#forgotten = Math.max(this.#forgotten, signed);
      this.#requests.delete(id);
    }
    const { size } = this.#requests;
    this.#most = Math.min(size + Math.max(BATCH, size * GROWTH), MAX + BATCH);
  }
}

function keyOf({ id, attempt }: Called): string {
  return `${id} ${attempt}`;
}
