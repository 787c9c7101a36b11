/** Runs the kit: one test for each case, the skipped ones with their reason. */
import { it } from "@std/testing/bdd";
import { type Case, conformance, type Harness } from "../../src/conformance.ts";
import { skip } from "../support/skip.ts";

/**
 * Registers the kit's cases for this harness. `lanes` of them run at a time, which pays where they wait more than they
 * work; a test waits for the end of its case.
 */
export function kit(harness: Harness, lanes = 4): void {
  const cases = conformance(harness);
  let ends: Map<Case, Promise<void>> | undefined;
  for (const one of cases) {
    if (one.skip !== undefined) skip(one.name, one.skip);
    else it(one.name, () => (ends ??= start(cases.filter(({ skip }) => skip === undefined), lanes)).get(one));
  }
}

/** Starts the cases in their order, after them those that must be alone; how each ends. */
function start(cases: readonly Case[], lanes: number): Map<Case, Promise<void>> {
  const ends = new Map(cases.map((one) => [one, Promise.withResolvers<void>()]));
  const lane = async (queue: Case[]) => {
    for (let one; (one = queue.shift());) {
      const { promise, resolve } = ends.get(one)!;
      resolve(one.run());
      await promise.catch(() => {}); // its own test tells
    }
  };
  const together = cases.filter(({ alone }) => !alone);
  const alone = cases.filter(({ alone }) => alone);
  void Promise.all(Array.from({ length: lanes }, () => lane(together))).then(() => lane(alone));
  return new Map([...ends].map(([one, { promise }]) => [one, promise]));
}
