/** A publisher, or a member of a group, in a process that is killed at any time. */
import { writeSync } from "node:fs";
import process from "node:process";
import { Bus } from "../../mod.ts";
import { redis } from "../../src/providers/redis/provider.ts";
import { pause } from "../support/until.ts";
import { DEADLINES, LEASE } from "./traffic.ts";

/** The arguments of the process. */
export interface Part {
  readonly port: number;
  readonly namespace: string;
  readonly topic: string;
  /** The number of the first event that it publishes. Absent for a member. */
  readonly first?: number;
}

/** The reports of the process: it is ready, a publish has resolved, or a handler is about to end. */
export type Report = { ready: true } | { published: number } | { handled: number };

/** Reports something before the process can be killed: it is in the pipe when this returns. */
function report(what: Report): void {
  writeSync(1, `@${JSON.stringify(what)}\n`);
}

const part = JSON.parse(process.argv[2]!) as Part;
const bus = await Bus.open(redis({ port: part.port }), {
  ...DEADLINES,
  connectTimeout: 60_000,
  waitOnFirstConnect: true,
  namespace: part.namespace,
});
bus.addEventListener("error", () => {});
if (part.first === undefined) {
  const handler = async (n: number) => {
    await pause(n % 5);
    report({ handled: n });
  };
  bus.subscribe("shop.*", handler, { group: "members", pattern: true, concurrency: 4, lease: LEASE, backoff: 1 });
  report({ ready: true });
} else {
  report({ ready: true });
  for (let n = part.first;; n++) {
    await bus.publish(n, part.topic).then(() => report({ published: n }), () => {});
    await pause(3);
  }
}
