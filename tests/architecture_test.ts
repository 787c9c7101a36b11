/** Who may import whom: `docs/design.md`, "The house". */
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../", import.meta.url));

interface Import {
  readonly from: string;
  /** A path from the root for a file of ours, else the specifier as it is. */
  readonly to: string;
  /** Erased by the compiler. */
  readonly typeOnly: boolean;
}

function files(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return files(path);
    return /(?<!\.d)\.ts$/.test(entry.name) ? [path] : [];
  });
}

function present(...folders: string[]): string[] {
  const names = new Set(readdirSync(ROOT));
  return folders.filter((folder) => names.has(folder)).flatMap(files);
}

/** Code without comments; what stands in template strings of an example may look like an import, so only statements are read. */
function codeOf(file: string): string {
  return readFileSync(join(ROOT, file), "utf8").replace(/\/\*[^]*?\*\/|^\s*\/\/.*$/gm, "");
}

function importsOf(file: string): Import[] {
  const statements = codeOf(file).matchAll(
    /^(?:import|export)\s(type\s)?(?:([^;"=]*?)from\s+)?"([^"]+)"|\bimport\("([^"]+)"\)/gm,
  );
  return [...statements].map(([, type, names = "", specifier, dynamic]) => {
    const name = specifier ?? dynamic!;
    const to = name.startsWith(".") ? relative(ROOT, join(ROOT, dirname(file), name)) : name;
    const inner = /^\s*\{([^]*)\}\s*$/.exec(names)?.[1];
    const members = inner?.split(",").map((member) => member.trim()).filter(Boolean) ?? [];
    const typeOnly = type !== undefined || (members.length > 0 && members.every((member) => /^type\s/.test(member)));
    return { from: file, to, typeOnly };
  });
}

const sources = ["mod.ts", ...present("src", "workers", "cli")];
const imports = sources.flatMap(importsOf);
const others = present("tests", "bench", "examples", "scripts").flatMap(importsOf);

/** All that a file reaches when it is loaded: types are gone by then. */
function reaches(file: string, all: readonly Import[] = imports, seen = new Set<string>()): Set<string> {
  for (const { from, to, typeOnly } of all) {
    if (from !== file || typeOnly || seen.has(to)) continue;
    seen.add(to);
    reaches(to, all, seen);
  }
  return seen;
}

function offences(rule: (one: Import) => boolean, among: readonly Import[] = imports): string[] {
  return among.filter(rule).map(({ from, to }) => `${from} imports ${to}`);
}

const PORT = "src/port/";
const PROVIDERS = "src/providers/";
/** Files that have no code: they are gone when the types are. */
const TYPES = ["src/provider/provider.ts", "src/port/protocol.ts"];
/** What users hold, and what stands on main's side of the port. */
const MAIN = [
  "src/bus.ts",
  "src/engine.ts",
  "src/port/link.ts",
  "src/port/supervisor.ts",
  "src/port/spawn.ts",
  "src/queue/queue.ts",
  "src/pubsub/topic.ts",
  "src/pubsub/dispatch.ts",
];

describe("the house", () => {
  it("is read as it is: the imports of known files are found", () => {
    assert(imports.some(({ from, to }) => from === "src/engine.ts" && to === "src/port/link.ts"));
    assert(
      imports.some(({ from, to, typeOnly }) => from === "src/bus.ts" && to === "src/provider/provider.ts" && typeOnly),
    );
    assert(imports.some(({ to }) => to === "ioredis"));
    assertEquals(imports.filter(({ to }) => to.endsWith(".ts") && !sources.includes(to)), []);
  });

  it("has types only in provider.ts and port/protocol.ts", () => {
    for (const file of TYPES) {
      assertEquals(offences(({ from, typeOnly }) => from === file && !typeOnly), []);
      const code = codeOf(file).replace(/^(export )?(interface|type) /gm, "");
      assert(!/^(export |declare |const |let |function |class |enum )/m.test(code), `${file} has code`);
    }
  });

  it("keeps the worker's side from main's: no bus, link or Sender is reached from a worker's entry", () => {
    for (const entry of present("workers")) {
      const reached = reaches(entry);
      assert(reached.has("src/port/host.ts"), `${entry} serves`);
      for (const file of MAIN) assert(!reached.has(file), `${entry} reaches ${file}`);
      for (const file of reached) {
        assert(!/providers\/.*\/sender\.ts$|^(npm:)?valibot/.test(file), `${entry} reaches ${file}`);
      }
    }
  });

  it("keeps main's side from the worker's: no receiver and no host is reached from mod.ts or a provider", () => {
    const entries = [
      "mod.ts",
      ...sources.filter((file) => /providers\/.*\/provider\.ts$/.test(file)),
    ];
    for (const entry of entries) {
      for (const file of reaches(entry)) {
        assert(!/port\/(host|inflow|intake|leases)\.ts$|\/receiver\.ts$/.test(file), `${entry} reaches ${file}`);
      }
    }
  });

  it("has the transports' clients under providers/ only", () => {
    const client = /^(npm:)?(ioredis|@aws-sdk\/|bun:ffi)/;
    assertEquals(offences(({ from, to }) => client.test(to) && !from.startsWith(PROVIDERS)), []);
    const ffi = sources.filter((file) => !file.startsWith(PROVIDERS) && /\bdlopen\b/.test(codeOf(file)));
    assertEquals(ffi, []);
  });

  it("has providers that know the seam, the errors and what is shared, but neither each other nor the core", () => {
    const inside = /^src\/providers\/([^/]+)\//;
    const allowed = /^src\/(errors|provider\/(provider|admin|glob|router|delivery_mark)|internal\/\w+)\.ts$/;
    const offending = offences(({ from, to, typeOnly }) => {
      const own = inside.exec(from)?.[1];
      if (!own || !to.startsWith("src/") || typeOnly) return false;
      return inside.exec(to)?.[1] !== own && !allowed.test(to);
    });
    assertEquals(offending, []);
    assertEquals(offences(({ from, to }) => from.startsWith("src/") && !inside.test(from) && inside.test(to)), []);
  });

  it("has entries that nobody imports: mod.ts and workers/", () => {
    // programs and tests are users, who import mod.ts; so is the kit, which plays the global verbs
    const user = /^(cli\/|src\/conformance\/global\.ts)/;
    assertEquals(offences(({ from, to }) => to === "mod.ts" && !user.test(from)), []);
    assertEquals(offences(({ to }) => to.startsWith("workers/"), [...others, ...imports]), []);
  });

  it("is not reached into by what is published: no tests, bench, examples or scripts", () => {
    assertEquals(offences(({ to }) => /^(tests|bench|examples|scripts)\//.test(to)), []);
  });

  it("lets a stranger write a provider: examples/nats knows only what is exported", () => {
    const inside = others.filter(({ from }) => from.startsWith("examples/nats/"));
    assert(
      inside.some(({ to }) => to === "@tsmq/tsmq/provider") && inside.some(({ to }) => to === "@tsmq/tsmq/worker"),
    );
    assertEquals(offences(({ to }) => to.endsWith(".ts") && !to.startsWith("examples/nats/"), inside), []);
  });

  it("has no cycle among what is loaded", () => {
    const cyclic = sources.filter((file) => reaches(file).has(file));
    assertEquals(cyclic, []);
  });

  it("has a port that knows nothing of handlers, queues and calls", () => {
    const allowed = /^src\/(port\/|errors\.ts|provider\/provider\.ts|internal\/\w+\.ts)/;
    assertEquals(offences(({ from, to }) => from.startsWith(PORT) && to.startsWith("src/") && !allowed.test(to)), []);
  });

  it("exports its worker entries by name, so that a registry that rewrites modules finds them", () => {
    const { exports } = JSON.parse(readFileSync(join(ROOT, "deno.json"), "utf8")) as {
      exports: Record<string, string>;
    };
    for (const entry of present("workers")) {
      assert(Object.values(exports).includes(`./${entry}`), `${entry} is exported`);
    }
  });
});
