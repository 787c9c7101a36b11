/**
 * Inspection and maintenance of queues: delayed items, peek, stats, purge, and retries of dead letters.
 *
 * @module
 */
import type { Bus } from "../bus.ts";
import { QueueEmptyError, UnsupportedError } from "../errors.ts";
import type { DeadLetter } from "../queue/letter.ts";
import { equal, ok, range, rejects } from "./assert.ts";
import type { CaseBody, Cases, Conditional } from "./cases.ts";
import { drain } from "./queues.ts";

/** Milliseconds of a short delay; the coarsest transports count in seconds. */
const DELAY = 1_000;
/** More delayed items than a transport counts at once. */
const TAKEN = 300;
/** The number of them that are taken before the counts are checked again. */
const AT_ONCE = 10;

/** Creates a case for transports that can delay a put. */
function delaying(run: CaseBody): Conditional {
  return { skip: ({ maxPutDelay }) => maxPutDelay > 0 ? undefined : "the transport cannot delay a put", run };
}

/** Creates a case for transports that can show items. */
function peeking(run: CaseBody): Conditional {
  return { skip: ({ peek }) => peek ? undefined : "the transport cannot peek", run };
}

/** Cases about inspecting and maintaining queues. */
export const inspection: Cases = {
  "put({ delay }) hides the item until the delay has passed; then it is taken before the items that wait": delaying(
    async (t) => {
      const [bus, other] = await t.buses(2) as [Bus, Bus];
      const queue = t.queue<string>(bus, "later");
      const start = performance.now();
      await queue.put("delayed", { delay: DELAY, headers: { a: "b" } });
      await rejects(() => queue.getNowait(), QueueEmptyError, "queue_empty", "a get before the delay was over");
      if (t.features.exactSize) equal(await queue.qsize(), 0, "the size while the item is delayed");
      const waiting = other.queue<string>("later").receive({ timeout: 30_000 });
      const lease = await waiting;
      const waited = performance.now() - start;
      ok(waited > 0.9 * DELAY, `the item was there after ${waited} ms instead of ${DELAY}`);
      equal([lease.item, lease.attempt, { ...lease.headers }], ["delayed", 1, { a: "b" }]);
      await lease.ack();
      if (!t.features.ordered) return;
      await queue.put("second", { delay: 3 * DELAY });
      await queue.put("first", { delay: DELAY });
      await queue.put("waits");
      await t.until(async () => await queue.qsize() === 3, "all items wait");
      equal(await drain(t, queue), ["first", "second", "waits"]);
    },
  ),

  "a delayed item that is given back is taken before the items whose time came later": {
    skip: ({ maxPutDelay, ordered }) => maxPutDelay > 0 && ordered ? undefined : "delayed items have no order",
    run: async (t) => {
      const [bus, other] = await t.buses(2) as [Bus, Bus];
      const queue = t.queue<string>(bus, "later");
      await queue.put("waits");
      for (const [i, name] of ["first", "second", "third"].entries()) await queue.put(name, { delay: DELAY + 20 * i });
      await t.until(async () => await queue.qsize() === 4, "all items wait");
      const lease = await queue.receive();
      equal(lease.item, "first");
      equal(await other.queue("later").get(), "second");
      await lease.nack();
      equal(await drain(t, other.queue("later")), ["first", "third", "waits"]);
    },
  },

  "the counts of a queue do not include delayed items that another bus has just taken": {
    skip: ({ maxPutDelay, exactSize }) => maxPutDelay > 0 && exactSize ? undefined : "the counts are approximate",
    run: async (t) => {
      const [bus, other] = await t.buses(2) as [Bus, Bus];
      const queue = t.queue<number>(bus, "later");
      await Promise.all(range(TAKEN).map((i) => queue.put(i, { delay: DELAY })));
      await t.until(async () => await queue.qsize() === TAKEN, "all items wait");
      for (let left = TAKEN - AT_ONCE; left >= 0; left -= AT_ONCE) {
        await Promise.all(range(AT_ONCE).map(() => other.queue("later").get()));
        equal(await queue.qsize(), left, "the size");
        const { waiting = left, delayed = 0 } = await queue.stats();
        equal([waiting, delayed], [left, 0], "the waiting and the delayed items");
      }
    },
  },

  "stats() counts each item once, also while delays and leases end": {
    skip: ({ maxPutDelay, exactSize }) => maxPutDelay > 0 && exactSize ? undefined : "the counts are approximate",
    run: async (t) => {
      const [bus, other] = await t.buses(2) as [Bus, Bus];
      const queue = t.queue<number>(bus, "counted");
      const known = await queue.stats();
      if (known.leased === undefined || known.delayed === undefined) return; // the transport does not know them
      const all = range(100);
      const allWait = () =>
        t.until(async () => {
          let waits = 0;
          for (let i = 0; i < 20 && waits < all.length; i++, await t.pause(0)) {
            const { waiting = 0, leased = 0, delayed = 0 } = await queue.stats();
            equal(waiting + leased + delayed, all.length, `${waiting} waiting, ${leased} leased, ${delayed} delayed`);
            waits = waiting;
          }
          return waits === all.length;
        }, "all items wait");
      await Promise.all(all.map((i) => queue.put(i, { delay: DELAY + 3 * i })));
      await allWait();
      const leases = await Promise.all(all.map(() => other.queue("counted").receive()));
      await Promise.all([...leases.map((lease, i) => lease.nack({ delay: 3 * i })), allWait()]);
    },
  },

  "a delayed item survives the bus that put it, and is removed with its queue": {
    skip: ({ maxPutDelay, durable }) => maxPutDelay > 0 && durable ? undefined : "delayed items do not survive",
    run: async (t) => {
      const bus = await t.open();
      const other = await t.open();
      t.queue(bus, "later");
      await bus.queue("later").put("kept", { delay: DELAY });
      await bus.close();
      equal(await other.queue("later").get({ timeout: 30_000 }), "kept");
      await other.queue("later").put("freed", { delay: DELAY });
      await other.queue("later").free();
      await t.pause(1.5 * DELAY);
      equal(await drain(t, other.queue("later")), []);
    },
  },

  "a delay that the transport does not support is refused, and nothing is put": async (t) => {
    const bus = await t.open();
    const queue = t.queue<string>(bus, "later");
    const { maxPutDelay } = t.features;
    if (maxPutDelay < Infinity) {
      await rejects(() => queue.put("item", { delay: maxPutDelay + 1 }), UnsupportedError, "unsupported");
      await rejects(() => queue.putNowait("item", { delay: maxPutDelay + 1 }), UnsupportedError, "unsupported");
    }
    await queue.put("now", { delay: 0 });
    equal(await queue.get({ timeout: 30_000 }), "now");
    await t.quiet();
    equal(await drain(t, queue), []);
  },

  "stats() counts the items that wait, are leased and are delayed": async (t) => {
    const bus = await t.open();
    const queue = t.queue<number>(bus, "counted");
    const stats = async () => {
      const { waiting, leased, delayed } = await queue.stats();
      return [waiting, leased, delayed];
    };
    const known = (await stats()).map((count) => count !== undefined);
    const are = async (...counts: number[]) => {
      const expected = JSON.stringify(counts.map((count, i) => known[i] ? count : undefined));
      await t.until(async () => JSON.stringify(await stats()) === expected, `stats() gives ${expected}`);
    };
    await are(0, 0, 0);
    for (let i = 0; i < 4; i++) await queue.put(i);
    await are(4, 0, 0);
    const lease = await queue.receive();
    await are(3, 1, 0);
    await lease.ack();
    await are(3, 0, 0);
    if (t.features.maxPutDelay === 0) return;
    await queue.put(4, { delay: 60_000 });
    await are(3, 0, 1);
  },

  "peek() returns the waiting items in their order, and takes none": peeking(async (t) => {
    const [bus, other] = await t.buses(2) as [Bus, Bus];
    const queue = t.queue<unknown>(bus, "shown");
    equal(await queue.peek(), []);
    for (let i = 0; i < 5; i++) await queue.put({ i, at: new Date(i) }, { headers: { i: `${i}` } });
    await (await other.queue("shown").receive()).nack(); // the first item has an attempt, and is the first again
    const shown = async (options = {}) =>
      (await other.queue<{ i: number }>("shown").peek(options)).map(({ item, attempt, headers }) => [
        item?.i,
        attempt,
        headers.i,
      ]);
    const all = [[0, 2, "0"], [1, 1, "1"], [2, 1, "2"], [3, 1, "3"], [4, 1, "4"]];
    equal(await shown(), all);
    equal(await shown({ limit: 2 }), all.slice(0, 2));
    equal(await shown({ offset: 3 }), all.slice(3));
    equal(await shown({ offset: 1, limit: 3 }), all.slice(1, 4));
    equal(await shown({ offset: 5 }), []);
    const lease = await queue.receive();
    equal(await shown(), all.slice(1), "without the leased item");
    await lease.ack();
    equal(await queue.qsize(), 4, "the size after peeks");
    equal((await queue.receive()).attempt, 1, "a peek counts as no attempt");
  }),

  "peek() rejects with an UnsupportedError where the transport cannot peek": {
    skip: ({ peek }) => peek ? "the transport can" : undefined,
    run: async (t) => {
      const bus = await t.open();
      const queue = t.queue<string>(bus, "shown");
      await queue.put("item");
      await rejects(() => queue.peek(), UnsupportedError, "unsupported");
      await rejects(() => queue.dead.peek(), UnsupportedError, "unsupported");
      equal(await queue.get({ timeout: 30_000 }), "item");
    },
  },

  "purge() removes the items that wait, but neither leased items nor the queue": async (t) => {
    const [bus, other] = await t.buses(2) as [Bus, Bus];
    const queue = t.queue<number>(bus, "purged");
    equal(await queue.purge(), 0);
    for (let i = 0; i < 6; i++) await queue.put(i);
    const lease = await other.queue<number>("purged").receive({ timeout: 30_000 });
    await t.settle();
    equal(await queue.purge(), 5);
    await lease.nack();
    equal((await queue.receive({ timeout: 30_000 })).item, lease.item);
  },

  "dead.retry() puts the original items of dead letters back, and dead.purge() removes dead letters": async (t) => {
    const [bus, other] = await t.buses(2) as [Bus, Bus];
    t.errors(bus);
    t.frees("graveyard");
    const queue = bus.queue<unknown>("work", { deadLetter: "graveyard" });
    t.queue(bus, "work");
    const stranger = bus.queue<string>("stranger", { deadLetter: "graveyard" });
    t.queue(bus, "stranger");
    const items = [{ at: new Date(7), ids: new Set([1n]) }, "text", '{"half":'];
    const fail = () => {
      throw new Error('with "quotes", "attempts":7, in it');
    };
    const consumers = [queue, stranger].map((each) => each.consume(fail, { maxAttempts: 1 }));
    await stranger.put("of another queue");
    for (const item of items.slice(0, 2)) await queue.put(item, { headers: { tenant: "acme" } });
    const client = await t.rawClient();
    await client.put("work", items[2] as string); // it cannot be read
    const { dead } = other.queue<unknown>("work", { deadLetter: "graveyard" });
    equal(dead.name, "graveyard");
    await t.until(async () => await dead.size() === 4, "all items are dead letters");
    for (const consumer of consumers) await consumer.close();
    if (t.features.peek) {
      const letters = (await dead.peek()).map((letter) => letter.item);
      ok(letters.some((letter) => letter?.queue === "stranger" && letter.item === "of another queue"), "it is shown");
    }
    equal(await dead.purge({ only: () => false }), 0);
    equal(await dead.retry({ limit: 1, only: ({ item }) => item === items[1] }), 1);
    equal(await dead.retry(), 2);
    await t.settle();
    const seen: unknown[] = [];
    for (let i = 0; i < 2; i++) {
      const lease = await queue.receive({ timeout: 30_000 }).catch((error) => error);
      if (lease instanceof Error) {
        seen.push((lease as { body?: string }).body);
        i--;
        continue;
      }
      equal([lease.attempt, { ...lease.headers }], [1, { tenant: "acme" }]);
      seen.push(lease.item);
      await lease.ack();
    }
    if (seen.length < 3) {
      const error = await queue.receive({ timeout: 30_000 }).catch((error) => error);
      seen.push((error as { body?: string }).body);
    }
    for (const item of items) ok(seen.some((each) => same(each, item)), `an item is missing: ${JSON.stringify(item)}`);
    // a transport may not count letters that were given back
    await t.until(
      async () => await dead.purge() === 1,
      "the item that cannot be read is a dead letter again, and removed",
    );
    const left = await bus.queue<DeadLetter>("graveyard").get({ timeout: 30_000 });
    equal([left.queue, left.item], ["stranger", "of another queue"]);
  },

  "dead.retry() ends while a consumer fails with each item that it puts back": async (t) => {
    const [bus, other] = await t.buses(2) as [Bus, Bus];
    t.errors(bus);
    const queue = t.queue<number>(bus, "work");
    const fail = () => {
      throw new Error("failed");
    };
    const consumer = queue.consume(fail, { maxAttempts: 1, concurrency: 8 });
    for (let i = 0; i < 8; i++) await queue.put(i);
    const { dead } = other.queue<number>("work");
    const all = () => t.until(async () => await dead.size() === 8, "all items are dead letters");
    await all();
    const count = await dead.retry();
    ok(count > 0 && count <= 8, `retry() put ${count} of 8 letters back`);
    await all();
    await consumer.close();
  },
};

function same(a: unknown, b: unknown): boolean {
  try {
    equal(a, b);
    return true;
  } catch {
    return false;
  }
}
