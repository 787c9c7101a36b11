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
  const put = (item: number | string, delay: number) => later.put(item, { delay });
  await Promise.all([put(3, 3_000), put(1, 2_000), put("x".repeat(20_000), 2_500)]); // at once: a pause would change the order
  say("put");
} else {
  const act = () => what === "peek" ? queue.peek({ limit: 100 }) : queue.receive();
  await act();
  say("acts");
  while (true) await act();
}
