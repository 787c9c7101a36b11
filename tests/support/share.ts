/** Splits tests between the runtimes, where the other program of a test matters and the runtime hardly does. `TSMQ_TEST_ALL=1`: no split. */
import { it } from "@std/testing/bdd";
import process from "node:process";
import { here } from "./peer.ts";

/** Whether both runtimes run all of them, as `.ci/nightly` does. */
export const ALL: boolean = process.env.TSMQ_TEST_ALL === "1";

/** Whether this runtime runs the test with this number, or with this name where the tests in front of it may differ between the runtimes. */
export function runsHere(n: number | string): boolean {
  const number = typeof n === "number" ? n : [...n].reduce((sum, char) => sum + char.charCodeAt(0), 0);
  return ALL || number % 2 === (here === "deno" ? 0 : 1);
}

/** `it` for tests of which each runtime runs about half. */
export function itShared(name: string, fn: () => unknown): void {
  if (runsHere(name)) it(name, fn);
}

/** Returns the half of these tests that this runtime runs; the other one runs the other half. */
export function share<T>(tests: readonly T[]): T[] {
  return tests.filter((_, n) => runsHere(n));
}

/** Returns a quarter of the tests that {@linkcode share} returns, for variants of what runs all of them. */
export function sample<T>(tests: readonly T[]): T[] {
  return share(tests).filter((_, n) => ALL || n % 4 === 0);
}

/** Returns the half of these tests that {@linkcode share} leaves to the other runtime. */
export function shareOfOther<T>(tests: readonly T[]): T[] {
  return tests.filter((_, n) => ALL || !runsHere(n));
}
