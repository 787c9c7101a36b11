/**
 * The mutation check: puts one deliberate fault at a time into a copy of the project, and runs the tests that are expected to fail.
 *
 *     deno task test:mutants                   all mutants
 *     deno task test:mutants lost gap          the mutants whose subject contains one of these
 *     deno task test:mutants --jobs=1          one at a time; default: one for each core
 *
 * It ends with a table, and fails if a mutant survives, if its text does not stand in its file exactly once, or if a test fails without
 * a fault.
 *
 * @module
 */
import { parse } from "../junit.ts";
import type { Kit, Mutant, Tests } from "./mutant.ts";
import { misplaced, MUTANTS } from "./placement.ts";

/** Seconds after which a run counts as hung. A fault may make a test hang, which its suite notices too. */
const DEADLINE = 120;
/** The contents of a copy of the project. Installed packages are linked, because faults are not injected there. */
const COPIED = ["src", "tests", "workers", "mod.ts", "deno.json", "package.json", "tsconfig.json"];
const LINKED = ["node_modules", ".cache"];
/** The test file of a copy that runs some cases of the kit. */
const KIT_FILE = "tests/conformance/mutant_test.ts";

const ROOT = new URL("../../", import.meta.url).pathname;

/** The outcome of a test run. */
interface Outcome {
  readonly state: "passed" | "failed" | "broken";
  readonly seconds: number;
  /** The first test that failed, or the reason why no test did. */
  readonly detail: string;
}

async function main(): Promise<void> {
  const filters = Deno.args.filter((arg) => !arg.startsWith("--"));
  const jobs = Number(/--jobs=(\d+)/.exec(Deno.args.join(" "))?.[1] ?? navigator.hardwareConcurrency);
  const mutants = MUTANTS.filter(({ subject }) =>
    filters.length === 0 || filters.some((part) => subject.includes(part))
  );
  if (mutants.length === 0) throw new Error(`Cannot check: no mutant's subject contains ${filters.join(" or ")}`);
  const faults = misplaced();
  if (faults.length > 0) throw new Error(`Cannot check:\n${faults.join("\n")}`);
  const copies = await Promise.all(Array.from({ length: Math.min(jobs, mutants.length) }, copy));
  try {
    const sound = await each(baselines(mutants), copies, async (tests, root) => ({ tests, ...await run(tests, root) }));
    const unsound = sound.filter(({ state }) => state !== "passed");
    for (const { tests, detail } of unsound) console.log(`Fails without a fault: ${name(tests)}: ${detail}`);
    if (unsound.length > 0) return void (Deno.exitCode = 1);
    let done = 0;
    const outcomes = await each(mutants, copies, async (mutant, root) => {
      const outcome = await attempt(mutant, root);
      console.log(
        `[${++done}/${mutants.length}] ${mutant.subject}: ${verdict(outcome)} (${outcome.seconds.toFixed(0)} s)`,
      );
      return { mutant, outcome };
    });
    report(outcomes);
  } finally {
    for (const root of copies) await Deno.remove(root, { recursive: true });
  }
}

/** Returns what all mutants need to pass without a fault: each file once, and all cases of a kit in one run. */
function baselines(mutants: readonly Mutant[]): Tests[] {
  const files = new Set<string>();
  const cases = new Map<Kit, Set<string>>();
  for (const { tests } of mutants) {
    if (typeof tests === "string") files.add(tests);
    else cases.set(tests.kit, (cases.get(tests.kit) ?? new Set()).add(tests.cases.source));
  }
  return [...files, ...[...cases].map(([kit, some]) => ({ kit, cases: new RegExp([...some].join("|")) }))];
}

/** Copies the project to a temporary directory; resolves with its path. */
async function copy(): Promise<string> {
  const root = await Deno.makeTempDir({ prefix: "tsmq-mutants-" });
  await new Deno.Command("cp", { args: ["-r", ...COPIED.map((path) => ROOT + path), root] }).output();
  for (const path of LINKED) await Deno.symlink(ROOT + path, `${root}/${path}`);
  return root;
}

/** Runs `act` for all items, one at a time in each copy. */
async function each<T, R>(
  items: readonly T[],
  copies: readonly string[],
  act: (item: T, root: string) => Promise<R>,
): Promise<R[]> {
  const waiting = [...items.entries()];
  const results: R[] = [];
  await Promise.all(copies.map(async (root) => {
    for (let next; (next = waiting.shift());) results[next[0]] = await act(next[1], root);
  }));
  return results;
}

async function attempt({ file, text, fault, tests }: Mutant, root: string): Promise<Outcome> {
  const path = `${root}/${file}`;
  const sound = await Deno.readTextFile(path);
  await Deno.writeTextFile(path, sound.replace(text, () => fault));
  try {
    return await run(tests, root);
  } finally {
    await Deno.writeTextFile(path, sound);
  }
}

async function run(tests: Tests, root: string): Promise<Outcome> {
  const file = typeof tests === "string" ? tests : KIT_FILE;
  if (typeof tests !== "string") await Deno.writeTextFile(`${root}/${file}`, kitFile(tests.kit, tests.cases));
  const junit = `${root}/junit.xml`;
  await Deno.writeTextFile(junit, "");
  const start = performance.now();
  const child = new Deno.Command(Deno.execPath(), {
    args: ["test", "-A", "--no-check", "--no-lock", "--no-prompt", `--junit-path=${junit}`, file],
    cwd: root,
    env: { PATH: `${ROOT}.cache/bin:${Deno.env.get("PATH") ?? ""}` },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    child.kill("SIGKILL"); // tests/support/child.ts ends its child processes with it
  }, DEADLINE * 1_000);
  const { success, stdout, stderr } = await child.output();
  clearTimeout(timer);
  const seconds = (performance.now() - start) / 1_000;
  if (late) return { state: "failed", seconds, detail: `a hang: ${file} did not end within ${DEADLINE} s` };
  const cases = parse(await Deno.readTextFile(junit));
  const failed = cases.find(({ outcome }) => outcome === "failed");
  if (failed) return { state: "failed", seconds, detail: failed.name };
  if (success && cases.length > 0) return { state: "passed", seconds, detail: "" };
  const output = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  return {
    state: "broken",
    seconds,
    detail: cases.length === 0 ? `no test ran: ${output.slice(-1_000)}` : output.slice(-1_000),
  };
}

/** Returns a test file that runs these cases of the kit. */
function kitFile(kit: Kit, cases: RegExp): string {
  const imports = [
    'import { afterAll, beforeAll, describe } from "@std/testing/bdd";',
    'import { memory } from "../../src/providers/memory/provider.ts";',
    'import { redis } from "../../src/providers/redis/provider.ts";',
    'import { RedisServer } from "../support/redis_server.ts";',
    'import { CORE } from "../core/subjects.ts";',
    'import { casesOf } from "../../src/conformance/case_list.ts";',
    'import { conformance } from "../../src/conformance/mod.ts";',
    'import { register } from "./run.ts";',
    `const some = (cases) => cases.filter(({ name }) => ${cases}.test(name));`,
  ];
  const bodies: Record<Kit, string> = {
    memory: `
      const provider = memory();
      const harness = { provider: () => provider };
      register(some([...conformance(harness), ...casesOf(CORE, harness)]));`,
    redis: `
      let server;
      beforeAll(async () => server = await RedisServer.start());
      afterAll(() => server.stop());
      const cut = async () => {
        for (const type of ["normal", "pubsub"]) await server.run("client", "kill", "type", type);
      };
      register(some(conformance({ provider: () => redis({ port: server?.port }), faults: { cut } })));`,
  };
  return `${imports.join("\n")}\ndescribe("${kit}", () => {${bodies[kit]}});\n`;
}

function name(tests: Tests): string {
  return typeof tests === "string" ? tests : `the kit over ${tests.kit}`;
}

function verdict({ state, detail }: Outcome): string {
  if (state === "passed") return "SURVIVED";
  return state === "failed" ? `caught by ${detail}` : `BROKEN: ${detail}`;
}

function report(outcomes: readonly { readonly mutant: Mutant; readonly outcome: Outcome }[]): void {
  const width = Math.max(...outcomes.map(({ mutant }) => mutant.subject.length));
  console.log();
  for (const { mutant, outcome } of outcomes) {
    console.log(
      `${mutant.subject.padEnd(width)}  ${outcome.state === "failed" ? "caught  " : "SURVIVED"}  ${mutant.file}`,
    );
  }
  const caught = outcomes.filter(({ outcome }) => outcome.state === "failed").length;
  console.log(`\n${caught} caught, ${outcomes.length - caught} survived`);
  if (caught < outcomes.length) Deno.exitCode = 1;
}

await main();
