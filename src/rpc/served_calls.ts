/**
 * The calls that a server has served, so that a caller may send its request again and no call is served twice.
 *
 * @module
 */

/** Calls remembered. */
const MAX_CALLS = 16_384;
/** Characters of their answers kept. */
const MAX_ANSWERS = 4 * 1024 * 1024;

/** Milliseconds that one request may take longer to arrive than another. */
const DELIVERY_SLACK = 5_000;

/** The calls that this bus served last, with their answers. */
export class ServedCalls {
  /** Call → when its request came; oldest first. */
  #came = new Map<string, number>();
  /** Call → its answer; oldest first. */
  #answers = new Map<string, string>();
  #size = 0;
  /** When the request of the youngest forgotten call came. */
  #forgotten = -Infinity;
  /** Call → the attempt that was refused; oldest first. */
  #refused = new Map<string, number>();

  /** Remembers a call. */
  add(id: string): void {
    this.#came.set(id, performance.now());
    if (this.#came.size <= MAX_CALLS) return;
    const [oldest, came] = this.#came.entries().next().value!;
    this.#forgotten = came;
    this.#forget(oldest);
  }

  /** Keeps the answer of a call; the oldest answers make room for it. */
  keep(id: string, answer: string): void {
    this.#drop(id);
    this.#answers.set(id, answer);
    this.#size += answer.length;
    for (const oldest of this.#answers.keys()) {
      if (this.#size <= MAX_ANSWERS) return;
      this.#drop(oldest);
    }
  }

  /**
   * Returns the answer of a call that was served; false: it was not served; undefined: it may have been served, and is forgotten.
   *
   * @param age milliseconds since the request was sent for the first time; 0: now
   */
  answer(id: string, age: number): string | false | undefined {
    if (this.#came.has(id)) return this.#answers.get(id);
    return age <= 0 || performance.now() - age - DELIVERY_SLACK > this.#forgotten ? false : undefined;
  }

  /**
   * Remembers that this attempt of a call, counted from 1, is refused: its caller may be at another server when the request comes
   * once more. The call was not served after all.
   */
  refuse(id: string, attempt: number): void {
    this.#forget(id);
    this.#refused.set(id, attempt);
    if (this.#refused.size > MAX_CALLS) this.#refused.delete(this.#refused.keys().next().value!);
  }

  /** Whether this attempt of a call was refused. */
  refused(id: string, attempt: number): boolean {
    return attempt <= (this.#refused.get(id) ?? 0);
  }

  #forget(id: string): void {
    this.#came.delete(id);
    this.#drop(id);
  }

  #drop(id: string): void {
    this.#size -= this.#answers.get(id)?.length ?? 0;
    this.#answers.delete(id);
  }
}
