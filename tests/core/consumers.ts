/** Cases about consumers in which the transport makes no difference. */
import { ValidationError } from "../../src/errors.ts";
import type { BusErrorEvent } from "../../src/events.ts";
import type { Lease } from "../../src/queue/lease.ts";
import type { DeadLetter } from "../../src/queue/letter.ts";
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

  "handlerTimeout: the last attempt is dead-lettered while its handler runs, which is reported once": async (t) => {
    const bus = await t.open();
    const errors = t.errors(bus);
    const queue = t.queue<string>(bus, "work");
    const consumer = queue.consume(
      (_, { signal }) => new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
      { handlerTimeout: 20, backoff: 0, maxAttempts: 2 },
    );
    await queue.put("item");
    const letter = await bus.queue<DeadLetter>("work.dead").get();
    equal([letter.item, letter.attempts, letter.cause.name], ["item", 2, "TimeoutError"]);
    await consumer.close();
    equal(errors.values.length, 2, "the number of reports");
  },

  "handlerTimeout: the end of a late handler is reported only if it failed for another reason than the timeout": async (
    t,
  ) => {
    const bus = await t.open();
    const errors = t.errors(bus);
    const queue = t.queue<string>(bus, "work");
    const ends: Record<string, (lease: Lease<string>) => unknown> = {
      reason: ({ signal }) => Promise.reject(signal.reason),
      wrapped: ({ signal }) => Promise.reject(new Error("stopped", { cause: signal.reason })),
      aborted: () => Promise.reject(new DOMException("The operation was aborted", "AbortError")),
      acknowledges: (lease) => lease.ack(),
      resolves: () => {},
      fails: () => Promise.reject(new RangeError("its own")),
    };
    const consumer = queue.consume(async (item, lease) => {
      await new Promise((resolve) => lease.signal.addEventListener("abort", resolve));
      await ends[item]!(lease);
    }, { handlerTimeout: 20, maxAttempts: 1, concurrency: 6 });
    for (const item of Object.keys(ends)) await queue.put(item);
    await errors.count(7);
    await consumer.close();
    const reports = errors.values.map(({ error, item, attempt, next }) => [(error as Error).name, item, attempt, next]);
    const timeouts = Object.keys(ends).map((item) => ["TimeoutError", item, 1, "dead-letter"]);
    equal(reports.toSorted(), [...timeouts, ["RangeError", "fails", undefined, undefined]].toSorted());
  },

  "a handler that rejects with an AbortError of its own has failed": async (t) => {
    const bus = await t.open();
    const errors = t.errors(bus);
    const queue = t.queue<string>(bus, "work");
    const consumer = queue.consume(() => Promise.reject(new DOMException("its own", "AbortError")), {
      handlerTimeout: 60_000,
      maxAttempts: 1,
    });
    await queue.put("item");
    const [{ message, next }] = await errors.count(1) as [BusErrorEvent];
    equal([message, next], ["its own", "dead-letter"]);
    await consumer.close();
  },

  "handlerTimeout: a handler that has settled its item, or ends in time, is not late": async (t) => {
    const bus = await t.open();
    const queue = t.queue<string>(bus, "work");
    const seen = t.collect<boolean>();
    const consumer = queue.consume(async (item, lease) => {
      if (item === "settled") await lease.ack();
      if (item === "settled") await t.pause(1_100);
      seen.add(lease.signal.aborted);
    }, { handlerTimeout: 1_000 });
    await queue.put("settled");
    await queue.put("in time");
    await seen.are([false, false]);
    await consumer.close();
    equal(await bus.queue("work.dead").qsize(), 0);
    equal(await drain(t, queue), []);
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
