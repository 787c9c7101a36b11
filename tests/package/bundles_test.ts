// run: deadline 300
/** Bundled programs work as docs/deploying.md says; without the option `worker`, their error names it. */
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Bus, memory, ProviderError } from "../../mod.ts";
import { Child, makeDir, removeDir } from "../support/child.ts";
import { here } from "../support/peer.ts";
import { makeProject } from "../support/project.ts";
import { RedisServer } from "../support/redis_server.ts";
import { itNeeds, skip } from "../support/skip.ts";
import { missing, tool } from "../support/tools.ts";

/** Milliseconds that a bundler or a program may take. */
const LONG = 100_000;
const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const PAGE = readFileSync(join(ROOT, "docs/deploying.md"), "utf8").split("\n## ").find((part) =>
  part.startsWith("Bundles")
)!;
/** The two modules that the page shows. */
const [WORKER, OPENING] = [...PAGE.matchAll(/^```ts ignore\n([^]*?)^```$/gm)].map(([, code]) => code!) as [
  string,
  string,
];
/** The commands that the page shows. */
const COMMANDS = /^```sh\n([^]*?)^```$/m.exec(PAGE)![1]!.replaceAll("\\\n", "").trim().split("\n");

async function run(cwd: string, command: string, args: readonly string[]): Promise<string> {
  const env = { ...process.env, NO_COLOR: "1", PATH: `${join(cwd, "bin")}:${process.env.PATH}` };
  const child = new Child(command, args, { cwd, env });
  const lines: string[] = [];
  child.onLine((line) => lines.push(line));
  assertEquals((await child.wait(LONG)).code, 0, child.output);
  return lines.join("\n");
}

/** The commands that this runtime tries: the name, the beginning of the command, the command that runs the result. */
const BUNDLERS: readonly (readonly [string, ...string[]])[] = here === "bun"
  ? [
    ["bun build main.ts", "bun", "dist/main.js"],
    ["bun build --compile", "./service"],
    ["esbuild", "bun", "dist/main.js"],
  ]
  : [
    ["deno bundle", "deno", "run", "-A", "dist/main.js"],
    ["esbuild", "deno", "run", "-A", "dist/main.js"],
    ["deno compile", "./service"],
  ];

describe(`a bundle for ${here}`, () => {
  let dir: string;
  let server: RedisServer;
  beforeAll(async () => {
    dir = makeProject();
    server = await RedisServer.start();
    mkdirSync(join(dir, "bin"));
    const programs = {
      [here]: [tool(here)],
      esbuild: [tool(here), ...here === "deno" ? ["run", "-A"] : [], join(ROOT, "node_modules/esbuild/bin/esbuild")],
    };
    for (const [name, words] of Object.entries(programs)) {
      const path = join(dir, "bin", name);
      writeFileSync(path, `#!/bin/sh\nexec ${words.map((word) => `'${word}'`).join(" ")} "$@"\n`);
      chmodSync(path, 0o755);
    }
    writeFileSync(join(dir, "worker.ts"), WORKER);
  });
  afterAll(async () => {
    removeDir(dir);
    await server.stop();
  });

  /** Writes the program. Its second argument tells it to pass the option `worker`. */
  function writeMain(worker: string): void {
    const code = `
      import { expose, init, shutdown, stub } from "@tsmq/tsmq";
      import { redis } from "@tsmq/tsmq/redis";
      import process from "node:process";
      const [url, option] = process.argv.slice(2);
      try {
        if (option) ${OPENING.replace("./worker.js", worker)} else await init(redis({ url }));
        await expose("add", (a: number, b: number) => a + b);
        console.log(await stub("add")(1, 2));
        await shutdown();
      } catch (error) {
        console.log(JSON.stringify(error));
      }`;
    writeFileSync(join(dir, "main.ts"), code);
  }

  it("has a command in the documentation", () => {
    const known = ["bun build main.ts", "bun build --compile", "deno bundle", "deno compile", "esbuild"];
    assertEquals(COMMANDS.map((line) => known.find((start) => line.startsWith(start))).toSorted(), known.toSorted());
  });

  for (const [start, command, ...args] of BUNDLERS) {
    const name = `of ${start}: works with the option worker, and names it in its error without`;
    const lack = start === "deno compile" ? missing("denort") : undefined;
    if (lack !== undefined) {
      skip(name, lack); // in CI too: Deno downloads it from its own site only
      continue;
    }
    it(name, async () => {
      const line = COMMANDS.find((line) => line.startsWith(start));
      assert(line);
      writeMain(start === "deno compile" ? "./worker.ts" : "./worker.js");
      await run(dir, "/bin/sh", ["-c", line]);
      const [file, ...before] = [command!.startsWith("./") ? join(dir, command!) : join(dir, "bin", command!), ...args];
      assertEquals(await run(dir, file!, [...before, server.url, "worker"]), "3");
      const error = JSON.parse(await run(dir, file!, [...before, server.url]));
      assertEquals([error.name, error.code, error.retryable], ["ProviderError", "unavailable", false]);
      assertMatch(error.message, /^Cannot load the worker of "redis": .*pass the option worker: new URL\(/);
    });
  }
});

if (here === "bun") {
  describe("Node", () => {
    const lack = spawnSync("node", ["--version"]).status === 0 ? undefined : "no node";
    itNeeds(lack)("gets one clear error", async () => {
      const dir = makeDir("node");
      const outfile = join(dir, "bundled.mjs");
      const entry = join(ROOT, "tests/package/bundled.ts");
      await run(ROOT, tool("bun"), ["build", entry, "--target", "node", "--outfile", outfile]);
      const error = JSON.parse(await run(ROOT, "node", [outfile]));
      removeDir(dir);
      assertEquals([error.name, error.code], ["UnsupportedError", "unsupported"]);
      assertMatch(error.message, /tsmq runs on Deno and Bun, not on Node$/);
    });
  });
}

describe("a worker that cannot be loaded", () => {
  it("rejects immediately, also if the bus would wait for its transport", async () => {
    const dir = makeDir("workers");
    const workers: [code: string | undefined, message: RegExp][] = [
      [undefined, /; in a bundle, pass the option worker: new URL\(/],
      ['import "@tsmq/nowhere";', /; in a bundle, pass the option worker: new URL\(/],
      ['throw new Error("on purpose");', /on purpose/],
      ["let let = 1;", /let/],
    ];
    for (const [i, [code, message]] of workers.entries()) {
      const file = join(dir, `${i}.js`);
      if (code) writeFileSync(file, code);
      const opening = Bus.open(memory({ worker: pathToFileURL(file) }), { waitOnFirstConnect: true });
      const error = await assertRejects(() => opening, ProviderError);
      assertEquals([error.code, error.retryable], ["unavailable", false], error.message);
      assertMatch(error.message, /^Cannot load the worker of "memory": /);
      assertMatch(error.message, message);
    }
    removeDir(dir);
  });
});
