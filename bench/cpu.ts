/** The CPU time of one thread: `process.cpuUsage` would count the worker and the collector's helpers too. @module */
import { readFileSync } from "node:fs";

/** Milliseconds that the calling thread has run; NaN where the system does not tell (only Linux does). */
export function threadCpu(): number {
  try {
    const [ran] = readFileSync("/proc/thread-self/schedstat", "utf8").split(" ");
    return Number(ran) / 1e6;
  } catch {
    return NaN;
  }
}
