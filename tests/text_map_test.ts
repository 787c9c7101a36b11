/** The map for keys that others choose. */
// run: on deno
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { LimitedTextMap } from "../src/internal/caches.ts";
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

  it("has loops that see what is added and removed meanwhile, as a Map has", () => {
    const random = new Random(SEED);
    const keys = Array.from({ length: 12 }, (_, i) => `key ${i}`);
    for (let round = 0; round < 500; round++) {
      const [map, expected] = [new TextMap<number>(), new Map<string, number>()];
      for (const key of keys) if (random.chance(0.5)) [map, expected].forEach((each) => each.set(key, 0));
      const loop = (each: TextMap<number> | Map<string, number>, random: Random) => {
        const seen: string[] = [];
        for (const [key] of each) {
          seen.push(key);
          if (seen.length === 30) break;
          for (let i = 0; i < 3; i++) {
            if (random.chance(0.6)) each.delete(random.pick(keys));
            else each.set(random.pick(keys), i);
          }
        }
        return [seen, [...each]];
      };
      const seed = random.int(0, 1e9);
      assertEquals(loop(map, new Random(seed)), loop(expected, new Random(seed)));
    }
  });

  it("says which key is the oldest", () => {
    const map = new LimitedTextMap<number>(3);
    for (let i = 0; i < 10; i++) map.set(`${i % 5}`, i);
    assertEquals([map.oldest, [...map]], ["2", [["2", 7], ["3", 8], ["4", 9]]]);
  });

  it("distinguishes keys that differ after any number of characters", () => {
    const map = new TextMap<number>();
    for (let i = 0; i < 20; i++) map.set("x".repeat(5_000) + i, i);
    assertEquals([map.size, map.get("x".repeat(5_000) + 7)], [20, 7]);
  });

  it("takes linear time for long keys that differ in a few characters, wherever they are", async () => {
    for (const length of [4_000, 4_200, 10_000]) {
      for (const at of [0, length / 2, length]) {
        const [head, tail] = ["x".repeat(at), "x".repeat(length - at)];
        const make = (size: number) => Array.from({ length: size }, (_, i) => `${head}${i}${tail}`);
        await linear(`keys of ${length} characters that differ at ${at}`, 200, make, textSet);
      }
    }
  });

  it("takes linear time for long keys of the same few parts", async () => {
    const parts = ["x".repeat(4_096), "y".repeat(4_096)] as const;
    const make = (size: number) =>
      Array.from({ length: size }, (_, i) => i.toString(2).padStart(14, "0").replaceAll(/./g, (bit) => parts[+bit]!));
    await linear("keys of 14 parts", 50, make, textSet);
  });
});
