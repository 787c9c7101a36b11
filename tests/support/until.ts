/** Waiting with a deadline: for a condition, for a promise, for a moment. */

/** Milliseconds that a test waits for what must happen: far more than it takes, on a busy machine too. */
export const PATIENCE = 15_000;

/**
 * Resolves with the first value of `holds` that is truthy, looking every 10 ms.
 *
 * @throws {Error} naming `what` did not happen within `patience` ms, with the last error that `holds` threw as its cause
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

/** The value of `promise`, which must settle within `patience` ms. */
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

/** The least that `act` takes of five times, in ms: a busy machine does not disturb each of them. */
export async function quickest(act: (round: number) => Promise<number>): Promise<number> {
  const took: number[] = [];
  for (let round = 0; round < 5; round++) took.push(await act(round));
  return Math.min(...took);
}

/** A moment; only where nothing can be awaited, such as to see that something does not happen. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
