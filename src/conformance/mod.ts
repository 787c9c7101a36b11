/**
 * The conformance kit: every rule that a provider's transport can break, as a case that runs on the provider that you give.
 *
 * It needs no test framework and no assertion package; any runner will do.
 *
 * @example
 * ```ts ignore
 * import { conformance } from "@tsmq/tsmq/conformance";
 * import { test } from "node:test";
 *
 * for (const { name, skip, run } of conformance({ provider: () => nats({ url }) })) {
 *   test(name, { skip }, run);
 * }
 * ```
 *
 * @module
 */
import { ConformanceError } from "./assert.ts";
import { bodies } from "./bodies.ts";
import { capacity } from "./capacity.ts";
import { claims } from "./claims.ts";
import { closing } from "./closing.ts";
import { consumers } from "./consumers.ts";
import { contracts } from "./contracts.ts";
import { faults } from "./faults.ts";
import { global } from "./global.ts";
import type { Harness } from "./harness.ts";
import { input } from "./input.ts";
import { leases } from "./leases.ts";
import { life } from "./life.ts";
import { multi } from "./multi.ts";
import { objects } from "./objects.ts";
import { patterns } from "./patterns.ts";
import { pubsub } from "./pubsub.ts";
import { queues } from "./queues.ts";
import type { CaseBody, Cases, Conditional } from "./cases.ts";
import { rpc } from "./rpc.ts";
import { runs } from "./runs.ts";
import { servers } from "./servers.ts";
import { CaseContext, CLEARING } from "./case_context.ts";
import { subscriptions } from "./subscriptions.ts";
import { thrown } from "./thrown.ts";
import { values } from "./values.ts";

export { ConformanceError } from "./assert.ts";
export type { Faults, Harness } from "./harness.ts";

/** One case of the kit. */
export interface Case {
  /** The subject and the rule: `"queues: items are delivered in the order of their puts"`. */
  readonly name: string;
  /** Why the case does not apply to this provider, if it does not. A runner shows the reason and does not run the case. */
  readonly skip?: string;
  /** Milliseconds within which the case ends by itself. A runner's own limit should be longer. */
  readonly deadline: number;
  /** No other case may run at the same time, because this one breaks all connections or loads the whole machine. */
  readonly alone: boolean;
  /** Runs the case in its own namespace. Rejects with an error that names the broken rule. */
  run(): Promise<void>;
}

/** Milliseconds within which a case must end, unless it has its own deadline. The transport's latency is added. */
const DEADLINE = 20_000;
/** The largest number of waits for the transport's latency in one case. */
const WAITS = 50;

/** The cases by subject, in reading order. */
const SUBJECTS: Readonly<Record<string, Cases>> = {
  claims,
  life,
  closing,
  pubsub,
  subscriptions,
  patterns,
  queues,
  capacity,
  leases,
  consumers,
  rpc,
  servers,
  runs,
  multi,
  bodies,
  thrown,
  faults,
};

/** The cases in which the transport makes no difference. */
const CORE: Readonly<Record<string, Cases>> = { global, objects, values, contracts, input };

/**
 * Returns the cases for a provider: those about its transport, and with `harness.core` also the cases about tsmq itself.
 *
 * @throws {ConformanceError} when `harness.skip` names a case that does not exist
 */
export function conformance(harness: Harness): Case[] {
  const { features } = harness.provider();
  const cases = Object.entries(harness.core ? { ...SUBJECTS, ...CORE } : SUBJECTS).flatMap(([subject, cases]) =>
    Object.entries(cases).map(([title, entry]): Case => {
      const name = `${subject}: ${title}`;
      const { skip, alone = false, deadline = DEADLINE, run } = conditional(entry);
      const limit = deadline + WAITS * features.latency;
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
