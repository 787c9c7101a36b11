/**
 * Leased items: each is redelivered unless it is acknowledged.
 *
 * @module
 */
import type { Bus } from "../bus.ts";
import type { DeadLetter } from "../queue/letter.ts";
import { BusError, QueueEmptyError } from "../errors.ts";
import type { BusErrorEvent } from "../events.ts";
import { equal, ok, rejects, rejectsWith } from "./assert.ts";
import { drain } from "./queues.ts";
import type { Cases, Conditional } from "./cases.ts";
import { dieHolding } from "./raw_client.ts";

/** Milliseconds of a short lease; the coarsest transports count in seconds. */
const LEASE = 1_000;
/** Milliseconds of a delay that is longer than the next two requests take on a busy machine. */
const DELAY = 3 * LEASE;

/** The reason not to test the attempts of a process that dies. */
const uncounted: Conditional["skip"] = ({ durable, exactAttempts }) => {
  if (!durable) return "its worker is the transport";
  return exactAttempts ? undefined : "the transport counts takes";
};

/** Cases about leases. */
export const leases: Cases = {
  "ack() removes the item": async (t) => {
    const bus = await t.open();
    const queue = t.queue<string>(bus, "held");
    await queue.put("item");
    const lease = await queue.receive({ lease: LEASE });
    equal({ item: lease.item, attempt: lease.attempt }, { item: "item", attempt: 1 });
    await rejects(() => queue.getNowait(), QueueEmptyError, "queue_empty", "a get while the item is held");
    await lease.ack();
    await t.pause(1.5 * LEASE);
    equal(await drain(t, queue), []);
  },

  "nack() gives the item back to the head of the queue and counts an attempt": async (t) => {
    const [bus, other] = await t.buses(2) as [Bus, Bus];
    const queue = t.queue<string>(bus, "held");
    for (const item of ["first", "second"]) await queue.put(item);
    for (const attempt of [1, 2, 3]) {
      const lease = await (attempt % 2 ? bus : other).queue<string>("held").receive({ timeout: 30_000 });
      equal(lease.attempt, attempt);
      if (t.features.ordered) equal(lease.item, "first");
      await lease.nack();
      if (!t.features.ordered) return;
    }
    equal(await drain(t, queue), ["first", "second"]);
  },

  "nack({ delay }) gives the item back later, and does not delay other items": async (t) => {
    const bus = await t.open();
    const queue = t.queue<string>(bus, "held");
    await queue.put("first");
    const lease = await queue.receive();
    const start = performance.now();
    await lease.nack({ delay: DELAY });
    await queue.put("second");
    equal(await queue.get(), "second");
    await rejects(() => queue.getNowait(), QueueEmptyError, "queue_empty", "a get before the delay was over");
    const again = await queue.receive({ timeout: 30_000 });
    const waited = performance.now() - start;
    ok(waited > 0.9 * DELAY, `it came back after ${waited} ms instead of ${DELAY}`);
    equal({ item: again.item, attempt: again.attempt }, { item: "first", attempt: 2 });
    await again.ack();
  },

  "a get takes a returned item": async (t) => {
    const bus = await t.open();
    const queue = t.queue<string>(bus, "held");
    await queue.put("item");
    await (await queue.receive()).nack();
    equal(await queue.get({ timeout: 30_000 }), "item");
  },

  "a waiting get takes a returned item": async (t) => {
    const [bus, other] = await t.buses(2) as [Bus, Bus];
    const queue = t.queue<string>(bus, "held");
    await queue.put("item");
    const lease = await queue.receive();
    const got = other.queue<string>("held").get();
    await t.quiet();
    await lease.nack();
    equal(await got, "item");
  },

  "await using gives back an item that was not settled, and no other": async (t) => {
    const bus = await t.open();
    const queue = t.queue<string>(bus, "held");
    await queue.put("item");
    {
      await using lease = await queue.receive();
      equal(lease.attempt, 1);
    }
    {
      await using lease = await queue.receive({ timeout: 30_000 });
      equal(lease.attempt, 2);
      await lease.ack();
    }
    await t.quiet();
    equal(await drain(t, queue), []);
  },

  "settling twice has no effect; ack() after nack() rejects because the lease is lost": async (t) => {
    const bus = await t.open();
    const queue = t.queue<string>(bus, "held");
    await queue.put("one");
    const one = await queue.receive();
    await one.ack();
    await one.ack();
    await one.nack();
    await t.quiet();
    equal(await drain(t, queue), []);
    await queue.put("two");
    const two = await queue.receive();
    await two.nack();
    await two.nack();
    await rejects(() => two.ack(), BusError, "lease_lost");
    equal(await drain(t, queue), ["two"]);
  },

  "the signal of a lease aborts when the lease is lost, and not when the item is settled": async (t) => {
    const [bus, other] = await t.buses(2) as [Bus, Bus];
    const queue = t.queue<string>(bus, "held");
    for (const item of ["settled", "lost", "lost"]) await queue.put(item);
    const lease = 3 * LEASE; // long enough that a busy machine extends it in time
    const settled = await queue.receive({ lease });
    const watched = await queue.receive({ lease });
    const unwatched = await queue.receive({ lease });
    equal([settled.signal.aborted, watched.signal.aborted], [false, false]);
    await settled.ack();
    const lost = t.collect<unknown>("the reasons");
    watched.signal.addEventListener("abort", () => lost.add(watched.signal.reason));
    await other.queue("held").free();
    const [reason] = await lost.count(1);
    ok(reason instanceof BusError && reason.code === "lease_lost", `the signal aborted with ${reason}`);
    await t.until(() => unwatched.signal.aborted, "a signal that is first read later has aborted too");
    equal(settled.signal.aborted, false, "whether the signal of a settled item aborted");
    await rejects(() => watched.ack(), BusError, "lease_lost");
  },

  "a handler that fails after its lease was lost makes no dead letter, and is reported once": async (t) => {
    const [bus, other] = await t.buses(2) as [Bus, Bus];
    const errors = t.errors(bus);
    const queue = t.queue<string>(bus, "held");
    const started = t.collect<string>("the started items");
    const late = new Error("too late");
    const consumer = queue.consume(async (item, { signal }) => {
      started.add(item);
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      throw late;
    }, { maxAttempts: 1, lease: 3 * LEASE });
    await queue.put("item");
    await started.count(1);
    await other.queue("held").free();
    const [{ error, next, delay }] = await errors.count(1) as [BusErrorEvent];
    // another consumer may have the item, and may have finished it
    equal({ late: error === late, next, delay }, { late: true, next: undefined, delay: undefined });
    await consumer.close();
    equal(await bus.queue("held.dead").qsize(), 0, "the number of dead letters");
    equal(errors.values.length, 1, "the number of reports");
  },

  "an item that was given back after its last attempt is dead-lettered, and reported": {
    skip: ({ exactAttempts }) => exactAttempts ? undefined : "the transport counts takes",
    run: async (t) => {
      const bus = await t.open();
      const errors = t.errors(bus);
      const queue = t.queue<string>(bus, "held");
      await queue.put("item");
      await (await queue.receive()).nack();
      const consumer = queue.consume(() => ok(false, "its attempts were over"), { maxAttempts: 1 });
      const [{ verb, name, attempt, next, message, error }] = await errors.count(1) as [BusErrorEvent];
      equal({ verb, name, attempt, next }, { verb: "consume", name: "held", attempt: 1, next: "dead-letter" });
      equal((error as BusError).code, "lease_lost");
      const { item, attempts, cause } = await t.queue<DeadLetter>(bus, "held.dead").get({ timeout: 30_000 });
      equal({ item, attempts, cause: cause.message }, { item: "item", attempts: 1, cause: message });
      await consumer.close();
    },
  },

  "a lease is extended until the item is settled": {
    deadline: 30_000,
    run: async (t) => {
      const [bus, other] = await t.buses(2) as [Bus, Bus];
      const queue = t.queue<string>(bus, "held");
      await queue.put("item");
      // long enough for a busy machine to extend it in time
      const ms = 3 * LEASE;
      const lease = await queue.receive({ lease: ms });
      const end = performance.now() + 2 * ms;
      while (performance.now() < end) {
        await rejects(() => other.queue("held").getNowait(), QueueEmptyError, "queue_empty", "a get while it is held");
        await t.pause(100);
      }
      await lease.ack();
      await t.pause(ms + LEASE);
      equal(await drain(t, queue), []);
    },
  },

  "a closing bus gives back its leased items": async (t) => {
    const [holder, bus] = await t.buses(2) as [Bus, Bus];
    const queue = t.queue<string>(bus, "held");
    await queue.put("item");
    await holder.queue<string>("held").receive({ lease: 60_000 });
    await holder.close();
    const lease = await queue.receive({ timeout: 30_000 });
    equal({ item: lease.item, attempt: lease.attempt }, { item: "item", attempt: 2 });
    await lease.ack();
  },

  "the item of a dead process is redelivered when its lease has expired": {
    skip: ({ durable }) => durable ? undefined : "its worker is the transport",
    deadline: 30_000,
    run: async (t) => {
      const bus = await t.open();
      const queue = t.queue<string>(bus, "held");
      await queue.put("item");
      t.after(await dieHolding(t.provider, t.namespace, "held", LEASE, true));
      const lease = await queue.receive({ timeout: 30 * LEASE });
      equal({ item: lease.item, attempt: lease.attempt }, { item: "item", attempt: 2 });
      await lease.ack();
    },
  },

  "a process that dies before its handler starts counts no attempt; an item that kills each process is detected": {
    skip: uncounted,
    deadline: 40_000,
    run: async (t) => {
      const bus = await t.open();
      const queue = t.queue<string>(bus, "held");
      await queue.put("item");
      t.after(await dieHolding(t.provider, t.namespace, "held", LEASE, false));
      const lease = await queue.receive({ timeout: 30 * LEASE, lease: LEASE });
      equal({ item: lease.item, attempt: lease.attempt }, { item: "item", attempt: 1 });
      await lease.nack();
      t.after(await dieHolding(t.provider, t.namespace, "held", LEASE, true));
      const errors = t.errors(bus);
      const consumer = queue.consume(() => ok(false, "its attempts were over"), { maxAttempts: 2 });
      const { item, attempts } = await t.queue<DeadLetter>(bus, "held.dead").get({ timeout: 30 * LEASE });
      equal({ item, attempts }, { item: "item", attempts: 2 });
      const [{ attempt, next }] = await errors.count(1) as [BusErrorEvent];
      equal({ attempt, next }, { attempt: 2, next: "dead-letter" });
      await consumer.close();
    },
  },

  "an item that killed the processes that read it is dead-lettered without being read, and retried as it was": {
    skip: uncounted,
    deadline: 40_000,
    run: async (t) => {
      const bus = await t.open();
      const errors = t.errors(bus);
      const validate = () => ({ issues: [{ message: "it was read" }] });
      const schema = { "~standard": { version: 1, vendor: "test", validate } } as const;
      const queue = t.queue<string>(bus, "held");
      await queue.put("item");
      // the process of its only attempt, and the one that read it for its dead letter
      for (let i = 0; i < 2; i++) t.after(await dieHolding(t.provider, t.namespace, "held", LEASE, true));
      const consumer = bus.queue("held", { schema }).consume(() => {}, { maxAttempts: 1 });
      const [{ next, message }] = await errors.count(1) as [BusErrorEvent];
      ok(next === "dead-letter" && !message.includes("it was read"), message);
      await t.until(async () => await queue.dead.size() === 1, "it is a dead letter");
      await consumer.close();
      equal(await queue.dead.retry({ only: ({ item, unreadable }) => unreadable === true && item === '"item"' }), 1);
      const { item, attempt } = await queue.receive({ timeout: 10_000 });
      equal({ item, attempt }, { item: "item", attempt: 1 });
    },
  },

  "ack() of a lost lease rejects with lease_lost": async (t) => {
    const [bus, other] = await t.buses(2) as [Bus, Bus];
    const queue = t.queue<string>(bus, "held");
    await queue.put("item");
    const lease = await queue.receive();
    await other.queue("held").free();
    await t.settle();
    await rejects(() => lease.ack(), BusError, "lease_lost");
  },

  "an item that is given back after another bus has cancelled its wait goes to the next wait; a held item does not":
    async (
      t,
    ) => {
      const [holder, other] = await t.buses(2) as [Bus, Bus];
      const queue = t.queue<string>(holder, "queue");
      await Promise.all(["one", "two"].map((item) => queue.put(item)));
      const [returned, held] = [await queue.receive(), await queue.receive()];
      const [abort, reason] = [new AbortController(), new Error("changed my mind")];
      const cancelled = rejectsWith(other.queue("queue").receive({ signal: abort.signal }), reason);
      await t.quiet();
      abort.abort(reason);
      await cancelled;
      await returned.nack();
      const again = await queue.receive({ timeout: 30_000 });
      equal(again.item, returned.item);
      await t.settle();
      await rejects(() => queue.receive({ timeout: 0 }), QueueEmptyError);
      await Promise.all([again, held].map((lease) => lease.ack()));
    },

  "a closing bus gives back its leased items in their order": async (t) => {
    const [holder, other] = await t.buses(2) as [Bus, Bus];
    const queue = t.queue<number>(other, "queue");
    for (const item of [1, 2, 3, 4]) await queue.put(item);
    await t.settle();
    const held = [];
    for (let i = 0; i < 3; i++) held.push((await holder.queue<number>("queue").receive({ timeout: 30_000 })).item);
    await holder.close();
    const got = [];
    for (let i = 0; i < 4; i++) got.push(await queue.get({ timeout: 30_000 }));
    if (t.features.ordered) equal([held, got], [[1, 2, 3], [1, 2, 3, 4]]);
    else equal(got.toSorted(), [1, 2, 3, 4]);
  },

  "several buses hold different items, and settle them in any order": async (t) => {
    const [one, two] = await t.buses(2) as [Bus, Bus];
    const queue = t.queue<number>(one, "held");
    for (let i = 0; i < 6; i++) await queue.put(i);
    const held = await Promise.all([1, 2, 3].flatMap(() => [queue.receive(), two.queue<number>("held").receive()]));
    equal(held.map(({ item }) => item).toSorted(), [0, 1, 2, 3, 4, 5]);
    await Promise.all(held.filter(({ item }) => item % 2 === 0).map((lease) => lease.ack()));
    await Promise.all(held.filter(({ item }) => item % 2 === 1).map((lease) => lease.nack()));
    equal((await drain(t, queue)).toSorted(), [1, 3, 5]);
  },

  "a cancelled receive() holds no item": async (t) => {
    const bus = await t.open();
    const queue = t.queue<number>(bus, "held");
    const got: number[] = [];
    const puts: Promise<void>[] = [];
    await Promise.all(Array.from({ length: 60 }, async (_, i) => {
      const abort = new AbortController();
      const receiving = queue.receive({ signal: abort.signal, lease: 60_000 });
      setTimeout(() => abort.abort("enough"), i % 5);
      if (i % 2) puts.push(bus.queue<number>("held").put(i));
      try {
        const lease = await receiving;
        got.push(lease.item);
        await lease.ack();
      } catch (error) {
        equal(error, "enough");
      }
    }));
    while (got.length < 30) got.push(await queue.get());
    await Promise.all(puts);
    equal(await drain(t, queue), []);
    equal(got.toSorted((a, b) => a - b), Array.from({ length: 30 }, (_, i) => 2 * i + 1));
  },
};
