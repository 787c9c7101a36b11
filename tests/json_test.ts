/** The reader of JSON that anybody may have written, beside `JSON.parse`. */
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { elementsOf, membersOf } from "../src/internal/json.ts";

const VALUES: unknown[] = ["", "a", 'b",]}\\', "[{", -1.5e3, true, null, [], {}, [1, [2, "]"]], {
  a: { b: [","] },
  ":": ",",
}];

describe("JSON from others:", () => {
  it("elementsOf() returns the elements that JSON.parse finds", () => {
    for (const list of [VALUES, [], [VALUES], ...VALUES.map((value) => [value]), Array(3_000).fill(1)]) {
      for (const space of [0, 2]) {
        assertEquals(elementsOf(JSON.stringify(list, null, space))?.map((text) => JSON.parse(text)), list);
      }
    }
    for (const text of ["", "[", "[1", "[1]]", "[1] 2", '["a]', "{}", '"a"', "1", "null"]) {
      assertEquals(elementsOf(text), undefined, text);
    }
  });

  it("membersOf() returns the members that JSON.parse finds", () => {
    const members = Object.fromEntries(VALUES.map((value, i) => [`m${i}`, value]));
    const names = [...Object.keys(members), "other", ""];
    for (const space of [0, 2]) {
      const found = membersOf(JSON.stringify(members, null, space), names)!;
      assertEquals(found.map((text) => text && JSON.parse(text)), [...VALUES, undefined, undefined]);
    }
    for (const text of ["", "{", '{"a":1', '{"a":1}}', "{} 1", '{"a}', "[]", '"a"', "1", "null"]) {
      assertEquals(membersOf(text, ["a"]), undefined, text);
    }
  });

  it("membersOf() reads 1,024 tokens, unless its caller takes more", () => {
    const long = JSON.stringify({ a: 1, b: Array(1_000).fill(0) });
    assertEquals([membersOf(long, ["a"]), membersOf(long, ["a"], Infinity)], [undefined, ["1"]]);
  });
});
