/** The import rules of `docs/design.md`, "The layout", and the places of the mutants. */
// run: on bun
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { VERSION } from "../cli/version.ts";
import { misplaced } from "../scripts/mutants/placement.ts";
import { Engine } from "../src/engine.ts";
import { itNeeds } from "./support/skip.ts";

const ROOT = fileURLToPath(new URL("../", import.meta.url));

interface Import {
  readonly from: string;
  /** The path from the root for a file of this project, otherwise the unchanged specifier. */
  readonly to: string;
  /** Erased by the compiler. */
  readonly typeOnly: boolean;
  /** Loaded when the code runs, not with the file. */
  readonly dynamic: boolean;
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
    return { from: file, to, typeOnly, dynamic: dynamic !== undefined };
  });
}

/** The files that git tracks. Empty outside a clone. */
const { stdout: committed } = spawnSync("git", ["ls-files"], { cwd: ROOT, encoding: "utf8" });
/** The entries of the root of the repository. */
const REPOSITORY_ROOT =
  ".ci .gitignore LICENSE README.md SECURITY.md bench cli deno.json deno.lock docs examples mod.ts package.json scripts src tests tsconfig.json ui workers"
    .split(" ");

const sources = ["mod.ts", ...present("src", "workers", "cli", "ui")];
const imports = sources.flatMap(importsOf);
const others = present("tests", "bench", "examples", "scripts").flatMap(importsOf);

const importsBy = Map.groupBy(imports, ({ from }) => from);

/** Returns every file that a file imports, directly or not: those that are loaded with it, or with `types` also those of its types. */
function reaches(file: string, types = false, seen = new Set<string>()): Set<string> {
  for (const { to, typeOnly } of importsBy.get(file) ?? []) {
    if ((typeOnly && !types) || seen.has(to)) continue;
    seen.add(to);
    reaches(to, types, seen);
  }
  return seen;
}

/** Returns every module that is loaded when a program imports a file. */
function loadedWith(file: string, seen = new Set<string>()): Set<string> {
  for (const { to, typeOnly, dynamic } of importsBy.get(file) ?? []) {
    if (typeOnly || dynamic || seen.has(to)) continue;
    seen.add(to);
    loadedWith(to, seen);
  }
  return seen;
}

function offences(rule: (one: Import) => boolean, among: readonly Import[] = imports): string[] {
  return among.filter(rule).map(({ from, to }) => `${from} imports ${to}`);
}

const PROVIDERS = "src/providers/";
const SHARED = ["errors.ts", "internal"];
const CORE = [...SHARED, "codec", "core.ts", "events.ts", "hooks.ts", "port", "provider", "telemetry"];
const TRANSPORT = [...SHARED, "provider"];
/** Folder of src/ → the folders and root files of src/ that its files may import. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  "errors.ts": ["internal"],
  "events.ts": SHARED,
  "hooks.ts": ["codec"],
  "options.ts": [...SHARED, "events.ts", "hooks.ts", "codec", "provider", "telemetry"],
  keys: [...SHARED, "codec", "provider"],
  "core.ts": ["errors.ts", "events.ts", "hooks.ts", "internal", "codec", "port", "provider", "telemetry"],
  internal: ["errors.ts"],
  codec: SHARED,
  provider: [...SHARED, "port"],
  port: [...SHARED, "provider"],
  pubsub: [...CORE, "queue", "rpc"],
  queue: CORE,
  rpc: CORE,
  telemetry: SHARED,
  "providers/aws": TRANSPORT,
  "providers/ipc": TRANSPORT,
  "providers/memory": TRANSPORT,
  "providers/redis": TRANSPORT,
};
const SRC_ROOT = [
  "bus.ts",
  "closing.ts",
  "core.ts",
  "engine.ts",
  "errors.ts",
  "events.ts",
  "global.ts",
  "hooks.ts",
  "opening.ts",
  "options.ts",
  "registrations.ts",
];
/** Files that have no code: they are gone when the types are. */
const TYPES = ["src/provider/provider.ts", "src/port/protocol.ts"];
/** The files of objects that users hold, and of main's end of the port. */
const MAIN = [
  "src/bus.ts",
  "src/engine.ts",
  "src/internal/work.ts",
  "src/port/link.ts",
  "src/port/supervisor.ts",
  "src/port/spawn.ts",
  "src/queue/queue.ts",
  "src/pubsub/topic.ts",
  "src/global.ts",
  "src/pubsub/dispatch.ts",
];

/** Returns the folder of a file below src/, or the file's name for one in its root. */
function folderOf(file: string): string {
  const folder = relative("src", dirname(file));
  return folder === "" ? basename(file) : folder;
}

describe("the house", () => {
  it("is read correctly: the imports of known files are found", () => {
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

  it("has a seam of at most 20 required members, and no optional method: everything optional is a named part", () => {
    const seam = codeOf("src/provider/provider.ts");
    assertEquals(seam.match(/^ {2}\w+\?\(/gm), null);
    const members = ["Sender", "Receiver"].flatMap((half) => {
      const body = new RegExp(`^export interface ${half} \\{\n([^]*?)^\\}`, "m").exec(seam)![1]!;
      return [...body.matchAll(/^ {2}(?:readonly )?(\w+)[(:]/gm)].map(([, name]) => `${half}.${name}`);
    });
    assert(members.includes("Sender.publish") && members.includes("Receiver.inbox"), `${members}`);
    assert(members.length <= 20, `${members.length} members`);
  });

  it("has each member of the seam named in docs/provider.md", () => {
    const guide = readFileSync(join(ROOT, "docs/provider.md"), "utf8");
    const seam = codeOf("src/provider/provider.ts");
    const members = [...seam.matchAll(/^ {2}(?:readonly )?(\w+)\??[(:]/gm)].map(([, name]) => name!);
    assert(members.length > 50, `${members.length} members`);
    assertEquals(members.filter((name) => !new RegExp(`\\b${name}\\b[\`(:]|^ +${name}[:,]`, "m").test(guide)), []);
  });

  it("has a core whose functions are fields of the engine, so they keep their bus when a part takes them out of it", () => {
    const core = codeOf("src/core.ts");
    assertEquals(core.match(/^ {2}\w+\(/gm), null);
    const functions = [...core.matchAll(/^ {2}readonly (\w+): \(/gm)].map(([, name]) => name!);
    assert(functions.includes("report"), `${functions}`);
    assertEquals(functions.filter((name) => name in Engine.prototype), []);
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

  it("loads no module of Node that takes 5 ms or more with mod.ts and the workers without a client", () => {
    const cheap: Record<string, string[]> = {
      "mod.ts": [],
      "src/engine.ts": [],
      "workers/memory.ts": [],
      "workers/ipc.ts": ["node:timers"],
    };
    for (const [entry, modules] of Object.entries(cheap)) {
      const loaded = [...loadedWith(entry)];
      assert(loaded.includes("src/errors.ts"), `${entry} loads ${loaded}`);
      assertEquals(loaded.filter((name) => name.startsWith("node:")), modules, entry);
    }
  });

  it("has the transports' clients under providers/ only", () => {
    const client = /^(npm:)?(ioredis|@aws-sdk\/|bun:ffi)/;
    assertEquals(offences(({ from, to }) => client.test(to) && !from.startsWith(PROVIDERS)), []);
    const ffi = sources.filter((file) => !file.startsWith(PROVIDERS) && /\bdlopen\b/.test(codeOf(file)));
    assertEquals(ffi, []);
  });

  it("has folders that import only those below them, types included", () => {
    const offending = offences(({ from, to }) => {
      const folder = folderOf(from);
      if (!(folder in MAY_IMPORT) || !to.startsWith("src/") || folderOf(to) === folder) return false;
      return !MAY_IMPORT[folder]!.includes(folderOf(to));
    });
    assertEquals(offending, []);
  });

  itNeeds(committed ? undefined : "not a clone of the repository")(
    "has nothing in the root of the repository but its files and folders: no output of a profiler",
    () => {
      const names = new Set(committed.trimEnd().split("\n").map((path) => path.split("/", 1)[0]!));
      assertEquals([...names].sort(), REPOSITORY_ROOT);
    },
  );

  it("has nothing in the root of src/ but the bus and what all its parts share", () => {
    const names = readdirSync(join(ROOT, "src"), { withFileTypes: true });
    const files = names.filter((entry) => entry.isFile()).map(({ name }) => name);
    assertEquals(files.filter((name) => !SRC_ROOT.includes(name)), []);
    const folders = names.filter((entry) => entry.isDirectory()).map(({ name }) => name);
    const known = Object.keys(MAY_IMPORT);
    assertEquals(folders.filter((name) => !["conformance", "providers"].includes(name) && !known.includes(name)), []);
    for (const { name } of readdirSync(join(ROOT, "src/providers"), { withFileTypes: true })) {
      assert(known.includes(`providers/${name}`), `src/providers/${name} is a transport's folder`);
      for (const role of ["provider", "receiver"]) {
        assert(sources.includes(`src/providers/${name}/${role}.ts`), `src/providers/${name}/${role}.ts is there`);
      }
    }
  });

  it("has providers that only entries import", () => {
    const inside = /^src\/providers\//;
    assertEquals(offences(({ from, to }) => from.startsWith("src/") && !inside.test(from) && inside.test(to)), []);
  });

  it("has entries that nobody imports: mod.ts and workers/", () => {
    // programs and tests are users, who import mod.ts
    const user = /^(cli|ui)\//;
    assertEquals(offences(({ from, to }) => to === "mod.ts" && !user.test(from)), []);
    assertEquals(offences(({ to }) => to.startsWith("workers/"), [...others, ...imports]), []);
  });

  it("has a dashboard that only its command imports, and only when it runs", () => {
    assertEquals(offences(({ from, to }) => to.startsWith("ui/") && !from.startsWith("ui/")), [
      "cli/commands/ui.ts imports ui/mod.ts",
    ]);
    assert(/await import\("..\/..\/ui\/mod.ts"\)/.test(codeOf("cli/commands/ui.ts")));
  });

  it("is not imported by published files: no tests, bench, examples or scripts", () => {
    assertEquals(offences(({ to }) => /^(tests|bench|examples|scripts)\//.test(to)), []);
  });

  it("has modules only, which need no deno.json: an installed package may not have it", () => {
    assertEquals(offences(({ to }) => to.endsWith(".json")), []);
    const { version } = JSON.parse(readFileSync(join(ROOT, "deno.json"), "utf8")) as { version: string };
    assertEquals(VERSION, version);
  });

  it("lets others write a provider: examples/nats imports only exports of tsmq", () => {
    const inside = others.filter(({ from }) => from.startsWith("examples/nats/"));
    assert(
      inside.some(({ to }) => to === "@tsmq/tsmq/provider") && inside.some(({ to }) => to === "@tsmq/tsmq/worker"),
    );
    assertEquals(offences(({ to }) => to.endsWith(".ts") && !to.startsWith("examples/nats/"), inside), []);
  });

  it("has no circle of imports, types included", () => {
    assertEquals(sources.filter((file) => reaches(file, true).has(file)), []);
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

describe("the mutants of `deno task test:mutants`", () => {
  it("have their text in their file exactly once, and tests that exist", () => {
    assertEquals(misplaced(), []);
  });
});
