/**
 * Cases about consumers that fetch items ahead of their handlers.
 *
 * @module
 */
import type { Bus } from "../bus.ts";
import { equal } from "./assert.ts";
import type { Cases } from "./cases.ts";
import { drain } from "./queues.ts";

/** Cases about items that wait for their handlers. */
export const prefetch: Cases = {
  "items behind a slow handler go to another consumer, as their first attempt": async (t) => {
    const [producer, slow, other] = await t.buses(3) as [Bus, Bus, Bus];
    const queue = t.queue<number>(producer, "work");
    const { passed, open } = t.gate();
    const seen = t.collect<number>();
    // fast handlers first: the consumer fetches more items than it handles at once
    const items = Array.from({ length: 150 }, (_, i) => i);
    const consumer = slow.queue<number>("work").consume(async (item) => {
      seen.add(item);
      if (item === 100) await passed;
    });
    const put = Promise.all(items.map((item) => queue.put(item)));
    await t.until(() => seen.values.includes(100), "the slow handler runs");
    const attempts = new Set<number>();
    const rest = other.queue<number>("work").consume((item, { attempt }) => {
      attempts.add(attempt);
      seen.add(item);
    });
    await t.until(() => seen.values.length === items.length, "the others are handled");
    await put;
    equal(seen.values.toSorted((a, b) => a - b), items);
    if (t.features.exactAttempts) equal([...attempts], [1]);
    open();
    await Promise.all([consumer.close(), rest.close()]);
    equal(await drain(t, queue), []);
  },

  "one consumer keeps the order, though some handlers are slow": async (t) => {
    const [producer, bus] = await t.buses(2) as [Bus, Bus];
    const queue = t.queue<number>(producer, "work");
    const items = Array.from({ length: 300 }, (_, i) => i);
    const put = Promise.all(items.map((item) => queue.put(item)));
    const seen = t.collect<number>();
    const consumer = bus.queue<number>("work").consume(async (item) => {
      seen.add(item);
      if (item % 100 === 90) await t.pause(100); // longer than an item may wait for its handler
    });
    const got = await seen.count(items.length);
    equal(t.features.ordered ? got : got.toSorted((a, b) => a - b), items);
    await put;
    await consumer.close();
    equal(await drain(t, queue), []);
  },

  "items that go back while others are put keep their place": async (t) => {
    const [producer, bus] = await t.buses(2) as [Bus, Bus];
    const queue = t.queue<number>(producer, "work");
    const put = (from: number, to: number) =>
      Promise.all(Array.from({ length: to - from }, (_, i) => queue.put(from + i)));
    const seen = t.collect<number>();
    const [ten, eleven] = [t.gate(), t.gate()];
    const consumer = bus.queue<number>("work").consume(async (item) => {
      seen.add(item);
      if (item === 10) await ten.passed;
      if (item === 11) await eleven.passed;
    });
    for (let i = 0; i <= 10; i++) await queue.put(i);
    await t.until(() => seen.values.includes(10), "it waits");
    await put(11, 17);
    ten.open();
    await t.until(() => seen.values.includes(11), "it waits again, and has fetched some of the others");
    const last = put(17, 25); // not all of them have room in a queue of ten
    if (t.features.exactSize) await t.until(async () => await queue.qsize() >= 10, "the fetched items went back");
    eleven.open();
    const got = await seen.count(25);
    equal(t.features.ordered ? got : got.toSorted((a, b) => a - b), Array.from({ length: 25 }, (_, i) => i));
    await last;
    await consumer.close();
    equal(await drain(t, queue), []);
  },
};
