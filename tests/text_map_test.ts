/** The map for keys that others choose. */
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { TextMap, textSet } from "../src/internal/text_map.ts";
import { linear } from "./support/growth.ts";
import { Random, SEED } from "./support/random.ts";

describe(`a map of texts (seed ${SEED})`, () => {
  it("does what a Map does", () => {
    const random = new Random(SEED);
    const [map, expected] = [new TextMap<number>(), new Map<string, number>()];
    for (let i = 0; i < 20_000; i++) {
      const key = `${"x".repeat(random.int(0, 3))}${random.int(0, i < 10_000 ? 5_000 : 20)}`;
      if (random.chance(0.6)) {
        map.set(key, i);
        expected.set(key, i);
      } else assertEquals(map.delete(key), expected.delete(key));
      assertEquals([map.size, map.has(key), map.get(key)], [expected.size, expected.has(key), expected.get(key)]);
    }
    assertEquals([...map], [...expected]);
    assertEquals([...map.values()], [...expected.values()]);
  });

  it("lets a loop remove the key that it is at", () => {
    const map = new TextMap<number>();
    for (const key of ["a", "b", "c"]) map.set(key, 0);
    const seen: string[] = [];
    for (const key of map.keys()) {
      seen.push(key);
      map.delete(key);
    }
    assertEquals([seen, map.size, [...map]], [["a", "b", "c"], 0, []]);
  });

  it("distinguishes keys that differ after any number of characters", () => {
    const map = new TextMap<number>();
    for (let i = 0; i < 20; i++) map.set("x".repeat(5_000) + i, i);
    assertEquals([map.size, map.get("x".repeat(5_000) + 7)], [20, 7]);
  });

  it("takes linear time for long keys that begin alike", async () => {
    const make = (size: number) => Array.from({ length: size }, (_, i) => "x".repeat(4_000) + i);
    await linear("keys that begin alike", 200, make, textSet);
  });
});
