/**
 * Queues: put and get, the order of items and of gets, and no lost items.
 *
 * @module
 */
import type { Bus } from "../bus.ts";
import { ClosedError, QueueEmptyError } from "../errors.ts";
import type { Queue } from "../queue/queue.ts";
import { equal, ok, range, rejects, rejectsWith } from "./assert.ts";
import { NAMES } from "./patterns.ts";
import { type Cases, slow } from "./cases.ts";
import type { CaseContext } from "./case_context.ts";

/** The number of gets at once where a case gets many items, because a transport may return several items for one request. */
const TOGETHER = 10;

/** Takes all items of a queue until it is empty. */
export async function drain<T>(t: CaseContext, queue: Queue<T>): Promise<T[]> {
  await t.settle();
  const items: T[] = [];
  for (;;) {
    const got = await Promise.allSettled(range(TOGETHER).map(() => queue.getNowait()));
    for (const one of got) {
      if (one.status === "fulfilled") items.push(one.value);
      else if (!(one.reason instanceof QueueEmptyError)) throw one.reason;
    }
    // a transport may return fewer items than there are
    if (got.every(({ status }) => status === "rejected")) return items;
  }
}

/** Cases about put and get. */
export const queues: Cases = {
  "items are delivered in the order of their puts": async (t) => {
    const [producer, consumer] = await t.buses(2) as [Bus, Bus];
    const queue = t.queue<number>(producer, "fifo");
    equal(queue.name, "fifo");
    const count = Math.min(10, t.features.capacity);
    for (const i of range(count)) await queue.put(i);
    const got = await drain(t, consumer.queue<number>("fifo"));
    equal(t.features.ordered ? got : got.toSorted(), range(count));
  },

  "concurrent puts keep their order": async (t) => {
    const [producer, consumer] = await t.buses(2) as [Bus, Bus];
    const queue = t.queue<number>(producer, "fifo");
    const put = Promise.all(range(500).map((i) => queue.put(i)));
    const got: number[] = [];
    while (got.length < 500) {
      got.push(...await Promise.all(range(TOGETHER).map(() => consumer.queue<number>("fifo").get())));
    }
    await put;
    equal(t.features.ordered ? got : got.toSorted((a, b) => a - b), range(500));
  },

  "a waiting get takes an item that is put later": async (t) => {
    const [producer, consumer] = await t.buses(2) as [Bus, Bus];
    const queue = t.queue<string>(producer, "later");
    const got = consumer.queue<string>("later").get();
    await t.quiet();
    await queue.put("item");
    equal(await got, "item");
  },

  "gets that do not wait each take an item, also in one turn": async (t) => {
    const bus = await t.open();
    const queue = t.queue<number>(bus, "now");
    for (const i of range(2)) await queue.put(i);
    await t.settle();
    const got = await Promise.all(range(2).map(() => queue.getNowait()));
    equal(t.features.ordered ? got : got.toSorted(), range(2));
  },

  "getNowait(), block: false and timeout: 0 do not wait": async (t) => {
    const bus = await t.open();
    const queue = t.queue<string>(bus, "now");
    const looks: Record<string, () => Promise<unknown>> = {
      "getNowait()": () => queue.getNowait(),
      "get({ block: false })": () => queue.get({ block: false }),
      "get({ block: false, timeout })": () => queue.get({ block: false, timeout: 120_000 }),
      "get({ timeout: 0 })": () => queue.get({ timeout: 0 }),
      "receive({ block: false })": () => queue.receive({ block: false }),
      "receive({ timeout: 0 })": () => queue.receive({ timeout: 0 }),
    };
    for (const [what, look] of Object.entries(looks)) {
      await rejects(look, QueueEmptyError, "queue_empty", what);
    }
    for (const [what, look] of Object.entries(looks)) {
      await queue.putNowait(what);
      await t.settle();
      const got = await look() as string | { item: string; ack(): Promise<void> };
      equal(typeof got === "string" ? got : got.item, what);
      if (typeof got !== "string") await got.ack();
    }
  },

  "get({ timeout }) rejects with QueueEmptyError after the timeout": async (t) => {
    const bus = await t.open();
    const queue = t.queue(bus, "empty");
    for (const take of [() => queue.get({ timeout: 150 }), () => queue.receive({ timeout: 150 })]) {
      const start = performance.now();
      await rejects(take, QueueEmptyError, "queue_empty");
      const waited = performance.now() - start;
      ok(waited > 140, `it waited ${waited} ms instead of 150`);
    }
    await queue.put("late");
    equal(await queue.get(), "late");
  },

  "a signal ends the wait with its reason, and no item is taken": async (t) => {
    const bus = await t.open();
    const queue = t.queue<string>(bus, "signal");
    const reason = new Error("changed my mind");
    for (const verb of ["get", "receive"] as const) {
      const abort = new AbortController();
      const got = queue[verb]({ signal: abort.signal });
      const rejected = rejectsWith(got, reason);
      await t.quiet();
      abort.abort(reason);
      await rejected;
      await rejectsWith(() => queue[verb]({ signal: abort.signal }), reason);
    }
    await rejectsWith(() => queue.put("x", { signal: AbortSignal.abort(reason) }), reason);
    await t.settle();
    equal(await queue.qsize(), 0, "the size after a put that was aborted before it began");
    await queue.put("item");
    equal(await queue.get({ timeout: 30_000 }), "item");
  },

  "gets that are cancelled while items arrive lose none": slow(60_000, async (t) => {
    const [producer, one, two] = await t.buses(3) as [Bus, Bus, Bus];
    const queue = t.queue<number>(producer, "race");
    const got: number[] = [];
    const take = async (bus: Bus, i: number) => {
      await t.pause(i % 40);
      const abort = new AbortController();
      const timer = setTimeout(() => abort.abort(), i % 7);
      const options = i % 3 === 0 ? { timeout: i % 11 } : { signal: abort.signal };
      try {
        got.push(await bus.queue<number>("race").get(options));
      } catch (error) {
        ok(error instanceof QueueEmptyError || error === abort.signal.reason, `get failed with ${error}`);
      } finally {
        clearTimeout(timer);
      }
    };
    const takes = range(400).map((i) => take(i % 2 ? one : two, i));
    const put = (async () => {
      for (const i of range(200)) {
        await queue.put(i);
        if (i % 10 === 0) await t.pause(1);
      }
    })();
    await Promise.all(takes);
    while (got.length < 200) got.push(await producer.queue<number>("race").get());
    await put;
    equal(await drain(t, queue), []);
    equal(got.toSorted((a, b) => a - b), range(200));
  }),

  "many consumers share the items, each item goes to one": async (t) => {
    const [producer, ...consumers] = await t.buses(4) as [Bus, ...Bus[]];
    const queue = t.queue<number>(producer, "shared");
    const takes = consumers.flatMap((bus) => range(50).map(() => bus.queue<number>("shared").get()));
    await Promise.all(range(150).map((i) => queue.put(i)));
    equal((await Promise.all(takes)).toSorted((a, b) => a - b), range(150));
  },

  "a bus that closes while its gets wait takes no item": async (t) => {
    const [producer, stays] = await t.buses(2) as [Bus, Bus];
    const queue = t.queue<number>(producer, "closing");
    const got: number[] = [];
    for (const round of range(5)) {
      const goes = await t.open();
      const takes = range(10).map(async () => {
        try {
          got.push(await goes.queue<number>("closing").get());
        } catch (error) {
          ok(error instanceof ClosedError, `get failed with ${error}`);
        }
      });
      const put = Promise.all(range(10).map((i) => queue.put(round * 10 + i)));
      await goes.close();
      await Promise.all(takes);
      while (got.length < (round + 1) * 10) got.push(await stays.queue<number>("closing").get());
      await put;
    }
    equal(await drain(t, queue), []);
    equal(got.toSorted((a, b) => a - b), range(50));
  },

  "qsize() and empty() report the waiting items": async (t) => {
    const [bus, other] = await t.buses(2) as [Bus, Bus];
    const queue = t.queue<number>(bus, "sized");
    const size = async (expected: number, what: string) => {
      await t.settle();
      const seen = await other.queue("sized").qsize();
      if (t.features.exactSize) equal(seen, expected, what);
      else ok(Number.isInteger(seen) && seen >= 0, `qsize is ${seen}`);
    };
    await size(0, "the size of a queue that does not exist yet");
    equal(await queue.empty(), true);
    for (const i of range(3)) await queue.put(i);
    await size(3, "the size after three puts");
    if (t.features.exactSize) equal(await queue.empty(), false);
    await queue.get();
    await size(2, "the size after a get");
    const lease = await queue.receive();
    await size(1, "the size while an item is held");
    await lease.ack();
    await size(1, "the size after the ack");
  },

  "for await takes each item, until the handle is closed": async (t) => {
    const bus = await t.open();
    const queue = t.queue<number>(bus, "loop");
    const seen = t.collect<number>();
    const loop = (async () => {
      for await (const item of queue) seen.add(item);
    })();
    for (const i of range(5)) await bus.queue("loop").put(i);
    await seen.count(5);
    queue.close();
    await loop;
    equal(seen.values.toSorted(), range(5));
    await bus.queue("loop").put(7);
    for await (const item of bus.queue<number>("loop")) {
      equal(item, 7);
      break;
    }
  },

  "for await: return() immediately ends a waiting loop, and no item is lost": async (t) => {
    const bus = await t.open();
    const queue = t.queue<number>(bus, "loop");
    const got: number[] = [];
    for (const i of range(10)) {
      const iterator = queue[Symbol.asyncIterator]();
      const next = iterator.next();
      if (i % 2 === 0) await t.pause(i); // at first it is not asked for yet, then it waits
      const put = queue.put(i);
      equal(await iterator.return!(), { done: true, value: undefined });
      const { done, value } = await next;
      if (!done) got.push(value);
      equal(await iterator.next(), { done: true, value: undefined });
      await put;
    }
    equal([...got, ...await drain(t, queue)].toSorted((a, b) => a - b), range(10));
  },

  "close() ends the gets of this handle, not those of other handles, and takes no item": async (t) => {
    const bus = await t.open();
    const queue = t.queue<string>(bus, "handle");
    const other = bus.queue<string>("handle");
    const got = other.get();
    const waiting = [queue.get(), queue.receive()].map((get) => rejects(get, ClosedError, "closed"));
    queue.close();
    await Promise.all(waiting);
    const error = await rejects(() => queue.get(), ClosedError, "closed", "get() after close()");
    equal(error.message, 'Cannot get from queue "handle": this handle was closed');
    await rejects(() => queue.put("x"), ClosedError, "closed", "put() after close()");
    queue.close();
    await other.put("one");
    equal(await got, "one");
    await other.put("two");
    equal(await bus.queue<string>("handle").get(), "two");
  },

  "free() removes the queue and its items; it can be used again": async (t) => {
    const [bus, other] = await t.buses(2) as [Bus, Bus];
    const queue = t.queue<string>(bus, "freed");
    await queue.free();
    await queue.put("old");
    await queue.put("old");
    await other.queue("freed").free();
    await t.settle();
    equal(await queue.qsize(), 0);
    await rejects(() => queue.getNowait(), QueueEmptyError);
    await queue.put("new");
    equal(await other.queue<string>("freed").get({ timeout: 30_000 }), "new");
  },

  "a waiting get continues after free()": async (t) => {
    const bus = await t.open();
    const queue = t.queue<string>(bus, "freed");
    const got = queue.get();
    await t.quiet();
    await bus.queue("freed").free();
    await t.settle();
    await bus.queue("freed").put("new");
    equal(await got, "new");
  },

  "items stay until free(), even when their bus closes": {
    deadline: 20_000,
    run: async (t) => {
      // items that are not durable are removed with the last bus, so one bus stays open
      const stays = t.features.durable ? undefined : await t.open();
      const producer = await t.open();
      await t.queue<string>(producer, "kept").put("item");
      await producer.close();
      const consumer = await t.open();
      equal(await consumer.queue<string>("kept").get({ timeout: 30_000 }), "item");
      await stays?.close();
    },
  },

  "any text can be a queue": slow(60_000, async (t) => {
    const [producer, consumer] = await t.buses(2) as [Bus, Bus];
    const use = async (name: string) => {
      await t.queue<string>(producer, name).put(name, { timeout: 30_000 });
      equal(await consumer.queue<string>(name).get({ timeout: 30_000 }), name, `the item of queue "${name}"`);
    };
    // all queues exist at the same time, so that two names with the same queue on the transport are detected; where queues are scarce, a
    // few at a time
    const names = [...NAMES];
    while (names.length > 0) {
      const part = names.splice(0, t.features.capacity === Infinity ? names.length : 8);
      await Promise.all(part.map(use));
      await Promise.all(part.map((name) => producer.queue(name).free()));
    }
  }),

  "a topic and a queue with the same name are independent": async (t) => {
    const bus = await t.open();
    const seen = t.collect<string>();
    const queue = t.queue<string>(bus, "same");
    bus.subscribe("same", seen.add);
    bus.subscribe("*", seen.add, { pattern: true });
    await bus.expose("same", () => "answer");
    await queue.put("item");
    await t.quiet();
    equal(seen.values, []);
    equal(await queue.qsize(), 1);
    equal(await bus.stub("same")(), "answer");
    equal(await queue.get(), "item");
  },

  "50 queues at once can each have a waiting get": slow(60_000, async (t) => {
    const count = t.features.capacity === Infinity ? 50 : 8;
    const [producer, consumer] = await t.buses(2) as [Bus, Bus];
    const names = range(count).map((i) => `queue-${i}`);
    const gets = names.map((name) => consumer.queue<string>(name).get());
    await t.quiet();
    await Promise.all(names.map((name) => t.queue<string>(producer, name).put(name)));
    equal(await Promise.all(gets), names);
  }),
};
