/** Opens and closes the default bus many times in one process, and reports the resources of the process. Then the process ends by itself. */
import { readdirSync, readFileSync } from "node:fs";
import process from "node:process";
import { say } from "../support/peer_side.ts";
import { live } from "./inside.ts";

/** The resources of a process. */
export interface Held {
  readonly descriptors: number;
  readonly threads: number;
  /** Bytes of JavaScript's heap, after a collection. */
  readonly heap: number;
  /** The memory in bytes, including that of ended workers. */
  readonly memory: number;
}

const [lives, every, namespace, url] = process.argv.slice(2) as [string, string, string, string?];

async function held(): Promise<Held> {
  // a released resource may end a moment later
  await new Promise((resolve) => setTimeout(resolve, 300));
  const { gc, Bun } = globalThis as { gc?: () => void; Bun?: { gc(sync: boolean): void } };
  gc?.();
  Bun?.gc(true);
  return {
    descriptors: readdirSync("/proc/self/fd").length,
    threads: Number(/^Threads:\s+(\d+)/m.exec(readFileSync("/proc/self/status", "utf8"))![1]),
    heap: process.memoryUsage().heapUsed,
    memory: process.memoryUsage().rss,
  };
}

for (let n = 1; n <= Number(lives); n++) {
  await live({ namespace, url, depth: 0, accompanied: false });
  if (n % Number(every) === 0) say(await held());
}
