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
import type { Conditional, Play, Room } from "./room.ts";
import { rpc } from "./rpc.ts";
import { runs } from "./runs.ts";
import { servers } from "./servers.ts";
import { CLEARING, Stage } from "./stage.ts";
import { subscriptions } from "./subscriptions.ts";
import { thrown } from "./thrown.ts";
import { values } from "./values.ts";

export { ConformanceError } from "./assert.ts";
export type { Faults, Harness } from "./harness.ts";

/** One case of the kit. */
export interface Case {
  /** The room and what holds: `"queues: items come out in the order they were put in"`. */
  readonly name: string;
  /** Why the case does not apply to this provider, where it does not; it is to be shown, not run. */
  readonly skip?: string;
  /** Milliseconds in which the case ends by itself; a runner's own limit should be longer. */
  readonly deadline: number;
  /** No other case may run beside it, as all that are not `alone` may: it breaks all connections, or takes all of the machine. */
  readonly alone: boolean;
  /** Runs the case in a namespace of its own. Rejects with what does not hold. */
  run(): Promise<void>;
}

/** Milliseconds in which a case has to end, unless it says otherwise; what a transport needs by itself is added. */
const DEADLINE = 20_000;
/** How many times a case may have to wait for the transport's latency. */
const WAITS = 50;

/** The cases by their subjects, in the order in which they are best read. */
const ROOMS: Readonly<Record<string, Room>> = {
  claims,
  life,
  closing,
  pubsub,
  subscriptions,
  patterns,
  queues,
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
const CORE: Readonly<Record<string, Room>> = { global, objects, values, contracts, input };

/**
 * Returns the cases for a provider: those about its transport, and with `harness.core` also those about tsmq itself.
 *
 * @throws {ConformanceError} when `harness.skip` names a case that there is not
 */
export function conformance(harness: Harness): Case[] {
  const { features } = harness.provider();
  const cases = Object.entries(harness.core ? { ...ROOMS, ...CORE } : ROOMS).flatMap(([room, cases]) =>
    Object.entries(cases).map(([title, entry]): Case => {
      const name = `${room}: ${title}`;
      const { skip, alone = false, deadline = DEADLINE, play } = conditional(entry);
      const limit = deadline + WAITS * features.latency;
      return {
        name,
        skip: harness.skip?.[name] ?? skip?.(features, harness),
        deadline: limit + CLEARING,
        alone,
        run: () => new Stage(harness).play(play, limit),
      };
    })
  );
  const names = new Set(cases.map(({ name }) => name));
  const unknown = Object.keys(harness.skip ?? {}).filter((name) => !names.has(name));
  if (unknown.length > 0) throw new ConformanceError(`Cannot skip ${unknown.join(", ")}: there is no such case`);
  return cases;
}

function conditional(entry: Play | Conditional): Conditional {
  return typeof entry === "function" ? { play: entry } : entry;
}
