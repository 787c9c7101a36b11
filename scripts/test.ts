/**
 * Runs the test files under Deno, under Bun, or under both, each in a process with a deadline, and counts the tests. Two files run at the same time for
 * each core, and more while cores are idle.
 *
 *     deno task test                        everything
 *     deno task test redis port/link        the files whose path contains one of these
 *     deno task test --bun ipc              under one runtime only
 *     deno task test --jobs=1               one file at a time, with live output
 *     deno task test --repeat=5 --load      each file five times, with one busy process for each core
 *     deno task test --report=report.json   also writes the outcome and the seconds of each test, and the CPU time of each run, as JSON
 *     deno task test --deadline=3600        the deadline of each file in seconds, in place of its own
 *
 * A comment in a test file sets how the file runs:
 *
 *     // run: quiet           it runs at the end, one file for each core, because it measures or is sensitive to load
 *     // run: quiet if all    the same with `TSMQ_TEST_ALL=1`, because it then keeps the cores busy for minutes, by many processes
 *     // run: waiting         it needs less than a fifth of a core, so it runs beside the others, from the beginning
 *     // run: kernel-queues   it uses POSIX message queues: it gets its own ones, or waits for the others that use them
 *     // run: deadline 600    its deadline in seconds
 *     // run: on bun          its subject hardly depends on the runtime: it runs under Bun only, unless files are named or `TSMQ_TEST_ALL=1`
 *
 * The last line is `N passed, N failed, N skipped`. A file that crashed, hung or had no test counts as failed.
 *
 * @module
 */
import { relative } from "node:path";
import { type Case, parse } from "./junit.ts";
import { noOwnQueues, ownQueues } from "./kernel_queues.ts";

/** The default deadline of a file under one runtime, in seconds. */
const DEADLINE = 180;
/** The number of runs that the report at the end lists as the longest. */
const LONGEST = 12;
/** The report at the end shows this many characters of each failure. */
const SHOWN = 3_000;
/** The limit of one test in seconds, for Bun, whose default of 5 is too short. The deadline of the file ends a test instead. */
const LONG = 3_600;
/** The number of files that run at the same time for each core, and the largest number while cores are idle. Tests mostly wait. */
const JOBS_PER_CORE = 2;
const MOST_PER_CORE = 4;
/** A further file starts when this share of the cores was idle during this time, in milliseconds. */
const IDLE = { share: 0.1, during: 1_000 };

/** The ticks of a second in which the system counts CPU time (USER_HZ). */
const TICKS = 100;

const ROOT = new URL("../", import.meta.url).pathname;

type Runtime = "deno" | "bun";

interface Run {
  readonly runtime: Runtime;
  readonly file: string;
  /** Whether it runs at the end, with few others. */
  readonly quiet: boolean;
  /** Whether it mostly waits, so that it runs beside the others. */
  readonly waiting: boolean;
  /** Whether it uses POSIX message queues. */
  readonly queues: boolean;
  readonly deadline: number;
}

interface Result {
  readonly run: Run;
  readonly seconds: number;
  /** The CPU time of the run and of the processes that it waited for, in seconds. Undefined if the system does not report it. */
  readonly cpu: number | undefined;
  readonly cases: Case[];
  /** Why the run failed as a whole, with the end of its output. */
  readonly fault?: string;
}

async function main(): Promise<void> {
  const { flags, filters } = read(Deno.args);
  const cores = navigator.hardwareConcurrency;
  const jobs = Number(flags.get("jobs") ?? JOBS_PER_CORE * cores);
  const runtimes = (["deno", "bun"] as const).filter((runtime) => flags.has(runtime));
  const planned = await plan(runtimes.length > 0 ? runtimes : ["deno", "bun"], filters);
  const deadline = flags.get("deadline");
  if (planned.length === 0) throw new Error(`Cannot test: no file in tests/ matches ${filters.join(" ")}`);
  const runs = Array.from(
    { length: Number(flags.get("repeat") ?? 1) },
    () => planned.map((run) => deadline ? { ...run, deadline: Number(deadline) } : { ...run }),
  )
    .flat();
  const spinners = flags.has("load") ? Array.from({ length: cores }, spin) : [];
  const start = performance.now();
  const idle = watchCores();
  const results: Result[] = [];
  const shared = runs.some(({ queues }) => queues) ? await noOwnQueues() : undefined;
  if (shared) {
    console.log(`Files that use POSIX message queues run one at a time: ${shared}`);
    runs.sort((a, b) => Number(b.queues) - Number(a.queues)); // they take longest
  }
  const own = shared === undefined;
  const finish = (result: Result) => {
    results.push(result);
    show(result, `${results.length}/${runs.length}`, jobs === 1);
  };
  try {
    const most = flags.has("jobs") ? jobs : MOST_PER_CORE * cores;
    const few = Math.min(jobs, cores);
    // without queues of its own, a file of the second lane would meet those of the first
    const beside = (run: Run) => !flags.has("jobs") && run.waiting && !(run.queues && !own);
    await Promise.all([
      together(runs.filter(beside), { jobs, most: jobs }, own, finish),
      (async () => {
        await together(runs.filter((run) => !run.quiet && !beside(run)), { jobs, most }, own, finish);
        await together(runs.filter(({ quiet }) => quiet), { jobs: few, most: few }, own, finish);
      })(),
    ]);
  } finally {
    for (const spinner of spinners) spinner.kill("SIGKILL");
  }
  const path = flags.get("report");
  if (path) await Deno.writeTextFile(path, JSON.stringify(results, undefined, 2));
  report(results, performance.now() - start, idle());
}

function read(args: readonly string[]): { flags: Map<string, string>; filters: string[] } {
  const flags = new Map<string, string>();
  for (const arg of args.filter((arg) => arg.startsWith("--"))) {
    const [name = "", value = ""] = arg.slice(2).split("=");
    if (!["deno", "bun", "jobs", "repeat", "load", "report", "deadline"].includes(name)) {
      throw new Error(`Cannot test: unknown option --${name}`);
    }
    flags.set(name, value);
  }
  return { flags, filters: args.filter((arg) => !arg.startsWith("--")) };
}

/** Keeps one core busy until it is killed, or this process has ended. */
function spin(): Deno.ChildProcess {
  const code = "const parent = Deno.ppid; while (Deno.ppid === parent);";
  return new Deno.Command(Deno.execPath(), { args: ["eval", code], stdin: "null" }).spawn();
}

/** Returns the runs of each file under these runtimes, the longest deadlines first. */
async function plan(runtimes: readonly Runtime[], filters: readonly string[]): Promise<Run[]> {
  const full = Deno.env.get("TSMQ_TEST_ALL") === "1";
  const all = runtimes.length === 1 || filters.length > 0 || full;
  const files = (await Array.fromAsync(walk(`${ROOT}tests`)))
    .filter((file) => filters.length === 0 || filters.some((filter) => file.includes(filter)))
    .sort();
  const wishes = await Promise.all(files.map(async (file) => {
    const text = await Deno.readTextFile(ROOT + file);
    const needs = [...text.matchAll(/^\/\/ run: (.*)$/gm)].map(([, need]) => need!).join(" ");
    return {
      file,
      quiet: (full ? /\bquiet\b/ : /\bquiet\b(?! if all)/).test(needs),
      waiting: /\bwaiting\b/.test(needs),
      queues: /\bkernel-queues\b/.test(needs),
      deadline: Number(/deadline (\d+)/.exec(needs)?.[1] ?? DEADLINE),
      only: all ? undefined : /\bon (deno|bun)\b/.exec(needs)?.[1],
    };
  }));
  wishes.sort((a, b) => b.deadline - a.deadline);
  return wishes.flatMap(({ only, ...wish }) =>
    runtimes.filter((runtime) => runtime === (only ?? runtime)).map((runtime) => ({ runtime, ...wish }))
  );
}

async function* walk(folder: string): AsyncGenerator<string> {
  for await (const entry of Deno.readDir(folder)) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory) yield* walk(path);
    else if (entry.name.endsWith("_test.ts")) yield relative(ROOT, path);
  }
}

/**
 * Returns a function that returns the share of the cores that was idle since its last result. It returns undefined if less than
 * `IDLE.during` has passed since then, or if the system does not report the share.
 */
function watchCores(): () => number | undefined {
  const read = () => {
    try {
      // user, nice, system, idle, waiting for a disk, … (proc_stat(5))
      const times = Deno.readTextFileSync("/proc/stat").split("\n", 1)[0]!.split(/ +/).slice(1).map(Number);
      return { at: performance.now(), idle: times[3]!, all: times.reduce((sum, time) => sum + time, 0) };
    } catch {
      return undefined;
    }
  };
  let last = read();
  return () => {
    if (!last || performance.now() - last.at < IDLE.during) return undefined;
    const now = read()!;
    const share = (now.idle - last.idle) / (now.all - last.all);
    last = now;
    return share;
  };
}

/**
 * Executes runs, up to `jobs` at the same time, and up to `most` while cores are idle. If files cannot have their own kernel queues, those
 * that use queues wait for one another.
 */
async function together(
  runs: readonly Run[],
  { jobs, most }: { jobs: number; most: number },
  own: boolean,
  finish: (result: Result) => void,
): Promise<void> {
  const waiting = [...runs];
  const under = new Map<Run, Promise<void>>();
  const idle = watchCores();
  while (waiting.length > 0 || under.size > 0) {
    const taken = !own && [...under.keys()].some(({ queues }) => queues);
    const next = waiting.findIndex(({ queues }) => !(queues && taken));
    const full = under.size >= jobs && (under.size >= most || !((idle() ?? 0) >= IDLE.share));
    if (next < 0 || full) {
      await Promise.race([...under.values(), new Promise((resolve) => setTimeout(resolve, IDLE.during))]);
      continue;
    }
    const [run] = waiting.splice(next, 1) as [Run];
    under.set(
      run,
      execute(run, own, most === 1).then((result) => {
        under.delete(run);
        finish(result);
      }),
    );
  }
}

async function execute(run: Run, own: boolean, live: boolean): Promise<Result> {
  const { runtime, file, queues, deadline } = run;
  const path = await Deno.makeTempFile({ prefix: "tsmq-junit-" });
  const test = runtime === "deno"
    // `deno task ok` checks the types.
    ? [Deno.execPath(), "test", "-A", "--no-check", "--no-prompt", `--junit-path=${path}`, file]
    : [`${ROOT}.cache/bin/bun`, "test", `--timeout=${LONG * 1_000}`, "--reporter=junit"]
      .concat(`--reporter-outfile=${path}`, `./${file}`);
  const [command, ...args] = queues && own ? ownQueues(test) : test;
  const start = performance.now();
  const child = new Deno.Command(command!, {
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
    child.kill("SIGKILL"); // tests/support/child.ts ends its child processes with it
  }, deadline * 1_000);
  const output = live ? [] : await Promise.all([collect(child.stdout), collect(child.stderr)]);
  const status = await child.status;
  clearTimeout(timer);
  const seconds = (performance.now() - start) / 1_000;
  const cpu = cpuOfEnded();
  const cases = late ? [] : parse(await Deno.readTextFile(path));
  await Deno.remove(path);
  const failed = cases.some(({ outcome }) => outcome === "failed");
  const end = indent(output.join("").trim().slice(-SHOWN));
  if (late) return { run, seconds, cpu, cases, fault: `did not end within ${deadline} s${end}` };
  if (!status.success && !failed) {
    return { run, seconds, cpu, cases, fault: `ended with ${status.signal ?? status.code}${end}` };
  }
  if (cases.length === 0) return { run, seconds, cpu, cases, fault: "has no test" };
  return { run, seconds, cpu, cases };
}

let reaped = childrenCpu();

/** Returns the CPU time of the child processes that have ended since its last call, in seconds: each end of a run is followed by one call. */
function cpuOfEnded(): number | undefined {
  const before = reaped;
  reaped = childrenCpu();
  return before === undefined || reaped === undefined ? undefined : (reaped - before) / TICKS;
}

/** Returns the CPU time of all child processes that this process has waited for, in ticks. */
function childrenCpu(): number | undefined {
  try {
    // after the name in parentheses: state, …; the 14th and 15th are user and system time (proc_pid_stat(5))
    const fields = Deno.readTextFileSync("/proc/self/stat").split(") ")[1]!.split(" ");
    return Number(fields[13]) + Number(fields[14]);
  } catch {
    return undefined;
  }
}

/** Returns the text as indented lines. */
function indent(text: string): string {
  return text && `\n${text}`.replaceAll("\n", "\n    ");
}

async function collect(stream: ReadableStream<Uint8Array>): Promise<string> {
  return await new Response(stream).text();
}

/** Prints the outcome of one run, and its failures. */
function show({ run, seconds, cpu, cases, fault }: Result, progress: string, live: boolean): void {
  const failed = cases.filter(({ outcome }) => outcome === "failed");
  const outcome = fault ? "FAILED" : failed.length > 0 ? `${failed.length} FAILED` : `${cases.length} ok`;
  const times = `${seconds.toFixed(1)} s${cpu === undefined ? "" : `, ${cpu.toFixed(1)} s of CPU`}`;
  console.log(`[${progress}] ${run.runtime} ${run.file}: ${outcome} (${times})`);
  if (live) return;
  for (const { name, failure = "" } of failed) console.log(`  ${name}${indent(failure.trim().slice(0, SHOWN))}`);
  if (fault) console.log(`  ${fault}`);
}

function report(results: readonly Result[], milliseconds: number, idle: number | undefined): void {
  const count = (outcome: Case["outcome"]) =>
    results.reduce((sum, { cases }) => sum + cases.filter((one) => one.outcome === outcome).length, 0);
  const faults = results.filter(({ fault }) => fault !== undefined);
  const lines = (outcome: Case["outcome"]) =>
    results.flatMap(({ run, cases }) =>
      cases.filter((one) => one.outcome === outcome).map(({ name, failure = "" }) =>
        `  ${run.runtime} ${run.file}: ${name}${indent(failure.trim().slice(0, SHOWN))}`
      )
    );
  const sum = results.reduce((sum, { seconds }) => sum + seconds, 0);
  const cpu = results.reduce((sum, { cpu = 0 }) => sum + cpu, 0);
  console.log(`\n── ${results.length} runs in ${(milliseconds / 1_000).toFixed(0)} s, ${sum.toFixed(0)} s one by one`);
  const share = idle === undefined ? "" : `, which were idle for ${(100 * idle).toFixed(0)} % of the time`;
  console.log(`   ${cpu.toFixed(0)} s of CPU on ${navigator.hardwareConcurrency} cores${share}`);
  const longest = results.toSorted((a, b) => b.seconds - a.seconds).slice(0, LONGEST).map(({ run, seconds }) =>
    `  ${seconds.toFixed(1).padStart(6)} s of ${run.deadline}: ${run.runtime} ${run.file}`
  );
  if (results.length > LONGEST) console.log(["Longest:", ...longest].join("\n"));
  if (count("skipped") > 0) console.log(["Skipped:", ...lines("skipped")].join("\n"));
  if (count("failed") > 0) console.log(["Failed:", ...lines("failed")].join("\n"));
  if (faults.length > 0) {
    const faultLines = faults.map(({ run, fault }) => `  ${run.runtime} ${run.file} ${fault}`);
    console.log(["Faults:", ...faultLines].join("\n"));
  }
  const failed = count("failed") + faults.length;
  console.log(`${count("passed")} passed, ${failed} failed, ${count("skipped")} skipped`);
  if (failed > 0) Deno.exitCode = 1;
}

await main();
