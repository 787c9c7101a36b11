import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Bus, memory } from "../../mod.ts";
import { schema } from "../support/schema.ts";
import { fresh } from "./grounds.ts";

describe("items that a schema refuses, read without being taken", () => {
  it("are fewer than the limit of a peek if their errors take more than 64 MiB", async () => {
    await using bus = await Bus.open(memory(), { namespace: fresh() });
    const queue = bus.queue<unknown>("refused");
    for (let i = 0; i < 100; i++) await queue.put(i);
    const issues = Array.from({ length: 100 }, (_, i) => ({ message: String(i).repeat(8_000) }));
    const refusing = bus.queue("refused", { schema: schema(() => ({ issues })) });
    const found = await refusing.peek({ limit: 100 }); // the issues of each are 1.5 million characters
    assertEquals(found.map(({ error }) => error?.issues.length), Array(23).fill(100));
  });

  it("count the characters of the keys in their errors", async () => {
    await using bus = await Bus.open(memory(), { namespace: fresh() });
    const queue = bus.queue<unknown>("refused");
    for (let i = 0; i < 100; i++) await queue.put(i);
    const path = [Symbol("s"), 1, ...Array.from({ length: 30 }, () => "k".repeat(1_000))];
    const issues = Array(100).fill({ message: "no", path });
    const refusing = bus.queue("refused", { schema: schema(() => ({ issues })) });
    const found = await refusing.peek({ limit: 100 }); // the keys of each are 3 million characters
    assertEquals(found.length, 11);
  });
});
