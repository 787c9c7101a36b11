/**
 * Closing from inside: a handler that closes its own bus or consumer.
 *
 * @module
 */
import type { Bus } from "../bus.ts";
import type { BusError } from "../errors.ts";
import type { Queue } from "../queue/queue.ts";
import { equal, ok } from "./assert.ts";
import { drain } from "./queues.ts";
import type { Cases } from "./cases.ts";
import type { Collector } from "./collector.ts";
import type { CaseContext } from "./case_context.ts";

/** Milliseconds of a timeout that is far longer than a case may take, so a case that waits for it fails. */
const TIMEOUT = 60_000;

/** The kinds of work on a bus. Each function makes the bus `from` start `handler` once on the bus `on`, and resolves with the result. */
const KINDS: Readonly<
  Record<string, (t: CaseContext, from: Bus, on: Bus, handler: () => unknown) => Promise<unknown>>
> = {
  "a served function": async (_, from, on, handler) => {
    await on.expose("work", handler);
    return await from.stub("work")();
  },
  "a subscriber": async (_, from, on, handler) => {
    await on.subscribe("subscriber", handler).ready;
    await from.publish("event", "subscriber");
  },
  "one of several subscribers": async (_, from, on, handler) => {
    on.subscribe("subscribers", () => {});
    await on.subscribe("subscribers", handler, { concurrency: 3 }).ready;
    await from.publish("event", "subscribers");
  },
  "a consumer": async (t, from, on, handler) => {
    const queue = t.queue(from, "work");
    on.queue("work").consume(handler);
    await queue.put("item");
    await on.closed;
    equal(await queue.qsize(), 0, "the items that were not acknowledged");
  },
};

/** Starts a handler of each kind, each on its own bus. */
async function each(
  t: CaseContext,
  make: (on: Bus, seen: Collector<unknown>, from: Bus) => () => unknown,
): Promise<Collector<unknown>[]> {
  const [from, ...buses] = await t.buses(1 + Object.keys(KINDS).length) as [Bus, ...Bus[]];
  return await Promise.all(
    Object.entries(KINDS).map(async ([kind, start], i) => {
      const on = buses[i]!;
      const seen = t.collect<unknown>(kind);
      on.addEventListener("state", (event) => seen.add(event.detail));
      const outcome = await start(t, from, on, make(on, seen, from));
      await on.closed;
      if (kind === "a served function") equal(outcome, "bye");
      return seen;
    }),
  );
}

/** Returns false if the operation certainly did not happen, undefined if its outcome is unknown. */
function unlessClosed(error: BusError): false | undefined {
  if (error.code === "unavailable" && error.retryable) return undefined;
  equal(error.code, "closed");
  return false;
}

/** Cases about closing from inside. */
export const closing: Cases = {
  "close() in the first synchronous part of a handler lets that handler finish": async (t) => {
    const all = await each(t, (on, seen) => async () => {
      void on.close({ timeout: TIMEOUT }).then(({ abandoned }) => seen.add(abandoned));
      await seen.count(2); // some transports need a while until nothing reaches the bus
      seen.add("handled");
      return "bye";
    });
    for (const seen of all) {
      const [states, abandoned] = [await seen.count(4), seen.values.filter((what) => what === 0)];
      equal([states.filter((what) => what !== 0), abandoned], [["closing", "handled", "closed"], [0]]);
    }
  },

  "close() awaited by the bus's own handler waits for all other work, and the transport is closed after that handler":
    async (t) => {
      const all = await each(t, (on, seen, from) => async () => {
        const { passed, open } = t.gate();
        // a topic that the closing of the other buses does not touch
        const other = `other than ${seen.what}`;
        await on.subscribe(other, async () => {
          seen.add("other begun");
          await passed;
          seen.add("other done");
        }).ready;
        await from.publish("event", other);
        await seen.count(1);
        setTimeout(open, 20);
        equal((await on.close({ timeout: TIMEOUT })).abandoned, 0);
        seen.add("close() resolved");
        await on.publish("it still sends", "nowhere");
        seen.add("handled");
        return "bye";
      });
      for (const seen of all) {
        await seen.are(["other begun", "closing", "other done", "close() resolved", "handled", "closed"]);
      }
    },

  "consumer.close() awaited by its own handler waits for its other handlers": async (t) => {
    const bus = await t.open();
    const queue = t.queue<number>(bus, "work");
    const seen = t.collect<string>();
    const { passed, open } = t.gate();
    const consumer = queue.consume(async (item) => {
      if (item === 1) {
        seen.add("other begun");
        await passed;
        seen.add("other done");
        return;
      }
      setTimeout(open, 20);
      await consumer.close();
      seen.add("close() resolved");
    }, { concurrency: 2 });
    await queue.put(1);
    await seen.count(1);
    await queue.put(2);
    await consumer.closed;
    await seen.are(["other begun", "other done", "close() resolved"]);
    await queue.put(3);
    equal(await queue.get(), 3);
  },

  "a put in flight at close() resolves if its item is there, rejects with 'closed' if it is not, and otherwise rejects with an unknown outcome":
    async (
      t,
    ) => {
      const [stays, ...buses] = await t.buses(3) as [Bus, ...Bus[]];
      const kept = t.queue<number>(stays, "work");
      const sure = new Set<number>();
      const maybe = new Set<number>();
      await Promise.all(buses.map(async (bus, i) => {
        const queue = bus.queue<number>("work");
        const puts = Array.from({ length: 20 }, (_, j) => {
          const item = 20 * i + j;
          return queue.put(item).then(() => sure.add(item), (error) => {
            if (error.code === "unavailable" && error.retryable) maybe.add(item);
            else equal(error.code, "closed");
          });
        });
        await Promise.all([...puts, bus.close({ timeout: i * 1_000 })]);
      }));
      await t.settle();
      const there = new Set(await drain(t, kept));
      for (const item of sure) ok(there.has(item), `${item} was put and is not there`);
      for (const item of there) {
        ok(sure.has(item) || maybe.has(item), `${item} is there, though its put said that it is not`);
      }
    },

  "publish(), ack(), free() and qsize() in flight at close() have happened if they resolve, and have not if they reject with 'closed'":
    async (
      t,
    ) => {
      const [stays, ...buses] = await t.buses(3) as [Bus, ...Bus[]];
      await Promise.all(buses.map(async (bus, i) => {
        const [acked, freed] = ["acked", "freed"].map((name) => t.queue<number>(stays, `${name} ${i}`)) as [
          Queue<number>,
          Queue<number>,
        ];
        await Promise.all([acked.put(1), freed.put(1)]);
        const events = t.collect<number>();
        await stays.subscribe<number>(`topic ${i}`, (event) => events.add(event)).ready;
        const lease = await bus.queue(acked.name).receive();
        const inFlight = [
          bus.publish(1, `topic ${i}`),
          lease.ack(),
          bus.queue(freed.name).free(),
          bus.queue(freed.name).qsize(),
        ].map((sent) => sent.then(() => true, unlessClosed));
        const [[published, settled, dropped]] = await Promise.all([
          Promise.all(inFlight),
          bus.close({ timeout: i * 1_000 }),
        ]);
        if (published) await events.count(1);
        await t.settle();
        if (published !== undefined) equal(events.values.length, published ? 1 : 0, "events");
        if (settled !== undefined) {
          equal((await drain(t, acked)).length, settled ? 0 : 1, "items that were acknowledged");
        }
        if (dropped !== undefined) {
          equal((await drain(t, freed)).length, dropped ? 0 : 1, "items of the queue to be freed");
        }
      }));
    },
};
