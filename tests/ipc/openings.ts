/**
 * Opens the halves of a bus next to another bus, with more and more free descriptors. It prints the outcome of each attempt, and the files
 * that exist then. At the end, it prints the buses that a process without descriptors considers dead, and how many buses an event reaches.
 *
 * It uses one thread, because with further threads, the runtimes themselves end the process when there are no descriptors.
 */
import process from "node:process";
import { Bus } from "../../src/bus.ts";
import { BusError } from "../../src/errors.ts";
import type { ReceiverContext, Sender } from "../../src/provider/provider.ts";
import { loadPosix } from "../../src/providers/ipc/posix.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { openReceiver } from "../../src/providers/ipc/receiver.ts";
import { say } from "../support/peer_side.ts";
import { busesOf, fewDescriptors, openNamespace } from "./ground.ts";

fewDescriptors();
const [namespace] = process.argv.slice(2) as [string];
const posix = await loadPosix();
const queues = () =>
  (posix.list("/proc/self/fd") as string[])
    .filter((name) => String(posix.readLink(`/proc/self/fd/${name}`)).startsWith("/pymq_")).length;
const nothing = () => {};
const context: ReceiverContext & { sendTimeout: number } = {
  namespace,
  options: ipc().options,
  ...{
    connectTimeout: 5_000,
    maxReceive: Infinity,
    sendTimeout: 5_000,
    congested: false,
    arrived: 0,
    due: Infinity,
    origin: {},
  },
  ...{ inbox: nothing, state: nothing, gap: nothing, fault: nothing, ask: () => Promise.reject(new Error("nobody")) },
};

/** Takes all descriptors that are left. */
function take(): number[] {
  const taken: number[] = [];
  for (let descriptor; (descriptor = posix.eventfd()) >= 0;) taken.push(descriptor);
  return taken;
}

/** Runs a function with this number of free descriptors. Repeats it if their number has changed, because a thread of the runtime was running. */
async function crowded<T>(free: number, act: () => T | Promise<T>): Promise<T> {
  while (true) {
    const taken = take();
    for (let i = 0; i < free; i++) posix.close(taken.pop()!);
    let left: number[] = [];
    try {
      const result = await act();
      left = take();
      if (left.length === free) return result;
    } finally {
      for (const descriptor of [...taken, ...left]) posix.close(descriptor);
    }
  }
}

/** Opens both halves of a bus, and returns the outcome. */
async function open(): Promise<string> {
  let sender: Sender | undefined;
  try {
    sender = await ipc().open(context);
    const receiver = await openReceiver(context);
    await receiver.close();
    return "opens";
  } catch (error) {
    return error instanceof BusError ? `${error.code}: ${error.message}` : `untyped: ${error}`;
  } finally {
    await sender?.close();
  }
}

const [other] = await Promise.all([openReceiver(context), ipc().open(context)]);
await other.subscribe({ topic: "topic", pattern: false, serves: false }, nothing);
for (let free = 0; free < 8; free++) {
  const how = await crowded(free, open);
  say([how, queues(), (await busesOf(namespace)).length]);
}
const { processes, names } = await openNamespace(namespace);
const buses = await busesOf(namespace);
const dead = await crowded(0, () => buses.filter((busName) => processes.dead(names.parseBus(busName)!)));
const bus = await Bus.open(ipc(), { namespace });
say([dead, await bus.publish("x", "topic")]);
await bus.close();
await other.close();
