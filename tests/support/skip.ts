/** Skips that say why, and that are failures in CI when only something installable is missing. */
import { it } from "@std/testing/bdd";
import type { It } from "@std/testing/bdd";
import process from "node:process";

/** Registers a test that does not run here by nature; its name says why. */
export function skip(name: string, reason: string): void {
  it.skip(`${name} (skipped: ${reason})`);
}

/**
 * `it`, when nothing is missing. Otherwise each test is skipped with the reason in its name, or, where the
 * environment says `CI=true`, fails: there, everything has to be had.
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
