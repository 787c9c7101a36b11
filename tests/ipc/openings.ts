/**
 * Opens a bus beside another one, with ever more descriptors left; says how each attempt ended, and what there is then. At the
 * end, whom a process without descriptors takes for dead, and how many an event reaches.
 */
import process from "node:process";
import { Bus } from "../../src/bus.ts";
import { BusError } from "../../src/errors.ts";
import { loadPosix } from "../../src/providers/ipc/posix.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { type Settings, Space } from "../../src/providers/ipc/space.ts";
import { say } from "../support/peer_side.ts";
import { loopsOf } from "./ground.ts";

const [namespace] = process.argv.slice(2) as [string];
const posix = await loadPosix();
const queues = () =>
  (posix.list("/proc/self/fd") as string[])
    .filter((name) => String(posix.readLink(`/proc/self/fd/${name}`)).startsWith("/pymq_")).length;
const living = await Bus.open(ipc(), { namespace });
await living.subscribe("topic", () => {}).ready;
const worker = new URL("../support/workers/crowded.ts", import.meta.url);
for (let free = 0; free < 8; free++) {
  let how = "opens";
  try {
    const provider = ipc();
    const options = { ...provider.options as object, free };
    const bus = await Bus.open({ ...provider, options, worker }, { namespace });
    await bus.close();
  } catch (error) {
    how = error instanceof BusError ? `${error.code}: ${error.message}` : `untyped: ${error}`;
  }
  say([how, queues(), (await loopsOf(namespace)).length]);
}
const loops = await loopsOf(namespace);
const { processes, names } = await Space.open(ipc().options as Settings, namespace, () => {});
const held: number[] = [];
for (let descriptor; (descriptor = posix.bell()) >= 0;) held.push(descriptor);
const dead = loops.filter((loop) => processes.dead(names.readLoop(loop)!));
for (const descriptor of held) posix.close(descriptor);
const bus = await Bus.open(ipc(), { namespace });
say([dead, await bus.publish("x", "topic")]);
await bus.close();
await living.close();
