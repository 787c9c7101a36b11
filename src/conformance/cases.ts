/**
 * The types of the kit's cases, and conditions that many of them share.
 *
 * @module
 */
import type { Features } from "../provider/provider.ts";
import type { Harness } from "./harness.ts";
import type { CaseContext } from "./case_context.ts";

/** The body of a case. The case passes if it resolves. */
export type CaseBody = (context: CaseContext) => Promise<void>;

/** A case with a condition or with its own deadline. */
export interface Conditional {
  /** Returns the reason to skip the case, or undefined to run it. */
  skip?(features: Features, harness: Harness): string | undefined;
  /** Whether the case must run alone, because it breaks all connections or loads the whole machine. */
  readonly alone?: boolean;
  /** Milliseconds within which the case must end on a machine with nothing else to do. Default 20,000. */
  readonly deadline?: number;
  /** The body of the case. */
  readonly run: CaseBody;
}

/** Cases by their names. */
export type Cases = Readonly<Record<string, CaseBody | Conditional>>;

/** Creates a case for transports that know how many subscriptions a publish reached. */
export function counting(run: CaseBody): Conditional {
  return { skip: ({ counts }) => counts ? undefined : "the transport does not know how many it reached", run };
}

/** Creates a case for transports that keep the order. */
export function ordered(run: CaseBody): Conditional {
  return { skip: ({ ordered }) => ordered ? undefined : "the transport does not keep the order", run };
}

/** Creates a case with a longer deadline. */
export function slow(deadline: number, run: CaseBody): Conditional {
  return { deadline, run };
}
