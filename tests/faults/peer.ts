/** Another process that takes part in the traffic until it is killed. */
import { writeSync } from "node:fs";
import process from "node:process";
import { Bus } from "../../mod.ts";
import { say, told } from "../support/peer_side.ts";
import { pause } from "../support/until.ts";
import { type Place, providerOf } from "./places.ts";
import { DEADLINES, leaseOf } from "./traffic.ts";

/** The arguments of the process. */
export interface Part extends Place {
  readonly namespace: string;
  /** The number of the first event that it publishes. Absent if it publishes nothing. */
  readonly first?: number;
  /** The number of items that it handles without permission, as fast as it can. The next handler kills the process. Default: none. */
  readonly kills?: number;
  /** Whether it is not killed, so that no item of it may be handled twice. Default: false. */
  readonly once?: boolean;
}

/**
 * The reports of the process: it holds an item and waits for permission to acknowledge it, a handler started without waiting, or it
 * has published an event.
 */
export type Said =
  | { ready: true }
  | { held: number; attempt: number }
  | { started: number; attempt: number; kills: boolean }
  | { published: number };

const place = JSON.parse(process.argv[2]!) as Part;
const bus = await Bus.open(providerOf(place), { ...DEADLINES, namespace: place.namespace });
bus.addEventListener("error", () => {});
const leave = new Map<number, () => void>();
let left = place.kills ?? Infinity;
bus.queue<number>("jobs").consume(async (n, { attempt }) => {
  if (left < Infinity) {
    const kills = left-- === 0;
    // in the pipe before it dies
    writeSync(1, `@${JSON.stringify({ started: n, attempt, kills } satisfies Said)}\n`);
    if (kills) process.kill(process.pid, "SIGKILL");
    return;
  }
  const granted = new Promise<void>((resolve) => leave.set(n, resolve));
  say({ held: n, attempt } satisfies Said);
  await granted;
}, { concurrency: 4, lease: leaseOf(place.once ?? false) });
await bus.expose("echo", async (n: number) => {
  await pause(20);
  return 2 * n;
});
process.once("SIGTERM", async () => {
  await bus.close({ timeout: 30_000 });
  process.exit();
});
void (async () => {
  if (place.first === undefined) return;
  for (let n = place.first;; n++) {
    await bus.publish(n, "peers").then(() => say({ published: n } satisfies Said), () => {});
    await pause(2);
  }
})();
say({ ready: true } satisfies Said);
for await (const n of told<number>()) leave.get(n)?.();
process.exit();
