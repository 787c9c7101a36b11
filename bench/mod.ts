/**
 * The benchmark: the bus against raw ioredis doing the same work in the same run. See `bench/README.md`.
 *
 * @module
 */
import { writeFile } from "node:fs/promises";
import { cpus } from "node:os";
import process from "node:process";
import { parseArgs } from "node:util";
import { Load } from "./load.ts";
import { type Runtime, startRedis, Subject, versionOf } from "./process.ts";
import { compare, type Comparison, table } from "./report.ts";
import { type Bench, betweenProcesses, insideProcess, type Size, type Workload } from "./workloads.ts";

const HELP = `deno task bench [options]

  --runtime deno|bun|both   what to measure on (both)
  --provider redis|memory|both                 (both)
  --only name,name          of received few many published looped queued called opened
  --rounds n                alternating rounds (7)
  --quick                   3 short rounds
  --json file               where the figures go too`;

const { values } = parseArgs({
  args: process.argv.slice(2),
  options: {
    runtime: { type: "string", default: "both" },
    provider: { type: "string", default: "both" },
    only: { type: "string" },
    rounds: { type: "string" },
    quick: { type: "boolean", default: false },
    json: { type: "string" },
    help: { type: "boolean", default: false },
  },
});

const full: Size = { rounds: 7, events: 200_000, items: 20_000, calls: 1_500 };
const quick: Size = { rounds: 3, events: 100_000, items: 8_000, calls: 500 };
const size = { ...(values.quick ? quick : full), ...(values.rounds && { rounds: Number(values.rounds) }) };

/** Runs every workload in alternating rounds: raw first, then ours first, so that no side always has the warmer machine. */
async function measure(runtime: Runtime, provider: string, url: string, load: Load): Promise<Comparison[]> {
  const subjects: Subject[] = [];
  const start = async (side: string) => {
    const subject = await Subject.start(runtime, side, url);
    subjects.push(subject);
    return subject;
  };
  try {
    const benches: Bench[] = [];
    for (const side of ["raw", provider]) benches.push({ side, subject: await start(side), load, size });
    const servers = new Map<string, Subject>();
    if (provider === "redis") { for (const { side } of benches) servers.set(side, await start(side)); }
    const workloads = provider === "redis" ? betweenProcesses((side) => servers.get(side)) : insideProcess();
    const comparisons = compare(runtime, provider, [benches.map(({ subject }) => ({ startup: subject.startup }))]);
    for (const workload of workloads) {
      if (values.only && !values.only.split(",").includes(workload.name)) continue;
      comparisons.push(...compare(runtime, provider, await rounds(workload, benches)));
    }
    return comparisons;
  } finally {
    await Promise.all(subjects.map((subject) => subject.stop()));
  }
}

async function rounds(workload: Workload, benches: Bench[]): Promise<Record<string, number>[][]> {
  for (const bench of benches) {
    await workload.prepare?.(bench);
    await workload.run(bench); // warms up
  }
  const results: Record<string, number>[][] = [];
  for (let round = 0; round < size.rounds; round++) {
    const result: Record<string, number>[] = [];
    for (const i of round % 2 === 0 ? [0, 1] : [1, 0]) result[i] = await workload.run(benches[i]!);
    results.push(result);
  }
  return results;
}

async function main(): Promise<void> {
  if (values.help) return console.log(HELP);
  const runtimes: Runtime[] = values.runtime === "both" ? ["deno", "bun"] : [values.runtime as Runtime];
  const providers = values.provider === "both" ? ["redis", "memory"] : [values.provider];
  const machine = {
    cpu: cpus()[0]?.model ?? "unknown",
    cores: cpus().length,
    redis: await versionOf("redis-server"),
    runtimes: await Promise.all(runtimes.map((runtime) => versionOf(runtime))),
  };
  console.log(`${machine.cores} × ${machine.cpu}\n${machine.redis}\n${machine.runtimes.join("; ")}`);
  const redis = await startRedis();
  const load = await Load.open(redis.port);
  const comparisons: Comparison[] = [];
  try {
    for (const runtime of runtimes) {
      for (const provider of providers) {
        const measured = await measure(runtime, provider, `redis://127.0.0.1:${redis.port}`, load);
        console.log(`\n${provider} on ${runtime}, ${size.rounds} rounds`);
        console.log(table(measured));
        comparisons.push(...measured);
      }
    }
  } finally {
    load.close();
    await redis.stop();
  }
  if (values.json) await writeFile(values.json, JSON.stringify({ machine, size, comparisons }, null, 2));
}

await main();
