/**
 * The answers that are on their way to their callers. Their size is limited for each caller, so that one that does not take its answers
 * costs the others nothing.
 *
 * @module
 */

/** The characters that an answer counts in addition to its own. */
const EACH = 1_024;
/** The largest number of characters on their way to one caller. One answer may be larger. */
const MAX_SENT = 64 * 1024 * 1024;
/** The largest number of characters that wait to be sent to one caller again. A caller that reconnects asks again for answers beyond it. */
const MAX_RETRIED = 4 * 1024 * 1024;
/** The largest number of characters that are on their way to all callers while answers are sent again. */
const MAX_RETRIED_TOTAL = 64 * 1024 * 1024;

/** Counts the characters of unconfirmed answers, by caller. */
export class Undelivered {
  #sizes = new Map<string, number>();
  #total = 0;

  /** Whether no answer is on its way. */
  get empty(): boolean {
    return this.#sizes.size === 0;
  }

  /** Adds an answer. Returns false, and adds nothing, if too much is on its way to its caller. */
  add(caller: string, answer: string): boolean {
    const size = this.#sizes.get(caller) ?? 0;
    if (size > MAX_SENT) return false;
    this.#sizes.set(caller, size + cost(answer));
    this.#total += cost(answer);
    return true;
  }

  /** Returns whether an answer that did not arrive may be sent again. */
  mayRetry(caller: string, answer: string): boolean {
    const own = cost(answer); // one answer may be larger than the limits
    return (this.#sizes.get(caller) ?? 0) - own <= MAX_RETRIED && this.#total - own <= MAX_RETRIED_TOTAL;
  }

  /** Removes an answer that has arrived, or is not sent again. */
  remove(caller: string, answer: string): void {
    const size = this.#sizes.get(caller)! - cost(answer);
    if (size > 0) this.#sizes.set(caller, size);
    else this.#sizes.delete(caller);
    this.#total -= cost(answer);
  }
}

function cost(answer: string): number {
  return answer.length + EACH;
}
