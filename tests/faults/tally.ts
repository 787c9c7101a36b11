/** The tally of one style: the sent, accepted and received messages. */
import { BusError } from "../../mod.ts";

/** The styles of sending. */
export const STYLES = ["events", "get", "consume", "call", "multi call"] as const;

/** A style of sending. */
export type Style = typeof STYLES[number];

/** Numbers whose arrival is remembered, so that a second one is noticed: the last so many. */
const WINDOW = 20_000;

/** Counts messages by their numbers, in constant memory. */
export class Tally {
  sent = 0;
  /** The number of messages that arrived or were answered. */
  delivered = 0;
  /** The number of messages that arrived again. */
  redelivered = 0;
  /** The number of sends that rejected, by the code of the error. */
  readonly failed = new Map<string, number>();
  /** The error codes that a fault may cause. */
  readonly allowed = new Set(["unavailable", "worker_died", "timeout", "queue_full", "busy"]);
  /** Violations of the guarantees. */
  readonly wrong: string[] = [];
  #pending = new Set<number>();
  /** The messages whose sends rejected. They may arrive all the same, and late. */
  #rejected = new Set<number>();
  /** The messages that arrived after a later one, while their sends were pending, and the later one. */
  #late = new Map<number, number>();
  #promised = new Set<number>();
  #seen = new Set<number>();

  /** Sends the next message. If the promise resolves, the message must arrive. */
  async send(act: (n: number) => Promise<unknown>): Promise<void> {
    const n = this.sent++;
    this.#pending.add(n);
    try {
      await act(n);
      this.promise(n);
      const after = this.#late.get(n);
      if (after !== undefined) this.wrong.push(`${n} came after ${after}`);
    } catch (error) {
      this.#rejected.add(n);
      if (this.#rejected.size > WINDOW) this.#rejected.delete(this.#rejected.values().next().value!);
      const code = error instanceof BusError ? error.code : String(error);
      this.failed.set(code, (this.failed.get(code) ?? 0) + 1);
      if (!this.allowed.has(code)) this.wrong.push(`${n} failed with ${error}`);
    } finally {
      this.#pending.delete(n);
      this.#late.delete(n);
    }
  }

  /** Records that a message arrived after a later one. That is wrong if it is accepted. */
  late(n: number, after: number): void {
    if (this.#pending.has(n)) this.#late.set(n, after);
    else if (!this.#rejected.has(n)) this.wrong.push(`${n} came after ${after}`);
  }

  /** Records that a message was accepted. */
  promise(n: number): void {
    if (!this.#seen.has(n)) this.#promised.add(n);
  }

  /** Records an arrival. Returns false if the message had already arrived. */
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

  /** Returns the accepted messages that have not arrived yet. */
  get missing(): number {
    return this.#promised.size;
  }

  /** Whether a message was accepted and has not arrived yet. */
  misses(n: number): boolean {
    return this.#promised.has(n);
  }

  /** The number of sends that rejected. */
  get failures(): number {
    return [...this.failed.values()].reduce((sum, count) => sum + count, 0);
  }
}
