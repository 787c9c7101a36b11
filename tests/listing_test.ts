/** The limits of an admin's lists. */
import { assertEquals, assertMatch } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { inParallel } from "../src/internal/in_parallel.ts";
import { limited, limitedAsync, MAX_LISTED, MAX_LISTED_SIZE } from "../src/provider/listing.ts";
import { warnings } from "./support/warnings.ts";

/** Yields these names, and fails if more than one is read beyond the limit. */
async function* arriving(names: readonly string[]): AsyncGenerator<string> {
  for (const [i, name] of names.entries()) {
    if (i > MAX_LISTED) throw new Error("it reads on");
    yield name;
  }
}

describe("a limited list", () => {
  const names = Array.from({ length: MAX_LISTED + 2 }, (_, i) => String(i));

  it("has a limited number of names, in order, and a warning is written once about the others, which are not read", async () => {
    const written = await warnings(async () => {
      const all = names.slice(2);
      assertEquals(limited("queues in the namespace a", all), all);
      assertEquals(await limitedAsync("queues in the namespace a", arriving(all)), all);
    });
    assertEquals(written, []);
    const more = await warnings(async () => {
      for (let i = 0; i < 2; i++) {
        assertEquals(limited("queues in the namespace a", names), names.slice(0, -2));
        assertEquals(await limitedAsync("queues in the namespace a", arriving(names)), names.slice(0, -2));
      }
      assertEquals(limited("servers in the namespace a", names, 3), names.slice(0, 3));
    });
    assertEquals(more.length, 2);
    assertMatch(more[0]!, /more than 10000 queues in the namespace a: the others are not listed/);
    assertMatch(more[1]!, /more than 3 servers in the namespace a: the others are not listed/);
  });

  it("has names of a limited size", async () => {
    const name = "x".repeat(MAX_LISTED_SIZE / 2);
    const written = await warnings(async () => {
      assertEquals(limited("topics in the namespace a", [name, name, ""]).length, 3);
      assertEquals(limited("topics in the namespace a", [name, name, "x"]).length, 2);
      assertEquals(limited("functions in the namespace a", [[name, name], ["x"]]).length, 0);
      assertEquals((await limitedAsync("groups in the namespace a", arriving([name, name, "x"]))).length, 2);
    });
    assertEquals(written.length, 3);
  });
});

describe("inParallel()", () => {
  it("reads a limited number of names at once, in order", async () => {
    const names = Array.from({ length: MAX_LISTED }, (_, i) => i);
    let [running, most] = [0, 0];
    const read = async (name: number) => {
      most = Math.max(most, ++running);
      await Promise.resolve();
      running--;
      return name;
    };
    assertEquals(await inParallel(names, 16, read), names);
    assertEquals(most, 16);
  });
});
