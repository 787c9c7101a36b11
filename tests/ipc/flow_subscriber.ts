/** A slow subscriber of many events, whose handler makes five calls. It reports what it got, and how much its memory grew. */
import process from "node:process";
import { Bus } from "../../src/bus.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { pause } from "../support/until.ts";
import { say } from "../support/peer_side.ts";

const [namespace, all] = process.argv.slice(2) as [string, string];
const bus = await Bus.open(ipc(), { namespace });
await bus.expose("half", (i: number) => i / 2);
const half = bus.stub<(i: number) => number>("half");
let [gaps, next, wrong, called] = [0, 0, 0, 0];
bus.addEventListener("gap", () => gaps++);
const { promise: done, resolve: finish } = Promise.withResolvers<void>();
const before = process.memoryUsage().rss;
let most = before;
await bus.subscribe("flow", async ([i]: [number]) => {
  if (i !== next++) wrong++;
  if (i % 10_000 === 0) most = Math.max(most, process.memoryUsage().rss);
  if (i % (Number(all) / 5) === 0) {
    await pause(500);
    called += await half(2);
  }
  if (next === Number(all)) finish();
}).ready;
say("ready");
await done;
say({ gaps, wrong, called, grown: most - before });
await bus.close();
