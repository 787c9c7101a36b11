/**
 * Buses inside workers, in Deno and in Bun. Each thread has its own bus; the transport connects them.
 *
 *     deno task install && deno run -A examples/workers.ts [url]
 *
 * The main thread hands out numbers; four workers, `prime_worker.ts`, check them for primes.
 *
 * @module
 */
import process from "node:process";
import { providerFor } from "../cli/mod.ts";
import { Bus } from "../mod.ts";
import type { Start } from "./prime_worker.ts";
import { ownTransport } from "./providers.ts";

const WORKERS = 4;

const [given] = process.argv.slice(2);
await using transport = given === undefined ? await ownTransport() : undefined;
const url = given ?? transport!.url;
const namespace = `primes-${crypto.randomUUID()}`;
await using bus = await Bus.open(await providerFor(url), { namespace });

const workers = Array.from(
  { length: WORKERS },
  () => new Worker(new URL("prime_worker.ts", import.meta.url), { type: "module" }),
);
await Promise.all(workers.map((worker) => {
  const serves = received(worker, "serves");
  worker.postMessage({ url, namespace } satisfies Start);
  return serves;
}));

const numbers = Array.from({ length: 20 }, (_, i) => 10_000_000_000 + i);
const check = bus.stub<(n: number) => boolean>("isPrime");
const answers = await Promise.all(numbers.map((n) => check(n)));
console.log(`primes: ${numbers.filter((_, i) => answers[i]).join(", ")}, found by ${WORKERS} workers`);

const closed = workers.map((worker) => received(worker, "closed"));
await bus.publish({}, "done");
await Promise.all(closed);
for (const worker of workers) worker.terminate();

function received(worker: Worker, text: string): Promise<void> {
  return new Promise((resolve) => worker.addEventListener("message", ({ data }) => data === text && resolve()));
}
