/**
 * The memory of a server for served calls. A caller may send its request again, and the server does not run the call twice.
 *
 * @module
 */

import { LimitedTextMap } from "../internal/caches.ts";
import { TextMap } from "../internal/text_map.ts";

/** The number of the latest calls that the memory holds. */
const MAX_CALLS = 16_384;
/** The number of characters of the latest answers that the memory holds. */
const MAX_ANSWERS = 4 * 1024 * 1024;

/** The largest difference in milliseconds between the delivery times of two requests. */
const DELIVERY_SLACK = 5_000;

/** The calls that this bus has served recently, with their answers. */
export class ServedCalls {
  /** Call → the time of its request, oldest first. */
  #received = new TextMap<number>();
  /** Call → its answer, oldest first. */
  #answers = new TextMap<string>();
  #size = 0;
  /** The time of the request of the youngest forgotten call. */
  #forgotten = -Infinity;
  /** Call → the number of the refused attempt, oldest first. */
  #refused = new LimitedTextMap<number>(MAX_CALLS);

  /** Remembers a call. */
  add(id: string): void {
    this.#received.set(id, performance.now());
    while (this.#received.size > MAX_CALLS) {
      const oldest = this.#received.oldest!;
      this.#forgotten = this.#received.get(oldest)!;
      this.#forget(oldest);
    }
  }

  /** Keeps the answer of a call, and removes the oldest answers if there are too many. An answer that exceeds the memory is not kept. */
  keep(id: string, answer: string): void {
    this.#drop(id);
    if (answer.length > MAX_ANSWERS) return;
    this.#answers.set(id, answer);
    this.#size += answer.length;
    while (this.#size > MAX_ANSWERS) this.#drop(this.#answers.oldest!);
  }

  /**
   * Returns the answer of a served call, false if the call was not served, and undefined if it may have been served and is forgotten.
   *
   * @param age the milliseconds since the request was sent for the first time
   */
  answer(id: string, age: number): string | false | undefined {
    if (this.#received.has(id)) return this.#answers.get(id);
    return age <= 0 || performance.now() - age - DELIVERY_SLACK > this.#forgotten ? false : undefined;
  }

  /**
   * Remembers that this attempt of a call (counted from 1) was refused, so the call was not served. If the request arrives again, it must
   * not run, because the caller may have called another server meanwhile.
   */
  refuse(id: string, attempt: number): void {
    this.#forget(id);
    this.#refused.set(id, attempt);
  }

  /** Returns whether this attempt of a call was refused. */
  refused(id: string, attempt: number): boolean {
    return attempt <= (this.#refused.get(id) ?? 0);
  }

  #forget(id: string): void {
    this.#received.delete(id);
    this.#drop(id);
  }

  #drop(id: string): void {
    const answer = this.#answers.get(id);
    if (answer === undefined) return;
    this.#size -= answer.length;
    this.#answers.delete(id);
  }
}
