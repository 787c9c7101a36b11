/**
 * What a server remembers of the calls that it has served, so that a caller may ask again and none is served twice.
 *
 * @module
 */

/** Calls remembered. */
const REMEMBERED = 16_384;
/** Characters of their answers kept. */
const KEPT = 4 * 1024 * 1024;

/** Milliseconds that a request may be under way for longer than another one. */
const SLACK = 5_000;

/** The calls that were served last. */
export class Served {
  /** Call → when it came; oldest first. */
  #came = new Map<string, number>();
  /** Call → its answer; oldest first. */
  #answers = new Map<string, string>();
  #size = 0;
  /** When the last call came of those that are forgotten. */
  #forgotten = -Infinity;

  /** Remembers a call. */
  add(id: string): void {
    this.#came.set(id, performance.now());
    if (this.#came.size <= REMEMBERED) return;
    const [oldest, came] = this.#came.entries().next().value!;
    this.#forgotten = came;
    this.forget(oldest);
  }

  /** Keeps the answer of a call, for as long as there is room. */
  keep(id: string, answer: string): void {
    this.#drop(id);
    this.#answers.set(id, answer);
    this.#size += answer.length;
    for (const oldest of this.#answers.keys()) {
      if (this.#size <= KEPT) return;
      this.#drop(oldest);
    }
  }

  /**
   * The answer of a call that was served; false: it was not served; undefined: nobody can tell any more.
   *
   * @param age milliseconds since it was asked for the first time; 0: now
   */
  answer(id: string, age: number): string | false | undefined {
    if (this.#came.has(id)) return this.#answers.get(id);
    return age <= 0 || performance.now() - age - SLACK > this.#forgotten ? false : undefined;
  }

  /** The call was not served after all. */
  forget(id: string): void {
    this.#came.delete(id);
    this.#drop(id);
  }

  #drop(id: string): void {
    this.#size -= this.#answers.get(id)?.length ?? 0;
    this.#answers.delete(id);
  }
}
