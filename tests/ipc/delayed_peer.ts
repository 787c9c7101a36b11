/** Puts delayed items, or shows or takes items, until it is killed. Arguments: the namespace and the operation. */
import process from "node:process";
import { Bus } from "../../src/bus.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { say } from "../support/peer_side.ts";

const [namespace, what] = process.argv.slice(2) as [string, "put" | "peek" | "take"];
const bus = await Bus.open(ipc(), { namespace });
const queue = bus.queue<number | string>("queue");
if (what === "put") {
  const later = bus.queue<number | string>("later");
  await later.put(3, { delay: 3_000 });
  await later.put(1, { delay: 2_000 });
  await later.put("x".repeat(20_000), { delay: 2_500 });
  say("put");
} else {
  const act = () => what === "peek" ? queue.peek({ limit: 100 }) : queue.receive();
  await act();
  say("acts");
  while (true) await act();
}
