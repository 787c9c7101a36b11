/** A bus with another C library or on another processor. It runs the commands of the test and sends the results. */
import { readFileSync } from "node:fs";
import process from "node:process";
import { Bus } from "../../src/bus.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { loadPosix } from "../../src/providers/ipc/posix.ts";
import type { Lease } from "../../src/queue/lease.ts";
import { say, told } from "../support/peer_side.ts";
import { text, whole } from "./ground.ts";

const [namespace] = process.argv.slice(2) as [string];
const bus = await Bus.open(ipc(), { namespace, connectTimeout: 60_000 });
const queue = bus.queue<string>("jobs");
const received: number[] = [];
await bus.subscribe("texts", (event: string) => void received.push(whole(event))).ready;
await bus.expose("whole there", whole);
let lease: Lease<string>;

const verbs = {
  publish: (length: number) => bus.publish(text(length), "texts"),
  received: () => received,
  put: (length: number) => queue.put(text(length)),
  get: async () => whole(await queue.get({ timeout: 60_000 })),
  receive: async () => {
    lease = await queue.receive({ timeout: 60_000 });
    return [whole(lease.item), lease.attempt];
  },
  nack: () => lease.nack(),
  ack: () => lease.ack(),
  call: (length: number) => bus.stub<typeof whole>("whole here", { timeout: 60_000 })(text(length)),
  close: () => bus.close(),
};

const [library] = /(?<=\/)libc[.-][^/]*$/m.exec(readFileSync("/proc/self/maps", "utf8"))!;
// each architecture has another value for this flag
const link = (await loadPosix()).openFile("/proc/self/cwd");
say([process.arch, library, link]);
for await (const [verb, length] of told<[keyof typeof verbs, number]>()) {
  say(await verbs[verb](length));
  if (verb === "close") break;
}
