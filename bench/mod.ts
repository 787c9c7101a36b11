/**
 * The benchmark: the bus on its providers, beside raw clients, PyMQ and other libraries that do the same work in the same run.
 * See `docs/benchmarks.md`.
 *
 * @module
 */
import { cpus } from "node:os";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { noOwnQueues, ownQueues } from "../scripts/kernel_queues.ts";
import { FauxqsServer } from "../tests/support/fauxqs_server.ts";
import { aimsTable } from "./aims.ts";
import { fleets } from "./fleet.ts";
import { Load } from "./load.ts";
import {
  commandOf,
  output,
  type Runtime,
  type Server,
  startNats,
  startRedis,
  startSubject,
  versionOf,
} from "./process.ts";
import { curveOf, number, type Report, type Result, Samples, type Source, tableOf, toText } from "./report.ts";
import { CURVES, curves, grow, type Point } from "./scale.ts";
import { type Group, type System, SYSTEMS } from "./systems.ts";
import { type Bench, type Size, type Workload, WORKLOADS } from "./workloads.ts";
import { write } from "./write.ts";

/** The environment variable of a run that has kernel queues of its own. */
const OWN_QUEUES = "TSMQ_BENCH_OWN_QUEUES";
/** The parts that are not workloads of `workloads.ts`. */
const PARTS = ["fleet", "grow", "more", "scale", "wakes"];

const HELP = `deno task bench [options]

  --group name,name     of redis ipc nats memory (all)
  --system name,name    of ${[...new Set(SYSTEMS.map(({ name }) => name))].join(" ")} (all)
  --runtime deno|bun    for the sides in JavaScript (both)
  --only name,name      of ${WORKLOADS.map(({ name }) => name).join(" ")} (all), or of the parts ${PARTS.join(" ")}
  --rounds n            rounds that alternate between the systems (5)
  --quick               2 short rounds
  --json file           where the figures go too
  --write               docs/benchmarks.md, bench/report.json, bench/report.svg and the README's figures`;

const { values } = parseArgs({
  args: process.argv.slice(2),
  options: {
    group: { type: "string" },
    system: { type: "string" },
    runtime: { type: "string" },
    only: { type: "string" },
    rounds: { type: "string" },
    quick: { type: "boolean", default: false },
    json: { type: "string" },
    write: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

const full: Size = { rounds: 5, events: 60_000, items: 12_800, jobs: 8_000, calls: 800 };
const quick: Size = { rounds: 2, events: 20_000, items: 3_840, jobs: 2_000, calls: 200 };
const size = { ...(values.quick ? quick : full), ...(values.rounds && { rounds: Number(values.rounds) }) };

/** Whether an option, a list of names, allows a name. */
function wanted(option: string | undefined, name: string): boolean {
  return option === undefined || option.split(",").includes(name);
}

/** The systems that failed, and why. */
const failures: string[] = [];

/**
 * Runs the workloads of a group, each in rounds that alternate between all who do it, forwards and backwards. Kernel queues are
 * few for one user, so who uses them comes one after the other.
 */
async function measure(group: Group, url: string, load: Load, serverCpu: () => number): Promise<Result[]> {
  const samples = new Samples();
  const all = SYSTEMS.filter((one) => one.group === group && wanted(values.system, one.name)).flatMap((system) => {
    const runtimes = system.runtimes.filter((one) => !values.runtime || ["python", "c", values.runtime].includes(one));
    return runtimes.map((runtime) => ({ system, runtime }));
  });
  for (const together of group === "ipc" ? all.map((one) => [one]) : [all]) {
    const benches: Bench[] = [];
    try {
      for (const { system, runtime } of together) {
        await attempt(system, runtime, "startup", async () => {
          const bench = await start(system, runtime, url, load, serverCpu);
          benches.push(bench);
          if (runtime !== "c") samples.add("startup", sourceOf(bench), bench.subject.startup);
        });
      }
      for (const workload of WORKLOADS) {
        const able = benches.filter(({ system }) => system.does.includes(workload.name));
        if (wanted(values.only, workload.name)) await rounds(workload, able, samples);
      }
    } finally {
      await Promise.all(benches.flatMap(({ subject, partner }) => [subject, partner]).map((one) => one.stop()));
    }
  }
  return samples.results();
}

async function start(
  system: System,
  runtime: Runtime,
  url: string,
  load: Load,
  serverCpu: () => number,
): Promise<Bench> {
  const subject = await startSubject(runtime, system.side, system.group, url);
  // a workload in one process has no other side
  const alone = system.group === "memory" || runtime === "c";
  const partner = alone ? subject : await startSubject(runtime, system.side, system.group, url);
  return { system, runtime, id: `${system.side}:${runtime}`, subject, partner, load, serverCpu, size };
}

async function rounds(workload: Workload, benches: readonly Bench[], samples: Samples): Promise<void> {
  const given = new Map<Bench, Record<string, number>[]>();
  for (const bench of benches) {
    await attempt(bench.system, bench.runtime, workload.name, async () => {
      await workload.prepare?.(bench);
      if (!workload.once) await workload.run(bench); // warm-up
      given.set(bench, []);
    });
  }
  for (let round = 0; round < (workload.once ? 1 : size.rounds); round++) {
    for (const bench of round % 2 === 0 ? [...given.keys()] : [...given.keys()].reverse()) {
      const { system, runtime } = bench;
      const done = await attempt(system, runtime, workload.name, async () => {
        given.get(bench)!.push(await workload.run(bench));
      });
      if (!done) given.delete(bench);
    }
  }
  for (const [bench, rounds] of given) {
    for (const round of rounds) {
      for (const [metric, value] of Object.entries(round)) samples.add(metric, sourceOf(bench), value);
    }
  }
}

/** Runs one system. If it fails, the report says so and leaves it out; the others continue. */
async function attempt(
  { group, name }: System,
  runtime: Runtime,
  what: string,
  work: () => Promise<void>,
): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    failures.push(`${group}, ${name} on ${runtime}, ${what}: ${error instanceof Error ? error.message : error}`);
    return false;
  }
}

function sourceOf({ system, runtime }: Bench): Source {
  return { group: system.group, system: system.name, runtime };
}

/** Runs a program of this folder on a runtime, and reads the JSON of its last line. */
async function figuresOf<T>(runtime: Runtime, file: string, ...args: string[]): Promise<T> {
  const text = await output(...commandOf(runtime), fileURLToPath(new URL(file, import.meta.url)), ...args);
  return JSON.parse(text.trim().split("\n").at(-1)!) as T;
}

/** Measures a further bus of a process, on three transports. AWS is an emulator in a process of its own. */
async function measureMore(runtimes: readonly Runtime[], redisUrl: string, samples: Samples): Promise<void> {
  const emulator = await FauxqsServer.start();
  try {
    const urls = { redis: redisUrl, memory: "", aws: emulator.endpoint };
    for (const runtime of runtimes) {
      for (const [group, url] of Object.entries(urls) as [Group, string][]) {
        const figures = await figuresOf<Record<string, number[]>>(runtime, "one_more.ts", group, url);
        for (const [metric, values] of Object.entries(figures)) {
          for (const value of values) samples.add(metric, { group, system: "tsmq", runtime }, value);
        }
      }
    }
  } finally {
    await emulator.stop();
  }
}

/** Measures POSIX queues: `bench/ipc.ts`. */
async function measureWakes(runtimes: readonly Runtime[], samples: Samples): Promise<void> {
  for (const runtime of runtimes) {
    const figures = await figuresOf<Record<string, Record<string, number[]>>>(runtime, "ipc.ts", "3", "--json");
    for (const [metric, systems] of Object.entries(figures)) {
      for (const [system, values] of Object.entries(systems)) {
        for (const value of values) samples.add(metric, { group: "ipc", system, runtime }, value);
      }
    }
  }
}

async function machine(): Promise<string[]> {
  const cpu = `${cpus().length} × ${cpus()[0]?.model ?? "unknown"}`;
  return [cpu, ...await Promise.all(["deno", "bun", "redis-server", "nats-server", "python"].map(versionOf))];
}

async function main(): Promise<void> {
  if (values.help) return console.log(HELP);
  const begin = performance.now();
  const about = await machine();
  console.log(about.join("\n"));
  const redis = await startRedis();
  const nats = await startNats().catch((error) => void failures.push(`nats: ${error.message}`));
  const load = await Load.open(redis.port);
  const redisUrl = `redis://127.0.0.1:${redis.port}`;
  const urls: Partial<Record<Group, string>> = {
    redis: redisUrl,
    ipc: "ipc",
    ...nats && { nats: `127.0.0.1:${nats.port}` },
    memory: "memory",
  };
  const servers: Partial<Record<Group, Server>> = { redis, ...nats && { nats } };
  const results: Result[] = [];
  const points: Point[] = [];
  const runtimes = (["deno", "bun"] as const).filter((one) => wanted(values.runtime, one));
  const parts = async (name: string, work: (samples: Samples) => Promise<void>) => {
    if (!wanted(values.only, name)) return;
    const samples = new Samples();
    await work(samples).catch((error) =>
      void failures.push(`${name}: ${error instanceof Error ? error.message : error}`)
    );
    const measured = samples.results();
    console.log(`\n${name}, after ${number((performance.now() - begin) / 1_000)} s`);
    for (const group of new Set(measured.map(({ group }) => group))) {
      console.log(toText(tableOf(measured.filter((one) => one.group === group))));
    }
    results.push(...measured);
  };
  const onlyParts = values.only?.split(",").every((name) => PARTS.includes(name)) ?? false;
  try {
    for (const [group, url] of Object.entries(urls) as [Group, string][]) {
      if (!wanted(values.group, group) || onlyParts) continue;
      const measured = await measure(group, url, load, servers[group]?.cpu ?? (() => NaN));
      console.log(
        `\n${group}: the middle of ${size.rounds} rounds (and its ratio to the first), after ${
          number((performance.now() - begin) / 1_000)
        } s\n${toText(tableOf(measured))}`,
      );
      results.push(...measured);
    }
    if (wanted(values.group, "redis")) {
      await parts("fleet", async (samples) => {
        for (const runtime of runtimes) await fleets(runtime, redisUrl, size, samples);
      });
      await parts("grow", async (samples) => {
        for (const runtime of runtimes) await grow(runtime, redisUrl, size.rounds, samples);
      });
      await parts("more", (samples) => measureMore(runtimes, redisUrl, samples));
      if (wanted(values.only, "scale")) {
        points.push(...await curves((values.runtime ?? "deno") as Runtime, redisUrl, load));
        for (const curve of CURVES) console.log(`\n${toText(curveOf(points, curve))}`);
      }
    }
    if (wanted(values.group, "ipc")) await parts("wakes", (samples) => measureWakes(runtimes, samples));
  } finally {
    load.close();
    await Promise.all([redis.stop(), nats?.stop()]);
  }
  const judged = aimsTable(results);
  if (judged.length > 0) console.log(`\n${toText(judged)}`);
  const seconds = (performance.now() - begin) / 1_000;
  console.log(`\n${number(seconds)} s`);
  if (failures.length > 0) console.log(["", "Not measured:", ...failures].join("\n"));
  const date = new Date().toISOString();
  const report: Report = { date, machine: about, seconds, results, scale: points, failures };
  await write(report, { json: values.json, all: values.write });
}

/**
 * Runs the benchmark again in a process that has POSIX queues of its own, where that is allowed: with queues that other programs
 * left, a bus would take smaller ones. Resolves with the exit code; with undefined where it is not allowed, and says why.
 */
async function withOwnQueues(): Promise<number | undefined> {
  const reason = await noOwnQueues();
  if (reason !== undefined) return void console.log(`The kernel queues of other programs count here (${reason})`);
  const self = [...commandOf("deno"), "--no-lock", fileURLToPath(import.meta.url), ...process.argv.slice(2)];
  const [program, ...args] = ownQueues(self);
  return (await new Deno.Command(program!, { args, env: { [OWN_QUEUES]: "1" } }).spawn().status).code;
}

const code = values.help || process.env[OWN_QUEUES] ? undefined : await withOwnQueues();
if (code === undefined) await main();
else process.exitCode = code;
