/** Objects with integer keys for which Bun's engine makes long lists, in bodies, marks and headers. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { stub } from "@std/testing/mock";
import { Codec } from "../src/codec/codec.ts";
import { withTrace } from "../src/codec/envelope.ts";
import {
  checkHeaders,
  itemHeaders,
  letterHeaders,
  type MessageHeaders,
  parseHeaders,
  userHeaders,
  withHeader,
  withTopic,
} from "../src/codec/headers.ts";
import { heldBytes } from "../src/codec/held_bytes.ts";
import { readMarks, writeMarks } from "../src/codec/marks.ts";
import { placesOf } from "../src/codec/places.ts";
import { ValidationError } from "../src/errors.ts";
import { SignedEnvelopes } from "../src/keys/signed_envelopes.ts";
import { Random } from "./support/random.ts";
import { kept, spy } from "./support/spy.ts";

const bun = "Bun" in globalThis;
/** Each key from the second on is the length of the list, which then grows. Found with `heapStats` of Bun 1.4.5. */
const CHAIN = [999, 1003, 1506, 2260, 3391, 5088, 7633, 11451, 17178, 25768, 38653, 57981, 86973];
const BYTES = 1_043_517;
/** Multiples of it are spread evenly over 0 to 1. */
const GOLDEN = (Math.sqrt(5) - 1) / 2;
const object = (keys: readonly number[], value = "0") => `{${keys.map((key) => `"${key}":${value}`)}}`;
const list = (element: string, count: number) => `[${Array(count).fill(element).join()}]`;

/** Returns the bytes that Bun's engine takes for each of some objects. */
async function taken(make: () => unknown[]): Promise<number> {
  const { heapStats } = await import("bun:jsc" as string);
  const bytes = () => {
    // deno-lint-ignore no-explicit-any
    (globalThis as any).Bun.gc(true);
    const { heapSize, extraMemorySize } = heapStats();
    return heapSize + extraMemorySize;
  };
  const before = bytes();
  const value = make();
  const taken = bytes() - before;
  return taken / value.length;
}

describe("a body of objects whose integer keys make a list longer each time", () => {
  it("is refused on Bun from 64 MiB on, also if it is short", () => {
    for (const count of [100, 1_000]) {
      const body = list(object(CHAIN), count);
      if (bun) assertThrows(() => new Codec().decode(body), ValidationError, "integer keys");
      else assertEquals((new Codec().decode(body) as { value: unknown[] }).value.length, count);
    }
    const hidden = `["${"x".repeat(2_000_000)}",${list(object(CHAIN), 200)}]`;
    if (bun) assertThrows(() => new Codec().decode(hidden), ValidationError, "integer keys");
  });

  it("is refused on Bun if the digits are escaped, or objects and spaces are in between", () => {
    const escaped = CHAIN.map((key) => `"${String(key).replace(/\d/g, "\\u003$&")}" : {"a{":[1]}`);
    const body = list(`{${escaped}}`, 100);
    if (bun) assertThrows(() => new Codec().decode(body), ValidationError, "integer keys");
  });

  it("counts on Bun with its memory, wherever it is in a body", () => {
    const short = `[${object(CHAIN)}]`;
    const long = `["${"x".repeat(100_000)}",${object(CHAIN)},"${"x".repeat(100_000)}"]`;
    for (const [body, runs] of [[short, 2_000], [long, 10]] as const) {
      let [sum, random] = [0, 0];
      using _ = stub(Math, "random", () => random = (random + GOLDEN) % 1);
      for (let i = 0; i < runs; i++) sum += heldBytes(body) - 2 * body.length;
      const bytes = sum / runs;
      assert(bun ? bytes > BYTES / 3 && bytes < 3 * BYTES : bytes < BYTES / 10, `${bytes} bytes`);
    }
  });
});

describe("the estimate of the places of objects with integer keys", () => {
  const random = new Random(1);
  const below = (limit: number) => Math.floor(random.next() * limit);

  it("is on Bun at least a third of what the engine takes", async () => {
    if (!bun) return;
    const sets: number[][] = [[998], [999], [1000], [998, 999], [999, 1003], [0, 667], [900, 999], [667, 1003], CHAIN];
    for (let set = 0; set < 40; set++) {
      const keys: number[] = [];
      let key = below(1_000);
      for (let count = 1 + below(14); count > 0; count--) {
        keys.push(key);
        // often near the length of the list
        key = random.next() < 0.2 ? below(100_000) : Math.floor(1.5 * (key + 1)) - 2 + below(6);
      }
      sets.push(keys);
    }
    await taken(() => JSON.parse(list("{}", 60)));
    for (const keys of sets) {
      const names = below(3) ? "" : `${Array.from({ length: below(20) }, (_, i) => `"n${i}":0,`).join("")}`;
      const text = `{${names}${object(keys).slice(1)}`;
      const [bytes, places] = [await taken(() => JSON.parse(list(text, 60))), placesOf(text)];
      assert(8 * places + 300 > bytes / 3, `${text}: ${bytes} bytes, ${places} places`);
    }
  });

  it("counts a chosen chain, from each beginning and with what is between", () => {
    if (!bun) return;
    for (const keys of [CHAIN, [5, 999, ...CHAIN.slice(1)], [999, 1001, ...CHAIN.slice(1)], [999, 50_000, ...CHAIN]]) {
      assert(placesOf(object(keys)) >= 130_000, keys.join());
    }
    const between = CHAIN.flatMap((key) => [key - 1, key, key - 2]);
    assert(placesOf(object(between)) >= 130_000);
  });

  it("is small for rows of sparse vectors, so that they are read", () => {
    const rows = Array.from({ length: 200 }, () => {
      const keys = Array.from({ length: 250 }, () => below(50_000)).sort((a, b) => a - b);
      return object([...new Set(keys)], "0.25");
    });
    const text = `[${rows}]`;
    assert(placesOf(text) < 8 * text.length / 3, `${placesOf(text)} places for ${text.length} characters`);
    new Codec().decode(text);
  });
});

describe("type marks with such keys", () => {
  it("of one mark for all elements of a list, the keys are taken once", () => {
    for (const [element, more] of [['{"7":1}', 2], ["[]", 3]] as const) {
      const mark = `[${object([0, 1, more], '"D"')}]`;
      const body = list(element, 200) + writeMarks(mark);
      const codec = new Codec();
      const uses: unknown[] = [];
      const end = spy(Object, "keys", uses as never);
      try {
        codec.decode(body);
      } finally {
        end();
      }
      const marks = uses.filter((object) => (object as Record<string, unknown>)?.["1"] === "D");
      assertEquals(marks.length, 1, element);
    }
  });

  it("are refused on Bun if they take more than 8 MiB, and more than 8 bytes for each character of the body", () => {
    const mark = (count: number) => writeMarks(`{"0":${list(object(CHAIN, '"D"'), count)}}`);
    new Codec().decode(`[[]]${mark(2)}`);
    if (bun) assertThrows(() => new Codec().decode(`[[]]${mark(20)}`), ValidationError, "type marks");
  });

  it("are kept for later bodies only if they take at most 8 KiB", () => {
    for (const [keys, parsed] of [[[5, 998], 2], [[5, 90], 1], [CHAIN, 2]] as const) {
      const json = object(keys, '"D"');
      const body = `[]${writeMarks(json)}`;
      const uses = kept(() => [readMarks(body), readMarks(body)]).filter((used) => used === json);
      assertEquals(uses.length, bun ? parsed : 1, json);
    }
  });
});

describe("headers with such names", () => {
  it("are read without an object of the parser", () => {
    const json = object(CHAIN, '"x"');
    const keys: unknown[] = kept(() => assertEquals(Object.keys(parseHeaders(json)!).length, CHAIN.length));
    assertEquals(keys.filter((used) => used === json), []);
  });

  const read = () => parseHeaders(object(CHAIN, '"x"'))!;
  const keys = [{ id: "a", secret: "a".repeat(32) }];
  const signed = new SignedEnvelopes("n", keys, false);
  const sealed = signed.seal("item", "jobs", "1", read());
  const copies: Record<string, () => MessageHeaders | undefined> = {
    "with the topic of an event": () => withTopic(read(), "topic"),
    "with a trace": () => withTrace(read(), `00-${"1".repeat(32)}-${"2".repeat(16)}-01`),
    "of an item with its signature": () => signed.open("item", "jobs", sealed).headers,
    "passed on by a user": () => checkHeaders(read(), "options"),
    "of a dead letter": () => letterHeaders(withHeader(read(), "tsmq-x", "")),
    "of an item that was in a dead letter": () => itemHeaders(withHeader(read(), "tsmq-x", "")),
    "without those of tsmq": () => userHeaders(withHeader(read(), "tsmq-x", "")),
  };
  for (const [which, copy] of Object.entries(copies)) {
    it(`take little memory ${which}`, async () => {
      assertEquals(Object.keys(copy()!).slice(0, CHAIN.length), CHAIN.map(String));
      if (!bun) return;
      const make = () => Array.from({ length: 60 }, copy);
      make();
      const bytes = await taken(make);
      assert(bytes < 10_000, `${bytes} bytes`); // as lists 1 MB
    });
  }

  it("are signed without a further object that has a list for them", async () => {
    if (!bun) return;
    const headers = read();
    const places: unknown[] = [];
    const stringify = JSON.stringify;
    using _ = stub(JSON, "stringify", (value: unknown) => {
      if (Object.hasOwn(value as object, "tsmq-signature")) places.push(value);
      return stringify(value);
    });
    signed.seal("item", "jobs", "1", headers);
    places.length = 0;
    const bytes = await taken(() => {
      for (let i = 0; i < 60; i++) signed.seal("item", "jobs", "1", headers);
      return places;
    });
    assert(bytes < 10_000, `${bytes} bytes`);
  });
});

describe("a map with such keys", () => {
  it("is written in its order, without an object that has a list for them", () => {
    const map = new Map(CHAIN.toReversed().map((key) => [String(key), 0]));
    const uses = kept(() => assertEquals(new Codec().decode(new Codec().encode(map)), { value: map } as never));
    assertEquals(uses.filter((used) => used === map), []);
  });
});
