import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { readFileSync } from "node:fs";

const ROOT = new URL("../", import.meta.url);
const read = (path: string) => readFileSync(new URL(path, ROOT), "utf8");

describe("docs/guarantees.md", () => {
  const text = read("docs/guarantees.md");
  const tests = [...text.matchAll(/^(\d+)\. `([^`]+)` ›\s+`([^`]+)`/gm)].map(([, n, path, name]) => ({
    n,
    path,
    name,
  }));

  it("names tests that exist", () => {
    assert(tests.length > 40);
    const missing = tests.filter(({ path, name }) => !read(path!).includes(name!));
    assertEquals(missing, []);
  });

  it("names a test in each cell of its table, and each test somewhere", () => {
    const known = new Set(tests.map(({ n }) => n));
    const refers = (some: string) => [...some.matchAll(/\[(\d+)\]/g)].map(([, n]) => n);
    const cells = text.split("\n## ")[0]!.split("\n").filter((line) => line.startsWith("| ")).slice(2)
      .flatMap((line) => line.split("|").slice(2, -1));
    assertEquals(cells.length, 7 * 4);
    for (const cell of cells) assert(refers(cell).some((n) => known.has(n)), cell);
    assertEquals(new Set(refers(text)).symmetricDifference(known), new Set());
  });
});
