/** Waits with a deadline: for a condition or a promise. */

/** Milliseconds that a test waits for a condition: far more than it needs, even on a busy machine. */
export const PATIENCE = 45_000;

/**
 * Calls `holds` every 10 ms and resolves with its first truthy result.
 *
 * @throws {Error} if `what` has not happened within `patience` ms; its cause is the last error that `holds` threw
 */
export async function until<T>(what: string, holds: () => T | Promise<T>, patience: number = PATIENCE): Promise<T> {
  const deadline = performance.now() + patience;
  let cause: unknown;
  while (true) {
    try {
      const value = await holds();
      if (value) return value;
    } catch (error) {
      cause = error;
    }
    if (performance.now() > deadline) throw new Error(`Within ${patience} ms it did not happen: ${what}`, { cause });
    await pause(10);
  }
}

/** Resolves with the value of `promise`, which must settle within `patience` ms. */
export async function within<T>(what: string, promise: Promise<T>, patience: number = PATIENCE): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`Within ${patience} ms it did not happen: ${what}`)), patience);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Resolves with the milliseconds that `act` takes, without those by which timers of this thread were late meanwhile: a busy machine
 * delays both.
 */
export async function timed(act: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  let [last, late] = [start, 0];
  const timer = setInterval(() => {
    const now = performance.now();
    late += Math.max(0, now - last - TICK);
    last = now;
  }, TICK);
  try {
    await act();
  } finally {
    clearInterval(timer);
  }
  const end = performance.now();
  return end - start - late - Math.max(0, end - last - TICK);
}

/** Milliseconds between two timers of {@linkcode timed}. */
const TICK = 20;

/** Resolves with the shortest time of five runs of `act`, in ms, because a busy machine rarely delays all of them. */
export async function quickest(act: (round: number) => Promise<number>): Promise<number> {
  const took: number[] = [];
  for (let round = 0; round < 5; round++) took.push(await act(round));
  return Math.min(...took);
}

/** Resolves after `ms` ms. Only for tests that cannot await a condition, such as that something does not happen. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
