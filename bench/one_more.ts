/**
 * Measures a further bus of a process: the time until it is open and subscribed, its memory, and the time of 30 that open at once. Each
 * provider is measured in a process of its own.
 *
 * @module
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { Bus } from "../src/bus.ts";
import { memory } from "../src/providers/memory/provider.ts";
import { redis } from "../src/providers/redis/provider.ts";
import { aws } from "../src/providers/aws/provider.ts";
import type { Provider } from "../src/provider/provider.ts";
import { FauxqsServer } from "../tests/support/fauxqs_server.ts";
import { startRedis } from "./process.ts";

/** Further buses that open one after the other. */
const ONE_BY_ONE = 20;
/** Buses that open at once, in each round. */
const AT_ONCE = 30;
const ROUNDS = 5;

/** Each provider, made from the URL of its server. */
const PROVIDERS: Readonly<Record<string, (url: string) => Provider>> = {
  memory: () => memory(),
  redis: (url) => redis({ url }),
  aws: (endpoint) =>
    aws({ endpoint, region: "us-east-1", credentials: { accessKeyId: "test", secretAccessKey: "test" } }),
};

let last = 0;

async function open(provider: Provider): Promise<Bus> {
  const bus = await Bus.open(provider);
  await bus.subscribe(`topic-${++last}`, () => {}).ready;
  return bus;
}

async function took(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

function spread(values: readonly number[]): string {
  const sorted = values.toSorted((a, b) => a - b);
  return [sorted[0]!, sorted[sorted.length >> 1]!, sorted.at(-1)!].map((value) => value.toFixed(1)).join(" – ");
}

/** Prints the figures of one provider: least, middle and most. */
async function measure(name: string, url: string): Promise<void> {
  const provider = () => PROVIDERS[name]!(url);
  const first = await open(provider());
  const rest = await open(provider()); // loads what only a second bus loads
  const before = process.memoryUsage.rss();
  const buses: Bus[] = [];
  const each: number[] = [];
  while (buses.length < ONE_BY_ONE) each.push(await took(async () => void buses.push(await open(provider()))));
  const megabytes = (process.memoryUsage.rss() - before) / ONE_BY_ONE / 1e6;
  await Promise.all(buses.map((bus) => bus.close()));
  const rounds: number[] = [];
  while (rounds.length < ROUNDS) {
    const many: Bus[] = [];
    const all = () => Promise.all(Array.from({ length: AT_ONCE }, async () => many.push(await open(provider()))));
    rounds.push(await took(all));
    await Promise.all(many.map((bus) => bus.close()));
  }
  await Promise.all([first, rest].map((bus) => bus.close()));
  console.log(`| ${name} | ${spread(each)} | ${megabytes.toFixed(2)} | ${spread(rounds)} |`);
}

const [name, url] = process.argv.slice(2);
if (name !== undefined) {
  await measure(name, url!);
} else {
  const server = await startRedis();
  const emulator = await FauxqsServer.start();
  console.log(`| provider | one more, ms | MB | ${AT_ONCE} at once, ms |`);
  console.log("| --- | --: | --: | --: |");
  const urls = { memory: "", redis: `redis://127.0.0.1:${server.port}`, aws: emulator.endpoint };
  for (const [name, url] of Object.entries(urls)) {
    const runtime = "Deno" in globalThis ? ["run", "-A", "--quiet"] : ["run"];
    const file = fileURLToPath(import.meta.url);
    await once(spawn(process.execPath, [...runtime, file, name, url], { stdio: "inherit" }), "exit");
  }
  await server.stop();
  await emulator.stop();
}
