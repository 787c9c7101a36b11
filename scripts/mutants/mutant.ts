/**
 * A mutant: one deliberate fault, and the tests that are expected to notice it.
 *
 * @module
 */

/** The transports over which cases of the kit run. */
export type Kit = "memory" | "redis";

/** A test file, or some cases of the kit. */
export type Tests = string | { readonly kit: Kit; readonly cases: RegExp };

/** One fault. */
export interface Mutant {
  /** A description of the fault. */
  readonly subject: string;
  readonly file: string;
  /** Stands in the file exactly once. */
  readonly text: string;
  /** Replaces the text. */
  readonly fault: string;
  readonly tests: Tests;
}

/** Cases of the kit and of `tests/core/` over the memory provider. */
export const memory = (cases: RegExp): Tests => ({ kit: "memory", cases });
/** Cases of the kit over a Redis server. */
export const redis = (cases: RegExp): Tests => ({ kit: "redis", cases });
