/**
 * The number of characters that a server holds for its callers, with a limit for each caller, so that one that does not read does not affect
 * the others, and a limit for all of them, because requests can name any number of callers. In the same way, the number of bytes that a
 * caller holds for its multi-calls.
 *
 * @module
 */
import type { Written } from "../codec/codec.ts";
import { sizeOfMarks } from "../codec/marks.ts";
import { TextMap } from "../internal/text_map.ts";

/** The largest number of characters, or bytes, that are held for one caller or one multi-call, and for all of them. */
export const MAX_HELD = [256 * 1024 * 1024, 512 * 1024 * 1024] as const;

/**
 * The shares of what a server may hold for its callers up to which large answers wait and are kept, and up to which streams ask for values.
 * They leave room: large answers that nobody confirms do not stop streams, and streams that nobody reads do not stop other answers.
 */
export const SHARES = { large: 0.75, asking: 0.875 } as const;

/** The number of characters beyond which the result of an answer is large: its caller confirms it. */
export const LARGE: number = 64 * 1024;

/** Counts the held characters, by caller. */
export class Sizes {
  readonly #max: number;
  readonly #maxTotal: number;
  #sizes = new TextMap<number>();
  #total = 0;

  /** Creates an empty count of at most `max` characters for one caller, and `maxTotal` for all. */
  constructor(max: number, maxTotal: number) {
    this.#max = max;
    this.#maxTotal = maxTotal;
  }

  /**
   * Returns whether something may be added for a caller: neither it nor all callers have reached this share of their limit. A
   * text that is added then may be larger than the limits.
   */
  accepts(caller: string, share = 1): boolean {
    if (this.#total <= Math.min(this.#max, this.#maxTotal) * share) return true; // no caller has more than all
    return (this.#sizes.get(caller) ?? 0) <= this.#max * share && this.#total <= this.#maxTotal * share;
  }

  /** Adds a number of characters, or removes those that were added. */
  add(caller: string, size: number): void {
    const sum = (this.#sizes.get(caller) ?? 0) + size;
    if (sum > 0) this.#sizes.set(caller, sum);
    else this.#sizes.delete(caller);
    this.#total += size;
  }
}

/** Returns the largest number of characters of a value in a message, with the key of its mark. */
export function sizeOf({ json, mark }: Written): number {
  return json.length + 1 + (mark === undefined ? 0 : sizeOfMarks(mark) + 32);
}
