/** A process of the trace: it publishes each event of "there" to "back". */
import { trace } from "@opentelemetry/api";
import process from "node:process";
import { Bus } from "../../mod.ts";
import { redis } from "../../src/providers/redis/provider.ts";
import { say, told } from "../support/peer_side.ts";
import { register } from "./sdk.ts";

register();
await using bus = await Bus.open(redis({ url: process.argv[2]! }));
await bus.subscribe("there", async ({ from }: { from: string }) => {
  await bus.publish(`from ${from}`, "back");
  say({ traceId: trace.getActiveSpan()?.spanContext().traceId });
}).ready;
say({ ready: true });
for await (const _ of told());
