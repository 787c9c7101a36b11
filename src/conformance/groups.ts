/**
 * Groups: durable subscriptions, whose members share the events.
 *
 * @module
 */
import type { Bus } from "../bus.ts";
import { UnsupportedError, ValidationError } from "../errors.ts";
import type { DeadLetter } from "../queue/letter.ts";
import type { Message, SubscribeOptions, Subscription } from "../pubsub/topic.ts";
import { equal, ok, range, rejects } from "./assert.ts";
import type { CaseContext } from "./case_context.ts";
import { type CaseBody, type Cases, type Conditional, slow } from "./cases.ts";
import { drain } from "./queues.ts";

/** Milliseconds within which a case must end: binding and freeing a queue takes some seconds on SNS and SQS. */
const DEADLINE = 60_000;

/**
 * Milliseconds of the leases of members whose polls are interrupted. SQS hides the items of such a poll until their lease ends, and the
 * case waits for them.
 */
const LEASE = 5_000;

/** Creates a case for transports that have groups. */
function grouping(run: CaseBody, needs: Conditional["skip"] = () => undefined): Conditional {
  const skip: Conditional["skip"] = (features, harness) =>
    features.groups ? needs(features, harness) : "the transport has no groups";
  return { ...slow(DEADLINE, run), skip };
}

type GroupOptions = SubscribeOptions<undefined> & { readonly group: string };

/** Subscribes a member of a group, which is freed after the case. */
function join<T>(
  t: CaseContext,
  bus: Bus,
  target: string,
  handler: (event: T, message: Message) => unknown,
  options: GroupOptions,
): Subscription {
  const member = bus.subscribe<T>(target, handler, options);
  t.after(() => member.free());
  return member;
}

/** Returns the events in the order of the transport, or sorted if it keeps none. */
function inOrder({ features }: CaseContext, events: readonly number[]): number[] {
  return features.ordered ? [...events] : events.toSorted((a, b) => a - b);
}

/** Cases about groups. */
export const groups: Cases = {
  "without groups, a subscription with a group is refused": {
    skip: ({ groups }) => groups ? "the transport has groups" : undefined,
    run: async (t) => {
      const bus = await t.open();
      await rejects(() => bus.subscribe("topic", () => {}, { group: "g" }), UnsupportedError, "unsupported");
    },
  },

  "the members of a group share its events; other groups and other subscribers receive each event": grouping(
    async (t) => {
      const [publisher, one, two, other] = await t.buses(4) as [Bus, Bus, Bus, Bus];
      const seen = t.collect<number>("the events of the group");
      const audited = t.collect<number>("the events of the other group");
      const heard = t.collect<number>("the events of the plain subscriber");
      await Promise.all([
        join(t, one, "orders", seen.add, { group: "billing" }).ready,
        join(t, two, "orders", seen.add, { group: "billing" }).ready,
        join(t, other, "orders", audited.add, { group: "audit" }).ready,
        other.subscribe("orders", heard.add).ready,
      ]);
      await t.settle();
      for (const i of range(20)) await publisher.publish(i, "orders");
      for (const collector of [seen, audited, heard]) {
        equal(new Set(await collector.count(20)), new Set(range(20)), collector.what);
      }
      await t.quiet();
      equal([seen, audited, heard].map(({ values }) => values.length), [20, 20, 20]);
    },
  ),

  "events that are published while a group has no member are handled by its next member, in order": grouping(
    async (t) => {
      const [publisher, bus, later] = await t.buses(3) as [Bus, Bus, Bus];
      const first = bus.subscribe("orders", () => {}, { group: "billing", lease: LEASE });
      await first.ready;
      await first.unsubscribe();
      await bus.close();
      await t.settle();
      const events = range(Math.min(20, t.features.capacity)); // a full queue would make the publisher wait
      for (const i of events) await publisher.publish(i, "orders");
      const seen = t.collect<number>();
      join(t, later, "orders", seen.add, { group: "billing" });
      equal(inOrder(t, await seen.count(events.length)), events);
      await t.quiet();
      equal(seen.values.length, events.length);
    },
  ),

  "a publish of the same bus waits until the group is bound": grouping(
    async (t) => {
      const bus = await t.open();
      const seen = t.collect<string>();
      join(t, bus, "orders", seen.add, { group: "billing" });
      await bus.publish("x", "orders");
      await seen.are(["x"]);
    },
    ({ latency, ordered }) =>
      ordered ? undefined : `a first subscription may miss events for longer than ${latency} ms`,
  ),

  "a group of a pattern stores the events of each matching topic, and no others": grouping(async (t) => {
    const [publisher, bus] = await t.buses(2) as [Bus, Bus];
    const seen = t.collect<[unknown, string]>();
    const options = { group: "audit", pattern: true };
    await join(t, bus, "shop.*.eu", (event, { topic }) => seen.add([event, topic]), options).ready;
    await t.settle();
    await publisher.publish(1, "shop.orders.eu");
    await publisher.publish(2, "shop.orders.us");
    await publisher.publish(3, "shop.a/b é.eu");
    await publisher.publish(4, "shop.*.eu");
    const got = await seen.count(3);
    equal(got.toSorted(), [[1, "shop.orders.eu"], [3, "shop.a/b é.eu"], [4, "shop.*.eu"]]);
    await t.quiet();
    equal(seen.values.length, 3);
    equal((await bus.queue("shop.*.eu@audit").stats()).waiting, 0);
  }),

  "a message of a group has the headers, the type, the attempt and a signal": grouping(async (t) => {
    class Paid {
      static readonly topic = "kit.Paid";
      constructor(readonly amount: number) {}
    }
    const [publisher, bus] = await t.buses(2) as [Bus, Bus];
    const seen = t.collect<unknown[]>();
    const member = bus.subscribe(Paid, (event, message) => {
      const { topic, type, headers, attempt, signal } = message;
      seen.add([event instanceof Paid && event.amount, topic, type, headers.tenant, attempt, signal?.aborted]);
    }, { group: "billing" });
    t.after(() => member.free());
    await member.ready;
    await t.settle();
    await publisher.publish(new Paid(7), { headers: { tenant: "acme" } });
    await seen.are([[7, "kit.Paid", "kit.Paid", "acme", 1, false]]);
  }),

  "an event whose handler fails is retried, then dead-lettered; a retried dead letter becomes the original event again":
    grouping(
      async (t) => {
        const [publisher, bus] = await t.buses(2) as [Bus, Bus];
        const errors = t.errors(bus);
        const seen = t.collect<unknown[]>();
        let failing = true;
        const member = join<string>(t, bus, "shop.*", (event, { topic, headers, attempt }) => {
          seen.add([event, topic, headers.tenant, attempt]);
          if (failing) throw new Error("not today");
        }, { group: "billing", pattern: true, maxAttempts: 2, backoff: 1, lease: 60_000 });
        await member.ready;
        await t.settle();
        await publisher.publish("o-1", "shop.orders", { headers: { tenant: "acme" } });
        equal(await seen.count(2), [["o-1", "shop.orders", "acme", 1], ["o-1", "shop.orders", "acme", 2]]);
        await errors.count(2);
        const queue = bus.queue("shop.*@billing");
        await t.until(async () => await queue.dead.size() === 1, "the event is a dead letter");
        if (t.features.peek) {
          const [letter] = await queue.dead.peek();
          equal((letter as { item: DeadLetter }).item.item, "o-1");
        }
        failing = false;
        await t.until(async () => await queue.dead.retry() === 1, "the dead letter goes back");
        equal((await seen.count(3))[2], ["o-1", "shop.orders", "acme", 1]);
      },
    ),

  "the event of a member that is closed by force goes to another member": grouping(async (t) => {
    const [publisher, goes, stays] = await t.buses(3) as [Bus, Bus, Bus];
    t.errors(goes);
    const { passed } = t.gate();
    const seen = t.collect<number>();
    await goes.subscribe<number>("orders", async (event) => {
      seen.add(event);
      await passed;
    }, { group: "billing", lease: 60_000 }).ready;
    await t.settle();
    await publisher.publish(1, "orders");
    await seen.count(1);
    await goes.close({ timeout: 2_000 });
    const again = t.collect<[number, number | undefined]>();
    join<number>(t, stays, "orders", (event, { attempt }) => again.add([event, attempt]), { group: "billing" });
    await again.are([[1, 2]]);
  }, ({ exactAttempts }) => exactAttempts ? undefined : "the attempt of a lost lease is not exact"),

  "free() ends a group: nothing of it remains, and no event is stored any more": grouping(async (t) => {
    const [publisher, bus] = await t.buses(2) as [Bus, Bus];
    const errors = t.errors(bus);
    const fail = () => {
      throw new Error("on purpose");
    };
    const member = bus.subscribe("orders", fail, { group: "billing", maxAttempts: 1 });
    await member.ready;
    await t.settle();
    await publisher.publish(1, "orders");
    await errors.count(1);
    const queue = publisher.queue("orders@billing");
    await t.until(async () => await queue.dead.size() === 1, "the event is a dead letter");
    await member.unsubscribe();
    await publisher.publish(2, "orders");
    // a member that ends may take the item and give it back; if sizes are not exact, the item may then still count as leased
    const stored = async () => {
      const { waiting = 0, leased = 0 } = await queue.stats();
      return waiting + leased === 1;
    };
    await t.until(stored, "the event is stored");
    await member.free();
    await member.free();
    await member.closed;
    await t.settle();
    await publisher.publish(3, "orders");
    await t.quiet();
    equal([await queue.qsize(), await queue.dead.size()], [0, 0]);
    t.frees("orders@billing", "orders@billing.dead");
  }),

  "an event that cannot be read is dead-lettered, and the next one is handled": grouping(async (t) => {
    const bus = await t.open();
    const client = await t.rawClient();
    const errors = t.errors(bus);
    const seen = t.collect<string>();
    await join(t, bus, "orders", seen.add, { group: "billing" }).ready;
    await t.settle();
    await client.publish("orders", "{not JSON");
    await bus.publish("x", "orders");
    await seen.are(["x"]);
    ok((await errors.count(1))[0]!.error instanceof ValidationError, "the error is a ValidationError");
    const { dead } = bus.queue("orders@billing");
    await t.until(async () => await dead.size() === 1, "the event is a dead letter");
  }),

  "publish() returns the same number with groups as without": grouping(async (t) => {
    const [publisher, bus] = await t.buses(2) as [Bus, Bus];
    await join(t, bus, "orders", () => {}, { group: "billing" }).ready;
    equal(await publisher.publish(1, "orders"), 0);
    await bus.subscribe("orders", () => {}).ready;
    equal(await publisher.publish(2, "orders"), 1);
  }, ({ counts }) => counts ? undefined : "the transport does not know how many it reached"),

  "a group outlives all its buses": grouping(async (t) => {
    const bus = await t.open();
    await bus.subscribe("orders", () => {}, { group: "billing", lease: LEASE }).ready;
    await bus.close();
    const publisher = await t.open();
    for (const i of range(5)) await publisher.publish(i, "orders");
    await publisher.close();
    const later = await t.open();
    const seen = t.collect<number>();
    const member = join(t, later, "orders", seen.add, { group: "billing" });
    equal(inOrder(t, await seen.count(5)), range(5));
    await member.unsubscribe();
    equal(await drain(t, later.queue("orders@billing")), []);
  }, ({ durable }) => durable ? undefined : "the queues end with the last bus"),

  "accepted events that are published while connections break reach the group, and free() ends the group even then": {
    ...grouping(async (t) => {
      const [publisher, bus] = await t.buses(2) as [Bus, Bus];
      t.errors(publisher);
      t.errors(bus);
      const seen = t.collect<number>();
      const accepted = new Set<number>();
      const member = join<number>(t, bus, "orders", seen.add, { group: "billing", lease: LEASE });
      await member.ready;
      for (const i of range(60)) {
        if (i % 20 === 10) await t.faults.cut();
        await publisher.publish(i, "orders").then(() => accepted.add(i), () => {});
        await t.pause(5);
      }
      await t.until(() => [...accepted].every((i) => seen.values.includes(i)), "each accepted event is handled");
      ok(accepted.size > 0, "some events were accepted");
      await t.faults.cut();
      await member.free();
    }, (_, { faults }) => faults ? undefined : "the harness cannot break connections"),
    alone: true,
  },
};
