/** Cases about closing in which the transport makes no difference. */
import * as tsmq from "../../mod.ts";
import { equal, rejects } from "../../src/conformance/assert.ts";
import type { Cases } from "../../src/conformance/cases.ts";
import { alone } from "./global.ts";

/** Far longer than a case may take: whatever waits for it fails. */
const TIMEOUT = 60_000;

/** Returns the reason of the signal of a lease that the end of its bus has ended. */
function lostBy(queue: string): string {
  return `Cannot settle an item of queue "${queue}": the bus was closed, so its lease has ended`;
}

/** Cases about closing in which the transport makes no difference. */
export const closing: Cases = {
  "close() awaited by two handlers at once ends when both wait for it": async (t) => {
    const bus = await t.open();
    const seen = t.collect<string>();
    const { passed, open } = t.gate();
    bus.subscribe("work", async (name: string) => {
      seen.add("begun");
      await passed;
      await bus.close({ timeout: TIMEOUT });
      seen.add(name);
    }, { concurrency: 2 });
    await bus.publish("first", "work");
    await bus.publish("second", "work");
    await seen.count(2);
    open();
    await bus.closed;
    equal(seen.values.toSorted(), ["begun", "begun", "first", "second"]);
  },

  "close() awaited by a function that a handler of the same bus has called": async (t) => {
    const bus = await t.open();
    const seen = t.collect<unknown>();
    await bus.expose("end", async () => {
      await bus.close({ timeout: TIMEOUT });
      return "ended";
    });
    bus.subscribe("work", async () => seen.add(await bus.stub("end")()));
    await bus.publish("event", "work");
    await seen.are(["ended"]);
    await bus.closed;
  },

  "a handler publishes, puts and calls by the global verbs while shutdown() waits for it": alone(async (t, init) => {
    const bus = await init();
    const other = await t.open();
    const states = t.collect<string>();
    bus.addEventListener("state", ({ detail }) => states.add(detail));
    const events = t.collect<string>();
    await other.subscribe<string>("news", events.add).ready;
    await other.expose("double", (n: number) => 2 * n);
    const seen = t.collect<number>();
    const { passed, open } = t.gate();
    tsmq.queue<number>("work").consume(async (n) => {
      seen.add(n);
      await passed;
      await tsmq.publish("published", "news");
      await tsmq.queue("results").put("put");
      seen.add(await tsmq.stub<(n: number) => number>("double")(n));
    }, { maxAttempts: 1 });
    await tsmq.queue("work").put(21);
    await seen.are([21]);
    const ended = tsmq.shutdown({ timeout: TIMEOUT });
    await states.are(["closing"]);
    open();
    await ended;
    equal(seen.values, [21, 42]);
    await events.are(["published"]);
    equal(await other.queue("results").get(), "put");
    equal(await other.queue("work").qsize(), 0, "the item was acknowledged");
    await rejects(() => tsmq.publish("late", "news"), tsmq.NotInitializedError, "not_initialized");
  }),

  "a forced close aborts the signals of the leases that it ends": async (t) => {
    const bus = await t.open();
    const queue = t.queue<string>(bus, "queue");
    const { passed } = t.gate();
    const seen = t.collect<AbortSignal>();
    queue.consume((_, { signal }) => {
      seen.add(signal);
      return passed;
    });
    await queue.put("handled");
    const [signal] = await seen.count(1);
    await queue.put("received");
    const lease = await queue.receive();
    await bus.close({ timeout: 0 });
    for (const { aborted, reason } of [signal!, lease.signal]) {
      equal([aborted, reason?.message], [true, lostBy("queue")]);
    }
  },

  "a handler that the deadline of close() cuts off learns why, and is reported with that reason once, however it ends":
    async (t) => {
      const bus = await t.open();
      const other = await t.open();
      const seen = t.collect<string>();
      const errors = t.collect<unknown>();
      const failed = Promise.withResolvers<void>();
      t.errors(bus);
      bus.addEventListener("error", ({ message, attempt, next, delay }) => {
        errors.add({ message, attempt, next, delay });
      });
      bus.queue<string>("queue").consume(async (item, { signal }) => {
        seen.add(item);
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
        if (item === "throws") throw signal.reason;
        if (item === "wraps") throw new Error("stopped", { cause: signal.reason });
        if (item === "aborts") throw new DOMException("The operation was aborted", "AbortError");
        if (item !== "publishes") return;
        await bus.closed;
        try {
          await bus.publish("progress", "topic");
        } finally {
          failed.resolve();
        }
      }, { concurrency: 5 });
      const queue = t.queue<string>(other, "queue");
      const all = ["aborts", "publishes", "returns", "throws", "wraps"];
      for (const item of all) await queue.put(item);
      await seen.count(all.length);
      equal((await bus.close({ timeout: 1_000 })).abandoned, all.length);
      await failed.promise;
      await t.quiet();
      const report = { message: lostBy("queue"), attempt: 1, next: "retry", delay: undefined };
      equal(await errors.count(all.length), all.map(() => report));
      const items: string[] = [];
      for (const _ of all) items.push(await queue.get());
      equal(items.toSorted(), all);
      equal(errors.values.length, all.length, "the number of reports");
    },

  "close() with a shorter timeout shortens the deadline": async (t) => {
    const bus = await t.open();
    const { passed } = t.gate();
    const seen = t.collect<string>();
    bus.subscribe("work", () => {
      seen.add("begun");
      return passed;
    });
    await bus.publish("event", "work");
    await seen.count(1);
    const first = bus.close({ timeout: TIMEOUT });
    const joined = bus.close();
    equal((await bus.close({ timeout: 300 })).abandoned, 1);
    equal(await first, await joined);
  },
};
