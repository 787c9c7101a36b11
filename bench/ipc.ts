/**
 * Compares the bus over IPC with a C program over POSIX queues and with the bus over Redis, in one run:
 *
 *     deno run -A bench/ipc.ts [rounds] [--json]        bun bench/ipc.ts [rounds] [--json]
 *
 * Two processes, 100 bytes: a round trip to the other's handler and back, events one way, a call; and the round trip of what no
 * bus with a Worker can be faster than (`ipc_bare.ts`). Then what a process costs whose bus does nothing, with a subscription, a
 * waiting consumer and a function; against a process with a Worker that does nothing.
 *
 * @module
 */
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { Bus } from "../src/bus.ts";
import { providerFor } from "../cli/mod.ts";
import { launch, middle, startRedis } from "./process.ts";

const EVENTS = 500_000;
/** Warm-up events. C needs none. */
const WARM_UP = 200_000;
const WINDOW = 500;
/** A value of 100 bytes of JSON. */
const EVENT = "x".repeat(98);

interface Figures {
  /** Microseconds of a round trip to the handler and back. */
  readonly p50: number;
  /** Events a second, one way. */
  readonly rate?: number;
  /** Microseconds of a call. */
  readonly call?: number;
}

/** Runs the C program: `apart` on two cores, like the four threads of two buses; otherwise placed by the scheduler. */
function raw(program: string, apart: boolean): Figures & { rate: number } {
  return JSON.parse(execFileSync(program, ["20000", "500000", ...apart ? ["apart"] : []], { encoding: "utf8" }));
}

/** Milliseconds of CPU in a second. */
async function idle(what: string): Promise<number> {
  return Number((await launch("idle_side.ts", what, fresh())).line);
}

function fresh(): string {
  return `bench-${crypto.randomUUID().slice(0, 8)}`;
}

/** Measures bare Workers: no bus whose receive loop is in a Worker can be faster. */
async function bare(): Promise<Figures> {
  return { p50: Number((await launch("ipc_bare.ts")).line) };
}

async function measure(url: string): Promise<Figures & { rate: number }> {
  const namespace = fresh();
  const { other } = await launch("ipc_side.ts", url, namespace);
  const bus = await Bus.open(await providerFor(url), { namespace });
  let came = () => {};
  await bus.subscribe("pong", () => came()).ready;
  const p50 = await middle(async () => {
    const back = new Promise<void>((resolve) => came = resolve);
    await bus.publish(EVENT, "ping");
    await back;
  });
  const echo = bus.stub("echo");
  const call = await middle(() => echo(EVENT));

  let finished = () => {};
  await bus.subscribe("done", () => finished()).ready;
  const oneWay = async (events: number) => {
    await bus.stub("expect")(events);
    const done = new Promise<void>((resolve) => finished = resolve);
    const start = performance.now();
    for (let sent = 0; sent < events; sent += WINDOW) {
      await Promise.all(Array.from({ length: WINDOW }, () => bus.publish(EVENT, "one-way")));
    }
    await done;
    return events / (performance.now() - start) * 1_000;
  };
  await oneWay(WARM_UP);
  const rate = await oneWay(EVENTS);

  await bus.publish(0, "end");
  await once(other, "exit");
  await bus.close();
  return { p50, rate, call };
}

const rounds = Number(process.argv[2] ?? 3);
/** The last line is JSON, for `bench/mod.ts`: metric → system → figures. */
const json = process.argv.includes("--json");
const figures: Record<string, Record<string, number[]>> = { roundTrip: {}, oneWay: {}, idleBus: {} };
const keep = (metric: string, system: string, value: number) => (figures[metric]![system] ??= []).push(value);
const folder = mkdtempSync(join(tmpdir(), "tsmq-bench-"));
const program = join(folder, "raw_mq");
execFileSync("cc", ["-O2", "-o", program, fileURLToPath(new URL("raw_mq.c", import.meta.url)), "-lrt"]);
const redis = await startRedis();
try {
  const onRedis = `redis://127.0.0.1:${redis.port}`;
  const show = (value: number | undefined) => (value === undefined ? "" : value.toPrecision(4)).padStart(12);
  console.log(["", "round trip µs", "call µs", "events/s"].map((title) => title.padStart(14)).join(""));
  for (let round = 0; round < rounds; round++) {
    const [c, apart] = [raw(program, false), raw(program, true)];
    const sides = {
      C: c,
      "C, two cores": apart,
      "Workers, bare": await bare(),
      ipc: await measure("ipc:"),
      redis: await measure(onRedis),
    };
    for (const [name, { p50, call, rate }] of Object.entries<Figures>(sides)) {
      console.log(name.padStart(14), show(p50), show(call), show(rate));
    }
    const { p50, rate } = sides.ipc;
    for (const [system, side] of Object.entries({ C: c, "bare Workers": sides["Workers, bare"], tsmq: sides.ipc })) {
      keep("roundTrip", system, side.p50);
      if ("rate" in side) keep("oneWay", system, side.rate!);
    }
    for (const [name, side] of Object.entries({ C: c, "C on two cores": apart })) {
      console.log(
        `ipc to ${name}: round trip ${(p50 / side.p50).toFixed(2)} ×, events ${(rate / side.rate).toFixed(2)} ×`,
      );
    }
    const [floor, least] = [sides["Workers, bare"].p50, sides["Workers, bare"].p50 / apart.p50];
    console.log(`ipc to bare Workers: round trip ${(p50 / floor).toFixed(2)} ×; these to C: ${least.toFixed(2)} ×`);
    // they are idle, so they do not disturb one another
    const [worker, ipc, redis] = await Promise.all([idle("worker"), idle("ipc:"), idle(onRedis)]);
    keep("idleBus", "a Worker, no bus", worker);
    keep("idleBus", "tsmq", ipc);
    console.log(`idle, ms of CPU a second: a Worker${show(worker)}, ipc${show(ipc)}, redis${show(redis)}`);
  }
  if (json) console.log(JSON.stringify(figures));
} finally {
  await redis.stop();
  rmSync(folder, { recursive: true });
}
