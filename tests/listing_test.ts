/** The limits of an admin's lists. */
import { assertEquals, assertMatch } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { listEach, MAX_LISTED } from "../src/provider/listing.ts";

describe("listEach()", () => {
  it("reads a limited number of names at once, in order, and warns once about those that it leaves out", async () => {
    const written: unknown[] = [];
    const warn = console.warn;
    console.warn = (...args: unknown[]) => void written.push(args.join(" "));
    const names = Array.from({ length: MAX_LISTED + 1 }, (_, i) => i);
    let [running, most] = [0, 0];
    const read = async (name: number) => {
      most = Math.max(most, ++running);
      await Promise.resolve();
      running--;
      return name;
    };
    try {
      assertEquals(await listEach("queues in the namespace a", names.slice(1), 16, read), names.slice(1));
      assertEquals(written, []);
      for (let i = 0; i < 2; i++) {
        assertEquals(await listEach("queues in the namespace a", names, 16, read), names.slice(0, -1));
      }
    } finally {
      console.warn = warn;
    }
    assertEquals(most, 16);
    assertEquals(written.length, 1);
    assertMatch(String(written[0]), /more than 10000 queues in the namespace a: the others are not listed/);
  });
});
