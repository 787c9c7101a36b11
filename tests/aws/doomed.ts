/** A process that opens a bus, subscribes, serves, holds an item, says so, and waits to be killed. */
import process from "node:process";
import { Bus } from "../../src/bus.ts";
import { aws, type AwsOptions } from "../../src/providers/aws/provider.ts";
import { say, told } from "../support/peer_side.ts";

const [options, namespace] = process.argv.slice(2) as [string, string];
const bus = await Bus.open(aws(JSON.parse(options) as AwsOptions), { namespace });
await bus.subscribe("topic", () => {}).ready;
await bus.subscribe("t*", () => {}, { pattern: true }).ready;
await bus.expose("fn", () => "served");
const { item } = await bus.queue<string>("jobs").receive({ lease: 2_000 });
say(item);
for await (const _ of told()); // until the test is gone
