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
import { admin } from "./admin.ts";
import { bodies } from "./bodies.ts";
import { capacity } from "./capacity.ts";
import { type Case, casesOf } from "./case_list.ts";
import { claims } from "./claims.ts";
import { closing } from "./closing.ts";
import { consumers } from "./consumers.ts";
import { faults } from "./faults.ts";
import { groups } from "./groups.ts";
import type { Harness } from "./harness.ts";
import { headers } from "./headers.ts";
import { inspection } from "./inspection.ts";
import { leases } from "./leases.ts";
import { life } from "./life.ts";
import { multi } from "./multi.ts";
import { patterns } from "./patterns.ts";
import { prefetch } from "./prefetch.ts";
import { pubsub } from "./pubsub.ts";
import { queues } from "./queues.ts";
import type { Cases } from "./cases.ts";
import { rpc } from "./rpc.ts";
import { runs } from "./runs.ts";
import { servers } from "./servers.ts";
import { streams } from "./streams.ts";
import { subscriptions } from "./subscriptions.ts";

export { ConformanceError } from "./assert.ts";
export type { Case } from "./case_list.ts";
export type { Faults, Harness } from "./harness.ts";

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
  prefetch,
  groups,
  headers,
  inspection,
  admin,
  rpc,
  servers,
  runs,
  multi,
  streams,
  bodies,
  faults,
};

/**
 * Returns the cases for a provider.
 *
 * @throws {ConformanceError} when `harness.skip` names a case that does not exist
 */
export function conformance(harness: Harness): Case[] {
  return casesOf(SUBJECTS, harness);
}
