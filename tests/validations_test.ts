/**
 * Bodies with many instances of a class whose schema is asynchronous: one mark can make an instance of each three characters. Few validations run
 * at once, the first failure ends them, and the thread does other work meanwhile.
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { ValidationError } from "../mod.ts";
import { Codec, type Decoded } from "../src/codec/codec.ts";
import { writeMarks } from "../src/codec/marks.ts";

/** A codec with two classes whose schemas return a promise, and the numbers of their validations. */
function checked(end: () => Promise<void> = async () => {}) {
  const count = { begun: 0, running: 0, most: 0 };
  const schema = {
    "~standard": {
      version: 1 as const,
      vendor: "test",
      validate: async (value: unknown) => {
        count.begun++;
        count.most = Math.max(count.most, ++count.running);
        await end();
        count.running--;
        return (value as Order).id === "bad" ? { issues: [{ message: "is bad", path: ["id"] }] } : { value };
      },
    },
  };
  class Order {
    static readonly topic = "shop.Order";
    static readonly schema = schema;
    declare id?: unknown;
    declare lines?: unknown;
  }
  class Line {
    static readonly topic = "shop.Line";
    static readonly schema = schema;
    declare id?: unknown;
  }
  return { codec: new Codec([Order, Line]), count, Order, Line };
}

const ids = (count: number) => Array.from({ length: count }, (_, id) => ({ id }));
const body = (value: unknown, mark: string) => JSON.stringify(value) + writeMarks(mark);

describe("a body with many instances of a class whose schema is asynchronous", () => {
  const record = Object.fromEntries(ids(1_000).map(({ id }) => [`key ${id}`, { id }]));
  const nested = ids(30).map(({ id }) => ({ id, lines: ids(50) }));
  const cases: [string, unknown, string][] = [
    ["a list", ids(1_000), '["@shop.Order"]'],
    ["a list in a map", [[1, ids(500)], [2, ids(500)]], '["M",[{"1":["@shop.Order"]}]]'],
    ["an object", record, '["@shop.Order"]'],
    ["an object with a mark for each key", record, JSON.stringify(mapped(record, () => "@shop.Order"))],
    ["instances in instances", nested, '[["@shop.Order",{"lines":["@shop.Line"]}]]'],
    ["lists in lists", nested.map(({ lines }) => lines), '[["@shop.Order"]]'],
  ];
  for (const [what, value, mark] of cases) {
    it(`validates about 64 at once in ${what}, and keeps their order`, async () => {
      const { codec, count, Order } = checked(() => new Promise((resolve) => setTimeout(resolve, Math.random())));
      const decoded = await codec.decode(body(value, mark));
      assertEquals(JSON.stringify(plain(decoded.value)), JSON.stringify(value));
      assert(count.most >= 32 && count.most <= 128, `${count.most} at once`);
      assert(count.begun >= 1_000);
      assert(instances(decoded.value).every((each) => each instanceof Order));
    });

    it(`stops at the first failure in ${what}`, async () => {
      const { codec, count } = checked();
      const text = body(value, mark).replace('"id":5}', '"id":"bad"}').replace('"id":5,', '"id":"bad",');
      const { issues } = await assertRejects(async () => await codec.decode(text), ValidationError);
      assertEquals(issues, [{ message: "is bad", path: ["id"] }]);
      await new Promise((resolve) => setTimeout(resolve, 20));
      assert(count.begun <= 256, `${count.begun} validations have begun`);
    });
  }

  it("stops when another value is refused", async () => {
    const { codec, count } = checked();
    const value = [...ids(100), [[1, 2, 3]], ...ids(10_000)];
    const mark = JSON.stringify(Object.fromEntries(value.map((_, i) => [i, i === 100 ? "M" : "@shop.Order"])));
    await assertRejects(async () => await codec.decode(body(value, mark)), ValidationError);
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert(count.begun <= 256, `${count.begun} validations have begun`);
  });

  it("lets the thread do other work meanwhile", async () => {
    const { codec } = checked();
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    await codec.decode(body(ids(50_000), '["@shop.Order"]'));
    clearInterval(timer);
    assert(turns >= 5, `${turns} turns`);
  });

  it("counts with the most that its types can take until all of them are known", async () => {
    const sets = ids(1_000).map(() => []);
    const { codec } = checked();
    const text = body([ids(100), sets], '{"0":["@shop.Order"],"1":["S"]}');
    const decoding = codec.decode(text);
    assertEquals(codec.typed, 86 * text.length);
    assertEquals((await decoding).typed, 256_000);
    const few = codec.decode(body([ids(10), sets], '{"0":["@shop.Order"],"1":["S"]}'));
    assertEquals(codec.typed, 256_000);
    assertEquals((await few).typed, undefined);
  });

  it("is read beside others, each within its own limits", async () => {
    const { codec } = checked(() => new Promise((resolve) => setTimeout(resolve, 1)));
    const text = body([ids(300), ids(300).map(() => ({}))], '{"0":["@shop.Order"],"1":[{"x":"U"}]}');
    const all: (Decoded | Promise<Decoded>)[] = Array.from({ length: 10 }, () => codec.decode(text));
    codec.decode('{"a":[]}' + writeMarks('{"a":"S"}'));
    for (const decoded of await Promise.all(all)) {
      const [, objects] = decoded.value as [unknown, object[]];
      assert(objects.every((each) => "x" in each));
    }
  });
});

function mapped(record: Record<string, unknown>, to: () => unknown): Record<string, unknown> {
  return Object.fromEntries(Object.keys(record).map((key) => [key, to()]));
}

/** Returns a value with lists in place of maps. */
function plain(value: unknown): unknown {
  return value instanceof Map ? [...value] : value;
}

/** Returns the values in a list, a map or an object, and in the lists among them. */
function instances(value: unknown): unknown[] {
  return Object.values(plain(value) as object).flatMap((each) => Array.isArray(each) ? each.flat() : [each])
    .filter((each) => typeof each === "object");
}
