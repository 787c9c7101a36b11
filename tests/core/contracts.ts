/**
 * Schemas, which validate on both sides: before values are sent, and before they are used.
 *
 * @module
 */
import type { Bus } from "../../src/bus.ts";
import { ValidationError } from "../../src/errors.ts";
import { equal, ok, rejects } from "../../src/conformance/assert.ts";
import { drain } from "../../src/conformance/queues.ts";
import type { Cases } from "../../src/conformance/cases.ts";
import { schema } from "../../src/conformance/schemas.ts";
import { amount, length, slowAmount } from "./schemas.ts";

class Payment {
  static readonly topic = "kit.payment";
  static readonly schema = schema<{ amount: number }>((value) => {
    const { amount } = value as { amount?: unknown };
    if (typeof amount !== "number" || amount < 0) throw "no amount";
    return { amount };
  });
  constructor(readonly amount: number) {}
  doubled(): number {
    return 2 * this.amount;
  }
}

/** A subclass without a schema of its own; the schema of its parent does not know its fields. */
class Refund extends Payment {
  static override readonly topic: "kit.payment" = "kit.refund" as "kit.payment";
  constructor(amount: number, readonly reason: string) {
    super(amount);
  }
}

/** Cases about schemas of topics, subscriptions, classes and queues. */
export const contracts: Cases = {
  "publish() rejects an event that the topic's schema refuses, and sends nothing": async (t) => {
    const [publisher, bus] = await t.buses(2) as [Bus, Bus];
    for (const [how, schema] of [["sync", amount], ["async", slowAmount]] as const) {
      const seen = t.collect<unknown>();
      await bus.subscribe(how, seen.add).ready;
      const topic = publisher.topic(how, { schema });
      const error = await rejects(() => topic.publish(-1), ValidationError, "invalid", `an ${how} schema`);
      equal(error.issues, [{ message: "no amount", path: ["field"] }]);
      await rejects(() => publisher.publish(-1, topic), ValidationError, "invalid", `publish with an ${how} schema`);
      await topic.publish(1);
      await seen.are([1]);
      await t.quiet();
      equal(seen.values, [1]);
    }
  },

  "subscribe() with a schema validates events of a class and of a topic as well": async (t) => {
    const [publisher, bus] = await t.buses(2) as [Bus, Bus];
    const errors = t.errors(bus);
    const seen = t.collect<unknown>();
    const large = schema((value) => {
      const { amount } = value as Payment;
      if (amount < 10) throw "too small";
      return `${value instanceof Payment} ${amount}`;
    });
    await bus.subscribe(Payment, seen.add, { schema: large }).ready;
    await bus.subscribe(bus.topic("texts", { schema: amount }), seen.add, { schema: length }).ready;
    await publisher.publish(new Payment(1));
    await publisher.publish(new Payment(20));
    await publisher.publish("four", "texts");
    equal(new Set(await seen.count(2)), new Set(["true 20", 4]));
    ok((await errors.count(1))[0]!.error instanceof ValidationError, "the small one is refused");
  },

  "the schema of a class does not validate its subclasses": async (t) => {
    const bus = await t.open();
    const seen = t.collect<unknown>();
    await bus.subscribe(Refund, seen.add).ready;
    await bus.publish(new Refund(-1, "broken"));
    equal((await seen.count(1))[0], new Refund(-1, "broken"));
  },

  "an event that a subscriber's schema refuses is reported, and the next events arrive": async (t) => {
    const [publisher, bus] = await t.buses(2) as [Bus, Bus];
    const errors = t.errors(bus);
    const seen = t.collect<[string, unknown]>();
    const others = t.collect<unknown>();
    await Promise.all([
      bus.subscribe("prices", (price) => seen.add(["sync", price]), { schema: amount }).ready,
      bus.subscribe("prices", (price) => seen.add(["async", price]), { schema: slowAmount }).ready,
      bus.topic("prices", { schema: amount }).subscribe((price) => seen.add(["topic", price])).ready,
      bus.subscribe("prices", others.add).ready,
    ]);
    for (const price of [1, "free", 2]) await publisher.publish(price, "prices");
    const got = await seen.count(6);
    for (const how of ["sync", "async", "topic"]) {
      equal(new Set(got.filter(([by]) => by === how).map(([, price]) => price)), new Set([1, 2]), how);
    }
    const reported = await errors.count(3);
    ok(reported.every(({ error }) => error instanceof ValidationError), "each error is a ValidationError");
    equal(reported.map(({ topic }) => topic), ["prices", "prices", "prices"]);
    equal(new Set(await others.count(3)), new Set([1, "free", 2]), "what a handler without a schema got");
  },

  "a handler receives the output of the schema; the published event is sent unchanged": async (t) => {
    const bus = await t.open();
    const seen = t.collect<unknown>();
    const topic = bus.topic("texts", { schema: length });
    topic.subscribe(seen.add);
    bus.subscribe("texts", seen.add);
    await topic.publish("seven !");
    equal(new Set(await seen.count(2)), new Set<unknown>([7, "seven !"]));
  },

  "an asynchronous schema keeps the order of events": async (t) => {
    const [publisher, bus] = await t.buses(2) as [Bus, Bus];
    if (!t.features.ordered) return;
    const logs = [
      t.collect<number>("with an async schema at the subscriber"),
      t.collect<number>("at the publisher"),
    ] as const;
    await bus.subscribe("a", logs[0].add, { schema: slowAmount }).ready;
    await bus.subscribe("b", logs[1].add).ready;
    const numbers = Array.from({ length: 20 }, (_, i) => i % 4);
    await Promise.all(numbers.map((i) => publisher.publish(i, "a")));
    await Promise.all(numbers.map((i) => publisher.publish(i, publisher.topic("b", { schema: slowAmount }))));
    await logs[0].are(numbers);
    await logs[1].are(numbers);
  },

  "publisher and subscriber validate by the schema of a class": async (t) => {
    const [publisher, bus] = await t.buses(2) as [Bus, Bus];
    const errors = t.errors(bus);
    const seen = t.collect<Payment>();
    await bus.subscribe(Payment, seen.add).ready;
    await rejects(() => publisher.publish(new Payment(-1)), ValidationError);
    await publisher.publish({ amount: "much" }, "kit.payment");
    await publisher.publish(new Payment(4));
    const [payment] = await seen.count(1) as [Payment];
    equal(payment.doubled(), 8);
    const [first] = await errors.count(1);
    ok(first!.error instanceof ValidationError, "the wrong one is reported as a ValidationError");
    equal(seen.values.length, 1);
  },

  "put() rejects an item that the queue's schema refuses, and puts nothing": async (t) => {
    const bus = await t.open();
    const raw = t.queue(bus, "amounts");
    for (const [how, schema] of [["sync", amount], ["async", slowAmount]] as const) {
      const queue = bus.queue("amounts", { schema });
      await rejects(() => queue.put(-1), ValidationError, "invalid", `an ${how} schema`);
      await rejects(() => queue.putNowait(-1), ValidationError, "invalid", `an ${how} schema`);
      await queue.put(1);
      equal(await drain(t, raw), [1] as unknown[]);
    }
  },

  "if the queue's schema refuses an item at get(), the error contains the item": async (t) => {
    const bus = await t.open();
    const raw = t.queue<unknown>(bus, "amounts");
    const queue = bus.queue("amounts", { schema: amount });
    await raw.put("free");
    await raw.put(2);
    const got: number[] = [];
    const errors: ValidationError[] = [];
    for (let i = 0; i < 2; i++) {
      await queue.get().then((item) => got.push(item), (error) => errors.push(error));
    }
    equal(got, [2]);
    ok(errors[0] instanceof ValidationError, `get() rejected with ${errors[0]} instead of a ValidationError`);
    equal(errors.map(({ body }) => body), ['"free"']);
  },

  "an item that a queue's schema refuses at receive() goes to the dead-letter queue": async (t) => {
    const bus = await t.open();
    const raw = t.queue<unknown>(bus, "amounts");
    await raw.put("free");
    await rejects(() => bus.queue("amounts", { schema: amount }).receive(), ValidationError);
    const letter = await bus.queue<{ item: unknown; queue: string }>("amounts.dead").get({ timeout: 5_000 });
    equal(letter.queue, "amounts");
    await t.quiet();
    equal(await drain(t, raw), []);
  },

  "get(), receive() and consume() return the output of the schema": async (t) => {
    const bus = await t.open();
    t.frees("texts");
    const queue = bus.queue("texts", { schema: length });
    await queue.put("seven !");
    equal(await queue.get(), 7);
    await queue.put("one");
    const lease = await queue.receive();
    equal(lease.item, 3);
    await lease.ack();
    const seen = t.collect<number>();
    queue.consume(seen.add);
    await queue.put("three");
    await seen.are([5]);
  },

  "a value is refused if its schema throws": async (t) => {
    const bus = await t.open();
    const errors = t.errors(bus);
    const broken = {
      "~standard": {
        version: 1,
        vendor: "tsmq",
        validate: (): never => {
          throw new Error("broken");
        },
      },
    } as const;
    await rejects(() => bus.topic("x", { schema: broken }).publish("x" as never), ValidationError);
    const seen = t.collect<unknown>();
    bus.subscribe("x", () => seen.add("refused"), { schema: broken });
    bus.subscribe("x", seen.add);
    await bus.publish("x", "x");
    await errors.count(1);
    await seen.are(["x"]);
  },
};
