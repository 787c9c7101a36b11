/**
 * Events: which subscribers get them, in what order, and handlers that fail.
 *
 * @module
 */
import type { Bus } from "../bus.ts";
import { ProviderError } from "../errors.ts";
import type { Message } from "../pubsub/topic.ts";
import { equal, ok, range, rejects } from "./assert.ts";
import { type Cases, counting, ordered, slow } from "./cases.ts";

/** An event whose class names its topic. */
export class Named {
  /** The topic. */
  static readonly topic: string = "kit.named";
  /** Creates an event with this text. */
  constructor(readonly text: string) {}
}

/** Cases about publishing and subscribing. */
export const pubsub: Cases = {
  "publish(event, topic) reaches the subscribers of that topic, and no others": async (t) => {
    const [publisher, bus] = await t.buses(2);
    const seen = t.collect<unknown>();
    await bus!.subscribe("orders", seen.add).ready;
    await bus!.subscribe("orders/eu", () => seen.add("the wrong topic")).ready;
    await publisher!.publish({ id: 1 }, "orders");
    await publisher!.publish("text", "orders");
    await publisher!.publish(new Named("elsewhere"), "orders");
    equal(new Set(await seen.count(3)), new Set<unknown>([{ id: 1 }, "text", { text: "elsewhere" }]));
    await t.quiet();
    equal(seen.values.length, 3);
  },

  "a handler receives the topic and the type of the event": async (t) => {
    const bus = await t.open();
    const seen = t.collect<Omit<Message, "headers">>();
    bus.subscribe("orders", (_, { headers: _headers, ...message }) => seen.add(message));
    await bus.publish(new Named("x"), "orders");
    await seen.are([{ topic: "orders", type: "kit.named" }]);
    await bus.publish({}, "orders");
    equal((await seen.count(2))[1], { topic: "orders" });
  },

  "every handler of a topic is called, also when another handler throws": async (t) => {
    const bus = await t.open();
    const errors = t.errors(bus);
    const seen = t.collect<string>();
    const thrown = new Error("thrown");
    const rejected = new Error("rejected");
    bus.subscribe("news", (news) => seen.add(`first ${news}`));
    bus.subscribe("news", () => {
      throw thrown;
    });
    bus.subscribe("news", () => Promise.reject(rejected));
    bus.subscribe("news", (news) => seen.add(`last ${news}`));
    await bus.publish("one", "news");
    await bus.publish("two", "news");
    equal(new Set(await seen.count(4)), new Set(["first one", "last one", "first two", "last two"]));
    const reported = await errors.count(4);
    equal(reported.map(({ topic }) => topic), ["news", "news", "news", "news"]);
    equal(reported.filter(({ error }) => error === thrown).length, 2);
    equal(reported.filter(({ error }) => error === rejected).length, 2);
  },

  "publish() resolves with the number of transport subscriptions that it reached": counting(async (t) => {
    const [publisher, one, two] = await t.buses(3) as [Bus, Bus, Bus];
    const reached = () => publisher.publish("x", "counted");
    equal(await reached(), 0, "with no subscriber");
    const subscriptions = [1, 2, 3].map(() => one.subscribe("counted", () => {}));
    await Promise.all(subscriptions.map(({ ready }) => ready));
    equal(await reached(), 1, "with three handlers of one bus");
    await two.subscribe("c*d", () => {}, { pattern: true }).ready;
    equal(await reached(), 2, "with a pattern of another bus too");
    await publisher.subscribe("counted", () => {}).ready;
    equal(await reached(), 3, "with the publisher's own too");
    await subscriptions[0]!.unsubscribe();
    await subscriptions[1]!.unsubscribe();
    equal(await reached(), 3, "with one handler left of the three");
    await subscriptions[2]!.unsubscribe();
    equal(await reached(), 2, "with none left of the three");
    await two.close();
    equal(await reached(), 1, "with one bus less");
  }),

  "publish() resolves with undefined where the transport does not count": {
    skip: ({ counts }) => counts ? "the transport knows" : undefined,
    run: async (t) => {
      const bus = await t.open();
      await bus.subscribe("uncounted", () => {}).ready;
      equal(await bus.publish("x", "uncounted"), undefined);
    },
  },

  "publish() waits for pending subscriptions of this process": async (t) => {
    const bus = await t.open();
    const seen = t.collect<string>();
    const globs = ["one", "o*", "[o]ne", "?ne"];
    for (const glob of globs) bus.subscribe(glob, () => seen.add(glob), { pattern: glob !== "one" });
    void bus.publish("x", "one");
    equal(new Set(await seen.count(4)), new Set(globs));
  },

  "events of one publisher start their handlers in order": ordered(async (t) => {
    const [publisher, one, two] = await t.buses(3) as [Bus, Bus, Bus];
    const numbers = Array.from({ length: 1_000 }, (_, i) => i);
    const logs = [t.collect<number>(), t.collect<number>(), t.collect<number>()] as const;
    await one.subscribe("stream", logs[0].add).ready;
    await one.subscribe("s*", logs[1].add, { pattern: true }).ready;
    await two.subscribe("stream", async (i: number) => {
      logs[2].add(i);
      if (i % 100 === 0) await t.pause(1);
    }).ready;
    await Promise.all(numbers.map((i) => publisher.publish(i, "stream")));
    for (const log of logs) await log.are(numbers);
  }),

  "a handler handles one event at a time": async (t) => {
    const bus = await t.open();
    const seen = t.collect<number>();
    let running = 0;
    bus.subscribe("work", async (i: number) => {
      equal(++running, 1, "the number of handlers that run");
      await t.pause(1);
      running--;
      seen.add(i);
    });
    await Promise.all(Array.from({ length: 30 }, (_, i) => bus.publish(i, "work")));
    equal(new Set(await seen.count(30)).size, 30);
  },

  "a handler that never ends does not block other handlers": async (t) => {
    const bus = await t.open();
    const seen = t.collect<string>();
    const { passed } = t.gate();
    bus.subscribe("news", () => passed);
    bus.subscribe("news", seen.add);
    bus.subscribe("other", seen.add);
    for (const news of ["one", "two", "three"]) await bus.publish(news, "news");
    await bus.publish("other", "other");
    equal(new Set(await seen.count(4)), new Set(["one", "two", "three", "other"]));
  },

  "a slow handler receives all of 3,000 events": slow(60_000, async (t) => {
    const [publisher, bus] = await t.buses(2) as [Bus, Bus];
    const seen = t.collect<number>();
    await bus.subscribe("stream", async (i: number) => {
      if (i % 10 === 0) await t.pause(0);
      seen.add(i);
    }).ready;
    await Promise.all(Array.from({ length: 3_000 }, (_, i) => publisher.publish(i, "stream")));
    equal(new Set(await seen.count(3_000)).size, 3_000);
  }),

  "a handler that pauses receives all of 4 MB of events": slow(60_000, async (t) => {
    const [publisher, bus] = await t.buses(2) as [Bus, Bus];
    const { passed, open } = t.gate();
    const seen = t.collect<number>();
    await bus.subscribe("stream", async ([i]: [number, string]) => {
      if (i === 0) await passed;
      seen.add(i);
    }).ready;
    const padding = "x".repeat(Math.min(20_000, t.features.maxBody / 2));
    const count = Math.ceil(4e6 / padding.length);
    await publisher.publish([0, padding], "stream");
    await Promise.all(range(count - 1).map((i) => publisher.publish([i + 1, padding], "stream")));
    open();
    equal(new Set(await seen.count(count)).size, count);
  }),

  "a handler can publish, even to its own topic": async (t) => {
    const bus = await t.open();
    const seen = t.collect<number>();
    bus.subscribe("countdown", async (i: number) => {
      seen.add(i);
      if (i > 0) await bus.publish(i - 1, "countdown");
    });
    await bus.publish(5, "countdown");
    await seen.are([5, 4, 3, 2, 1, 0]);
  },

  "300 topics can be used at once": slow(60_000, async (t) => {
    const [publisher, bus] = await t.buses(2) as [Bus, Bus];
    const seen = t.collect<string>();
    const topics = Array.from({ length: 300 }, (_, i) => `topic/${i}`);
    await Promise.all(topics.map((topic) => bus.subscribe(topic, (_, message) => seen.add(message.topic)).ready));
    await Promise.all(topics.map((topic) => publisher.publish("x", topic)));
    equal(new Set(await seen.count(300)), new Set(topics));
  }),

  "an event of 1 MB arrives, or is refused as too large": async (t) => {
    const bus = await t.open();
    const seen = t.collect<string>();
    const body = "é☃x".repeat(1e6 / 6);
    bus.subscribe("large", seen.add);
    if (t.features.maxBody < 1e6) {
      await rejects(bus.publish(body, "large"), ProviderError, "too_large");
      return;
    }
    await bus.publish(body, "large");
    ok((await seen.count(1))[0] === body, "the event arrived as it was sent");
  },
};
