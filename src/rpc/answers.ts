/**
 * The answers that were given last.
 *
 * @module
 */

/** Characters of answers kept. */
const KEPT = 4 * 1024 * 1024;

/** Keeps answers for callers that ask again because a connection broke: the call is not served twice. */
export class Answers {
  #texts = new Map<string, string>();
  #size = 0;

  /** Keeps the answer of a call, for as long as there is room. */
  keep(id: string, text: string): void {
    this.#forget(id);
    this.#texts.set(id, text);
    this.#size += text.length;
    for (const oldest of this.#texts.keys()) {
      if (this.#size <= KEPT) return;
      this.#forget(oldest);
    }
  }

  /** The answer of a call, if it was given and is still here. */
  of(id: string): string | undefined {
    return this.#texts.get(id);
  }

  #forget(id: string): void {
    this.#size -= this.#texts.get(id)?.length ?? 0;
    this.#texts.delete(id);
  }
}
