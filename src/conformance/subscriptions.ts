/**
 * Subscriptions: how they begin and end, loops over a topic, and decorators.
 *
 * @module
 */
import type { Bus } from "../bus.ts";
import { equal } from "./assert.ts";
import { Named } from "./pubsub.ts";
import type { Cases } from "./cases.ts";

/** Cases about subscriptions. */
export const subscriptions: Cases = {
  "equal subscriptions of a bus share one transport subscription": async (t) => {
    const bus = await t.open();
    const before = bus.health().subscriptions;
    await Promise.all(Array.from({ length: 20 }, () => bus.subscribe("shared", () => {}).ready));
    equal(bus.health().subscriptions - before, 1);
    await bus.subscribe("shared", () => {}, { pattern: true }).ready;
    equal(bus.health().subscriptions - before, 2, "with a pattern of the same text");
  },

  "ready resolves when events of other buses arrive": async (t) => {
    const [publisher, bus] = await t.buses(2);
    for (let i = 0; i < 20; i++) {
      const seen = t.collect<number>();
      await bus!.subscribe(`topic ${i}`, seen.add).ready;
      await publisher!.publish(i, `topic ${i}`);
      await seen.are([i]);
    }
  },

  "unsubscribe() ends the subscription of its handler, and no other": async (t) => {
    const [publisher, bus] = await t.buses(2) as [Bus, Bus];
    const topic = bus.topic<{ text: string }>("kit.named");
    const targets = { name: "kit.named", topic, class: Named };
    for (const [how, target] of Object.entries(targets)) {
      const seen = t.collect<string>();
      const handler = () => seen.add("ended");
      const stays = bus.subscribe("kit.named", () => seen.add("stays"));
      await bus.subscribe("kit.named", handler).ready;
      await bus.unsubscribe(target, handler);
      await publisher.publish(new Named(how));
      await seen.are(["stays"]);
      await t.quiet();
      equal(seen.values, ["stays"], `what was handled after unsubscribe by ${how}`);
      await stays.unsubscribe();
    }
  },

  "unsubscribe() within a handler drops events that have already arrived": async (t) => {
    const bus = await t.open();
    const seen = t.collect<number>();
    const subscription = bus.subscribe("stream", async (i: number) => {
      seen.add(i);
      await t.pause(1);
      if (seen.values.length === 5) void subscription.unsubscribe();
    });
    await Promise.all(Array.from({ length: 100 }, (_, i) => bus.publish(i, "stream")));
    await seen.count(5);
    await t.quiet();
    equal(seen.values.length, 5);
  },

  "subscribe() directly after unsubscribe() subscribes again": async (t) => {
    const [publisher, bus] = await t.buses(2) as [Bus, Bus];
    for (let i = 0; i < 10; i++) {
      const seen = t.collect<number>();
      const first = bus.subscribe("again", () => seen.add(-1));
      if (i % 2 === 0) await first.ready;
      const ended = first.unsubscribe();
      const second = bus.subscribe("again", seen.add);
      await Promise.all([ended, second.ready]);
      await publisher.publish(i, "again");
      await seen.are([i]);
      await second.unsubscribe();
    }
  },

  "for await receives the events of a topic; leaving the loop unsubscribes": async (t) => {
    const [publisher, bus] = await t.buses(2) as [Bus, Bus];
    const topic = bus.topic<number>("stream");
    const got: number[] = [];
    const before = bus.health().subscriptions;
    const loop = (async () => {
      for await (const i of topic) {
        got.push(i);
        await t.pause(1);
        if (got.length === 20) break;
      }
    })();
    await bus.subscribe("stream", () => {}).ready;
    for (let i = 0; i < 30; i++) await publisher.publish(i, "stream");
    await loop;
    equal(got.toSorted((a, b) => a - b).length, 20);
    if (t.features.ordered) equal(got, Array.from({ length: 20 }, (_, i) => i));
    equal(bus.health().subscriptions - before, 1, "the number of subscriptions after the loop");
  },

  "for await: an iterator subscribes with its first next(), so an unused one leaves nothing behind": async (t) => {
    const bus = await t.open();
    const iterators = Array.from({ length: 3 }, () => bus.topic<number>("stream")[Symbol.asyncIterator]());
    equal(bus.health().subscriptions, 0);
    equal(await iterators[0]!.return!(), { done: true, value: undefined });
    equal(await iterators[0]!.next(), { done: true, value: undefined });
    const next = iterators[1]!.next();
    equal(bus.health().subscriptions, 1);
    await bus.publish(1, "stream");
    equal(await next, { done: false, value: 1 });
    await iterators[1]!.return!();
    equal(bus.health().subscriptions, 0);
  },

  "for await: a paused loop does not delay close(), and loses no event when it continues": async (t) => {
    const bus = await t.open();
    const iterator = bus.topic<number>("stream")[Symbol.asyncIterator]();
    const first = iterator.next();
    for (let i = 0; i < 2; i++) await bus.publish(i, "stream");
    const values = [(await first).value];
    await t.until(() => bus.health().pending.handlers === 1, "the other one waits for the loop");
    equal((await bus.close()).abandoned, 0);
    values.push((await iterator.next()).value);
    equal(values.toSorted(), [0, 1]);
    equal(await iterator.next(), { done: true, value: undefined });
  },
};
