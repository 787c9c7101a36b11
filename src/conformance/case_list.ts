/**
 * Converts the cases of each subject to one list that a test runner can run.
 *
 * @module
 */
import { ConformanceError } from "./assert.ts";
import { CaseContext, CLEARING } from "./case_context.ts";
import type { CaseBody, Cases, Conditional } from "./cases.ts";
import type { Harness } from "./harness.ts";

/** One case of the kit. */
export interface Case {
  /** The subject and the rule: `"queues: items are delivered in the order of their puts"`. */
  readonly name: string;
  /** The reason why the case does not apply to this provider, if it does not. A runner shows it and does not run the case. */
  readonly skip?: string;
  /** Milliseconds within which the case ends by itself. A runner's own limit should be longer. */
  readonly deadline: number;
  /** Whether the case must run alone, because it breaks all connections or loads the whole machine. */
  readonly alone: boolean;
  /** Runs the case in its own namespace. Rejects with an error that names the broken rule. */
  run(): Promise<void>;
}

/** Milliseconds within which a case must end on a machine with nothing else to do, unless it has its own deadline. */
const DEADLINE = 20_000;
/** A deadline only ends a case that hangs. So it is this many times as long, because a busy machine is that much slower. */
const BUSY = 3;
/** The largest number of waits for the transport's latency in one case. */
const WAITS = 50;

/** Returns the cases of these subjects for a provider. */
export function casesOf(subjects: Readonly<Record<string, Cases>>, harness: Harness): Case[] {
  const { features } = harness.provider();
  const cases = Object.entries(subjects).flatMap(([subject, cases]) =>
    Object.entries(cases).map(([title, entry]): Case => {
      const name = `${subject}: ${title}`;
      const { skip, alone = false, deadline = DEADLINE, run } = conditional(entry);
      const limit = BUSY * deadline + WAITS * features.latency;
      return {
        name,
        skip: harness.skip?.[name] ?? skip?.(features, harness),
        deadline: limit + CLEARING,
        alone,
        run: () => new CaseContext(harness).run(run, limit),
      };
    })
  );
  const names = new Set(cases.map(({ name }) => name));
  const unknown = Object.keys(harness.skip ?? {}).filter((name) => !names.has(name));
  if (unknown.length > 0) throw new ConformanceError(`Cannot skip ${unknown.join(", ")}: there is no such case`);
  return cases;
}

function conditional(entry: CaseBody | Conditional): Conditional {
  return typeof entry === "function" ? { run: entry } : entry;
}
