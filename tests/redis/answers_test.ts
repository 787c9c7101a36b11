/** The answers to PyMQ that may be unread in Redis, whose callers are any that a request names. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { BusError } from "../../mod.ts";
import { Answers } from "../../src/providers/redis/answers.ts";
import type { Client } from "../../src/providers/redis/client.ts";

describe("answers to PyMQ on Redis", () => {
  it("have 256 Mi characters at most: those of the last second make others busy, and the oldest are removed", async () => {
    const removed: string[] = [];
    const call = (_read: unknown, name: string, list: string) => {
      if (name === "unlink") removed.push(list);
      return Promise.resolve();
    };
    const answers = new Answers({ call } as unknown as Client);
    const body = "x".repeat(16 * 2 ** 20);
    for (let i = 0; i < 16; i++) await answers.put(`list ${i % 8}`, body);
    await assertRejects(() => answers.put("list 0", body), BusError, "too many others");
    assertEquals(removed, []);
    const now = performance.now;
    try {
      performance.now = () => now.call(performance) + 2_000;
      await answers.put("another", body);
      assert(removed.length > 0 && removed.every((list, i) => list === `list ${i}`), removed.join());
    } finally {
      performance.now = now;
    }
  });
});
