/** Installs the package, as JSR serves it, into empty projects. Every provider works there, including its worker. */
// run: deadline 300
import { assert, assertEquals, assertMatch } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { Child, makeDir, removeDir } from "../support/child.ts";
import { FauxqsServer } from "../support/fauxqs_server.ts";
import { here } from "../support/peer.ts";
import { RedisServer } from "../support/redis_server.ts";
import { runsHere } from "../support/share.ts";
import { itNeeds } from "../support/skip.ts";
import { tool } from "../support/tools.ts";
import { CONFIG, published, reached, ROOT } from "./published.ts";
import { Registry } from "./registry.ts";

/** The types that a user may have: the name, the packages of types, and the libraries beside that of the language. */
const TYPES: readonly (readonly [string, readonly string[], readonly string[]])[] = [
  ["@types/node", ["node"], []],
  ["@types/bun", ["bun"], []],
  ["the library dom", [], ["DOM"]],
];

/** `it` for a test that does not depend on the runtime. */
const itOnce = runsHere(0) ? it : () => {};

/** Milliseconds that a command of a package manager may take. */
const LONG = 120_000;

describe("the published package", () => {
  itOnce("has the files that the exports reach, the license, the README and deno.json", () => {
    assertEquals(published(), [...reached(), "LICENSE", "README.md", "deno.json"].sort());
  });
});

describe(`the package, installed into an empty ${here} project`, () => {
  let dir: string;
  let project: string;
  let registry: Registry;
  let redis: RedisServer;
  let fauxqs: FauxqsServer;

  async function run(args: readonly string[]): Promise<string[]> {
    const lines: string[] = [];
    const env = {
      ...process.env,
      NO_COLOR: "1",
      // an empty machine: nothing is known of what other projects have fetched
      DENO_DIR: join(dir, "deno"),
      BUN_INSTALL_CACHE_DIR: join(dir, "bun"),
      JSR_URL: registry.url,
      NPM_CONFIG_REGISTRY: registry.url,
      AWS_ACCESS_KEY_ID: "test",
      AWS_SECRET_ACCESS_KEY: "test",
    };
    const child = new Child(tool(here), args, { cwd: project, env });
    child.onLine((line) => lines.push(line));
    const { code } = await child.wait(LONG);
    assertEquals(code, 0, child.output);
    return lines;
  }

  beforeAll(async () => {
    dir = makeDir("package");
    project = join(dir, "project");
    mkdirSync(project);
    copyFileSync(fileURLToPath(new URL("use.ts", import.meta.url)), join(project, "use.ts"));
    [registry, redis, fauxqs] = await Promise.all([Registry.start(dir), RedisServer.start(), FauxqsServer.start()]);
    if (here === "deno") {
      writeFileSync(join(project, "deno.json"), "{}");
      await run(["add", "--quiet", "jsr:@tsmq/tsmq"]);
      return;
    }
    // what `bunx jsr add @tsmq/tsmq` writes
    const specifier = `npm:@jsr/tsmq__tsmq@^${CONFIG.version}`;
    writeFileSync(join(project, ".npmrc"), `@jsr:registry=${registry.url}\n`);
    writeFileSync(
      join(project, "package.json"),
      JSON.stringify({ type: "module", dependencies: { "@tsmq/tsmq": specifier } }),
    );
    await run(["install"]);
  });
  afterAll(async () => {
    await registry[Symbol.asyncDispose]();
    await redis.stop();
    await fauxqs.stop();
    removeDir(dir);
  });

  const transports: Record<string, () => string> = {
    memory: () => "memory:",
    redis: () => redis.url,
    aws: () => `aws:us-east-1?endpoint=${fauxqs.endpoint}`,
    ...process.platform === "linux" ? { ipc: () => "ipc:" } : {},
  };
  for (const [name, url] of Object.entries(transports)) {
    it(`works over ${name}`, async () => {
      const before = here === "deno" ? ["run", "-A", "--no-prompt", "--no-check"] : ["run"];
      const lines = await run([...before, "use.ts", url(), crypto.randomUUID()]);
      assertEquals(lines.at(-1), '["an event","an item",3]');
    });
  }

  it("has a command line", async () => {
    const [command, ...rest] = here === "deno"
      ? ["run", "-A", "--no-prompt", "jsr:@tsmq/tsmq/cli"]
      : ["node_modules/@tsmq/tsmq/cli/mod.ts"];
    assertMatch((await run([command!, ...rest, "--help"])).join("\n"), /tsmq sub .*\n/);
    assertEquals(await run([command!, ...rest, "--version"]), [CONFIG.version]);
    assertEquals(await run([command!, ...rest, "pub", "memory:", "topic", "1"]), ['{"topic":"topic","reached":0}']);
  });

  if (here === "deno") {
    it("needs no permission over memory, because its worker is imported from the registry", async () => {
      const code =
        'import { Bus, memory } from "@tsmq/tsmq"; await using bus = await Bus.open(memory()); console.log("up");';
      writeFileSync(join(project, "memory.ts"), code);
      const imports = `--allow-import=${new URL(registry.url).host}`; // JSR itself needs no such flag
      assertEquals(await run(["run", "--deny-read", "--no-prompt", "--no-check", imports, "memory.ts"]), ["up"]);
    });

    it("has its types", async () => {
      await run(["check", "--quiet", "use.ts"]);
    });
  } else {
    it("has its modules twice: transpiled, and as they were for workers, whose URLs nobody rewrites", () => {
      const file = (path: string) => readFileSync(join(project, "node_modules/@tsmq/tsmq", path), "utf8");
      assertMatch(
        file("src/providers/redis/provider.js"),
        /new URL\("..\/..\/..\/workers\/redis.ts", import.meta.url\)/,
      );
      assertMatch(file("workers/redis.ts"), /from "..\/src\/port\/host.js"/);
      assert(!file("src/port/host.js").includes("interface "));
    });

    const tsc = join(ROOT, "node_modules/typescript/bin/tsc");
    const itCompiles = itNeeds(existsSync(tsc) ? undefined : "no typescript; `deno install` puts it there");
    for (const [what, types, lib] of TYPES) {
      itCompiles(`has declarations without an error for TypeScript with ${what} alone`, async () => {
        copyFileSync(join(ROOT, "tests/package/typed.ts"), join(project, "typed.ts"));
        const compilerOptions = {
          ...{ strict: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true, skipLibCheck: false },
          ...{ noEmit: true, module: "NodeNext", target: "ESNext", types, lib: ["ESNext", ...lib] },
          typeRoots: [join(ROOT, "node_modules/@types")],
        };
        const config = join(project, "tsconfig.json");
        writeFileSync(config, JSON.stringify({ compilerOptions, files: ["typed.ts"] }));
        const child = new Child(tool("bun"), [tsc, "--project", config, "--pretty", "false"], { cwd: project });
        const errors: string[] = [];
        child.onLine((line) => void (line.includes("error TS") && errors.push(line)));
        const { code } = await child.wait(LONG);
        assert(code === 0 || errors.length > 0, child.output);
        // Bun's types have errors of their own
        assertEquals(errors.filter((line) => !line.includes("/bun-types/")), [], child.output);
      });
    }
  }
});
