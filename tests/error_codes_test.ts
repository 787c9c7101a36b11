/** The table of error codes in docs/errors.md states what the source states. */
import { assertEquals } from "@std/assert";
import { it } from "@std/testing/bdd";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { BusError, type ErrorCode } from "../mod.ts";

const ROOT = fileURLToPath(new URL("../", import.meta.url));
const read = (file: string) => readFileSync(join(ROOT, file), "utf8");

/** The source of the library, without the conformance kit. */
function* sources(): Iterable<string> {
  for (const file of readdirSync(join(ROOT, "src"), { recursive: true, encoding: "utf8" })) {
    if (file.endsWith(".ts") && !file.startsWith("conformance")) yield read(join("src", file));
  }
}

/** Code → the classes with that code: its own class, and those that are created with the code as their first argument or are given it. */
function classes(errors: string): Map<string, Set<string>> {
  const found = new Map<string, Set<string>>();
  const add = (code: string, name: string) => found.set(code, (found.get(code) ?? new Set()).add(name));
  for (const part of errors.split(/^export class /m).slice(1)) {
    const code = /super\("(\w+)"/.exec(part)?.[1];
    if (code) add(code, /^\w+/.exec(part)![0]);
  }
  for (const source of sources()) {
    for (const [, name, code] of source.matchAll(/new (\w+Error)\(\s*"(\w+)"/g)) {
      if (name === "BusError" || name === "ProviderError" || name === "RpcError") add(code!, name);
    }
    for (const [, name, code] of source.matchAll(/Object\.assign\(new (\w+Error)\(.*\), \{\s*code: "(\w+)"/g)) {
      add(code!, name!);
    }
  }
  return found;
}

it("docs/errors.md has the codes of errors with their classes, their meaning and whether a retry may succeed", () => {
  const errors = read("src/errors.ts");
  const union = /export type ErrorCode =([^]*?);\n/.exec(errors)![1]!;
  const byCode = classes(errors);
  const codes = [...union.matchAll(/\/\*\* (.*?) \*\/\s*\| "(\w+)"/g)].map(([, when, code]) => {
    const { retryable } = new BusError(code as ErrorCode, "");
    return [code, [...byCode.get(code!) ?? []].sort().join(), when, retryable ? "yes" : "no"];
  });
  const table = /<!-- codes.*-->\n([^]*?)<!-- \/codes -->/.exec(read("docs/errors.md"))![1]!;
  const rows = table.trim().split("\n").slice(2).map((row) => {
    const [code, names, when, retryable] = row.split("|").slice(1, -1).map((cell) => cell.trim());
    return [code!.replaceAll("`", ""), names!.replaceAll("`", "").split(", ").sort().join(), when, retryable];
  });
  assertEquals(rows, codes);
});
