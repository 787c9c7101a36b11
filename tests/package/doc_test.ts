/** The documentation of the functions of `mod.ts`, as `deno doc`, JSR and the hovers of editors show it. */
import { assertEquals, assertMatch } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { execFileSync } from "node:child_process";
import { tool } from "../support/tools.ts";
import { ROOT } from "./published.ts";

interface Declaration {
  readonly kind: string;
  readonly jsDoc?: { readonly doc?: string };
  readonly def: {
    readonly hasBody?: boolean;
    readonly params?: readonly { readonly name?: string; readonly tsType?: { readonly repr: string } }[];
  };
}

interface Entity {
  readonly name: string;
  readonly declarations: readonly Declaration[];
}

/** Returns what the module exports. */
function documentation(): readonly Entity[] {
  const options = { cwd: ROOT, encoding: "utf8", maxBuffer: 64 * 2 ** 20 } as const; // the default is a MiB
  const text = execFileSync(tool("deno"), ["doc", "--json", "--quiet", "mod.ts"], options);
  const { nodes } = JSON.parse(text) as { nodes: Record<string, { symbols: readonly Entity[] }> };
  return Object.values(nodes).flatMap(({ symbols }) => symbols);
}

describe("the documentation of mod.ts", () => {
  const all = documentation();
  const functions = all.flatMap(({ name, declarations }) => {
    const own = declarations.filter(({ kind }) => kind === "function");
    // the implementation of overloads is not shown
    return own.filter(({ def }) => own.length === 1 || !def.hasBody).map((one) => ({ name, ...one }));
  });

  it("has every overload of the functions of the default bus, each with types and a sentence that stands alone", () => {
    const overloads = (name: string) => functions.filter((one) => one.name === name).length;
    const counts = ["publish", "subscribe", "queue", "topic", "expose", "stub", "stream", "procedure"].map(overloads);
    assertEquals(counts, [3, 4, 2, 2, 5, 8, 3, 3]);
    for (const { name, def: { params = [] }, jsDoc } of functions) {
      assertMatch(jsDoc?.doc ?? "", /^[A-Z]\w+s (\S+ ){3,}[^]*?\./, name);
      const vague = params.filter(({ tsType }) => tsType?.repr === "never" || tsType?.repr === "unknown");
      assertEquals(vague.map((param) => param.name), vague.length > 0 && name === "publish" ? ["event"] : [], name);
    }
  });

  it("offers no internals", () => {
    const internal = /^(lacks|to|from|check|is)[A-Z]|^closedWhile$/;
    assertEquals(all.filter(({ name }) => internal.test(name)).map(({ name }) => name), []);
  });
});
