/** Cases about subscriptions in which the transport makes no difference. */
import type { Bus } from "../../src/bus.ts";
import type { Message } from "../../src/pubsub/topic.ts";
import { equal, ok, rejectsWith } from "../../src/conformance/assert.ts";
import { Named } from "../../src/conformance/pubsub.ts";
import type { Cases } from "../../src/conformance/cases.ts";

/** Cases about subscriptions in which the transport makes no difference. */
export const subscriptions: Cases = {
  "subscribe() accepts a name, a topic or a class": async (t) => {
    const [publisher, bus] = await t.buses(2);
    const seen = t.collect<string>();
    const topic = bus!.topic<{ text: string }>("kit.named");
    await Promise.all([
      bus!.subscribe<{ text: string }>("kit.named", ({ text }) => seen.add(`name ${text}`)).ready,
      bus!.subscribe(topic, ({ text }) => seen.add(`topic ${text}`)).ready,
      topic.subscribe(({ text }) => seen.add(`topic's own ${text}`)).ready,
      bus!.subscribe(Named, (event) => seen.add(`class ${event.text} ${event instanceof Named}`)).ready,
    ]);
    await publisher!.publish(new Named("x"));
    equal((await seen.count(4)).toSorted(), ["class x true", "name x", "topic x", "topic's own x"]);
  },

  "events of a pattern arrive, however long their topics are": async (t) => {
    const [publisher, bus] = await t.buses(2) as [Bus, Bus];
    const seen = t.collect<string>();
    const handler = async (_: unknown, { topic }: Message) => {
      await Promise.resolve(); // the others wait
      seen.add(topic.slice(0, 3));
    };
    await bus.subscribe("*", handler, { pattern: true }).ready;
    const topics = Array.from({ length: 100 }, (_, i) => String(i).padStart(3, "0"));
    for (const topic of topics) await publisher.publish("x", topic.padEnd(200_000, "x")); // five times the credit
    equal(await seen.count(100), topics);
  },

  "unsubscribe() ends the oldest subscription of a handler that is subscribed twice": async (t) => {
    const [publisher, bus] = await t.buses(2) as [Bus, Bus];
    const seen = t.collect<string>();
    const handler = (_: unknown, { topic }: Message) => seen.add(topic);
    for (let i = 0; i < 2; i++) await bus.subscribe("topic", handler).ready;
    await publisher.publish("x", "topic");
    await seen.count(2);
    await bus.unsubscribe("topic", handler);
    await publisher.publish("y", "topic");
    await seen.count(3);
    await bus.unsubscribe("topic", handler);
    await publisher.publish("z", "topic");
    await t.quiet();
    equal(seen.values, ["topic", "topic", "topic"]);
  },

  "unsubscribe() of a pair that is not subscribed has no effect": async (t) => {
    const bus = await t.open();
    const seen = t.collect<string>();
    const handler = () => {};
    bus.subscribe("topic", seen.add);
    bus.subscribe("other", handler);
    await bus.unsubscribe("topic", handler);
    await bus.unsubscribe("never", seen.add);
    await bus.unsubscribe(Named, () => {});
    await bus.unsubscribe(bus.topic<string>("t*", { pattern: true }), seen.add);
    await bus.publish("x", "topic");
    await seen.are(["x"]);
  },

  "subscription.unsubscribe() can be called twice, and await using calls it": async (t) => {
    const bus = await t.open();
    const seen = t.collect<string>();
    {
      await using subscription = bus.subscribe("topic", seen.add);
      await bus.publish("one", "topic");
      await seen.are(["one"]);
      equal({ topic: subscription.topic, pattern: subscription.pattern }, { topic: "topic", pattern: false });
    }
    const twice = bus.subscribe("topic", seen.add);
    await twice.ready;
    await Promise.all([twice.unsubscribe(), twice.unsubscribe()]);
    await twice.unsubscribe();
    await bus.publish("two", "topic");
    await t.quiet();
    equal(seen.values, ["one"]);
  },

  "aborting the signal ends the subscription": async (t) => {
    const bus = await t.open();
    const seen = t.collect<string>();
    const abort = new AbortController();
    bus.subscribe("topic", () => seen.add("ended"), { signal: abort.signal });
    bus.subscribe("topic", () => seen.add("stays"));
    await bus.publish("x", "topic");
    equal(new Set(await seen.count(2)), new Set(["ended", "stays"]));
    abort.abort();
    await bus.publish("x", "topic");
    await seen.count(3);
    await t.quiet();
    equal(seen.values.slice(2), ["stays"]);
    const reason = new Error("before it began");
    await rejectsWith(() => bus.subscribe("topic", () => {}, { signal: AbortSignal.abort(reason) }).ready, reason);
  },

  "for await: each of several loops over one topic receives every event": async (t) => {
    const bus = await t.open();
    const topic = bus.topic<number>("stream");
    const loop = async () => {
      const got: number[] = [];
      for await (const i of topic) {
        got.push(i);
        if (got.length === 3) return got.toSorted();
      }
    };
    const loops = [loop(), loop()];
    for (let i = 0; i < 3; i++) await bus.publish(i, "stream");
    equal(await Promise.all(loops), [[0, 1, 2], [0, 1, 2]]);
  },

  "for await: next() can be called several times before the events arrive": async (t) => {
    const bus = await t.open();
    const iterator = bus.topic<number>("stream")[Symbol.asyncIterator]();
    const asked = [iterator.next(), iterator.next(), iterator.next()];
    for (let i = 0; i < 3; i++) await bus.publish(i, "stream");
    const values = (await Promise.all(asked)).map(({ value }) => value);
    equal(new Set(values), new Set([0, 1, 2]));
    await iterator.return?.();
    equal(await iterator.next(), { done: true, value: undefined });
  },

  "subscriber() wraps a function, and decorates a method": async (t) => {
    const bus = await t.open();
    const seen = t.collect<string>();
    const plain = (text: string) => seen.add(`function ${text}`);
    ok(bus.subscriber("news")(plain) === plain, "subscriber() gives the function back");
    class Reader {
      constructor(readonly name: string) {}
      @bus.subscriber("news")
      read(text: string): void {
        seen.add(`${this.name} ${text}`);
      }
    }
    new Reader("Ada");
    new Reader("Bob");
    await bus.publish("x", "news");
    equal((await seen.count(3)).toSorted(), ["Ada x", "Bob x", "function x"]);
    new Reader("Cy").read("called");
    equal((await seen.count(4))[3], "Cy called");
  },
};
