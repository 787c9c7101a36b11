/** The account of one way to send: what was sent, what was promised, what arrived. */
import { BusError } from "../../mod.ts";

/** The ways to send. */
export const STYLES = ["events", "get", "consume", "call", "multi call"] as const;

/** One of the ways to send. */
export type Style = typeof STYLES[number];

/** Numbers whose arrival is remembered, so that a second one is noticed: the last so many. */
const WINDOW = 20_000;

/** What is sent has a number; its size stays the same however long it counts. */
export class Tally {
  sent = 0;
  /** Arrived, or was answered. */
  delivered = 0;
  /** Arrived, or was offered, once more. */
  redelivered = 0;
  /** The number of sends that rejected, by the code of the error. */
  readonly failed = new Map<string, number>();
  /** The error codes that a fault may cause. */
  readonly allowed = new Set(["unavailable", "worker_died", "timeout", "queue_full", "busy"]);
  /** What must never be. */
  readonly wrong: string[] = [];
  #pending = new Set<number>();
  #promised = new Set<number>();
  #seen = new Set<number>();

  /** Sends the next one; a promise that resolves is a promise that it is there. */
  async send(act: (n: number) => Promise<unknown>): Promise<void> {
    const n = this.sent++;
    this.#pending.add(n);
    try {
      await act(n);
      this.promise(n);
    } catch (error) {
      const code = error instanceof BusError ? error.code : String(error);
      this.failed.set(code, (this.failed.get(code) ?? 0) + 1);
      if (!this.allowed.has(code)) this.wrong.push(`${n} failed with ${error}`);
    } finally {
      this.#pending.delete(n);
    }
  }

  /** It was promised to arrive. */
  promise(n: number): void {
    if (!this.#seen.has(n)) this.#promised.add(n);
  }

  /** It arrived; false: it had arrived before. */
  see(n: number): boolean {
    this.#promised.delete(n);
    if (this.#seen.has(n)) return false;
    this.delivered++;
    this.#seen.add(n);
    if (this.#seen.size > WINDOW) this.#seen.delete(this.#seen.values().next().value!);
    return true;
  }

  /** The number of sends whose promise is pending. */
  get pending(): number {
    return this.#pending.size;
  }

  /** What was promised and did not arrive yet. */
  get missing(): number {
    return this.#promised.size;
  }

  /** Whether this one was promised and did not arrive yet. */
  misses(n: number): boolean {
    return this.#promised.has(n);
  }

  /** The number of sends that rejected. */
  get failures(): number {
    return [...this.failed.values()].reduce((sum, count) => sum + count, 0);
  }
}
