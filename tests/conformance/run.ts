/** Runs the kit: one test for each case, the skipped ones with their reason. */
import { it } from "@std/testing/bdd";
import { type Case, conformance, type Harness } from "../../src/conformance/mod.ts";
import { skip } from "../support/skip.ts";

/** Cases that run at a time: half of their time goes in waits, for leases, for polls, for what must not happen. */
const LANES = 4;

/**
 * Registers the kit's cases for this harness, or those of which this matches the name, `lanes` at a time; a test waits for
 * the end of its case.
 */
export function kit(harness: Harness, which: RegExp = /^/, lanes: number = LANES): void {
  const named = conformance(harness).filter(({ name }) => which.test(name));
  // in the order in which they run, so that the time of each test is that of its case
  const cases = [...named.filter(({ alone }) => !alone), ...named.filter(({ alone }) => alone)];
  let ends: Map<Case, PromiseWithResolvers<void>> | undefined;
  for (const one of cases) {
    if (one.skip !== undefined) skip(one.name, one.skip);
    else it(one.name, () => (ends ??= start(cases.filter(({ skip }) => skip === undefined), lanes)).get(one)!.promise);
  }
}

/** Starts the cases in their order, after them those that must be alone; how each ends. */
function start(cases: readonly Case[], lanes: number): Map<Case, PromiseWithResolvers<void>> {
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
  return ends;
}
