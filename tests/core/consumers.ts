/** Cases about consumers in which the transport makes no difference. */
import { ValidationError } from "../../src/errors.ts";
import type { DeadLetter } from "../../src/queue/deliveries.ts";
import { equal, ok } from "../../src/conformance/assert.ts";
import { drain } from "../../src/conformance/queues.ts";
import type { Cases } from "../../src/conformance/cases.ts";
import { amount } from "./schemas.ts";

/** Cases about consumers in which the transport makes no difference. */
export const consumers: Cases = {
  "an item that the schema rejects goes to the dead-letter queue, and the next item is handled": async (t) => {
    const bus = await t.open();
    const errors = t.errors(bus);
    const raw = t.queue<unknown>(bus, "work");
    const seen = t.collect<number>();
    const consumer = bus.queue("work", { schema: amount }).consume(seen.add);
    for (const item of [1, "no amount", -1, 2]) await raw.put(item);
    equal((await seen.count(2)).toSorted(), [1, 2]);
    for (const { error } of await errors.count(2)) ok(error instanceof ValidationError, "it is a ValidationError");
    const letters = [await bus.queue<DeadLetter>("work.dead").get(), await bus.queue<DeadLetter>("work.dead").get()];
    equal(letters.map(({ attempts, cause }) => [attempts, cause.name]), [[1, "ValidationError"], [
      1,
      "ValidationError",
    ]]);
    await consumer.close();
    equal(await drain(t, raw), []);
  },

  "a handler can settle its item itself": async (t) => {
    const bus = await t.open();
    const queue = t.queue<string>(bus, "work");
    const seen = t.collect<string>();
    queue.consume(async (item, lease) => {
      seen.add(`${item} ${lease.attempt}`);
      if (lease.attempt === 1) return await lease.nack({ delay: 10 });
      await lease.ack();
    });
    await queue.put("item");
    await seen.are(["item 1", "item 2"]);
    await t.quiet();
    equal(await drain(t, bus.queue("work")), []);
  },
};
