import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Codec, type Decoded } from "../src/codec/codec.ts";
import { writeMarks } from "../src/codec/marks.ts";
import { ValidationError } from "../src/errors.ts";
import { difference } from "./support/same.ts";
import { share } from "./support/share.ts";

/** The random bodies; each runtime takes half of them. */
const SEEDS = share(Array.from({ length: 20_000 }, (_, i) => i + 1));

/** Returns random numbers in [0, 1), the same for the same seed (mulberry32). */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = state + 0x6d2b79f5 | 0;
    let t = Math.imul(state ^ state >>> 15, state | 1);
    t ^= t + Math.imul(t ^ t >>> 7, t | 61);
    return ((t ^ t >>> 14) >>> 0) / 2 ** 32;
  };
}

class Leaf {
  static topic = "r.Leaf";
}

class Node {
  static topic = "r.Node";
  get size(): number {
    return Object.keys(this).length;
  }
}

class SubNode extends Node {
  static override topic = "r.SubNode";
}

const codec = new Codec([Leaf, Node, SubNode]);

const KEYS = ["a", "b", "c d", "", "0", "size", "constructor", "toString", "__type", "__obj", "__list", "__undefined"];
const KEYS_TOO = ["__x", "_", "ключ", "𝄞", "\ud800", '"', "\\u005f", "then", "length"];
const TAGS = ["tuple", "set", "NoneType", "dict", "r.Leaf", "r.Node", "tsmq:Date", "tsmq:Map", "tsmq:bytes", "x.Y"];
const NUMBERS = [
  0,
  -0,
  1,
  -1,
  1.5,
  NaN,
  Infinity,
  -Infinity,
  2 ** 53,
  -(2 ** 53),
  2 ** 53 - 1,
  1e20,
  1e21,
  1e300,
  5e-324,
];
const BIGINTS = [0n, 1n, -1n, 2n ** 53n - 1n, 2n ** 53n, -(2n ** 53n), 2n ** 64n, 10n ** 50n];

/** Makes random values of every type that can be encoded. */
class Values {
  readonly #random: () => number;

  constructor(seed: number) {
    this.#random = randomOf(seed);
  }

  below(n: number): number {
    return Math.floor(this.#random() * n);
  }

  of<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)]!;
  }

  value(depth: number): unknown {
    const kind = this.below(depth > 0 ? 20 : 10);
    const inner = () => this.value(depth - 1);
    switch (kind) {
      case 0:
        return null;
      case 1:
        return undefined;
      case 2:
        return this.below(2) === 0;
      case 3:
        return this.of(NUMBERS);
      case 4:
        return (this.#random() - 0.5) * 10 ** this.below(30);
      case 5:
        return this.of(BIGINTS);
      case 6:
        return new Date(this.of([0, NaN, -1, 8.64e15, this.below(2 ** 41)]));
      case 7:
        return Uint8Array.from({ length: this.below(5) }, () => this.below(256));
      case 8:
      case 9:
        return this.text();
      case 10:
        return new Map(this.list(() => [inner(), inner()] as const));
      case 11:
        return new Set(this.list(inner));
      case 12:
      case 13:
        return Object.assign(Object.create(this.of([Leaf, Node, SubNode]).prototype), {}, this.fields(inner, "own"));
      case 14:
        return this.list(() => this.define(new Leaf(), this.fields(inner)));
      case 15:
      case 16:
        return this.list(inner);
      default:
        return this.fields(inner);
    }
  }

  text(): string {
    return this.of([
      ...KEYS,
      ...KEYS_TOO,
      ...TAGS,
      "NaN",
      "1234567890123456",
      "[-Infinity,",
      "\udc00x",
      "\n\u0000\u2028",
    ]);
  }

  list<T>(make: () => T): T[] {
    return Array.from({ length: this.below(4) }, make);
  }

  fields(make: () => unknown, own?: "own"): Record<string, unknown> {
    const fields: Record<string, unknown> = {};
    for (let i = this.below(5); i > 0; i--) {
      const key = this.of(this.below(2) ? KEYS : KEYS_TOO);
      // `size` is a getter of Node, and Object.assign would call its setter
      if (own && key === "size") continue;
      this.define(fields, { [key]: key === "__type" && this.below(2) ? this.of(TAGS) : make() });
    }
    return fields;
  }

  define<T extends object>(target: T, fields: object): T {
    return Object.defineProperties(target, Object.getOwnPropertyDescriptors(fields));
  }

  /** Removes, doubles, moves or replaces some characters of a text. */
  mutated(text: string): string {
    const parts = [
      "{",
      "}",
      "[",
      "]",
      '"',
      ",",
      ":",
      "\\",
      "NaN",
      "1e999",
      "__proto__",
      "-",
      "12345678901234567890",
      "null",
    ];
    for (let i = 1 + this.below(3); i > 0; i--) {
      const at = this.below(text.length + 1);
      const to = Math.min(text.length, at + this.below(6));
      text = text.slice(0, at) + this.of([...parts, "", text.slice(at, to).repeat(2)]) + text.slice(to);
    }
    return text;
  }
}

function decode(body: string): Decoded {
  const decoded = codec.decode(body);
  if (decoded instanceof Promise) throw new Error("a promise, though no schema is asynchronous");
  return decoded;
}

/** Whether anything in a value has an own `__proto__`, or a prototype that tsmq never makes. */
function poisoned(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  if (value instanceof Map || value instanceof Set) return [...value].flat().some(poisoned);
  const classes = [Object, Array, Date, Uint8Array, Leaf, Node, SubNode];
  if (!classes.some((type) => type.prototype === Object.getPrototypeOf(value))) return true;
  return Object.hasOwn(value, "__proto__") || Object.values(value).some(poisoned);
}

describe("codec: random values", () => {
  it("are decoded unchanged, alone and nested, and are written the same way twice", () => {
    for (const seed of SEEDS) {
      const value = new Values(seed).value(1 + seed % 5);
      const body = codec.encode(value);
      assertEquals(difference(decode(body).value, value), undefined, `seed ${seed}: ${body}`);
      assert(body.isWellFormed(), `seed ${seed}: ${body}`);
      assertEquals(codec.encode(decode(body).value), body, `seed ${seed}`);
      assertEquals(difference(decode(codec.line(value)).value, value), undefined, `seed ${seed}`);
      const { json, mark } = codec.write(value);
      const twice = `[${json},${json}]${writeMarks(mark && `[${mark}]`)}`;
      assertEquals(difference(decode(twice).value, [value, value]), undefined, `seed ${seed}`);
    }
  });

  it("a damaged body gives a harmless value or a ValidationError", () => {
    let refused = 0;
    for (const seed of SEEDS) {
      const values = new Values(seed);
      const body = values.mutated(codec.encode(values.value(4)));
      try {
        assert(!poisoned(decode(body).value), `seed ${seed}: ${body}`);
      } catch (error) {
        if (!(error instanceof ValidationError)) throw error;
        assertEquals(error.body, body);
        refused++;
      }
    }
    // the test is worth something only if both outcomes occur
    assert(refused > 0.05 * SEEDS.length && refused < 0.95 * SEEDS.length, `${refused} refused`);
    assertEquals(Object.keys(Object.prototype), []);
  });

  it("random JSON full of tags gives a harmless value or a ValidationError", () => {
    let read = 0;
    for (const seed of SEEDS) {
      const values = new Values(seed);
      const json = (depth: number): string => {
        const inner = () => json(depth - 1);
        const key = () => JSON.stringify(values.of([...KEYS, "__proto__"]));
        switch (values.below(depth > 0 ? 8 : 4)) {
          case 0:
            return values.of(["null", "5", "NaN", "-Infinity", "12345678901234567890", '"AQ=="', '"1"', "true"]);
          case 1:
            return JSON.stringify(values.text());
          case 2:
            return `{"__obj":${values.of(["[]", "{}", "null", "[[1,2]]"])},"__type":"${values.of(TAGS)}"}`;
          case 3:
            return `{"__type":"${values.of(TAGS)}"}`;
          case 4:
            return `{"__obj":${inner()},"__type":"${values.of(TAGS)}"}`;
          case 5:
            return `{"__list":[${values.list(inner)}],"__type":"${values.of(TAGS)}"}`;
          case 6:
            return `[${values.list(inner)}]`;
          default:
            return `{${values.list(() => `${key()}:${inner()}`)}}`;
        }
      };
      const body = json(5);
      let value: unknown;
      try {
        value = decode(body).value;
      } catch (error) {
        if (!(error instanceof ValidationError)) throw error;
        continue;
      }
      read++;
      assert(!poisoned(value), `seed ${seed}: ${body}`);
      assertEquals(difference(decode(codec.encode(value)).value, value), undefined, `seed ${seed}: ${body}`);
    }
    assert(read > 0.25 * SEEDS.length, `${read} read`);
  });
});
