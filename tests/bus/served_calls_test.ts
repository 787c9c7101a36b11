import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { ServedCalls } from "../../src/rpc/served_calls.ts";

/** The number of calls, and of characters of answers, that the memory must hold (docs/wire.md). */
const CALLS = 16_384;
const ANSWERS = 4 * 1024 * 1024;

describe("ServedCalls", () => {
  it("remembers at least the latest 16,384 calls, and knows that it has forgotten older ones", () => {
    const served = new ServedCalls();
    const count = 3 * CALLS;
    for (let i = 0; i < count; i++) {
      served.add(`call ${i}`);
      served.keep(`call ${i}`, `answer ${i}`);
    }
    for (let i = count - CALLS; i < count; i++) assertEquals(served.answer(`call ${i}`, 1), `answer ${i}`);
    assertEquals(served.answer("call 0", 1), undefined);
    assertEquals(served.answer("new", 0), false);
  });

  it("keeps the latest answers up to 4 Mi characters, and remembers the calls of the others", () => {
    const served = new ServedCalls();
    const answer = "x".repeat(64 * 1024);
    const kept = ANSWERS / answer.length;
    for (let i = 0; i < 3 * kept; i++) {
      served.add(`call ${i}`);
      served.keep(`call ${i}`, answer);
    }
    for (let i = 2 * kept; i < 3 * kept; i++) assertEquals(served.answer(`call ${i}`, 1), answer);
    assertEquals(served.answer("call 0", 1), undefined);
  });

  it("does not forget all answers for one that is larger than its memory", () => {
    const served = new ServedCalls();
    for (const [id, answer] of [["small", "answer"], ["large", "x".repeat(2 * ANSWERS)]] as const) {
      served.add(id);
      served.keep(id, answer);
    }
    assertEquals(served.answer("small", 1), "answer");
    assertEquals(served.answer("large", 1), undefined);
  });
});
