/** The English of comments, docs, messages and titles: phrases that a reader has to decode are not used anywhere. */
// run: on deno
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../", import.meta.url));
const PLACES = [
  "README.md",
  "SECURITY.md",
  "mod.ts",
  "bench",
  "cli",
  "docs",
  "examples",
  "scripts",
  "src",
  "tests",
  "ui",
  "workers",
];
const SELF = "tests/prose_test.ts";

/** Each phrase is wrong in any context. Beside it is what to write instead. */
const PHRASES: readonly (readonly [RegExp, instead: string])[] = [
  [/\bwhoever\b/i, "name the subject: the caller, the server, the consumer"],
  [/\b(none|no kind) of ours\b/i, "unknown, not a provider, not a message of tsmq"],
  [/\b(is|are|was|were|be|been|being) (said|told)\b(?! apart)/i, "is reported, is announced, receives, is called with"],
  [/\b(is|are|was|were|be|been) had\b/i, "is available, is fetched, exists"],
  [/\b(let|lets|letting) go\b/i, "releases, closes, ends"],
  [/\bof one's own\b/i, "custom, its own"],
  [/\bsee the module\b/i, "a sentence that stands alone"],
  [/\bhopeless\b/i, "say what failed and what happens then"],
  [/\b(goes|went) off at once\b/i, "fires immediately"],
  [/\bbefalls?\b/i, "happens to"],
  [/\bhow the bus is\b/i, "the health of the bus, the state of the bus"],
  [/\bthe provider is none\b/i, "not a provider"],
  [/\bis full at: never\b/i, "capacity: unlimited"],
  [/\bnothing of the bus's own\b/i, "removes everything the bus created"],
  [/\bunless that is harmless\b/i, "only if that is safe"],
  [/\btakes what a body says\b/i, "decodes a body"],
  [/\bis to end is never rung\b/i, "say who wakes whom"],
  [/\bout of reach\b/i, "unreachable"],
  [/\bof ours\b/i, "of tsmq, of this project"],
  [/\b(go|goes|went|going) on\b(?! (the|a|an|its|their|to)\b)/i, "continues"],
  [/\bcomes? to pass\b/i, "happens, becomes true"],
  [
    /\b(?<!as )so many (ms|milliseconds|bytes|characters|seconds|minutes|times|digits)\b/i,
    "a number of, at most, about",
  ],
  [/\b(by|for|of|from) who\b/i, "name the subject"],
  [/\bwithout a word\b/i, "without a report, silently"],
  [/\bsees? to it\b/i, "ensures, checks"],
  [/\btaken for (dead|gone|settled|a|an)\b/i, "counts as, is considered"],
  [/\bwhat (is|was) (sent|put|taken|held|left|given|remembered|published)\b/i, "name the thing: the items, the events"],
  [/\bthat (is|are) no (?!longer\b)/i, "that is not a"],
  [/\bfor ever\b/i, "without a limit, always"],
  [/\/\*\*[\s*]*(Who|Whom|Where|What|How|Those)\b(?! tsmq)/, "a doc comment begins with the thing it describes"],
];

function files(place: string): string[] {
  if (/\.\w+$/.test(place)) return [place];
  return readdirSync(join(ROOT, place), { withFileTypes: true }).flatMap((entry) => {
    const path = join(place, entry.name);
    if (entry.isDirectory()) return files(path);
    return /\.(tsx?|md|py|c)$/.test(entry.name) && path !== SELF ? [path] : [];
  });
}

/** The text as one line a paragraph, so that a line break within a comment hides no phrase. */
function joined(text: string): string {
  return text.replace(/\n[ \t]*(\*|\/\/|#)?[ \t]*/g, " ");
}

describe("docs/design.md", () => {
  const page = readFileSync(join(ROOT, "docs/design.md"), "utf8");
  const base = (file: string) => file.slice(file.lastIndexOf("/") + 1);
  const code = ["src", "cli", "ui", "workers", "examples", "bench", "tests"].flatMap(files).concat("mod.ts");

  it("names each file of src/, or describes its folder", () => {
    const described = /^src\/(providers|conformance)\//;
    const named = (file: string) => page.includes(`\`${base(file)}\``);
    assertEquals(files("src").filter((file) => !described.test(file) && !named(file)), []);
  });

  it("names only files that exist", () => {
    const named = [...page.matchAll(/`([\w/]+\.ts)`/g)].map(([, name]) => name!);
    assertEquals(named.filter((name) => !code.some((file) => file === name || file.endsWith(`/${name}`))), []);
  });

  it("has at most 150 lines", () => {
    assertEquals(page.trimEnd().split("\n").length <= 150, true);
  });
});

describe("prose", () => {
  for (const [phrase, instead] of PHRASES) {
    it(`does not use ${phrase.source}: ${instead}`, () => {
      const found = PLACES.flatMap(files).flatMap((file) => {
        const text = joined(readFileSync(join(ROOT, file), "utf8"));
        const all = text.matchAll(new RegExp(phrase, "gi"));
        return [...all].map(({ index }) => `${file}: …${text.slice(Math.max(0, index - 60), index + 40)}…`);
      });
      assertEquals(found, []);
    });
  }
});
