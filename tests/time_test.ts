import { assertEquals, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { FakeTime } from "@std/testing/time";
import { Codec } from "../src/codec/codec.ts";
import { UNSIGNED } from "../src/codec/envelope.ts";
import { HeldLease } from "../src/queue/lease.ts";
import { Deliveries } from "../src/queue/deliveries.ts";
import type { Core } from "../src/core.ts";
import { UnsupportedError } from "../src/errors.ts";
import { after, backoff, Deadline, MAX_TIMER, pause, Timeouts } from "../src/internal/time.ts";
import { LostLeases } from "../src/port/lost_leases.ts";
import { MemoryQueue } from "../src/providers/memory/queue.ts";

const DAY = 24 * 3_600_000;

/** Returns the delay that a lease passes to the transport when it is given back with this delay. */
async function told(delay: number, maxDelay = Infinity): Promise<number | undefined> {
  let told: number | undefined;
  const link = {
    leases: new LostLeases(),
    settle: (_queue: string, _receipts: string[], _outcome: string, delay: number) => {
      told = delay;
      return Promise.resolve([true]);
    },
  };
  const core = { link, envelopes: UNSIGNED, codec: new Codec([]), features: { maxDelay } } as unknown as Core;
  const deliveries = new Deliveries("queue", undefined, core);
  await new HeldLease(deliveries, deliveries.open({ receipt: "r", body: "1", attempt: 1 }), 1).nack({ delay }).catch(
    (error) => {
      assertEquals(told, undefined, "nothing is sent");
      throw error;
    },
  );
  return told;
}

describe("times longer than a timer holds", () => {
  it("after() fires after its time, not before", () => {
    using time = new FakeTime();
    const fired: string[] = [];
    const stop = after(2 * MAX_TIMER, () => fired.push("stopped"));
    after(2 * MAX_TIMER + 10, () => fired.push("long"));
    after(10, () => fired.push("short"));
    after(Infinity, () => fired.push("never"));
    time.tick(MAX_TIMER);
    assertEquals(fired, ["short"]);
    stop();
    time.tick(MAX_TIMER);
    time.tick(9);
    assertEquals(fired, ["short"]);
    time.tick(1);
    assertEquals(fired, ["short", "long"]);
  });

  it("a deadline may be brought forward, and not put off", async () => {
    const deadline = new Deadline(60 * DAY);
    deadline.bring(5);
    deadline.bring(90 * DAY);
    await deadline.within(new Promise(() => {}));
    assertEquals(deadline.left, 0);
  });

  it("a delay of a nack reaches the transport unchanged", async () => {
    assertEquals(await told(60 * DAY), 60 * DAY);
    assertEquals(await told(10), 10);
  });

  it("a delay that the transport does not support is refused before anything is sent", async () => {
    assertEquals(await told(DAY, DAY), DAY);
    await assertRejects(() => told(DAY + 1, DAY), UnsupportedError);
  });

  it("the memory broker delays an item for the requested time", async () => {
    const queue = new MemoryQueue("queue", Infinity);
    const options = { max: 1, wait: 0, lease: 1_000, signal: new AbortController().signal };
    await queue.put("id", "item", 0);
    const [held] = await queue.receive(options);
    assertEquals(queue.settle([held!.receipt], "nack", 60 * DAY), [true]);
    assertEquals((await queue.receive({ ...options, wait: 20 })).length, 0);
    queue.clear();
  });
});

describe("pause()", () => {
  it("ends at once when its signal aborts, and leaves no listener behind", async () => {
    const stop = new AbortController();
    let listeners = 0;
    const signal = new Proxy(stop.signal, {
      get(target, key) {
        if (key === "addEventListener") listeners++;
        if (key === "removeEventListener") listeners--;
        const value: unknown = Reflect.get(target, key, target);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    const paused = pause(DAY, signal);
    assertEquals(listeners, 1);
    stop.abort();
    await paused;
    assertEquals(listeners, 0);
    await pause(DAY, stop.signal);
  });
});

describe("backoff()", () => {
  it("doubles from the first pause to the longest, however many attempts fail", () => {
    const pauses = [1, 2, 3, 4, 5, 1_000].map((failures) => backoff({ min: 100, max: 1_000 }, failures));
    assertEquals(pauses, [100, 200, 400, 800, 1_000, 1_000]);
  });
});

describe("Timeouts", () => {
  it("fire in time, each once, in their order; cancelled ones do not", async () => {
    using time = new FakeTime();
    const timeouts = new Timeouts();
    const fired: string[] = [];
    timeouts.after(100, () => fired.push("a"));
    const cancel = timeouts.after(100, () => fired.push("b"));
    timeouts.after(50, () => fired.push("short"));
    await time.tickAsync(60);
    timeouts.after(100, () => fired.push("c"));
    cancel();
    assertEquals(fired, ["short"]);
    await time.tickAsync(50);
    assertEquals(fired, ["short", "a"]);
    await time.tickAsync(50);
    assertEquals(fired, ["short", "a", "c"]);
    timeouts.after(100, () => fired.push("d"));
    for (let ms = 1; ms <= 20; ms++) timeouts.after(ms, () => fired.push(`${ms}`));
    await time.tickAsync(20);
    assertEquals(fired.length, 23);
    timeouts.close();
    await time.tickAsync(1_000);
    assertEquals(fired.length, 23);
  });
});
