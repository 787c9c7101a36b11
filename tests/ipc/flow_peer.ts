/** Publishes many events as fast as they are read; reports how much its memory grew. */
import process from "node:process";
import { Bus } from "../../src/bus.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { say } from "../support/peer_side.ts";

const [namespace, count, length] = process.argv.slice(2) as [string, string, string];
const bus = await Bus.open(ipc(), { namespace });
const padding = "x".repeat(Number(length));
const before = process.memoryUsage().rss;
let most = before;
for (let i = 0; i < Number(count); i += 1_000) {
  await Promise.all(Array.from({ length: 1_000 }, (_, j) => bus.publish([i + j, padding], "flow")));
  if (i % 10_000 === 0) most = Math.max(most, process.memoryUsage().rss);
}
say({ grown: most - before });
await bus.close();
