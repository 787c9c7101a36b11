/** A peer that serves a long stream, reads one slowly, or does both over memory. It reports how much its memory grew. */
import process from "node:process";
import { Bus, memory } from "../../mod.ts";
import { redis } from "../../src/providers/redis/provider.ts";
import { say } from "../support/peer_side.ts";
import { pause } from "../support/until.ts";

const [role, url, namespace, all] = process.argv.slice(2) as [string, string, string, string];
const COUNT = Number(all);
/** The reader pauses after this number of values. */
const EACH = 100;
const { Bun, gc } = globalThis as { Bun?: { gc(now: boolean): void }; gc?: () => void };

/** The growth of the memory of this process since the first tenth of the values. */
class Growth {
  #first: NodeJS.MemoryUsage | undefined;
  heap = 0;
  rss = 0;

  /** Measures the memory after a garbage collection, at each tenth of the values. */
  at(n: number): void {
    if (n === 0 || n % (COUNT / 10) !== 0) return;
    if (Bun) Bun.gc(true);
    else gc!();
    const now = process.memoryUsage();
    this.#first ??= now;
    this.heap = Math.max(this.heap, now.heapUsed - this.#first.heapUsed);
    this.rss = Math.max(this.rss, now.rss - this.#first.rss);
  }
}

/** The value with this number: 100 characters. */
const valueAt = (n: number): string => String(n).padStart(100, "x");

const bus = await Bus.open(role === "both" ? memory() : redis({ url }), { namespace });
let made = 0;
if (role !== "reader") {
  const growth = new Growth();
  await bus.expose("values", async function* () {
    for (; made < COUNT; made++) {
      growth.at(made);
      yield valueAt(made);
    }
    if (role === "server") say({ made, heap: growth.heap, rss: growth.rss });
  });
  if (role === "server") say("ready");
}
if (role !== "server") {
  const growth = new Growth();
  let [seen, wrong, ahead] = [0, 0, 0];
  const start = performance.now();
  for await (const value of bus.stream<() => AsyncIterable<string>>("values")()) {
    if (value !== valueAt(seen)) wrong++;
    ahead = Math.max(ahead, made - seen);
    growth.at(++seen);
    if (seen % EACH === 0) await pause(1);
  }
  const seconds = Math.round((performance.now() - start) / 100) / 10;
  say({ seen, wrong, ahead, heap: growth.heap, rss: growth.rss, seconds });
  await bus.close();
}
