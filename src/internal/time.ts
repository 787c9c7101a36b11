/**
 * Time: timers of any length, pauses, the retry policy, and deadlines that can be shortened.
 *
 * @module
 */

import { NumberMap } from "./text_map.ts";

/** The longest time of a timer in milliseconds. The runtimes fire a timer with a longer time immediately. */
export const MAX_TIMER: number = 2 ** 31 - 1;

/** Milliseconds that the clocks of two machines may differ before a deadline counts as passed. */
export const CLOCK_SKEW = 60_000;

/** Milliseconds that a handler may run while messages wait for it, before the bus reports "stalled". Tests may shorten it. */
export const STALLED: { after: number } = { after: 30_000 };

/**
 * Milliseconds between two checks of an open stream, or of unconfirmed large answers. A keep-alive message is sent at each fifth check.
 * Tests may shorten the time.
 */
export const STREAM_CHECK: { every: number } = { every: 1_000 };

/**
 * Calls `act` once, after `ms` milliseconds. Any number is allowed; with `Infinity`, it never calls. Returns a function that cancels the
 * call.
 */
export function after(ms: number, act: () => void): () => void {
  if (ms <= MAX_TIMER) {
    const timer = setTimeout(act, ms);
    return () => clearTimeout(timer);
  }
  let stop: () => void;
  if (ms === Infinity) return () => {};
  const timer = setTimeout(() => stop = after(ms - MAX_TIMER, act), MAX_TIMER);
  stop = () => clearTimeout(timer);
  return () => stop();
}

/** The largest number of lengths whose timeouts share timers. */
const MAX_LENGTHS = 16;

/** A call of {@linkcode Timeouts.after}, and the time at which it is due, by `performance.now()`. */
interface Timeout {
  readonly at: number;
  readonly act: () => void;
}

/**
 * Timeouts that have few different lengths and are mostly cancelled, such as those of calls. The timeouts of one length share a timer of
 * the runtime, because creating and cancelling a timer costs several times as much as an entry of a map.
 */
export class Timeouts {
  /** Length → its timeouts, in the order in which they end, and the function that stops the shared timer. */
  #lengths = new Map<number, { readonly timeouts: NumberMap<Timeout>; stop: () => void }>();
  #last = 0;

  /** Calls `act` once, after `ms` milliseconds. Returns a function that cancels the call. */
  after(ms: number, act: () => void): () => void {
    let shared = this.#lengths.get(ms);
    if (!shared) {
      if (this.#lengths.size >= MAX_LENGTHS) return after(ms, act);
      shared = { timeouts: new NumberMap(), stop: after(ms, () => this.#end(ms)) };
      this.#lengths.set(ms, shared);
    }
    const { timeouts } = shared;
    const id = ++this.#last;
    timeouts.set(id, { at: performance.now() + ms, act });
    return () => timeouts.delete(id);
  }

  /** Cancels all calls. */
  close(): void {
    for (const { stop } of this.#lengths.values()) stop();
    this.#lengths.clear();
  }

  #end(ms: number): void {
    const shared = this.#lengths.get(ms)!;
    for (const [id, { at, act }] of shared.timeouts) {
      const left = at - performance.now();
      if (left > 0) return void (shared.stop = after(left, () => this.#end(ms)));
      shared.timeouts.delete(id);
      act();
    }
    this.#lengths.delete(ms);
  }
}

/** Milliseconds of a loop after which the thread does other work. */
const SLICE = 10;

/** The slices of a loop that may take long, between which the thread does other work. */
export class Slices {
  #since = performance.now();

  /** Waits for the next slice if this one has ended. */
  async next(): Promise<void> {
    if (performance.now() - this.#since < SLICE) return;
    await pause(0);
    this.#since = performance.now();
  }
}

/** Resolves after `ms` milliseconds, or as soon as the signal aborts. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const end = () => {
      stop();
      signal?.removeEventListener("abort", end);
      resolve();
    };
    const stop = after(ms, end);
    signal?.addEventListener("abort", end);
  });
}

/** The pauses between attempts in milliseconds. They double from `min` to `max`. */
export interface Backoff {
  min: number;
  max: number;
}

/** The pauses between retries, for the whole project. Tests may shorten them. */
export const RETRY: { readonly restore: Backoff; readonly send: Backoff; readonly prompt: Backoff } = {
  /** The pauses before a worker, a connection, a subscription or a registration is restored. */
  restore: { min: 100, max: 5_000 },
  /** The pauses before a send or a receive is repeated that the transport or a peer has refused temporarily. */
  send: { min: 50, max: 2_000 },
  /** The pauses, always short, between checks for something that a call or a closing bus needs soon, such as a server that reconnects. */
  prompt: { min: 50, max: 200 },
};

/** Returns the pause in milliseconds after a number of consecutive failures, which is at least 1. */
export function backoff({ min, max }: Backoff, failures: number): number {
  return Math.min(max, min * 2 ** Math.min(failures - 1, 30));
}

/** Shortens a pause by up to half, at random, so that processes that failed together do not retry together. */
export function spread(ms: number): number {
  return ms * (0.5 + Math.random() / 2);
}

/** A deadline that can be shortened. */
export class Deadline {
  /** Resolves when the deadline has passed. */
  readonly over: Promise<void>;
  #resolve: () => void;
  #at = Infinity;
  #stop = () => {};

  /** Creates a deadline in `ms` milliseconds from now. */
  constructor(ms: number) {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.over = promise;
    this.#resolve = resolve;
    this.bring(ms);
  }

  /** The number of milliseconds until the deadline. */
  get left(): number {
    return Math.max(0, this.#at - performance.now());
  }

  /** Shortens the deadline to `ms` milliseconds from now. An earlier deadline stays. */
  bring(ms: number): void {
    const at = performance.now() + ms;
    if (at >= this.#at) return;
    this.#at = at;
    this.#stop();
    this.#stop = after(ms, this.#resolve);
  }

  /** Resolves when the work has settled or the deadline has passed. */
  async within(work: Promise<unknown>): Promise<void> {
    await Promise.race([work.catch(() => {}), this.over]);
  }

  /** Stops the timer. Call it when nothing waits for the deadline any more. */
  end(): void {
    this.#stop();
  }
}

/** Runs a function with a deadline in `ms` milliseconds, and stops the timer after it. */
export async function withDeadline<T>(ms: number, act: (over: Promise<void>) => Promise<T>): Promise<T> {
  const deadline = new Deadline(ms);
  try {
    return await act(deadline.over);
  } finally {
    deadline.end();
  }
}

/** Resolves with the result of the work, or with `undefined` if it has not settled after `ms` milliseconds. */
export function within<T>(ms: number, work: Promise<T>): Promise<T | undefined> {
  return withDeadline(ms, (over) => Promise.race([work, over.then(() => undefined)]));
}
