import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import type { Delivery } from "../../src/provider/provider.ts";
import { Prefetch } from "../../src/queue/prefetch.ts";
import { until } from "../support/until.ts";

/** Deliveries with these numbers as receipts; `x` at the end: it may have killed its process. */
function deliveries(...receipts: string[]): Delivery[] {
  return receipts.map((receipt) => ({
    receipt,
    body: "{}",
    attempt: 1,
    ...receipt.endsWith("x") && { unconfirmed: true },
  }));
}

function prefetch() {
  const returned: string[][] = [];
  const items = new Prefetch((deliveries) => {
    returned.push(deliveries.map(({ receipt }) => receipt));
    return Promise.resolve();
  });
  const taken = () => {
    const receipts: string[] = [];
    for (let one = items.take(); one; one = items.take()) receipts.push(one.receipt);
    return receipts;
  };
  return { items, returned, taken };
}

describe("a consumer fetches ahead", () => {
  it("nothing before it knows how long a handler takes", () => {
    const { items } = prefetch();
    assertEquals([items.room(1), items.room(Infinity)], [0, 0]);
    items.ran(1_000);
    assertEquals([items.room(1), items.room(Infinity)], [0, 64]);
  });

  it("no more than its handlers start with in 25 ms, at most 64 items, at most 1 Mi characters", () => {
    const { items } = prefetch();
    items.ran(5);
    assertEquals([items.room(1), items.room(4), items.room(100)], [5, 20, 64]);
    for (let i = 0; i < 100; i++) items.add([{ receipt: "", body: "x".repeat(2 ** 18), attempt: 1 }], 1);
    assertEquals(items.room(100), 4);
  });

  it("few items after the first one if that one was large", () => {
    const { items } = prefetch();
    items.add([{ receipt: "", body: "x".repeat(2 ** 18), attempt: 1 }], 1);
    items.ran(0.1);
    assertEquals(items.room(1), 4);
  });

  it("nothing if its handlers are slow", () => {
    const { items } = prefetch();
    items.ran(26);
    assertEquals(items.room(1), 0);
  });

  it("and hands the items out in their order", () => {
    const { items, returned, taken } = prefetch();
    items.add(deliveries("1", "2", "3"), 1);
    assertEquals([taken(), returned], [["1", "2", "3"], []]);
  });

  it("and gives back items that wait for too long, all at once, and then fetches nothing ahead", async () => {
    const { items, returned, taken } = prefetch();
    items.ran(0.1);
    items.add(deliveries("1", "2", "3", "4"), 1);
    assertEquals(items.take()?.receipt, "1");
    await until("the rest went back", () => returned.length > 0);
    assertEquals([returned, taken(), items.room(1)], [[["2", "3", "4"]], [], 0]);
  });

  it("and gives back items that a busy thread has kept for too long, instead of handing them out late", async () => {
    const { items, returned } = prefetch();
    items.add(deliveries("0", "1", "2"), 2);
    items.take();
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
    assertEquals(items.take()?.receipt, "1", "it had a free handler");
    assertEquals(items.take(), undefined);
    await items.returned();
    assertEquals(returned, [["2"]]);
  });

  it("and keeps no items that it gave back", async () => {
    const { items } = prefetch();
    for (let i = 0; i < 3; i++) {
      items.add(deliveries("1", "2"), 1);
      items.clear();
    }
    assertEquals(await items.returned() as unknown, undefined);
  });

  it("but never an item that may have killed its process: it goes back with all after it", () => {
    const { items, returned, taken } = prefetch();
    items.add(deliveries("1x", "2", "3x", "4"), 2);
    assertEquals([taken(), returned], [["1x", "2"], [["3x", "4"]]]);
  });
});
