// run: on bun, kernel-queues, waiting, deadline 300
import { afterAll, beforeAll, describe } from "@std/testing/bdd";
import { existsSync, readdirSync, rmSync } from "node:fs";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { keepWorkers, KEPT } from "../ipc/kept_workers.ts";
import { makeDir } from "../support/child.ts";
import { Peer } from "../support/peer.ts";
import { ALL } from "../support/share.ts";
import { itNeeds } from "../support/skip.ts";
import { missing } from "../support/tools.ts";
import { suite, type Transport } from "./suite.ts";

/** A process that sees the kernel's queues. A new one for each look would take more CPU than the tests: some of them look until it is done. */
const lister = missing("python") ? undefined : Peer.start<string[]>(new URL("mqueue.py", import.meta.url));

/** Returns the names of the kernel's queues. */
function queues(): Promise<string[]> {
  return lister!.ask(null);
}

const lacking = missing("python") ?? await queues().then(() => undefined, String);

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
  const left = async (namespace: string) => {
    const inTheKernel = (await queues()).filter((name) => name.includes(`_${namespace}_`));
    return [...inTheKernel, ...places.flatMap((place) => files(`${place}/${namespace}`))];
  };
  return {
    // a case that waits until nothing is left opens one bus after another
    provider: () => ipc({ directory, ...!ALL && { worker: KEPT } }),
    where: () => "ipc",
    left,
    lapsed: async (namespace) => !(await left(namespace)).some((name) => name.includes("__rpc_")),
    tidy: (namespace) => places.forEach((place) => rmSync(`${place}/${namespace}`, { recursive: true, force: true })),
  };
}

let endWorkers: (() => void) | undefined;
beforeAll(() => void (endWorkers = keepWorkers()));
afterAll(() => endWorkers?.());

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
