/** Sets and maps whose values collide take about as long as others, or are refused. */
// run: on bun
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { ValidationError } from "../mod.ts";
import { Codec } from "../src/codec/codec.ts";
import { writeMarks } from "../src/codec/marks.ts";
import { Collections } from "../src/codec/collections.ts";
import { colliding } from "./support/colliding.ts";

const codec = new Codec();
const onV8 = typeof Reflect.get(globalThis, "Bun") === "undefined";

/** Returns integers that are all in one chain of V8's table, if the table has at most 2^15 chains. */
function collidingOnV8(count: number): number[] {
  const found: number[] = [];
  for (let i = 0; found.length < count; i++) {
    const key = unhash(i * 2 ** 15 | 0);
    if (key < 2 ** 30) found.push(key); // V8 hashes larger ones as fractions
  }
  return found;
}

/** Returns the integer whose hash in V8 is this number, before its two highest bits are removed. */
function unhash(hash: number): number {
  let h = hash ^ (hash >>> 16);
  h = Math.imul(h, 0xc8de0639 | 0); // undoes a multiplication by 2057
  h = undoShift(h, 4);
  h = Math.imul(h, 0xcccccccd | 0); // by 5
  h = undoShift(h, 12);
  return Math.imul(h + 1, 0xbfff7fff | 0) >>> 0; // by 2^15 - 1
}

/** Returns the number x of which `value` is x ^ (x >>> bits). */
function undoShift(value: number, bits: number): number {
  let x = value;
  for (let i = bits; i < 32; i += bits) x = value ^ (x >>> bits);
  return x;
}

const COLLIDING = collidingOnV8(20_000);
const RANDOM = COLLIDING.map(() => Math.floor(Math.random() * 2 ** 31));

/** Returns bodies with these values as a set or as keys of a map, in each format. */
function bodies(values: readonly (number | string)[]): string[] {
  const list = JSON.stringify(values);
  const pairs = JSON.stringify(values.map((value) => [value, 1]));
  return [
    list + writeMarks('"S"'),
    pairs + writeMarks('"M"'),
    `{"__obj":${list},"__type":"set"}`,
    `{"__obj":${pairs},"__type":"tsmq:Map"}`,
  ];
}

describe("Collections", () => {
  it("refuse numbers that collide, in sets and in maps", () => {
    for (const body of bodies(COLLIDING)) {
      if (onV8) assertThrows(() => codec.decode(body), ValidationError, "collide");
      else codec.decode(body); // these numbers collide on V8 only; the texts below on both
    }
    if (!onV8) return;
    assertThrows(() => codec.revive(COLLIDING, "set"), ValidationError, "collide");
    // many collections, each of which takes little time
    const small = Array.from({ length: 20 }, (_, i) => new Set(COLLIDING.slice(100 * i, 100 * i + 8_000)));
    assertThrows(() => codec.decode(codec.encode(small)), ValidationError, "collide");
  });

  it("refuse texts that collide", () => {
    for (const body of bodies(colliding(20_000))) assertThrows(() => codec.decode(body), ValidationError, "collide");
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
    let [calls, extra] = [0, 0];
    try {
      // two of three measurements are 50 ms longer than they were
      performance.now = () => {
        if (++calls % 2 === 0 && (calls / 2) % 3 !== 0) extra += 50;
        return now.call(performance) + extra;
      };
      for (let i = 0; i < 5; i++) assertEquals(collections.set(RANDOM).size, new Set(RANDOM).size);
    } finally {
      performance.now = now;
    }
    assert(extra > 1_000);
  });
});
