// run: on bun
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { parseFilter } from "../../cli/filter.ts";
import { ValidationError } from "../../mod.ts";

describe("a filter with a glob", () => {
  const passes = (glob: string, event: unknown) => parseFilter(`event.text~${glob}`)({ topic: "t", event });

  it("matches texts only", () => {
    assertEquals([{ text: "shop.eu" }, { text: 7 }, {}].map((event) => passes("shop.*", event)), [true, false, false]);
  });

  it("compares a text in a limited number of steps, and refuses an event that needs more", () => {
    const glob = `*${"a".repeat(4_000)}b`;
    assertEquals(passes(glob, { text: "a".repeat(5_000) }), false);
    const { message } = assertThrows(() => passes(glob, { text: "a".repeat(10_000) }), ValidationError);
    assert(message.includes("a text of 10000 characters with it takes more than 8388608 steps"), message);
  });
});
