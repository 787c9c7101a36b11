/** Shows that work takes time that is at most linear in the size of its input, where steps cannot be counted. */
import { assert } from "@std/assert";

/** The factor between the sizes of both inputs. */
const TIMES = 16;
/** The largest factor between the times. For quadratic work it is 256. */
const AT_MOST = 64;
/** The number of rounds. The quickest run of each size counts, because a busy machine rarely delays all of them. */
const ROUNDS = 8;
/** The sizes are multiplied by these numbers until one pair passes: caches and collectors make small inputs cheaper. */
const SCALES = [1, 4, 16];

/** Checks the time of work, which may return a promise, on an input of about `small` characters, made by `make`, and on one that is 16 times larger. */
export async function linear<T>(
  what: string,
  small: number,
  make: (size: number) => T,
  work: (input: T) => unknown,
): Promise<void> {
  let failure = "";
  for (const scale of SCALES) {
    const inputs = [make(scale * small), make(scale * TIMES * small)] as const;
    const quickest: [number, number] = [Infinity, Infinity];
    for (let round = 0; round < ROUNDS; round++) {
      for (const [i, input] of inputs.entries()) {
        const start = performance.now();
        await work(input);
        quickest[i] = Math.min(quickest[i]!, performance.now() - start);
      }
      if (quickest[1] <= AT_MOST * quickest[0]) return;
    }
    const [one, other] = quickest.map((ms) => `${ms.toFixed(2)} ms`);
    failure += `; ${scale * small}: ${one}, ${TIMES} times as much: ${other}`;
  }
  assert(false, `${what}${failure}`);
}
