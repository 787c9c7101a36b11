// run: deadline 300
/** Bundled programs work with the option `worker`; without it, their error names the option. */
import { assertEquals, assertMatch } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { Bus, memory, ProviderError } from "../../mod.ts";
import { Child, makeDir, removeDir } from "../support/child.ts";
import { here } from "../support/peer.ts";
import { itNeeds } from "../support/skip.ts";
import { tool } from "../support/tools.ts";

/** Milliseconds that a bundler or a program may take. */
const LONG = 100_000;
const ROOT = fileURLToPath(new URL("../../", import.meta.url));

async function run(command: string, args: readonly string[]): Promise<string> {
  const child = new Child(command, args, { cwd: ROOT, env: { ...process.env, NO_COLOR: "1" } });
  const lines: string[] = [];
  child.onLine((line) => lines.push(line));
  assertEquals((await child.wait(LONG)).code, 0, child.output);
  return lines.join("\n");
}

describe(`a bundle that ${here} makes`, () => {
  let dir: string;
  let entries: string[];
  beforeAll(() => {
    dir = makeDir("bundle");
    const program = readFileSync(new URL("bundled.ts", import.meta.url), "utf8").replace("../../", ROOT);
    entries = Object.entries({ "bundled.ts": program, "bundled_worker.ts": `import "${ROOT}workers/memory.ts";` })
      .map(([name, text]) => {
        writeFileSync(join(dir, name), text);
        return join(dir, name);
      });
  });
  afterAll(() => removeDir(dir));

  const ways: Record<string, () => Promise<[command: string, args: string[]]>> = here === "bun"
    ? {
      "bun build": async () => {
        await run(tool("bun"), ["build", ...entries, "--target", "bun", "--outdir", join(dir, "out")]);
        return [tool("bun"), [join(dir, "out", "bundled.js")]];
      },
      "bun build --compile": async () => {
        const outfile = join(dir, "single");
        await run(tool("bun"), ["build", "--compile", ...entries, "--outfile", outfile]);
        return [outfile, []];
      },
    }
    : {
      // deno bundle is esbuild
      "deno bundle": async () => {
        await run(tool("deno"), [
          "bundle",
          "--quiet",
          "--config",
          join(ROOT, "deno.json"),
          "--outdir",
          join(dir, "out"),
          ...entries,
        ]);
        return [tool("deno"), ["run", "-A", join(dir, "out", "bundled.js")]];
      },
    };

  for (const [way, build] of Object.entries(ways)) {
    it(`${way}: works with the option worker, and names it in its error without`, async () => {
      const [command, args] = await build();
      assertEquals(await run(command, [...args, "worker"]), "3");
      const error = JSON.parse(await run(command, args));
      assertEquals([error.name, error.code, error.retryable], ["ProviderError", "unavailable", false]);
      assertMatch(error.message, /^Cannot load the worker of "memory": .*pass the option worker: new URL\(/);
    });
  }
});

if (here === "bun") {
  describe("Node", () => {
    const lack = spawnSync("node", ["--version"]).status === 0 ? undefined : "no node";
    itNeeds(lack)("gets one clear error", async () => {
      const dir = makeDir("node");
      const outfile = join(dir, "bundled.mjs");
      await run(tool("bun"), [
        "build",
        join(ROOT, "tests/package/bundled.ts"),
        "--target",
        "node",
        "--outfile",
        outfile,
      ]);
      const error = JSON.parse(await run("node", [outfile]));
      removeDir(dir);
      assertEquals([error.name, error.code], ["UnsupportedError", "unsupported"]);
      assertMatch(error.message, /tsmq runs on Deno and Bun, not on Node$/);
    });
  });
}

describe("a worker that cannot be loaded", () => {
  it("rejects immediately, also if the bus would wait for its transport", async () => {
    const worker = new URL("file:///nowhere/worker.js");
    const opening = Bus.open(memory({ worker }), { waitOnFirstConnect: true, connectTimeout: 60_000 });
    const error = await opening.then(() => undefined, (error) => error);
    assertEquals([error instanceof ProviderError, error.code, error.retryable], [true, "unavailable", false]);
  });
});
