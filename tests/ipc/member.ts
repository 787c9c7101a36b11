/** One of many processes on a bus. */
import process from "node:process";
import { Bus } from "../../src/bus.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { say, told } from "../support/peer_side.ts";

const [namespace] = process.argv.slice(2) as [string];
const bus = await Bus.open(ipc(), { namespace });
bus.addEventListener("error", () => {}); // other members are killed while this one calls them
let received = 0;
await bus.subscribe("all", () => void received++).ready;
await bus.expose("who", () => process.pid);
let busy = false;

async function work(): Promise<void> {
  const queue = bus.queue<number>("work");
  while (busy) {
    await Promise.allSettled([
      bus.publish({ from: process.pid }, "noise"),
      queue.put(process.pid, { timeout: 200 }),
      queue.get({ timeout: 200 }),
      bus.stub("who", { timeout: 5_000 })(),
    ]);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

say("ready");
let working: Promise<void> | undefined;
for await (const command of told<string | { topic: string; body: string }>()) {
  if (command === "busy") {
    busy = true;
    await bus.subscribe("noise", () => {}).ready;
    working = work();
  } else if (command === "hold") {
    const { item } = await bus.queue<string>("held").receive({ lease: 600_000 });
    await bus.queue("none").getNowait().catch(() => {}); // when this has been answered, the worker has recorded the start
    say(item);
    continue;
  } else if (typeof command === "object") {
    say(await bus.publish(command.body, command.topic));
    continue;
  } else if (command === "close") {
    busy = false;
    await working;
    await bus.close();
    say("closed");
    break;
  }
  say(received);
}
