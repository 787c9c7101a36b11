/** A program whose only use of telemetry is one span. */
import { trace } from "@opentelemetry/api";
import { Bus, memory } from "../../mod.ts";
import { say, told } from "../support/peer_side.ts";

await using bus = await Bus.open(memory());
const { promise, resolve } = Promise.withResolvers<void>();
bus.subscribe("topic", async () => {
  trace.getTracer("program").startSpan("own").end();
  await bus.queue("queue").put(1);
});
bus.queue("queue").consume(() => resolve());
await bus.publish({}, "topic");
await promise;
say("done");
for await (const _ of told());
