/** Uses an installed package over a provider, its worker included. */
import { Bus } from "@tsmq/tsmq";
import { providerFor } from "@tsmq/tsmq/cli";
import { openDashboard } from "@tsmq/tsmq/ui";
import process from "node:process";

const [url, namespace] = process.argv.slice(2) as [string, string];
const provider = await providerFor(url);
await using bus = await Bus.open(provider, { namespace });

const heard = Promise.withResolvers<unknown>();
await bus.subscribe("topic", heard.resolve).ready;
await bus.publish("an event", "topic");

const queue = bus.queue<string>("queue");
await queue.put("an item");
await using lease = await queue.receive({ timeout: 20_000 });
await lease.ack();
await queue.free();

await bus.expose("add", (a: number, b: number) => a + b);
const sum = await bus.stub<(a: number, b: number) => number>("add")(1, 2);

await using dashboard = await openDashboard(provider, { namespace });
const page = await fetch(`${dashboard.url}page.js`);
if (!page.ok || (await page.text()).length < 50_000) throw new Error("the dashboard has no page");

console.log(JSON.stringify([await heard.promise, lease.item, sum]));
