/** Checks that a gap was reported at each place where a subscription missed events. */
import type { Tally } from "./tally.ts";

interface Sequence {
  /** The last received number. */
  last: number;
  /** Whether a gap has arrived since then. */
  gap: boolean;
}

/** The events of one subscription: each publisher numbers its own, one after the other. */
export class Holes {
  readonly #publishers = new Map<number, Sequence>();
  /** The skipped numbers without a gap, which is correct only if their publish did not resolve. */
  readonly #passed = new Set<number>();

  /** Records an event. */
  see(n: number, publisher = 0): void {
    const sequence = this.#publishers.get(publisher);
    if (!sequence) return void this.#publishers.set(publisher, { last: n, gap: false });
    for (let m = sequence.last + 1; m < n && !sequence.gap; m++) this.#passed.add(m);
    sequence.last = Math.max(sequence.last, n);
    sequence.gap = false;
  }

  /** Records a gap. */
  gap(): void {
    for (const sequence of this.#publishers.values()) sequence.gap = true;
  }

  /** Returns the events whose publish resolved, and that are missing without a gap. */
  without(tally: Tally): number[] {
    return [...this.#passed].filter((n) => tally.misses(n));
  }
}
