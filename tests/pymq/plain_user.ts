/**
 * Calls a function of PyMQ's server 200 times at once. Prints the failed calls, the rights of both processes, and what this process sees in
 * `/dev/mqueue`. Argument: the namespace.
 */
import { assertEquals } from "@std/assert";
import { readdirSync, readFileSync } from "node:fs";
import process from "node:process";
import { Bus } from "../../src/bus.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { until } from "../support/until.ts";

/** The effective user, the capabilities and the limit for queues of the process whose files in `/proc` these are. */
function rights(status: string, limits: string) {
  return {
    effectiveUser: /^Uid:\t\d+\t(\d+)/m.exec(status)?.[1],
    capabilities: /^CapEff:\t(.*)$/m.exec(status)?.[1],
    limits: /^Max msgqueue size +(\d+ +\d+)/m.exec(limits)?.[1]?.replace(/ +/, " "),
  };
}

const [namespace] = process.argv.slice(2) as [string];
const bus = await Bus.open(ipc(), { namespace });
const add = bus.stub<(a: number, b: number) => number>("add", { timeout: 60_000 });
const read = bus.stub<(path: string) => string>("read");
await until("PyMQ serves", () => read("/dev/null").then(() => true, () => false));
const failed: string[] = [];
await Promise.all(Array.from({ length: 200 }, async (_, i) => {
  await add(i, 1).then((sum) => assertEquals(sum, i + 1)).catch((error) => failed.push(`${i}: ${error}`));
}));
const [status, limits] = ["/proc/self/status", "/proc/self/limits"] as const;
const caller = rights(readFileSync(status, "utf8"), readFileSync(limits, "utf8"));
const server = rights(await read(status), await read(limits));
const mqueue = readdirSync("/dev/mqueue");
await bus.close();
console.log(JSON.stringify({ failed, caller, server, mqueue }));
