import { assert, assertEquals, assertInstanceOf, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { assertType, type IsExact } from "@std/testing/types";
import * as v from "valibot";
import { z } from "zod";
import { BusError, ValidationError } from "../src/errors.ts";
import { type InferInput, type InferOutput, type StandardSchemaV1, validate } from "../src/codec/schema.ts";
import { schema } from "./support/schema.ts";

const Amount = v.object({ amount: v.pipe(v.string(), v.transform(Number), v.minValue(1)) });
const SlowAmount = v.pipeAsync(v.number(), v.checkAsync((n) => Promise.resolve(n > 0), "not positive"));

describe("validate()", () => {
  it("returns the output of a synchronous schema at once", () => {
    assertEquals(validate(Amount, { amount: "5", other: 1 }, "x"), { amount: 5 });
    assertEquals(validate(schema(() => ({ value: undefined })), 1, "x"), undefined);
  });

  it("returns a promise if the schema is asynchronous", async () => {
    const result = validate(SlowAmount, 5, "x");
    assertInstanceOf(result, Promise);
    assertEquals(await result, 5);
  });

  it("names the refused value and the path of the invalid part", async () => {
    const error = assertThrows(() => validate(Amount, { amount: "0" }, 'event of "shop"'), ValidationError);
    assertInstanceOf(error, BusError);
    assertEquals(error.code, "invalid");
    assertEquals(error.issues.map(({ path }) => path), [["amount"]]);
    assert(error.message.startsWith('Cannot accept event of "shop": amount: '), error.message);
    const slow = await assertRejects(() => Promise.resolve(validate(SlowAmount, -1, "item")), ValidationError);
    assertEquals(slow.message, "Cannot accept item: not positive");
    assertEquals(slow.issues, [{ message: "not positive" }]);
  });

  it("turns path segments into keys, and quotes at most three issues", () => {
    const odd = Symbol("odd");
    const issues = ["a", "b", "c", "d", "e"].map((message) => ({ message, path: [{ key: 1 }, "k", odd] }));
    const error = assertThrows(() => validate(schema(() => ({ issues })), 1, "it"), ValidationError);
    assertEquals(error.issues.length, 5);
    assertEquals(error.issues[4], { message: "e", path: [1, "k", odd] });
    assertEquals(
      error.message,
      "Cannot accept it: 1.k.Symbol(odd): a; 1.k.Symbol(odd): b; 1.k.Symbol(odd): c; 2 more",
    );
  });

  it("copies at most 100 issues, and looks at no others", () => {
    let read = 0;
    const issue = {
      get message() {
        read++;
        return "no";
      },
    };
    const issues = Array(100_000).fill(issue);
    const error = assertThrows(() => validate(schema(() => ({ issues })), 1, "it"), ValidationError);
    assertEquals([error.issues.length, read], [100, 100]);
    assertEquals(error.message, "Cannot accept it: no; no; no; 99997 more");
  });

  it("copies of an issue only the keys, and at most 16,384 characters of its message", () => {
    const received = new Map([[{ secret: 1 }, "x".repeat(100_000)]]);
    const rows = v.map(v.object({ secret: v.number() }), v.pipe(v.string(), v.email()));
    const [issue, ...others] = assertThrows(() => validate(rows, received, "it"), ValidationError).issues;
    assertEquals([issue!.path, others], [['{"secret":1}'], []]);
    assertMatch(issue!.message, /^Invalid email: Received "x+ … \(\d+ characters\) … x+"$/);
    assert(issue!.message.length <= 16_384, `${issue!.message.length} characters`);
  });

  it("copies at most 32 keys of a path, each with at most 1,024 characters", () => {
    const map = new Map([["m".repeat(100_000), 1]]);
    const long = assertThrows(() => validate(v.map(v.string(), v.string()), map, "it"), ValidationError);
    assertMatch(String(long.issues[0]!.path![0]), /^m+ … \(\d+ characters\) … m+$/);
    let read = 0;
    const part = {
      get key() {
        read++;
        return "k".repeat(100_000);
      },
    };
    const issues = [{ message: "no", path: Array(100_000).fill(part) }];
    const deep = assertThrows(() => validate(schema(() => ({ issues })), 1, "it"), ValidationError);
    assertEquals([deep.issues[0]!.path!.length, read], [32, 32]);
    const lengths = [long, deep].flatMap(({ issues }) => issues[0]!.path!.map((key) => String(key).length));
    assert(Math.max(...lengths) <= 1_024, `${Math.max(...lengths)} characters`);
    const short = ["k".repeat(1_024), 2, ...Array(30).fill("k")];
    const same = assertThrows(() => validate(schema(() => ({ issues: [{ message: "no", path: short }] })), 1, "it"));
    assertEquals((same as ValidationError).issues[0]!.path, short);
  });

  it("looks at few of very many elements if the schema says so, as SECURITY.md advises", () => {
    let looked = 0;
    const see = () => ++looked < 0;
    const row = v.custom<object>(see);
    const schemas = {
      "valibot, a length before the elements": v.pipe(v.array(v.unknown()), v.maxLength(1_000), v.array(row)),
      "valibot, abortEarly": v.config(v.array(row), { abortEarly: true }),
      "zod, a length": z.array(z.custom<object>(see)).max(1_000),
    };
    const counts = Object.entries(schemas).map(([name, schema]) => {
      looked = 0;
      assertThrows(() => validate(schema, Array(10_000).fill({}), "it"), ValidationError);
      return [name, looked];
    });
    assertEquals(Object.fromEntries(counts), {
      "valibot, a length before the elements": 0,
      "valibot, abortEarly": 1,
      "zod, a length": 0,
    });
  });

  it("reports a schema that throws, with the cause", async () => {
    const cause = new TypeError("broken");
    const broken = schema(() => {
      throw cause;
    });
    const error = assertThrows(() => validate(broken, 1, "it"), ValidationError, "broken");
    assertEquals(error.cause, cause);
    const rejecting = schema(() => Promise.reject(cause));
    const slow = await assertRejects(() => Promise.resolve(validate(rejecting, 1, "it")), ValidationError, "broken");
    assertEquals(slow.cause, cause);
  });

  it("has the types of the schema", () => {
    assertType<IsExact<InferInput<typeof Amount>, { amount: string }>>(true);
    assertType<IsExact<InferOutput<typeof Amount>, { amount: number }>>(true);
    assertType<IsExact<StandardSchemaV1.InferOutput<typeof SlowAmount>, number>>(true);
    const amount = () => validate(Amount, {}, "x");
    assertType<IsExact<ReturnType<typeof amount>, { amount: number } | Promise<{ amount: number }>>>(true);
    assertType<IsExact<InferOutput<StandardSchemaV1<string, Date>>, Date>>(true);
  });
});
