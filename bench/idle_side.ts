/** Prints the CPU of an idle process in milliseconds a second: with a bus, or with a Worker without a bus. @module */
import process from "node:process";
import { Bus } from "../src/bus.ts";
import { providerFor } from "../cli/mod.ts";
import { processCpu } from "./cpu.ts";

/** Milliseconds to wait after the start, and of the measurement. */
const SETTLE = 3_000;
const IDLE = 10_000;

const [url, namespace] = process.argv.slice(2) as [string, string];
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
let bus: Bus | undefined;
if (url === "worker") {
  new Worker(`data:text/javascript,${encodeURIComponent("onmessage = () => {};")}`, { type: "module" });
} else {
  bus = await Bus.open(await providerFor(url), { namespace });
  await bus.subscribe("topic", () => {}).ready;
  await bus.queue("queue").put(0); // creates the queue
  await bus.queue("queue").get();
  bus.queue("queue").consume(() => {});
  await bus.expose("fn", () => {});
}
await pause(SETTLE);
const before = processCpu();
await pause(IDLE);
console.log((processCpu() - before) / (IDLE / 1_000));
await bus?.queue("queue").free();
await bus?.close();
process.exit(0);
