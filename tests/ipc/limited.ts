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

// creates queues up to the limit: the last ones are small, then creating fails
const queues: string[] = [];
for (let i = 0; said.length === 0; i++) {
  queues.push(`queue-${i}`);
  await bus.queue(queues.at(-1)!).put(i).catch(tell);
}
await Promise.all(queues.map((name) => bus.queue(name).free()));

const held: number[] = [];
for (let descriptor; (descriptor = posix.eventfd()) >= 0;) held.push(descriptor);
await bus.queue("one").put(1).catch(tell);
for (const descriptor of held) posix.close(descriptor);

await bus.queue("one").put("works");
said.push(await bus.queue<string>("one").get());
await bus.queue("one").free();
await bus.close();
say(said);
