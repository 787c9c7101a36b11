/** The other process of `bench/ipc.ts`: returns each ping, and counts the events that need no answer. @module */
import process from "node:process";
import { Bus } from "../src/bus.ts";
import { providerFor } from "../cli/mod.ts";

const [url, namespace] = process.argv.slice(2) as [string, string];
const bus = await Bus.open(await providerFor(url), { namespace });
let seen = 0;
let expected = 0;
await bus.subscribe("ping", (event) => bus.publish(event, "pong")).ready;
await bus.subscribe("one-way", () => ++seen === expected && bus.publish(0, "done")).ready;
await bus.expose("echo", (value: unknown) => value);
await bus.expose("expect", (count: number) => {
  seen = 0;
  expected = count;
});
const over = Promise.withResolvers<void>();
await bus.subscribe("end", () => over.resolve()).ready;
console.log("ready");
await over.promise;
await bus.close();
