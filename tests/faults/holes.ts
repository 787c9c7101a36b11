/** Whether each hole in what a subscription received has a gap between its two neighbours. */
import type { Tally } from "./tally.ts";

interface Sequence {
  /** The last number of it that was received. */
  last: number;
  /** A gap came since. */
  gap: boolean;
}

/** The events of one subscription: each publisher numbers its own, one after the other. */
export class Holes {
  readonly #publishers = new Map<number, Sequence>();
  /** Numbers that were passed over without a gap: right only where they were never promised. */
  readonly #passed = new Set<number>();

  /** An event was received. */
  see(n: number, publisher = 0): void {
    const sequence = this.#publishers.get(publisher);
    if (!sequence) return void this.#publishers.set(publisher, { last: n, gap: false });
    for (let m = sequence.last + 1; m < n && !sequence.gap; m++) this.#passed.add(m);
    sequence.last = Math.max(sequence.last, n);
    sequence.gap = false;
  }

  /** A gap came. */
  gap(): void {
    for (const sequence of this.#publishers.values()) sequence.gap = true;
  }

  /** Those that were promised, and missed without a gap in their place. */
  without(tally: Tally): number[] {
    return [...this.#passed].filter((n) => tally.misses(n));
  }
}
