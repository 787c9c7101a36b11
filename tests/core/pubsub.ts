/** Cases about events in which the transport makes no difference. */
import { ValidationError } from "../../src/errors.ts";
import { equal, ok, rejects } from "../../src/conformance/assert.ts";
import type { Cases } from "../../src/conformance/cases.ts";
import { Named } from "../../src/conformance/pubsub.ts";

class Unnamed {
  constructor(readonly text: string) {}
  /** The text that marks native code; this class is not native. */
  static readonly note = "[native code]";
}

/** Cases about events in which the transport makes no difference. */
export const pubsub: Cases = {
  "publish(event) uses the static topic of the class, or else its name": async (t) => {
    const bus = await t.open();
    const seen = t.collect<[string, string]>();
    for (const topic of ["kit.named", "Unnamed", "Named"]) {
      bus.subscribe<{ text: string }>(topic, ({ text }, message) => seen.add([message.topic, text]));
    }
    await bus.publish(new Named("one"));
    await bus.publish(new Unnamed("two"));
    equal((await seen.count(2)).toSorted(), [["Unnamed", "two"], ["kit.named", "one"]]);
    await t.quiet();
    equal(seen.values.length, 2);
  },

  "publish(event) without a topic refuses values that have no class": async (t) => {
    const bus = await t.open();
    const values = [{}, { a: 1 }, [], "text", 1, 1n, true, null, undefined, new Date(), new Map(), new Uint8Array(1)];
    for (const value of [...values, () => {}, Symbol("s"), Object.create(null)]) {
      await rejects(() => bus.publish(value as object), ValidationError, "invalid", `publish(${typeof value})`);
    }
  },

  "topic.publish() reaches subscribers of its name": async (t) => {
    const bus = await t.open();
    const seen = t.collect<number>();
    bus.subscribe("prices", seen.add);
    await bus.topic<number>("prices").publish(12);
    await seen.are([12]);
  },

  "concurrency limits how many events a handler handles at once": async (t) => {
    const bus = await t.open();
    const begun = t.collect<number>();
    const done = t.collect<number>();
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

  "a handler whose result throws when it is awaited is reported, and the next event is handled": async (t) => {
    const bus = await t.open();
    const errors = t.errors(bus);
    const seen = t.collect<string>();
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
};
