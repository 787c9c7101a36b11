/**
 * Times: timers that hold as long as one likes, and deadlines that may be brought forward.
 *
 * @module
 */

/** The longest time that a timer holds, in milliseconds; a longer one fires at once. */
export const MAX_TIMER: number = 2 ** 31 - 1;

/** Calls `act` once, after `ms` milliseconds however many they are, `Infinity`: never. The function that it returns prevents that. */
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

/** The pauses between attempts, in milliseconds: doubled from the first to the second. */
export interface Backoff {
  min: number;
  max: number;
}

/** Every pause between attempts to do the same again. Tests may shorten them. */
export const RETRY: { readonly restore: Backoff; readonly send: Backoff; readonly prompt: Backoff } = {
  /** Bringing back a worker, a connection, a subscription, a registration. */
  restore: { min: 100, max: 5_000 },
  /** A send or a take that the transport or a peer refuses for the moment. */
  send: { min: 50, max: 2_000 },
  /** What a call or a closing bus waits for, such as a server that is about to come back: the pauses stay short. */
  prompt: { min: 50, max: 200 },
};

/** Milliseconds to pause after so many failed attempts in a row, at least one. */
export function backoff({ min, max }: Backoff, failures: number): number {
  return Math.min(max, min * 2 ** Math.min(failures - 1, 30));
}

/** A time by which something has to be over; it may be brought forward. */
export class Deadline {
  /** Resolves when it has passed. */
  readonly over: Promise<void>;
  #resolve: () => void;
  #at = Infinity;
  #stop = () => {};

  /** In so many milliseconds from now. */
  constructor(ms: number) {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.over = promise;
    this.#resolve = resolve;
    this.bring(ms);
  }

  /** Milliseconds until it passes. */
  get left(): number {
    return Math.max(0, this.#at - performance.now());
  }

  /** Brings it forward to so many milliseconds from now; an earlier one stays. */
  bring(ms: number): void {
    const at = performance.now() + ms;
    if (at >= this.#at) return;
    this.#at = at;
    this.#stop();
    this.#stop = after(ms, this.#resolve);
  }

  /** Resolves when the work has settled or the time has passed, whichever comes first. */
  async within(work: Promise<unknown>): Promise<void> {
    await Promise.race([work.catch(() => {}), this.over]);
  }

  /** Ends its timer: nobody waits for it any more. */
  end(): void {
    this.#stop();
  }
}

/** Does what takes a deadline of so many milliseconds. */
export async function withDeadline<T>(ms: number, act: (over: Promise<void>) => Promise<T>): Promise<T> {
  const deadline = new Deadline(ms);
  try {
    return await act(deadline.over);
  } finally {
    deadline.end();
  }
}
