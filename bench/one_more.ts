/**
 * Measures a further bus of a process: the time until it is open and subscribed, its memory, and the time of 30 buses that open at once.
 * `bench/mod.ts` starts it, once for each provider:
 *
 *     deno run -A bench/one_more.ts redis redis://localhost
 *
 * @module
 */
import process from "node:process";
import { Bus } from "../src/bus.ts";
import { memory } from "../src/providers/memory/provider.ts";
import { redis } from "../src/providers/redis/provider.ts";
import { aws } from "../src/providers/aws/provider.ts";
import type { Provider } from "../src/provider/provider.ts";

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

/** Prints the figures of one provider as JSON. */
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
  console.log(JSON.stringify({ further: each, furtherMemory: [megabytes], further30: rounds }));
}

const [name, url] = process.argv.slice(2) as [string, string];
await measure(name, url);
process.exit();
