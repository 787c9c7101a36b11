/** Cases about groups in which the transport makes no difference. */
import * as tsmq from "../../mod.ts";
import type { Bus } from "../../src/bus.ts";
import { NotInitializedError, TimeoutError, ValidationError } from "../../src/errors.ts";
import { each, equal, ok, rejects } from "../../src/conformance/assert.ts";
import type { Cases } from "../../src/conformance/cases.ts";
import { schema } from "../../src/conformance/schemas.ts";
import type { SubscribeOptions } from "../../src/pubsub/topic.ts";
import { alone } from "./global.ts";

class Order {
  static readonly topic = "kit.Order";
  constructor(readonly id: number) {}
}

/** Cases about groups in which the transport makes no difference. */
export const groups: Cases = {
  "an invalid group, and an option that needs one, is refused, and nothing is bound": async (t) => {
    const bus = await t.open();
    const no = (value: unknown) => value as never;
    const options: Record<string, SubscribeOptions<undefined>> = {
      "an empty group": { group: "" },
      "a group that is a number": { group: no(7) },
      "a group with @": { group: "a@b" },
      "a group with NUL": { group: "a\0b" },
      "a group that ends with .dead": { group: "billing.dead" },
      "a group that ends with .fifo": { group: "billing.fifo" },
      "lease without a group": { lease: 1_000 },
      "maxAttempts without a group": { maxAttempts: 1 },
      "backoff without a group": { backoff: 1 },
      "deadLetter without a group": { deadLetter: "dead" },
      "handlerTimeout without a group": { handlerTimeout: 1 },
      "an endless lease": { group: "g", lease: Infinity },
      "a lease of 0": { group: "g", lease: 0 },
      "no attempts": { group: "g", maxAttempts: 0 },
      "a negative backoff": { group: "g", backoff: -1 },
      "an empty deadLetter": { group: "g", deadLetter: "" },
      "a handlerTimeout of 0": { group: "g", handlerTimeout: 0 },
      "no concurrency": { group: "g", concurrency: 0 },
      "a signal that is an object": { group: "g", signal: no({}) },
    };
    await each(
      options,
      (each, what) => rejects(() => bus.subscribe("topic", () => {}, each).ready, ValidationError, "invalid", what),
    );
    await bus.publish("x", "topic");
    equal(await bus.queue("topic@g").qsize(), 0);
    await rejects(() => bus.subscribe("topic", () => {}).free(), ValidationError, "invalid");
  },

  "members end by unsubscribe(), by their signal, and with await using; the group stays": async (t) => {
    const bus = await t.open();
    const seen = t.collect<string>();
    const handler = (text: string) => seen.add(text);
    const abort = new AbortController();
    const members = [
      bus.subscribe("topic", handler, { group: "g" }),
      bus.subscribe("topic", handler, { group: "g", signal: abort.signal }),
    ];
    {
      await using member = bus.subscribe("topic", handler, { group: "g" });
      members.push(member);
      equal({ topic: member.topic, pattern: member.pattern }, { topic: "topic", pattern: false });
      await bus.publish("one", "topic");
      await seen.are(["one"]);
    }
    await bus.unsubscribe("topic", handler);
    abort.abort();
    await Promise.all(members.map(({ closed }) => closed));
    await bus.publish("two", "topic");
    equal(await bus.queue("topic@g").qsize(), 1);
    const last = bus.subscribe("topic", handler, { group: "g" });
    await seen.are(["one", "two"]);
    await last.free();
    await last.closed;
  },

  "a class, a topic or a schema determines what the handler of a group receives": async (t) => {
    const bus = await t.open();
    const errors = t.errors(bus);
    const seen = t.collect<unknown>();
    const length = schema<string, number>((value) => {
      if (typeof value !== "string") throw new Error("no string");
      return value.length;
    });
    bus.subscribe(Order, (order) => seen.add(order instanceof Order && order.id), { group: "class" });
    bus.topic("words", { schema: length }).subscribe((n) => seen.add(n), { group: "topic" });
    await bus.publish(new Order(7));
    await seen.are([7]);
    await bus.publish("four", "words");
    await seen.are([7, 4]);
    await bus.publish({ id: "no order" }, "words");
    ok((await errors.count(1))[0]!.error instanceof ValidationError, "the schema refuses the event");
    await t.until(async () => await bus.queue("words@topic").dead.size() === 1, "the event is a dead letter");
  },

  "concurrency and handlerTimeout apply to a group": async (t) => {
    const bus = await t.open();
    const errors = t.errors(bus);
    const { passed, open } = t.gate();
    const seen = t.collect<number>();
    bus.subscribe<number>("topic", async (n) => {
      seen.add(n);
      await passed;
    }, { group: "wide", concurrency: 3 });
    for (let n = 0; n < 5; n++) await bus.publish(n, "topic");
    await seen.are([0, 1, 2]);
    await t.quiet();
    equal(seen.values.length, 3);
    open();
    await seen.are([0, 1, 2, 3, 4]);
    const aborted = t.collect<unknown>();
    bus.subscribe("slow", async (_, { attempt, signal }) => {
      if (attempt! > 1) return void aborted.add("again");
      await new Promise<void>((resolve) => signal!.addEventListener("abort", () => resolve()));
      aborted.add(signal!.reason instanceof TimeoutError);
    }, { group: "g", handlerTimeout: 20, backoff: 1 });
    await bus.publish("x", "slow");
    await aborted.are([true, "again"]);
    ok((await errors.count(1))[0]!.error instanceof TimeoutError, "the late handler is reported");
  },

  "the dead letters of a group can be in a queue that the user names, which free() leaves": async (t) => {
    const bus = await t.open();
    const errors = t.errors(bus);
    const fail = () => {
      throw new Error("on purpose");
    };
    const member = bus.subscribe("topic", fail, { group: "g", maxAttempts: 1, deadLetter: "graves" });
    await bus.publish("x", "topic");
    await errors.count(1);
    const graves = t.queue(bus, "graves");
    await t.until(async () => await graves.qsize() === 1, "the event is a dead letter");
    await member.free();
    equal(await graves.qsize(), 1);
  },

  "a handler may end its own group and close its own bus": async (t) => {
    const [bus, other] = await t.buses(2) as [Bus, Bus];
    t.errors(bus);
    const ended = t.collect<string>();
    const member = bus.subscribe("topic", async () => {
      await member.unsubscribe();
      ended.add("unsubscribed");
    }, { group: "one" });
    bus.subscribe("last", async () => {
      await bus.close();
      ended.add("closed");
    }, { group: "two" });
    await bus.publish("x", "topic");
    await ended.are(["unsubscribed"]);
    await other.publish("x", "last");
    await ended.are(["unsubscribed", "closed"]);
    await bus.closed;
  },

  "members join before init(), and the default bus has groups": alone(async (t, init) => {
    const seen = t.collect<string>();
    const early = tsmq.subscribe("topic", (text: string) => seen.add(`early ${text}`), { group: "early" });
    await rejects(() => tsmq.subscribe("topic", () => {}, { group: "" }).ready, ValidationError);
    await rejects(() => tsmq.subscribe("topic", () => {}, { lease: 1 }).ready, ValidationError);
    await rejects(() => early.free(), NotInitializedError);
    const plain = tsmq.subscribe("other", () => {});
    await rejects(() => plain.free(), ValidationError);
    await init();
    tsmq.subscriber("topic", { group: "late" })((text: string) => seen.add(`late ${text}`));
    await tsmq.publish("x", "topic");
    equal((await seen.count(2)).toSorted(), ["early x", "late x"]);
    await early.free();
    await early.closed;
    await tsmq.publish("y", "topic");
    equal((await seen.count(3))[2], "late y");
  }),
};
