/** Cases about closing in which the transport makes no difference. */
import { equal } from "../../src/conformance/assert.ts";
import type { Cases } from "../../src/conformance/cases.ts";

/** Far longer than a case may take: whatever waits for it fails. */
const TIMEOUT = 60_000;

/** Cases about closing in which the transport makes no difference. */
export const closing: Cases = {
  "close() awaited by two handlers at once ends when both wait for it": async (t) => {
    const bus = await t.open();
    const seen = t.collect<string>();
    const { passed, open } = t.gate();
    bus.subscribe("work", async (name: string) => {
      seen.add("begun");
      await passed;
      await bus.close({ timeout: TIMEOUT });
      seen.add(name);
    }, { concurrency: 2 });
    await bus.publish("first", "work");
    await bus.publish("second", "work");
    await seen.count(2);
    open();
    await bus.closed;
    equal(seen.values.toSorted(), ["begun", "begun", "first", "second"]);
  },

  "close() awaited by a function that a handler of the same bus has called": async (t) => {
    const bus = await t.open();
    const seen = t.collect<unknown>();
    await bus.expose("end", async () => {
      await bus.close({ timeout: TIMEOUT });
      return "ended";
    });
    bus.subscribe("work", async () => seen.add(await bus.stub("end")()));
    await bus.publish("event", "work");
    await seen.are(["ended"]);
    await bus.closed;
  },

  "a forced close aborts the signals of the leases that it ends": async (t) => {
    const bus = await t.open();
    const queue = t.queue<string>(bus, "queue");
    const { passed } = t.gate();
    const seen = t.collect<AbortSignal>();
    queue.consume((_, { signal }) => {
      seen.add(signal);
      return passed;
    });
    await queue.put("handled");
    const [signal] = await seen.count(1);
    await queue.put("received");
    const lease = await queue.receive();
    await bus.close({ timeout: 0 });
    equal([signal!.aborted, lease.signal.aborted], [true, true]);
  },

  "close() with a shorter timeout shortens the deadline": async (t) => {
    const bus = await t.open();
    const { passed } = t.gate();
    const seen = t.collect<string>();
    bus.subscribe("work", () => {
      seen.add("begun");
      return passed;
    });
    await bus.publish("event", "work");
    await seen.count(1);
    const first = bus.close({ timeout: TIMEOUT });
    const joined = bus.close();
    equal((await bus.close({ timeout: 300 })).abandoned, 1);
    equal(await first, await joined);
  },
};
