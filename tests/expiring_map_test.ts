import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { ExpiringMap } from "../src/internal/expiring_map.ts";

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
