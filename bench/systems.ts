/** The measured systems: the workloads and the transport of each, and how it starts. @module */
import type { Runtime } from "./process.ts";

/** A transport, and all that is measured on it. The ratios are to its first system. */
export type Group = "redis" | "ipc" | "nats" | "memory" | "aws";

/** A system on a transport. */
export interface System {
  readonly group: Group;
  /** Its name in the report. */
  readonly name: string;
  /** Its file in `sides/`. */
  readonly side: string;
  readonly runtimes: readonly Runtime[];
  /** The workloads that it does. */
  readonly does: readonly string[];
  /** The share of the work in one round, so that slow systems do not take longer than fast ones. */
  readonly share: number;
}

const JOBS = ["consumed1", "consumed16", "consumed64", "consumed256", "picked"];
const CALLS = ["called", "called64", "called1000"];
const BOTH: readonly Runtime[] = ["deno", "bun"];
/** The workloads of bare ioredis and the bus over Redis only, because their load is prebuilt Redis commands. */
const LOADED = ["received", "few", "many", "published", "looped"];

/** All systems. */
export const SYSTEMS: readonly System[] = [
  ...redis("ioredis", "ioredis", ["events", "queued", "called", "opened", "idle", ...LOADED]),
  ...redis("tsmq", "tsmq", ["events", "queued", ...JOBS, ...CALLS, "opened", "idle", ...LOADED]),
  ...redis("Moleculer", "moleculer", ["events", ...CALLS], 0.2),
  ...redis("BullMQ", "bullmq", ["queued", ...JOBS], 0.15),
  ...redis("GroupMQ", "groupmq", JOBS, 0.15),
  {
    group: "redis",
    name: "PyMQ",
    side: "pymq",
    runtimes: ["python"],
    does: ["events", "queued", "called"],
    share: 0.05,
  },
  { group: "ipc", name: "C", side: "mq", runtimes: ["c"], does: ["events", "called"], share: 1 },
  {
    group: "ipc",
    name: "tsmq",
    side: "tsmq",
    runtimes: BOTH,
    does: ["events", "queued", "called", "opened"],
    share: 0.5,
  },
  {
    group: "ipc",
    name: "PyMQ",
    side: "pymq",
    runtimes: ["python"],
    // its calls time out: the server looks for the answer queue before the caller has made it, and drops the answer
    does: ["events", "queued"],
    share: 0.05,
  },
  { group: "nats", name: "nats.js", side: "nats", runtimes: BOTH, does: ["events", "called", "opened"], share: 1 },
  {
    group: "nats",
    name: "tsmq",
    side: "tsmq",
    runtimes: BOTH,
    does: ["events", "queued", "called", "opened"],
    share: 0.5,
  },
  {
    group: "memory",
    name: "tsmq",
    side: "tsmq",
    runtimes: BOTH,
    does: ["looped", "queued", "called", "opened", "idle"],
    share: 1,
  },
];

function redis(name: string, side: string, does: readonly string[], share = 1): System[] {
  return [{ group: "redis", name, side, runtimes: BOTH, does, share }];
}
