/**
 * Broken connections: everything is restored, and possible loss is reported.
 *
 * @module
 */
import type { Bus } from "../bus.ts";
import { BusError, QueueEmptyError } from "../errors.ts";
import { equal, ok } from "./assert.ts";
import { drain } from "./queues.ts";
import type { CaseBody, Cases, Conditional } from "./cases.ts";

/** Creates a case that breaks connections. */
export function broken(run: CaseBody): Conditional {
  const skip: Conditional["skip"] = (_, { faults }) => faults ? undefined : "the harness cannot break connections";
  return { skip, alone: true, deadline: 60_000, run };
}

/** Waits until each bus has reported that its connection was lost, and then that it was restored. */
export async function recovered(t: Parameters<CaseBody>[0], ...buses: Bus[]): Promise<void> {
  await t.until(
    () => buses.every((bus) => bus.health().reconnects > 0 && bus.health().state === "up"),
    "the buses are back",
  );
}

/** Cases about connections that break. */
export const faults: Cases = {
  "subscriptions are restored, and a gap is reported": broken(async (t) => {
    const [publisher, bus] = await t.buses(2) as [Bus, Bus];
    for (const each of [publisher, bus]) t.errors(each);
    const seen = t.collect<string>();
    const gaps = t.collect<string>("the gap events");
    const states = t.collect<string>("the state events");
    bus.addEventListener("gap", (event) => gaps.add(event.detail.reason));
    bus.addEventListener("state", (event) => states.add(event.detail));
    await bus.subscribe("topic", () => seen.add("name")).ready;
    await bus.subscribe("t*", () => seen.add("pattern"), { pattern: true }).ready;
    await t.faults.cut();
    const [reason] = await gaps.count(1);
    ok(reason !== "", "the gap has a reason");
    await recovered(t, publisher, bus);
    await publisher.publish("x", "topic");
    equal(new Set(await seen.count(2)), new Set(["name", "pattern"]));
    equal(await states.count(2), ["down", "up"]);
  }),

  "a gap is reported between the events before and after the loss, even while the earlier events wait for their handler":
    broken(
      async (t) => {
        const [publisher, bus] = await t.buses(2) as [Bus, Bus];
        for (const each of [publisher, bus]) t.errors(each);
        const seen: unknown[] = [];
        const others = t.collect<string>("the gaps of a subscription without a backlog");
        const { passed, open } = t.gate();
        bus.addEventListener("gap", (event) => {
          const { topic } = event.detail;
          if (topic === "topic") seen.push("gap");
          if (topic === "other") others.add(topic);
        });
        await bus.subscribe("other", () => {}).ready;
        await bus.subscribe("topic", async (event) => {
          seen.push(event);
          await passed;
        }).ready;
        for (let i = 0; i < 4; i++) await publisher.publish(i, "topic");
        await t.quiet();
        await t.faults.cut();
        await others.count(1);
        await recovered(t, publisher, bus);
        await publisher.publish("after", "topic");
        await t.quiet();
        equal(seen, [0], "what was seen while the handler ran");
        open();
        await t.until(() => seen.includes("after"), "the event after the gap");
        equal(seen, [0, 1, 2, 3, "gap", "after"]);
      },
    ),

  "a waiting get and a waiting receive continue": broken(async (t) => {
    const [producer, bus] = await t.buses(2) as [Bus, Bus];
    for (const each of [producer, bus]) t.errors(each);
    const queue = t.queue<string>(producer, "queue");
    const got = bus.queue<string>("queue").get();
    const held = t.queue<string>(bus, "held").receive();
    await t.quiet();
    await t.faults.cut();
    await recovered(t, producer, bus);
    await queue.put("item");
    equal(await got, "item");
    await producer.queue("held").put("item");
    const lease = await held;
    equal(lease.item, "item");
    await lease.ack();
  }),

  "items whose only handlers end while connections break are acknowledged: none is handled again, or becomes a dead letter":
    broken(
      async (t) => {
        const [producer, bus] = await t.buses(2) as [Bus, Bus];
        for (const each of [producer, bus]) t.errors(each);
        const queue = t.queue<number>(producer, "work");
        const { passed, open } = t.gate();
        const seen = t.collect<number>();
        let running = 0;
        const consumer = bus.queue<number>("work").consume(async (item) => {
          running++;
          await passed;
          seen.add(item);
        }, { concurrency: 8, maxAttempts: 1 });
        const items = Array.from({ length: 8 }, (_, i) => i);
        for (const item of items) await queue.put(item);
        await t.until(() => running === items.length, "all handlers run");
        open();
        await t.faults.cut();
        await recovered(t, producer, bus);
        await consumer.close(); // waits for the acknowledgements
        await t.settle();
        equal(seen.values.toSorted(), items);
        equal([await drain(t, queue), await producer.queue("work.dead").qsize()], [[], 0]);
      },
    ),

  "functions are found again, and calls continue": broken(async (t) => {
    const [server, caller] = await t.buses(2) as [Bus, Bus];
    for (const each of [server, caller]) t.errors(each);
    await server.expose("double", (i: number) => 2 * i);
    equal(await caller.stub("double")(1), 2);
    for (let i = 0; i < 3; i++) {
      await t.faults.cut();
      // a call just after the break must wait for the server to register again, in place of rejecting
      const answer = await caller.stub("double")(i).catch((error) => error);
      ok(
        answer === 2 * i || (answer instanceof BusError && answer.code === "unavailable"),
        `a call while the connection was broken gave ${answer}`,
      );
      await recovered(t, server, caller);
      equal(await caller.stub("double")(i), 2 * i);
      equal((await caller.stub("double", { multi: true })(i)).length, 1);
    }
  }),

  "a pending call is answered when the connection is restored": broken(async (t) => {
    const [server, caller] = await t.buses(2) as [Bus, Bus];
    for (const each of [server, caller]) t.errors(each);
    const { passed, open } = t.gate();
    const seen = t.collect<string>();
    await server.expose("wait", async () => {
      seen.add("served");
      await passed;
      return "answer";
    });
    const call = caller.stub("wait")();
    await seen.count(1);
    await t.faults.cut();
    open();
    equal(await call, "answer");
    equal(seen.values.length, 1, "the number of times it was served");
  }),

  "an item whose put() resolved is in the queue exactly once; an item whose put() rejected is there at most once":
    broken(async (t) => {
      const [producer, consumer] = await t.buses(2) as [Bus, Bus];
      for (const each of [producer, consumer]) t.errors(each);
      const queue = t.queue<number>(producer, "queue");
      const promised: number[] = [];
      const cuts: Promise<void>[] = [];
      for (let i = 0; i < 300; i++) {
        if (i === 100 || i === 200) cuts.push(t.faults.cut());
        await queue.put(i).then(() => promised.push(i), (error) => {
          ok(error instanceof BusError && error.code === "unavailable", `put failed with ${error}`);
        });
      }
      await Promise.all(cuts);
      await recovered(t, producer, consumer);
      // a bus that is back may not have noticed the second break yet
      const works = () =>
        consumer.queue("none").getNowait().then(() => false, (error) => error instanceof QueueEmptyError);
      await t.until(works, "the consumer reaches the transport");
      const got = await drain(t, consumer.queue<number>("queue"));
      equal(got.length, new Set(got).size, "the number of different items");
      equal(promised.filter((i) => !got.includes(i)), [], "what was promised and lost");
    }),

  "a lease survives a broken connection and can be settled": broken(async (t) => {
    const bus = await t.open();
    t.errors(bus);
    const queue = t.queue<string>(bus, "queue");
    await queue.put("item");
    const lease = await queue.receive({ lease: 10_000 });
    await t.faults.cut();
    await recovered(t, bus);
    await lease.ack();
    equal(await drain(t, queue), []);
  }),

  "a bus closes cleanly over a broken connection": broken(async (t) => {
    const bus = await t.open();
    t.errors(bus);
    await bus.subscribe("topic", () => {}).ready;
    await bus.expose("fn", () => {});
    await t.faults.cut();
    ok((await bus.close()).clean, "the bus had to be cut off from its transport");
    const other = await t.open();
    equal(await other.stub("fn", { multi: true })(), []);
    if (t.features.counts) equal(await other.publish("x", "topic"), 0);
  }),
};
