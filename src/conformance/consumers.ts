/**
 * Consumers: handlers of items, with retries and dead letters.
 *
 * @module
 */
import type { Bus } from "../bus.ts";
import { BusError, TimeoutError } from "../errors.ts";
import type { Lease } from "../queue/lease.ts";
import type { DeadLetter } from "../queue/letter.ts";
import { equal, ok, rejects } from "./assert.ts";
import { drain } from "./queues.ts";
import type { Cases } from "./cases.ts";

/** Cases about `consume`. */
export const consumers: Cases = {
  "consume() handles each item once, one at a time, in order": async (t) => {
    const [producer, bus] = await t.buses(2) as [Bus, Bus];
    const queue = t.queue<number>(producer, "work");
    const seen = t.collect<number>();
    let running = 0;
    const consumer = bus.queue<number>("work").consume(async (item, lease) => {
      equal({ running: ++running, attempt: lease.attempt }, { running: 1, attempt: 1 });
      await t.pause(1);
      running--;
      seen.add(item);
    });
    for (let i = 0; i < 20; i++) await queue.put(i);
    const got = await seen.count(20);
    equal(t.features.ordered ? got : got.toSorted((a, b) => a - b), Array.from({ length: 20 }, (_, i) => i));
    await consumer.close();
    equal(await consumer.closed, undefined);
    equal(await drain(t, queue), []);
    equal(seen.values.length, 20);
  },

  "concurrency limits how many handlers run at once": async (t) => {
    const bus = await t.open();
    const queue = t.queue<number>(bus, "work");
    const { passed, open } = t.gate();
    const seen = t.collect<number>();
    let running = 0;
    queue.consume(async (item) => {
      ok(++running <= 4, "more handlers run than may");
      await passed;
      running--;
      seen.add(item);
    }, { concurrency: 4 });
    const put = Promise.all(Array.from({ length: 9 }, (_, i) => queue.put(i)));
    await t.until(() => running === 4, "four handlers run");
    await t.quiet();
    equal(running, 4);
    open();
    await seen.count(9);
    await put;
  },

  "a handler that throws receives the item again, after the backoff": async (t) => {
    const bus = await t.open();
    const errors = t.errors(bus);
    const queue = t.queue<string>(bus, "work");
    const seen = t.collect<number>();
    const asked: number[] = [];
    const failure = new Error("not yet");
    const backoff = (attempt: number) => {
      asked.push(attempt);
      return 20 * attempt;
    };
    queue.consume((_, { attempt }) => {
      seen.add(attempt);
      if (attempt < 3) throw failure;
    }, { backoff });
    await queue.put("item");
    await seen.are([1, 2, 3]);
    equal(asked, [1, 2]);
    equal((await errors.count(2)).map(({ error, topic }) => [error, topic]), [[failure, "work"], [failure, "work"]]);
  },

  "backoff: Infinity for an error makes its item or its event a dead letter now, and the others are retried": async (
    t,
  ) => {
    const bus = await t.open();
    const errors = t.errors(bus);
    const options = {
      backoff: (_: number, error: unknown) => (error as Error).message === "never" ? Infinity : 0,
      maxAttempts: 9,
    };
    const tried = t.collect<unknown>("the attempts");
    const handler = (item: unknown, { attempt }: { readonly attempt?: number }) => {
      tried.add([item, attempt]);
      if (attempt === 1) throw new Error(item as string);
    };
    const queue = t.queue<string>(bus, "work");
    const consumer = queue.consume(handler, options);
    for (const item of ["never", "later"]) await queue.put(item);
    const dead = await t.queue<DeadLetter>(bus, "work.dead").get({ timeout: 30_000 });
    equal([dead.item, dead.attempts, dead.cause.message], ["never", 1, "never"]);
    await tried.count(3);
    await consumer.close();
    if (t.features.groups) {
      const member = bus.subscribe("news", handler, { ...options, group: "readers" });
      t.after(() => member.free());
      await member.ready;
      await t.settle();
      await bus.publish("never", "news");
      const { item, attempts } = await t.queue<DeadLetter>(bus, "news@readers.dead").get({ timeout: 30_000 });
      equal([item, attempts], ["never", 1]);
    }
    const nexts = (await errors.count(2)).map(({ message, attempt, next, delay }) => [message, attempt, next, delay]);
    equal(nexts.slice(0, 2).toSorted(), [["later", 1, "retry", 0], ["never", 1, "dead-letter", undefined]]);
  },

  "backoff: the item is redelivered after this time": async (t) => {
    const bus = await t.open();
    t.errors(bus);
    const queue = t.queue<string>(bus, "work");
    const times = t.collect<number>();
    queue.consume((_, { attempt }) => {
      times.add(performance.now());
      if (attempt === 1) throw new Error("again");
    }, { backoff: 1_000 });
    await queue.put("item");
    const [first, second] = await times.count(2) as [number, number];
    ok(second - first > 900, `the second attempt came after ${second - first} ms instead of 1,000`);
  },

  "handlerTimeout: the item of a late handler goes to another consumer, and the late handler can stop": async (t) => {
    const [bus, other] = await t.buses(2) as [Bus, Bus];
    t.errors(bus);
    const queue = t.queue<string>(bus, "work");
    const { passed, open } = t.gate();
    const leases = t.collect<Lease<string>>("the leases");
    queue.consume(async (_, lease) => {
      leases.add(lease);
      await passed;
    }, { handlerTimeout: 300, backoff: 0 });
    await queue.put("item");
    const [late] = await leases.count(1) as [Lease<string>];
    const again = await other.queue<string>("work").receive({ timeout: 30_000 });
    equal([again.item, again.attempt], ["item", 2]);
    ok(late.signal.aborted && late.signal.reason instanceof TimeoutError, `the signal: ${late.signal.reason}`);
    await rejects(() => late.ack(), BusError, "lease_lost");
    await late.nack();
    await queue.put("next"); // the late handler still has the only place of its consumer
    const next = await other.queue<string>("work").receive({ timeout: 30_000 });
    equal([next.item, leases.values.length], ["next", 1]);
    await next.ack();
    await again.ack();
    open();
  },

  "maxAttempts: after the last attempt, the item goes to the dead-letter queue with the cause": async (t) => {
    const bus = await t.open();
    const errors = t.errors(bus);
    const queue = t.queue<{ id: number }>(bus, "work");
    t.frees("graveyard");
    const seen = t.collect<number>();
    queue.consume((_, { attempt }) => {
      seen.add(attempt);
      throw new TypeError("never");
    }, { maxAttempts: 3, backoff: 0 });
    const custom = t.queue<string>(bus, "work2");
    custom.consume(() => Promise.reject("a string"), { maxAttempts: 1, deadLetter: "graveyard" });
    await queue.put({ id: 7 });
    await custom.put("item");
    const { time, ...letter } = await t.queue<DeadLetter>(bus, "work.dead").get();
    ok(Number.isInteger(time), "it has the time at which the item became a dead letter");
    equal(letter, {
      queue: "work",
      item: { id: 7 },
      attempts: 3,
      cause: { name: "TypeError", message: "never" },
    });
    const { queue: from, item, attempts, cause } = await bus.queue<DeadLetter>("graveyard").get();
    equal({ from, item, attempts, message: cause.message }, {
      from: "work2",
      item: "item",
      attempts: 1,
      message: "a string",
    });
    await errors.count(4);
    equal(seen.values, [1, 2, 3]);
    equal(await drain(t, bus.queue("work")), []);
  },

  "several consumers share a queue": async (t) => {
    const [producer, ...buses] = await t.buses(4) as [Bus, ...Bus[]];
    const queue = t.queue<number>(producer, "work");
    const seen = t.collect<number>();
    const consumers = buses.map((bus) => bus.queue<number>("work").consume(seen.add, { concurrency: 5 }));
    await Promise.all(Array.from({ length: 300 }, (_, i) => queue.put(i)));
    await seen.count(300);
    await Promise.all(consumers.map((consumer) => consumer.close()));
    equal(seen.values.toSorted((a, b) => a - b), Array.from({ length: 300 }, (_, i) => i));
  },

  "close(), a signal and await using end a consumer; unhandled items stay in the queue": async (t) => {
    const bus = await t.open();
    const queue = t.queue<number>(bus, "work");
    const ends: Record<
      string,
      (end: { close(): Promise<void>; abort(): void; dispose(): PromiseLike<void> }) => unknown
    > = {
      close: ({ close }) => close(),
      signal: ({ abort }) => abort(),
      dispose: ({ dispose }) => dispose(),
    };
    for (const [how, end] of Object.entries(ends)) {
      const { passed, open } = t.gate();
      const abort = new AbortController();
      const seen = t.collect<number>(`what was handled until ${how}`);
      const consumer = bus.queue<number>("work").consume(async (item) => {
        seen.add(item);
        await passed;
      }, { signal: abort.signal });
      for (let i = 0; i < 5; i++) await queue.put(i);
      await seen.count(1);
      const ended = end({
        close: () => consumer.close(),
        abort: () => abort.abort(),
        dispose: () => consumer[Symbol.asyncDispose](),
      });
      await t.quiet();
      open();
      await ended;
      equal(await consumer.closed, undefined);
      equal(seen.values.length, 1, `the number of items handled with ${how}`);
      const rest = await drain(t, queue);
      equal([...seen.values, ...rest].toSorted(), [0, 1, 2, 3, 4]);
    }
  },

  "an item that arrives while its consumer closes does not count an attempt, so maxAttempts 1 suffices": {
    deadline: 60_000,
    run: async (t) => {
      const bus = await t.open();
      const queue = t.queue<number>(bus, "work");
      const seen = t.collect<number>();
      const attempts = new Set<number>();
      const consume = () =>
        queue.consume((item, { attempt }) => {
          attempts.add(attempt);
          seen.add(item);
        }, { maxAttempts: 1, lease: 5_000 });
      const items = Array.from({ length: 50 }, (_, i) => i);
      const puts: Promise<void>[] = [];
      for (const item of items) {
        const consumer = consume();
        await t.pause(5);
        puts.push(queue.put(item)); // on a busy machine, the consumers handle so little that it waits for room
        await consumer.close();
      }
      const consumer = consume();
      await Promise.all(puts);
      await t.until(() => new Set(seen.values).size === items.length, "each item was handled");
      await consumer.close();
      equal(await bus.queue("work.dead").qsize(), 0, "the number of dead letters");
      equal(seen.values.toSorted((a, b) => a - b), items);
      if (t.features.exactAttempts) equal([...attempts], [1]);
    },
  },

  "consumers and buses that close under load start no more handlers; each item is handled once, as the first attempt": {
    deadline: 60_000,
    run: async (t) => {
      const [stays, ...goes] = await t.buses(5) as [Bus, ...Bus[]];
      const queue = t.queue<number>(stays, "work");
      const seen = t.collect<number>();
      const attempts = new Set<number>();
      const consume = (bus: Bus) => {
        const state = { closing: false };
        const consumer = bus.queue<number>("work").consume(async (item, { attempt }) => {
          ok(!state.closing, "a handler starts after its consumer was closed");
          attempts.add(attempt);
          await t.pause(2);
          seen.add(item);
        }, { concurrency: 8, maxAttempts: 1 });
        return { state, consumer };
      };
      const items = Array.from({ length: 300 }, (_, i) => i);
      const put = Promise.all(items.map((item) => queue.put(item)));
      for (const bus of goes) {
        const [one, two] = [consume(bus), consume(bus)];
        const before = seen.values.length;
        await t.until(() => seen.values.length > before, "they are at work");
        one.state.closing = true;
        await one.consumer.close();
        two.state.closing = true;
        equal((await bus.close()).abandoned, 0);
      }
      const last = consume(stays);
      await put;
      await t.until(() => new Set(seen.values).size === items.length, "each item was handled");
      await last.consumer.close();
      equal(await stays.queue("work.dead").qsize(), 0, "the number of dead letters");
      equal(seen.values.toSorted((a, b) => a - b), items);
      if (t.features.exactAttempts) equal([...attempts], [1]);
    },
  },

  "a closing bus waits for its consumers' handlers, and leaves the other items in the queue": async (t) => {
    const [stays, goes] = await t.buses(2) as [Bus, Bus];
    const queue = t.queue<number>(stays, "work");
    const { passed, open } = t.gate();
    const seen = t.collect<number>();
    const consumer = goes.queue<number>("work").consume(async (item) => {
      seen.add(item);
      await passed;
    });
    for (let i = 0; i < 5; i++) await queue.put(i);
    await seen.count(1);
    const closing = goes.close();
    await t.quiet();
    open();
    equal((await closing).finished, 1);
    await consumer.closed;
    const rest = await drain(t, queue);
    equal([...seen.values, ...rest].toSorted(), [0, 1, 2, 3, 4]);
  },

  "a bus that is closed by force gives back the items of its handlers, and makes no dead letters": async (t) => {
    const [stays, goes] = await t.buses(2) as [Bus, Bus];
    const errors = t.errors(goes);
    const queue = t.queue<string>(stays, "work");
    const { passed, open } = t.gate();
    const started = t.collect<string>("the started items");
    const own = new Error("its own");
    goes.queue<string>("work").consume(async (item, { signal }) => {
      const aborted = new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
      started.add(item);
      await (item === "continues" ? passed : aborted);
      if (item === "obeys") throw signal.reason;
      if (item === "wraps") throw new Error("stopped", { cause: signal.reason });
      if (item === "fails") throw own;
    }, { lease: 60_000, concurrency: 4, maxAttempts: 1 });
    const items = ["continues", "fails", "obeys", "wraps"];
    for (const item of items) await queue.put(item);
    await started.count(items.length);
    // the last of the 4 s is reserved for the transport, which a busy machine needs
    const { abandoned, returned, clean } = await goes.close({ timeout: 4_000 });
    equal({ abandoned, returned, clean }, { abandoned: 4, returned: 4, clean: true });
    open();
    const reports = (await errors.count(items.length)).map(({ error, next }) => [
      error === own ? "own" : (error as BusError).code,
      next,
    ]);
    // the interrupted attempt counts, and it was the last one
    const next = t.features.exactAttempts ? "dead-letter" : "retry";
    const expected = ["closed", "closed", "closed", "own"].map((error) => [error, next]);
    equal(reports.toSorted(), expected, "the reports: the interruption, unless the handler failed for its own reason");
    const handled = t.collect<[string, number]>("the items that were handled again");
    const consumer = queue.consume((item, { attempt }) => handled.add([item, attempt]), { maxAttempts: 2 });
    const again = (await handled.count(items.length)).toSorted();
    await consumer.close();
    equal(again.map(([item]) => item), items);
    if (t.features.exactAttempts) equal(again.map(([, attempt]) => attempt), [2, 2, 2, 2]);
    equal(errors.values.length, items.length, "the number of reports");
    equal(await stays.queue("work.dead").qsize(), 0, "the number of dead letters");
  },
};
