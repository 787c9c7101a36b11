/** Waits for an item of the queue "q" until it is killed: `records_test.ts`. */
import process from "node:process";
import { Bus } from "../../mod.ts";
import { redis } from "../../src/providers/redis/provider.ts";
import { say } from "../support/peer_side.ts";

const [port, namespace] = JSON.parse(process.argv[2]!) as [number, string];
const bus = await Bus.open(redis({ port }), { namespace });
const item = bus.queue("q").get();
say("ready");
await item;
