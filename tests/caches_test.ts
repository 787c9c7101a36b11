import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { ExpiringMap, LimitedMap } from "../src/internal/caches.ts";

describe("LimitedMap", () => {
  it("removes the oldest entry; an entry that is set again counts as new", () => {
    const map = new LimitedMap<string>(2);
    map.set("0", "a").set("1", "b").set("0", "c").set("2", "d");
    assertEquals([...map], [["0", "c"], ["2", "d"]]);
  });
});

describe("ExpiringMap", () => {
  it("keeps a value until it expires, and 10,000 values at most", () => {
    const map = new ExpiringMap<number>(60_000);
    map.set("expired", 1, performance.now() - 60_000);
    assertEquals(map.get("expired"), undefined);
    for (let i = 0; i < 10_001; i++) map.set(`fn ${i}`, i);
    assertEquals([map.get("fn 0"), map.get("fn 1"), map.get("fn 10000")], [undefined, 1, 10_000]);
    map.delete("fn 1");
    assertEquals(map.get("fn 1"), undefined);
  });
});
