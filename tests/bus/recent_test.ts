import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Recent } from "../../src/rpc/recent.ts";

describe("Recent", () => {
  it("keeps a value for its life, and 10,000 values at most", () => {
    const recent = new Recent<number>(60_000);
    recent.set("expired", 1, performance.now() - 60_000);
    assertEquals(recent.get("expired"), undefined);
    for (let i = 0; i < 10_001; i++) recent.set(`fn ${i}`, i);
    assertEquals([recent.get("fn 0"), recent.get("fn 1"), recent.get("fn 10000")], [undefined, 1, 10_000]);
    recent.delete("fn 1");
    assertEquals(recent.get("fn 1"), undefined);
  });
});
