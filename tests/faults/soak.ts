/**
 * Steady traffic on Redis for a number of minutes, with a fault every few seconds; what this process holds is printed each minute:
 *
 *     deno task test:faults --soak=30
 */
import { readdirSync } from "node:fs";
import process from "node:process";
import { here } from "../support/peer.ts";
import { Random, SEED } from "../support/random.ts";
import { pause, until } from "../support/until.ts";
import { redisFaults, RedisGround } from "./redis.ts";
import { rowsOf, table } from "./report.ts";
import { HANG, Traffic } from "./traffic.ts";

/** The factor by which messages are sent more slowly than in the scenarios. */
const PACE = 2;
/** Milliseconds between two faults. */
const BETWEEN = [2_000, 6_000] as const;
const MINUTE = 60_000;
/** The styles whose messages may be missed if a gap is reported: a worker that dies loses what it has received. */
const MISSES = ["events", "get"] as const;

interface Sample {
  readonly rss: number;
  readonly heap: number;
  readonly descriptors: number;
  /** Connections of one bus to the server. */
  readonly connections: number;
}

async function sample(ground: RedisGround, traffic: Traffic): Promise<Sample> {
  await until("the buses are up", () => traffic.buses.every((bus) => bus.health().state === "up"), HANG);
  await pause(500); // what was broken is closed
  (globalThis as { gc?: () => void }).gc?.();
  const { rss, heapUsed } = process.memoryUsage();
  return {
    rss: Math.round(rss / 2 ** 20),
    heap: Math.round(heapUsed / 2 ** 20),
    descriptors: readdirSync("/proc/self/fd").length,
    connections: await ground.connections() / traffic.buses.length,
  };
}

/** Returns the medians of the first and of the last third, to distinguish growth from noise. */
function compare(samples: readonly Sample[], name: keyof Sample): string {
  const middle = (some: readonly Sample[]) => some.map((one) => one[name]).sort((a, b) => a - b)[some.length >> 1]!;
  const third = Math.ceil(samples.length / 3);
  return `${name}: ${middle(samples.slice(0, third))} → ${middle(samples.slice(-third))} (most ${
    Math.max(...samples.map((one) => one[name]))
  })`;
}

const minutes = Number(process.argv[2] ?? 30);
const random = new Random(SEED);
const ground = await RedisGround.open();
const namespace = `soak-${crypto.randomUUID()}`;
const traffic = await Traffic.start({ provider: ground.provider(true), namespace, pace: PACE });
const start = performance.now();
const samples: Sample[] = [];
let injected = 0;
console.log(`Seed ${SEED}, ${minutes} minutes on ${here}`);
while (performance.now() - start < minutes * MINUTE) {
  await pause(random.int(...BETWEEN));
  const fault = random.pick(redisFaults);
  await fault.inject({ ground, traffic, namespace, random });
  injected++;
  const minute = (performance.now() - start) / MINUTE;
  if (minute < samples.length + 1 && minute < minutes) continue;
  const one = await sample(ground, traffic);
  samples.push(one);
  const { sent, failures } = traffic.tallies.events;
  console.log(
    `minute ${minute.toFixed(1)}: ${one.rss} MiB resident, ${one.heap} MiB heap, ${one.descriptors} descriptors, ` +
      `${one.connections} connections a bus; ${injected} faults, ${sent} events, ${failures} failed`,
  );
}
await traffic.settle(MISSES);
const about = { provider: ground.name, runtime: here, fault: "soak", injected };
const rows = rowsOf(about, traffic.tallies, (style) => traffic.forgives(style, MISSES));
console.log(table(rows));
console.log((["rss", "heap", "descriptors", "connections"] as const).map((name) => compare(samples, name)).join("\n"));
for (const [style, { wrong }] of Object.entries(traffic.tallies)) if (wrong.length > 0) console.log(style, wrong);
if (traffic.faults.length > 0) console.log("reported:", traffic.faults);
await traffic.close();
await ground[Symbol.asyncDispose]();
const bad = rows.some(({ lost, wrong, hung }) => lost + wrong + hung > 0) || samples.some((one) => one.connections > 4);
process.exit(bad || traffic.faults.length > 0 ? 1 : 0); // Bun would wait for the watchdog of the child processes
