/**
 * Events: who gets them, in what order, and what a handler can do wrong.
 *
 * @module
 */
import type { Bus } from "../bus.ts";
import { ProviderError, ValidationError } from "../errors.ts";
import type { Message } from "../pubsub/topic.ts";
import { equal, ok, rejects, rejectsWith } from "./assert.ts";
import { counting, ordered, type Room, slow } from "./room.ts";

class Named {
  static readonly topic: string = "kit.named";
  constructor(readonly text: string) {}
}

class Unnamed {
  constructor(readonly text: string) {}
  /** What marks a class of the platform is no more than a text in this one. */
  static readonly note = "[native code]";
}

/** Cases about publishing and subscribing. */
export const pubsub: Room = {
  "publish(event) names the topic by static topic, else by the class": async (t) => {
    const bus = await t.open();
    const seen = t.seen<[string, string]>();
    for (const topic of ["kit.named", "Unnamed", "Named"]) {
      bus.subscribe<{ text: string }>(topic, ({ text }, message) => seen.add([message.topic, text]));
    }
    await bus.publish(new Named("one"));
    await bus.publish(new Unnamed("two"));
    equal((await seen.count(2)).toSorted(), [["Unnamed", "two"], ["kit.named", "one"]]);
    await t.quiet();
    equal(seen.values.length, 2);
  },

  "publish(event) without a topic refuses what has no class": async (t) => {
    const bus = await t.open();
    const values = [{}, { a: 1 }, [], "text", 1, 1n, true, null, undefined, new Date(), new Map(), new Uint8Array(1)];
    for (const value of [...values, () => {}, Symbol("s"), Object.create(null)]) {
      await rejects(() => bus.publish(value as object), ValidationError, "invalid", `publish(${typeof value})`);
    }
  },

  "publish(event, topic) reaches who subscribed that topic, and no other": async (t) => {
    const [publisher, bus] = await t.buses(2);
    const seen = t.seen<unknown>();
    await bus!.subscribe("orders", seen.add).ready;
    await bus!.subscribe("orders/eu", () => seen.add("the wrong topic")).ready;
    await publisher!.publish({ id: 1 }, "orders");
    await publisher!.publish("text", "orders");
    await publisher!.publish(new Named("elsewhere"), "orders");
    equal(new Set(await seen.count(3)), new Set<unknown>([{ id: 1 }, "text", { text: "elsewhere" }]));
    await t.quiet();
    equal(seen.values.length, 3);
  },

  "subscribe() takes a name, a topic, a class": async (t) => {
    const [publisher, bus] = await t.buses(2);
    const seen = t.seen<string>();
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

  "topic.publish() is what subscribers of its name get": async (t) => {
    const bus = await t.open();
    const seen = t.seen<number>();
    bus.subscribe("prices", seen.add);
    await bus.topic<number>("prices").publish(12);
    await seen.are([12]);
  },

  "a handler is told the topic and the type": async (t) => {
    const bus = await t.open();
    const seen = t.seen<Message>();
    bus.subscribe("orders", (_, message) => seen.add(message));
    await bus.publish(new Named("x"), "orders");
    await seen.are([{ topic: "orders", type: "kit.named" }]);
    await bus.publish({}, "orders");
    equal((await seen.count(2))[1], { topic: "orders" });
  },

  "every handler of a topic is called, also when another one throws": async (t) => {
    const bus = await t.open();
    const errors = t.errors(bus);
    const seen = t.seen<string>();
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

  "publish() says how many subscriptions of the transport it reached": counting(async (t) => {
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

  "publish() says nothing where the transport does not know": {
    skip: ({ counts }) => counts ? "the transport knows" : undefined,
    play: async (t) => {
      const bus = await t.open();
      await bus.subscribe("uncounted", () => {}).ready;
      equal(await bus.publish("x", "uncounted"), undefined);
    },
  },

  "equal subscriptions of a bus share one of the transport": async (t) => {
    const bus = await t.open();
    const before = bus.health().subscriptions;
    await Promise.all(Array.from({ length: 20 }, () => bus.subscribe("shared", () => {}).ready));
    equal(bus.health().subscriptions - before, 1);
    await bus.subscribe("shared", () => {}, { pattern: true }).ready;
    equal(bus.health().subscriptions - before, 2, "with a pattern of the same text");
  },

  "publish() waits for the subscriptions that this process has begun": async (t) => {
    const bus = await t.open();
    const seen = t.seen<string>();
    const globs = ["one", "o*", "[o]ne", "?ne"];
    for (const glob of globs) bus.subscribe(glob, () => seen.add(glob), { pattern: glob !== "one" });
    void bus.publish("x", "one");
    equal(new Set(await seen.count(4)), new Set(globs));
  },

  "ready resolves when others' events are sure to come": async (t) => {
    const [publisher, bus] = await t.buses(2);
    for (let i = 0; i < 20; i++) {
      const seen = t.seen<number>();
      await bus!.subscribe(`topic ${i}`, seen.add).ready;
      await publisher!.publish(i, `topic ${i}`);
      await seen.are([i]);
    }
  },

  "unsubscribe() ends what it names, and nothing else": async (t) => {
    const [publisher, bus] = await t.buses(2) as [Bus, Bus];
    const topic = bus.topic<{ text: string }>("kit.named");
    const targets = { name: "kit.named", topic, class: Named };
    for (const [how, target] of Object.entries(targets)) {
      const seen = t.seen<string>();
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

  "unsubscribe() ends the oldest subscription of a handler that is subscribed twice": async (t) => {
    const [publisher, bus] = await t.buses(2) as [Bus, Bus];
    const seen = t.seen<string>();
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

  "unsubscribe() of a pair that is not subscribed does nothing": async (t) => {
    const bus = await t.open();
    const seen = t.seen<string>();
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

  "subscription.unsubscribe() may be called twice, and by await using": async (t) => {
    const bus = await t.open();
    const seen = t.seen<string>();
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

  "unsubscribe() within a handler is the end, whatever has arrived already": async (t) => {
    const bus = await t.open();
    const seen = t.seen<number>();
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

  "subscribe() again at once, on the heels of unsubscribe(), subscribes": async (t) => {
    const [publisher, bus] = await t.buses(2) as [Bus, Bus];
    for (let i = 0; i < 10; i++) {
      const seen = t.seen<number>();
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

  "a signal ends its subscription": async (t) => {
    const bus = await t.open();
    const seen = t.seen<string>();
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

  "events of one publisher start their handlers in order": ordered(async (t) => {
    const [publisher, one, two] = await t.buses(3) as [Bus, Bus, Bus];
    const numbers = Array.from({ length: 1_000 }, (_, i) => i);
    const logs = [t.seen<number>(), t.seen<number>(), t.seen<number>()] as const;
    await one.subscribe("stream", logs[0].add).ready;
    await one.subscribe("s*", logs[1].add, { pattern: true }).ready;
    await two.subscribe("stream", async (i: number) => {
      logs[2].add(i);
      if (i % 100 === 0) await t.pause(1);
    }).ready;
    await Promise.all(numbers.map((i) => publisher.publish(i, "stream")));
    for (const log of logs) await log.are(numbers);
  }),

  "one handler at a time: the next event waits until it has finished": async (t) => {
    const bus = await t.open();
    const seen = t.seen<number>();
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

  "concurrency: so many handlers run at once, and no more": async (t) => {
    const bus = await t.open();
    const begun = t.seen<number>();
    const done = t.seen<number>();
    const gates = Array.from({ length: 10 }, () => t.gate());
    let running = 0;
    bus.subscribe("work", async (i: number) => {
      ok(++running <= 3, "more handlers run than may");
      begun.add(i);
      await gates[i]!.passed;
      running--;
      done.add(i);
    }, { concurrency: 3 });
    await Promise.all(gates.map((_, i) => bus.publish(i, "work")));
    await begun.count(3);
    await t.quiet();
    equal(running, 3);
    for (const gate of gates) gate.open();
    equal(new Set(await done.count(10)).size, 10);
    if (t.features.ordered) equal(begun.values, gates.map((_, i) => i));
  },

  "a handler that never ends holds up nobody else": async (t) => {
    const bus = await t.open();
    const seen = t.seen<string>();
    const { passed } = t.gate();
    bus.subscribe("news", () => passed);
    bus.subscribe("news", seen.add);
    bus.subscribe("other", seen.add);
    for (const news of ["one", "two", "three"]) await bus.publish(news, "news");
    await bus.publish("other", "other");
    equal(new Set(await seen.count(4)), new Set(["one", "two", "three", "other"]));
  },

  "a slow handler loses nothing of 3,000 events": slow(60_000, async (t) => {
    const [publisher, bus] = await t.buses(2) as [Bus, Bus];
    const seen = t.seen<number>();
    await bus.subscribe("stream", async (i: number) => {
      if (i % 10 === 0) await t.pause(0);
      seen.add(i);
    }).ready;
    await Promise.all(Array.from({ length: 3_000 }, (_, i) => publisher.publish(i, "stream")));
    equal(new Set(await seen.count(3_000)).size, 3_000);
  }),

  "a handler that stands still loses nothing of 4 MB": slow(60_000, async (t) => {
    const [publisher, bus] = await t.buses(2) as [Bus, Bus];
    const { passed, open } = t.gate();
    const seen = t.seen<number>();
    await bus.subscribe("stream", async ([i]: [number, string]) => {
      if (i === 0) await passed;
      seen.add(i);
    }).ready;
    const padding = "x".repeat(Math.min(20_000, t.features.maxBody / 2));
    const count = Math.ceil(4e6 / padding.length);
    for (let i = 0; i < count; i++) await publisher.publish([i, padding], "stream");
    open();
    equal(new Set(await seen.count(count)).size, count);
  }),

  "a handler may publish, also to its own topic": async (t) => {
    const bus = await t.open();
    const seen = t.seen<number>();
    bus.subscribe("countdown", async (i: number) => {
      seen.add(i);
      if (i > 0) await bus.publish(i - 1, "countdown");
    });
    await bus.publish(5, "countdown");
    await seen.are([5, 4, 3, 2, 1, 0]);
  },

  "for await gets the events of a topic; leaving the loop unsubscribes": async (t) => {
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

  "for await: an iterator subscribes with its first next(), so one that is not used leaves nothing": async (t) => {
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

  "for await: several loops over one topic get each event each": async (t) => {
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

  "for await: next() may be asked for several events ahead": async (t) => {
    const bus = await t.open();
    const iterator = bus.topic<number>("stream")[Symbol.asyncIterator]();
    const asked = [iterator.next(), iterator.next(), iterator.next()];
    for (let i = 0; i < 3; i++) await bus.publish(i, "stream");
    const values = (await Promise.all(asked)).map(({ value }) => value);
    equal(new Set(values), new Set([0, 1, 2]));
    await iterator.return?.();
    equal(await iterator.next(), { done: true, value: undefined });
  },

  "for await: a loop that does not come back holds up no close(), and loses nothing if it does": async (t) => {
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

  "a handler whose result throws when it is awaited is reported, and the next event is handled": async (t) => {
    const bus = await t.open();
    const errors = t.errors(bus);
    const seen = t.seen<string>();
    const failure = new Error("ask for a promise");
    const query = {
      then() {
        throw failure;
      },
    };
    bus.subscribe<string>("topic", (text) => {
      seen.add(text);
      return query;
    });
    for (const text of ["a", "b"]) await bus.publish(text, "topic");
    equal(new Set(await seen.count(2)), new Set(["a", "b"]));
    equal((await errors.count(2)).map(({ error }) => error), [failure, failure]);
  },

  "subscriber() wraps a function, and decorates a method": async (t) => {
    const bus = await t.open();
    const seen = t.seen<string>();
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

  "300 topics at once": slow(60_000, async (t) => {
    const [publisher, bus] = await t.buses(2) as [Bus, Bus];
    const seen = t.seen<string>();
    const topics = Array.from({ length: 300 }, (_, i) => `topic/${i}`);
    await Promise.all(topics.map((topic) => bus.subscribe(topic, (_, message) => seen.add(message.topic)).ready));
    await Promise.all(topics.map((topic) => publisher.publish("x", topic)));
    equal(new Set(await seen.count(300)), new Set(topics));
  }),

  "an event of 1 MB arrives, or is refused as too large": async (t) => {
    const bus = await t.open();
    const seen = t.seen<string>();
    const body = "é☃x".repeat(1e6 / 6);
    bus.subscribe("large", seen.add);
    if (t.features.maxBody < 1e6) {
      await rejects(bus.publish(body, "large"), ProviderError, "too_large");
      return;
    }
    await bus.publish(body, "large");
    ok((await seen.count(1))[0] === body, "it arrived as it was sent");
  },
};
