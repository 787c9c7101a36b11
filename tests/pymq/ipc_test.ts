// run: kernel-queues, deadline 300
import { describe } from "@std/testing/bdd";
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, rmSync } from "node:fs";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { makeDir } from "../support/child.ts";
import { itNeeds } from "../support/skip.ts";
import { missing, tool } from "../support/tools.ts";
import { suite, type Transport } from "./suite.ts";

const MQUEUE = new URL("mqueue.py", import.meta.url).pathname;

/** Returns the names of the kernel's queues, or why they cannot be listed. */
function queues(): string[] | string {
  const lacking = missing("python");
  if (lacking !== undefined) return lacking;
  const { status, stdout, stderr } = spawnSync(tool("python"), [MQUEUE], { encoding: "utf8" });
  return status === 0 ? stdout.split("\n") : stderr.trim();
}

/** Returns all files that are not directories. */
function files(path: string): string[] {
  if (!existsSync(path)) return [];
  return readdirSync(path, { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? files(`${path}/${entry.name}`) : [`${path}/${entry.name}`]
  );
}

/** Runs the suite with tsmq's files in this directory. */
function transport(directory: string): Transport {
  const places = [...new Set([directory, "/run/shm"])];
  const left = (namespace: string) => {
    const inTheKernel = [...queues()].filter((name) => name.includes(`_${namespace}_`));
    return Promise.resolve([...inTheKernel, ...places.flatMap((place) => files(`${place}/${namespace}`))]);
  };
  return {
    provider: () => ipc({ directory }),
    where: () => "ipc",
    left,
    lapsed: async (namespace) => !(await left(namespace)).some((name) => name.includes("__rpc_")),
    tidy: (namespace) => places.forEach((place) => rmSync(`${place}/${namespace}`, { recursive: true, force: true })),
  };
}

const found = queues();
const lacking = typeof found === "string" ? found : undefined;

describe("PyMQ and tsmq on one machine, over POSIX IPC", () => {
  for (const [name, run] of suite(transport("/dev/shm"))) itNeeds(lacking)(name, run);
});

describe("PyMQ and tsmq if /run/shm is not a link to /dev/shm", () => {
  const cases = suite(transport(makeDir("shm")));
  for (const name of cases.keys()) {
    if (!/same event|stub|killed/.test(name)) continue;
    itNeeds(lacking)(name, cases.get(name)!);
  }
});
