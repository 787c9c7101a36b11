import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Budget, ExpiringMap, LimitedMap, WeighedTextMap } from "../src/internal/caches.ts";

describe("LimitedMap", () => {
  it("removes the oldest entry; an entry that is set again counts as new", () => {
    const map = new LimitedMap<string>(2);
    map.set("0", "a").set("1", "b").set("0", "c").set("2", "d");
    assertEquals([...map], [["0", "c"], ["2", "d"]]);
  });
});

describe("WeighedTextMap", () => {
  const pair = (limit: number) => {
    const budget = new Budget(limit);
    const map = () => new WeighedTextMap<number>(budget, (value, key) => value + key.length);
    const [one, two] = [map(), map()];
    const kept = () => [..."abcd"].map((key) => [one.get(key), two.get(key)]).flat().filter((value) => value);
    return { one, two, kept };
  };

  it("removes the oldest entries of all maps of a budget; an entry that is set again is weighed again, and is new", () => {
    const { one, two, kept } = pair(12);
    one.set("a", 3);
    two.set("b", 3);
    one.set("c", 3);
    assertEquals(kept(), [3, 3, 3]);
    one.set("a", 4);
    assertEquals(kept(), [4, 3], "of a and c");
    two.set("b", 1);
    one.delete("a");
    two.set("a", 5);
    assertEquals(kept(), [5, 1, 3], "an entry that was removed weighs nothing");
    two.clear();
    one.set("d", 7);
    assertEquals(kept(), [3, 7]);
  });

  it("keeps the newest entry that alone is heavier than the budget, and the others", () => {
    const { one, two, kept } = pair(12);
    one.set("a", 3);
    one.set("b", 100);
    two.set("b", 7);
    assertEquals(kept(), [3, 100, 7]);
    two.set("c", 3);
    assertEquals(kept(), [100, 7, 3], "a is the oldest one");
    two.set("d", 200);
    assertEquals(kept(), [7, 3, 200]);
    two.delete("b");
    two.set("d", 1);
    two.set("a", 5);
    assertEquals(kept(), [5, 3, 1]);
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
