/** The CPU time of one thread, and of a process with its workers and the collector's helpers. @module */
import { readFileSync } from "node:fs";
import process from "node:process";

/** Milliseconds that the calling thread has run; NaN on systems other than Linux. */
export function threadCpu(): number {
  return ranOf("thread-self");
}

/** Milliseconds that the first thread of another process has run. */
export function cpuOf(pid: number): number {
  return ranOf(String(pid));
}

function ranOf(process: string): number {
  try {
    const [ran] = readFileSync(`/proc/${process}/schedstat`, "utf8").split(" ");
    return Number(ran) / 1e6;
  } catch {
    return NaN;
  }
}

/** Milliseconds that all threads of this process have run. */
export function processCpu(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}
