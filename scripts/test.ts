/**
 * Runs each test file under Deno and under Bun, in a process of its own that has a deadline, and counts:
 *
 *     deno task test                   everything
 *     deno task test redis port/link   the files whose path contains one of these
 *     deno task test --bun ipc         under one runtime only
 *     deno task test --jobs=1          one file at a time, its output as it comes
 *
 * A file may say in a line of its own what it needs of the run: `// run: alone` (nothing beside it, because it measures
 * or because it needs what the machine has only once), `// run: deadline 600` (seconds).
 *
 * The last line is `N passed, N failed, N skipped`. A file that crashed, hung or had no test counts as failed.
 *
 * @module
 */
import { relative } from "node:path";
import { type Case, parse } from "./junit.ts";

/** Seconds that one file may take under one runtime, if it does not say itself. */
const DEADLINE = 180;
/** Characters that the report at the end shows of each failure; all of it stands where the file's run is. */
const SHOWN = 3_000;
/** Seconds that one test may take where the runner has a limit of its own (Bun: 5), which shall not be what ends it. */
const LONG = 3_600;

const ROOT = new URL("../", import.meta.url).pathname;

type Runtime = "deno" | "bun";

interface Run {
  readonly runtime: Runtime;
  readonly file: string;
  readonly alone: boolean;
  readonly deadline: number;
}

interface Result {
  readonly run: Run;
  readonly cases: Case[];
  /** What went wrong beside single tests, with the end of what was printed. */
  readonly fault?: string;
}

async function main(): Promise<void> {
  const flags = Deno.args.filter((arg) => arg.startsWith("--"));
  const filters = Deno.args.filter((arg) => !arg.startsWith("--"));
  const jobs = Number(flags.find((flag) => flag.startsWith("--jobs="))?.slice(7) ?? navigator.hardwareConcurrency);
  const runtimes = (["deno", "bun"] as const).filter((runtime) => flags.includes(`--${runtime}`));
  const runs = await plan(runtimes.length > 0 ? runtimes : ["deno", "bun"], filters);
  if (runs.length === 0) throw new Error(`Cannot test: no file in tests/ matches ${filters.join(" ")}`);

  const start = performance.now();
  const results: Result[] = [];
  const together = runs.filter((run) => !run.alone);
  const worker = async () => {
    for (let run; (run = together.shift());) results.push(await execute(run, jobs === 1));
  };
  await Promise.all(Array.from({ length: jobs }, worker));
  for (const run of runs.filter((run) => run.alone)) results.push(await execute(run, true));
  report(results, performance.now() - start);
}

/** All files, those of one runtime first; with two jobs the runtimes then go side by side. */
async function plan(runtimes: readonly Runtime[], filters: readonly string[]): Promise<Run[]> {
  const files = (await Array.fromAsync(walk(`${ROOT}tests`)))
    .filter((file) => filters.length === 0 || filters.some((filter) => file.includes(filter)))
    .sort();
  const wishes = await Promise.all(files.map(async (file) => {
    const text = await Deno.readTextFile(ROOT + file);
    const said = [...text.matchAll(/^\/\/ run: (.*)$/gm)].map(([, wish]) => wish!).join(" ");
    return { file, alone: /\balone\b/.test(said), deadline: Number(/deadline (\d+)/.exec(said)?.[1] ?? DEADLINE) };
  }));
  // Interleaved, so that both runtimes are at work at any time.
  return wishes.flatMap((wish) => runtimes.map((runtime) => ({ runtime, ...wish })));
}

async function* walk(folder: string): AsyncGenerator<string> {
  for await (const entry of Deno.readDir(folder)) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory) yield* walk(path);
    else if (entry.name.endsWith("_test.ts")) yield relative(ROOT, path);
  }
}

async function execute(run: Run, live: boolean): Promise<Result> {
  const { runtime, file, deadline } = run;
  const path = await Deno.makeTempFile({ prefix: "tsmq-junit-" });
  const [command, args] = runtime === "deno"
    // `deno task ok` checks the types.
    ? [Deno.execPath(), ["test", "-A", "--no-check", "--no-prompt", `--junit-path=${path}`, file]]
    : [
      `${ROOT}.cache/bin/bun`,
      ["test", `--timeout=${LONG * 1_000}`, "--reporter=junit", `--reporter-outfile=${path}`, `./${file}`],
    ];
  const title = `── ${runtime} ${file}`;
  if (live) console.log(title);
  const start = performance.now();
  const child = new Deno.Command(command, {
    args,
    cwd: ROOT,
    stdin: "null",
    stdout: live ? "inherit" : "piped",
    stderr: live ? "inherit" : "piped",
    env: { PATH: `${ROOT}.cache/bin:${Deno.env.get("PATH") ?? ""}` },
  }).spawn();
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    child.kill("SIGKILL"); // what it had started ends with it: tests/support/child.ts
  }, deadline * 1_000);
  const output = live ? [] : await Promise.all([collect(child.stdout), collect(child.stderr)]);
  const status = await child.status;
  clearTimeout(timer);
  const seconds = ((performance.now() - start) / 1_000).toFixed(1);
  if (!live) console.log([`${title} (${seconds} s)`, ...output.map((text) => text.trim())].filter(Boolean).join("\n"));

  const cases = late ? [] : parse(await Deno.readTextFile(path));
  await Deno.remove(path);
  const failed = cases.some(({ outcome }) => outcome === "failed");
  const end = indent(output.join("").trim().slice(-SHOWN));
  if (late) return { run, cases, fault: `did not end within ${deadline} s${end}` };
  if (!status.success && !failed) return { run, cases, fault: `ended with ${status.signal ?? status.code}${end}` };
  if (cases.length === 0) return { run, cases, fault: "has no test" };
  return { run, cases };
}

/** The text on lines of its own below another. */
function indent(text: string): string {
  return text && `\n${text}`.replaceAll("\n", "\n    ");
}

async function collect(stream: ReadableStream<Uint8Array>): Promise<string> {
  return await new Response(stream).text();
}

function report(results: readonly Result[], milliseconds: number): void {
  const count = (outcome: Case["outcome"]) =>
    results.reduce((sum, { cases }) => sum + cases.filter((one) => one.outcome === outcome).length, 0);
  const faults = results.filter(({ fault }) => fault !== undefined);
  const lines = (outcome: Case["outcome"]) =>
    results.flatMap(({ run, cases }) =>
      cases.filter((one) => one.outcome === outcome).map(({ name, failure = "" }) =>
        `  ${run.runtime} ${run.file}: ${name}${indent(failure.trim().slice(0, SHOWN))}`
      )
    );
  console.log(`\n── ${results.length} runs in ${(milliseconds / 1_000).toFixed(0)} s`);
  if (count("skipped") > 0) console.log(["Skipped:", ...lines("skipped")].join("\n"));
  if (count("failed") > 0) console.log(["Failed:", ...lines("failed")].join("\n"));
  if (faults.length > 0) {
    const said = faults.map(({ run, fault }) => `  ${run.runtime} ${run.file} ${fault}`);
    console.log(["Faults:", ...said].join("\n"));
  }
  const failed = count("failed") + faults.length;
  console.log(`${count("passed")} passed, ${failed} failed, ${count("skipped")} skipped`);
  if (failed > 0) Deno.exitCode = 1;
}

await main();
