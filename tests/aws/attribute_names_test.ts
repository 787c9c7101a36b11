import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { AttributeNames } from "../../src/providers/aws/attribute_names.ts";

describe("AttributeNames", () => {
  const value = (i: number, length: number) => String(i).padStart(length, "x");
  const bytes = (i: number, length: number) => new Uint8Array(length).with(0, i & 255).with(1, i >> 8);
  const cases: [string, (i: number) => object, boolean][] = [
    ["names", (i) => ({ [`name ${i}`]: { DataType: "String", StringValue: "v" } }), false],
    ["short values", (i) => ({ a: { DataType: "String", StringValue: value(i, 10) } }), false],
    ["long values", (i) => ({ a: { DataType: "String", StringValue: value(i, 11) } }), true],
    ["types", (i) => ({ a: { DataType: `N.${i}`, StringValue: "1" } }), false],
    ["short bytes", (i) => ({ a: { DataType: "Binary", BinaryValue: bytes(i, 6) } }), false],
    ["long bytes", (i) => ({ a: { DataType: "Binary", BinaryValue: bytes(i, 11) } }), true],
  ];
  for (const [what, attributes, all] of cases) {
    it(`${all ? "reads all" : "stops at 1,024 different"} ${what}: the engine ${all ? "does not keep" : "keeps"} them`, () => {
      const faults: unknown[] = [];
      const names = new AttributeNames((error) => faults.push(error.code));
      const count = (from: number, to: number) => {
        for (let i = from; i < to; i++) names.count([{ MessageAttributes: attributes(i) as never }]);
      };
      count(0, 1_000);
      assertEquals(names.all, true);
      count(1_000, 1_100);
      assertEquals([names.all, faults], all ? [true, []] : [false, ["busy"]]);
    });
  }
});
