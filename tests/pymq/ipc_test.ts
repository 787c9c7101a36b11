// run: lane kernel-queues, because all that run share the bytes that one user may have in them
import { describe } from "@std/testing/bdd";
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, rmSync } from "node:fs";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { makeDir } from "../support/child.ts";
import { itNeeds } from "../support/skip.ts";
import { missing, tool } from "../support/tools.ts";
import { suite, type Transport } from "./suite.ts";

const MQUEUE = new URL("mqueue.py", import.meta.url).pathname;

/** The names of the kernel's queues; a text says why they cannot be had. */
function queues(): string[] | string {
  const lacking = missing("python");
  if (lacking !== undefined) return lacking;
  const { status, stdout, stderr } = spawnSync(tool("python"), [MQUEUE], { encoding: "utf8" });
  return status === 0 ? stdout.split("\n") : stderr.trim();
}

/** All that is no directory. */
function files(path: string): string[] {
  if (!existsSync(path)) return [];
  return readdirSync(path, { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? files(`${path}/${entry.name}`) : [`${path}/${entry.name}`]
  );
}

/** PyMQ and ours side by side, where ours has its directory there. */
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

describe("PyMQ and tsmq on one machine, by POSIX IPC", () => {
  for (const [name, run] of suite(transport("/dev/shm"))) itNeeds(lacking)(name, run);
});

describe("PyMQ and tsmq where PyMQ's /run/shm is another place than ours", () => {
  const cases = suite(transport(makeDir("shm")));
  for (const name of cases.keys()) {
    if (!/same event|stub|killed/.test(name)) continue;
    itNeeds(lacking)(name, cases.get(name)!);
  }
});
