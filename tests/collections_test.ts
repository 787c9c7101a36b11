/** Sets and maps whose values collide take about as long as others, or are refused. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { ValidationError } from "../mod.ts";
import { Codec } from "../src/codec/codec.ts";
import { Collections } from "../src/codec/collections.ts";

const codec = new Codec();
const onV8 = typeof Reflect.get(globalThis, "Bun") === "undefined";

/** Returns V8's hash of an integer. */
function hash(key: number): number {
  let h = ~key + (key << 15);
  h ^= h >>> 12;
  h += h << 2;
  h ^= h >>> 4;
  h = Math.imul(h, 2057);
  return (h ^ (h >>> 16)) & 0x3fffffff;
}

/** Finds numbers that are all in one chain of V8's table, for tables of up to 2^`bits` chains. */
function colliding(count: number, bits: number): number[] {
  const found: number[] = [];
  for (let i = 0; found.length < count; i++) if ((hash(i) & (2 ** bits - 1)) === 0) found.push(i);
  return found;
}

const COLLIDING = colliding(8_000, 13);
const RANDOM = COLLIDING.map(() => Math.floor(Math.random() * 2 ** 31));

/** Returns bodies with these numbers as a set or as keys of a map, in each format. */
function bodies(numbers: readonly number[]): string[] {
  const pairs = JSON.stringify(numbers.map((number) => [number, 1]));
  return [
    codec.encode(new Set(numbers)),
    codec.encode(new Map(numbers.map((number) => [number, 1]))),
    `{"__obj":${JSON.stringify(numbers)},"__type":"set"}`,
    `{"__obj":${pairs},"__type":"tsmq:Map"}`,
  ];
}

describe("Collections", () => {
  it("refuse numbers that collide, in sets and in maps", () => {
    for (const body of bodies(COLLIDING)) {
      if (onV8) assertThrows(() => codec.decode(body), ValidationError, "collide");
      else codec.decode(body); // these numbers collide on V8 only
    }
    if (!onV8) return;
    assertThrows(() => codec.revive(COLLIDING, "set"), ValidationError, "collide");
    // many collections, each of which takes little time
    const small = Array.from({ length: 50 }, (_, i) => new Set(COLLIDING.slice(100 * i, 100 * i + 3_000)));
    assertThrows(() => codec.decode(codec.encode(small)), ValidationError, "collide");
  });

  it("accept all others, of any size, with their order", () => {
    for (const body of bodies(RANDOM)) codec.decode(body);
    for (const size of [0, 1, 499, 500, 20_001]) {
      const values = Array.from({ length: size }, (_, i) => i % 2 ? i : `${i}`);
      assertEquals(JSON.stringify([...new Collections().set(values)]), JSON.stringify(values));
      const pairs = values.map((value, i): [unknown, unknown] => [value, i]);
      assertEquals(JSON.stringify([...new Collections().map(pairs)]), JSON.stringify(pairs));
    }
    assertEquals(new Collections().set([...RANDOM, ...RANDOM]).size, new Set(RANDOM).size);
  });

  it("accept values that take long for another reason: they are compared with random ones under the same conditions", () => {
    const collections = new Collections();
    const { now } = performance;
    let calls = 0;
    try {
      // three of four measurements are 50 ms longer than they were
      performance.now = () => now.call(performance) + 50 * (calls += ++calls % 4 === 0 ? 0 : 1);
      for (let i = 0; i < 5; i++) assertEquals(collections.set(RANDOM).size, new Set(RANDOM).size);
    } finally {
      performance.now = now;
    }
    assert(calls > 0);
  });
});
