/** Uses up a limit of the system, and prints the error. */
import process from "node:process";
import { Bus } from "../../src/bus.ts";
import { loadPosix } from "../../src/providers/ipc/posix.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { say } from "../support/peer_side.ts";
import { fewDescriptors } from "./ground.ts";

fewDescriptors();
const [namespace] = process.argv.slice(2) as [string];
const posix = await loadPosix();
const bus = await Bus.open(ipc(), { namespace });
const said: string[] = [];
const tell = (error: Error) => void said.push(error.message);

// others use up the limit: no bus opens, and the items of queues are in files
const taken: string[] = [];
for (const size of [8_192, 64]) {
  const open = () => posix.openQueue(taken.at(-1)!, { messages: 1, size, mode: 0o600 });
  for (let descriptor = 0; descriptor >= 0;) {
    taken.push(`/pymq_${namespace}_${crypto.randomUUID()}`);
    descriptor = open();
    if (descriptor >= 0) posix.close(descriptor);
  }
}
await Bus.open(ipc(), { namespace }).catch(tell);
await bus.queue("file").put("works");
said.push(await bus.queue<string>("file").get());
await bus.queue("file").free();
for (const name of taken) posix.unlinkQueue(name);

const held: number[] = [];
// what the bus closes meanwhile is used up too
for (const before = said.length; said.length === before;) {
  for (let descriptor; (descriptor = posix.eventfd()) >= 0;) held.push(descriptor);
  await bus.queue("one").put("x".repeat(10_000)).catch(tell);
}
for (const descriptor of held) posix.close(descriptor);

await bus.queue("one").free();
await bus.queue("one").put("works");
said.push(await bus.queue<string>("one").get());
await bus.queue("one").free();
await bus.close();
say(said);
