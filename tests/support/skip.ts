/** Skipped tests with a reason. In CI a missing program is a failure instead. */
import { it } from "@std/testing/bdd";
import type { It } from "@std/testing/bdd";
import process from "node:process";

/** Registers a test that cannot run on this platform; its name gives the reason. */
export function skip(name: string, reason: string): void {
  it.skip(`${name} (skipped: ${reason})`);
}

/**
 * Returns `it` if nothing is missing. Otherwise each test is skipped with the reason in its name or, with `CI=true` in
 * the environment, fails.
 */
export function itNeeds(missing: string | undefined): Pick<It, "skip"> & ((name: string, fn: () => unknown) => void) {
  if (missing === undefined) return it;
  if (process.env.CI !== "true") return Object.assign((name: string) => skip(name, missing), { skip: it.skip });
  const fails = (name: string) =>
    it(name, () => {
      throw new Error(`Cannot skip in CI: ${missing}`);
    });
  return Object.assign(fails, { skip: it.skip });
}
