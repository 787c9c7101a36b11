/**
 * The life of a bus: opening, closing, and operations before and after them.
 *
 * @module
 */
import type { Bus } from "../bus.ts";
import { BusError, ClosedError } from "../errors.ts";
import { equal, ok, rejects } from "./assert.ts";
import type { Cases } from "./cases.ts";

/** Milliseconds of a lease. */
const LEASE = 1_000;

/** Cases about opening and closing. */
export const life: Cases = {
  "Bus.open() resolves with a working bus; close() resolves with the same report each time": async (t) => {
    const bus = await t.open();
    const seen = t.collect<string>();
    bus.subscribe("greetings", seen.add);
    await bus.publish("hello", "greetings");
    await seen.are(["hello"]);
    const report = { finished: 0, abandoned: 0, dropped: 0, returned: 0, clean: true };
    equal(await Promise.all([bus.close(), bus.close()]), [report, report]);
    equal(await bus.close(), report);
    equal(await bus.closed, undefined);
  },

  "Bus.open() opens several buses at the same time, which reach each other": async (t) => {
    const buses = await t.buses(4);
    const seen = t.collect<number>();
    await Promise.all(buses.map((bus, i) => bus.subscribe("all", () => seen.add(i)).ready));
    await buses[0]!.publish("x", "all");
    equal((await seen.count(4)).toSorted(), [0, 1, 2, 3]);
  },

  "Bus.open() opens buses one after the other, and each works": async (t) => {
    for (let i = 0; i < 10; i++) {
      const bus = await t.open();
      const seen = t.collect<number>();
      bus.subscribe("again", seen.add);
      await bus.publish(i, "again");
      await seen.are([i]);
      await bus.close();
    }
  },

  "close() ends all waits: gets and calls reject with ClosedError, and loops end": async (t) => {
    const [server, bus] = await t.buses(2);
    const { passed, open } = t.gate();
    await server!.expose("wait", () => passed);
    const queue = t.queue(bus!, "nothing");
    const waiting: Record<string, Promise<unknown>> = {
      'get from queue "nothing"': queue.get(),
      'receive from queue "nothing"': queue.receive(),
      'call "wait"': bus!.stub("wait")(),
    };
    const loops = [
      (async () => {
        for await (const _ of bus!.topic("nothing"));
      })(),
      (async () => {
        for await (const _ of bus!.queue("nothing"));
      })(),
    ];
    const rejected = Object.entries(waiting).map(async ([doing, wait]) => {
      const error = await rejects(wait, ClosedError, "closed", doing);
      equal(error.message, `Cannot ${doing}: the bus is closed`);
    });
    await t.until(() => bus!.health().pending.calls === 1, "the call is under way");
    await bus!.close();
    await Promise.all(rejected);
    await Promise.all(loops);
    open();
  },

  "close() waits for running handlers": async (t) => {
    const bus = await t.open();
    const { passed, open } = t.gate();
    const seen = t.collect<string>();
    bus.subscribe("work", async (work: string) => {
      seen.add(`${work} begun`);
      await passed;
      await bus.publish(work, "done");
      seen.add(`${work} done`);
    });
    await bus.publish("first", "work");
    await seen.count(1);
    const closing = bus.close().then((report) => {
      seen.add("closed");
      return report;
    });
    await t.quiet();
    open();
    equal((await closing).finished, 1);
    equal((await closing).abandoned, 0);
    await seen.are(["first begun", "first done", "closed"]);
  },

  "close({ timeout }) does not wait longer for running handlers": async (t) => {
    const bus = await t.open();
    const { passed } = t.gate();
    const seen = t.collect<string>();
    bus.subscribe("work", (work: string) => {
      seen.add(work);
      return passed;
    });
    await Promise.all(["first", "second", "third"].map((work) => bus.publish(work, "work")));
    await seen.count(1);
    await t.settle();
    const start = performance.now();
    const { finished, abandoned } = await bus.close({ timeout: 1_000 });
    ok(performance.now() - start < 4_000, "close took about as long as if no timeout had been given");
    equal({ finished, abandoned }, { finished: 0, abandoned: 1 });
    equal(seen.values, ["first"]);
  },

  "a handler can call close()": async (t) => {
    const bus = await t.open();
    bus.subscribe("end", () => bus.close({ timeout: 2_000 }));
    await bus.publish("now", "end");
    equal(await bus.closed, undefined);
  },

  "no event is delivered after close()": async (t) => {
    const [publisher, bus] = await t.buses(2);
    let handled = 0;
    await bus!.subscribe("stream", () => void handled++).ready;
    await bus!.expose("count", () => ++handled);
    let stop = false;
    const streaming = (async () => {
      while (!stop) {
        await publisher!.publish("x", "stream");
        await t.pause(0);
      }
    })();
    await t.until(() => handled > 10, "events flow");
    await bus!.close();
    const atClose = handled;
    await t.quiet();
    stop = true;
    await streaming;
    await t.quiet();
    equal(handled, atClose, "the number of handled events");
  },

  "close() delivers all events whose publish() resolved": async (t) => {
    const [publisher, bus] = await t.buses(2);
    const seen = t.collect<number>();
    await bus!.subscribe("last", seen.add).ready;
    const published = Array.from({ length: 200 }, (_, i) => publisher!.publish(i, "last"));
    const [settled] = await Promise.all([Promise.allSettled(published), publisher!.close()]);
    const promised = settled.flatMap(({ status }, i) => status === "fulfilled" ? [i] : []);
    await t.until(() => promised.every((i) => seen.values.includes(i)), "every published event has arrived");
  },

  "close() waits for events that are being published": async (t) => {
    const [publisher, bus] = await t.buses(2);
    const seen = t.collect<number>();
    await bus!.subscribe("last", seen.add).ready;
    const published = Array.from({ length: 100 }, (_, i) => publisher!.publish(i, "last"));
    await publisher!.close();
    await Promise.all(published);
    await t.until(() => seen.values.length === 100, "every event has arrived");
  },

  "close() does not end other buses": async (t) => {
    const [bus, other] = await t.buses(2);
    const seen = t.collect<string>();
    bus!.subscribe("shared", () => {});
    await other!.subscribe("shared", seen.add).ready;
    await bus!.close();
    await other!.publish("still here", "shared");
    await seen.are(["still here"]);
  },

  "a bus that is closed by force gives up its leases, and the other buses of its worker miss nothing": {
    deadline: 60_000,
    run: async (t) => {
      const [publisher, other] = await t.buses(2) as [Bus, Bus];
      const gaps = t.collect<string>();
      other.addEventListener("gap", (event) => gaps.add(event.type));
      const events = t.collect<number>();
      await other.subscribe<number>("stream", events.add).ready;
      const queue = t.queue<number>(other, "held");
      let [published, stop, rest] = [0, false, 1];
      const streaming = (async () => {
        for (; !stop; await t.pause(rest)) await publisher.publish(published++, "stream");
      })();
      for (let round = 0; round < 3; round++) {
        rest = 1;
        await queue.put(round);
        const forced = await t.open();
        await forced.subscribe("stream", () => {}).ready;
        await forced.expose(`function ${round}`, () => {});
        await forced.queue("held").receive({ lease: LEASE });
        const waiting = rejects(forced.queue("empty").get(), ClosedError, "closed");
        await forced.close({ timeout: 0 });
        await waiting;
        rest = 50; // until the lease has ended
        const lease = await queue.receive({ timeout: 30 * LEASE });
        equal(lease.item, round);
        await lease.ack();
      }
      stop = true;
      await streaming;
      await t.until(() => new Set(events.values).size === published, "the other bus has all events");
      equal([gaps.values, publisher.health().restarts, other.health().restarts], [[], 0, 0]);
    },
  },

  "namespaces do not see each other": async (t) => {
    const here = await t.open();
    const there = await t.open({ namespace: `${t.namespace}-there` });
    const seen = t.collect<string>();
    await Promise.all([
      there.subscribe("topic", seen.add).ready,
      there.subscribe("*", seen.add, { pattern: true }).ready,
      there.expose("fn", () => "there"),
    ]);
    await here.publish("x", "topic");
    const queue = t.queue(here, "queue");
    await queue.put("x");
    await t.settle();
    equal(await there.queue("queue").qsize(), 0);
    equal(await here.stub("fn", { multi: true })(), []);
    await t.quiet();
    equal(seen.values, []);
  },

  "a namespace may contain any character except a colon, and is not a glob": async (t) => {
    const names = ["*", "kit [a-z]?", "a/b|c", "ünï☃", "..", "\\", "x".repeat(200)].map((n) => `${t.namespace}${n}`);
    const other = await t.open({ namespace: `${t.namespace}b` });
    await Promise.all(names.map(async (namespace) => {
      const bus = await t.open({ namespace });
      const seen = t.collect<string>(`what was seen in "${namespace}"`);
      await bus.subscribe("t*", seen.add, { pattern: true }).ready;
      await other.publish("not for you", "topic");
      await bus.publish("for you", "topic");
      await seen.are(["for you"]);
      const queue = bus.queue("queue");
      await queue.put("item");
      equal(await queue.get(), "item");
      await queue.free();
      await bus.expose("fn", () => "answer");
      equal(await bus.stub("fn")(), "answer");
      await t.quiet();
      equal(seen.values, ["for you"]);
    }));
  },

  "health() reports the state of the bus": async (t) => {
    const bus = await t.open();
    await bus.subscribe("topic", () => {}).ready;
    const { state, subscriptions, pending, reconnects, restarts, lastReceive } = bus.health();
    equal({ state, subscriptions, pending, reconnects, restarts }, {
      state: "up",
      subscriptions: 1,
      pending: { calls: 0, handlers: 0 },
      reconnects: 0,
      restarts: 0,
    });
    ok(Math.abs(Date.now() - lastReceive) < 60_000, "lastReceive is about now");
    await bus.close();
    equal(bus.health().state, "closed");
  },

  "a time that is longer than a timer can hold still works": async (t) => {
    for (const time of [2 ** 31, Infinity]) {
      const bus = await t.open({ sendTimeout: 2 ** 30, connectTimeout: 2 ** 30 }); // the longest that a bus accepts
      const queue = t.queue<string>(bus, "queue");
      const got = queue.get({ timeout: time });
      await t.quiet(); // who does not wait has found nothing by now
      await queue.put("item", { timeout: time });
      equal(await got, "item");
      await queue.put("later");
      const lease = await queue.receive({ timeout: time, lease: 2 ** 40 });
      await lease.nack({ delay: Math.min(time, t.features.maxDelay, 1e12) });
      await rejects(() => queue.receive({ timeout: 100 }), BusError, "queue_empty");
      const { passed, open } = t.gate();
      const started = t.collect<string>();
      await bus.subscribe<string>("topic", async (text) => {
        started.add(text);
        await passed;
      }).ready;
      await bus.publish("x", "topic");
      await started.count(1);
      const closed = bus.close({ timeout: time });
      await t.quiet();
      open();
      const { finished, abandoned } = await closed;
      equal({ finished, abandoned }, { finished: 1, abandoned: 0 });
    }
  },
};
