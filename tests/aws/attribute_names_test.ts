import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { AttributeNames } from "../../src/providers/aws/attribute_names.ts";

describe("AttributeNames", () => {
  const cases: [string, (i: number) => object, boolean][] = [
    ["names", (i) => ({ [`name ${i}`]: { DataType: "String", StringValue: "v" } }), false],
    ["values", (i) => ({ id: { DataType: "Number", StringValue: String(i) } }), true],
  ];
  for (const [what, attributes, all] of cases) {
    it(
      all ? `reads attributes with any number of ${what}` : `stops at 1,024 different ${what}, and reports it once`,
      () => {
        const faults: unknown[] = [];
        const names = new AttributeNames((error) => faults.push(error.code));
        const count = (from: number, to: number) => {
          for (let i = from; i < to; i++) names.count([{ MessageAttributes: attributes(i) as never }]);
        };
        count(0, 1_000);
        assertEquals(names.all, true);
        count(1_000, 1_100);
        assertEquals([names.all, faults], all ? [true, []] : [false, ["busy"]]);
      },
    );
  }
});
