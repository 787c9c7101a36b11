// run: on bun
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { beginning, shorten, table, widthOf } from "../../cli/table.ts";
import { spy } from "../support/spy.ts";

describe("table", () => {
  const NAMES = [
    "x".repeat(1_000_000),
    "漢字".repeat(100),
    "e\u0301".repeat(200),
    `a${"\u0301".repeat(1_000_000)}`,
    "🚀🚀",
  ];

  it("fits the terminal with long, wide and combining characters in any column, and keeps its numbers", () => {
    const rows = NAMES.map((name, i) => [name, 12_345_678, NAMES[(i + 1) % NAMES.length], 0.25]);
    const lines = table(["QUEUE", "WAITING", "GROUP", "P50 MS"], rows, 80);
    assertEquals(lines.filter((line) => widthOf(line) > 80 || line.length > 4 * 80), []);
    for (const line of lines.slice(1)) assert(/ 12345678 .* 0\.25$/.test(line), line);
  });

  it("has as many rows as are given: there is no limit to the arguments of a function", () => {
    assertEquals(table(["A"], Array.from({ length: 300_000 }, () => [1]), 80).length, 300_001);
  });

  it("does not make each row as long as a name of a megabyte, also without a terminal", () => {
    const rows = [...NAMES, ...Array.from({ length: 20 }, (_, i) => `short-${i}`)].map((name) => [name, 1]);
    const lines = table(["QUEUE", "WAITING"], rows, Infinity);
    assertEquals(lines.filter((line) => widthOf(line) > 1_100 || line.length > 6_000), []);
    for (const line of lines.slice(1)) assert(/ 1$/.test(line), line);
  });

  it("looks at a long text once, and at each of its characters that is not ASCII without a regular expression", () => {
    const uses: unknown[] = [];
    for (const name of ["a", "é", "漢", "e\u0301"]) {
      const rows = Array.from({ length: 500 }, (_, i) => [name.repeat(1_600) + i, 1]);
      const end = spy(RegExp.prototype, "test", uses);
      try {
        assertEquals(table(["QUEUE", "WAITING"], rows, Infinity).length, 501);
      } finally {
        end();
      }
    }
    assert(uses.length < 4 * 500 * 5, `${uses.length} regular expressions`);
  });

  it("beginning() is all of a text that a table shows", () => {
    for (const name of NAMES) {
      assert(beginning(name).length <= 4_097);
      for (const width of [10, 80, 5_000, Infinity]) {
        assertEquals(table(["A", "B"], [[beginning(name), 1]], width), table(["A", "B"], [[name, 1]], width));
      }
    }
  });

  it("shorten() leaves a text that fits", () => {
    for (const name of NAMES) {
      const short = shorten(name, 10);
      assert(widthOf(short) <= 10 && short.length <= 40, short);
    }
    assertEquals([shorten("漢字漢字", 8), shorten("漢字漢字", 7)], ["漢字漢字", "漢字漢…"]);
  });
});
