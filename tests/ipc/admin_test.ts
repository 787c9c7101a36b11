/** The lists of an admin when a member of the group has written what they contain. */
// run: on deno, kernel-queues
import { assert, assertEquals, assertMatch } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import type { Admin } from "../../src/provider/admin.ts";
import { MAX_LISTED } from "../../src/provider/listing.ts";
import { hashed } from "../../src/providers/ipc/names.ts";
import { MQUEUE } from "../../src/providers/ipc/mqueues.ts";
import type { Namespace } from "../../src/providers/ipc/namespace.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { PART } from "../../src/providers/ipc/walk.ts";
import { Child } from "../support/child.ts";
import { skip } from "../support/skip.ts";
import { Stretches } from "../support/spy.ts";
import { warnings } from "../support/warnings.ts";
import { become, fresh, HandmadeBus, noOtherUser } from "./ground.ts";

/** Runs with the admin of a namespace, whose files it removes. Returns the warnings. */
async function inspected(run: (admin: Admin, internals: Namespace, root: string) => Promise<void>): Promise<string[]> {
  const namespace = fresh();
  const bus = await HandmadeBus.open(namespace);
  const { root } = bus.internals.directories;
  const admin = await ipc().admin!.open(namespace);
  try {
    const written = await warnings(() => run(admin, bus.internals, root));
    return written.map((text) => text.replace(namespace, "…"));
  } finally {
    await admin.close();
    bus.internals.queues.close();
    bus.internals.directories.close();
    rmSync(root, { recursive: true });
  }
}

describe("an IPC admin", () => {
  it("lists a limited number of groups, topics, patterns, functions and buses, with a warning that there are more", async () => {
    const told = await inspected(async (admin, { names, processes }, root) => {
      const bus = names.newBus(processes.self, 0);
      for (const directory of ["patterns", "subscribers", "servers"]) mkdirSync(`${root}/${directory}`);
      for (let i = 0; i <= MAX_LISTED; i++) {
        writeFileSync(`${root}/patterns/group~${i}`, `=t${i}\0t${i}@g`);
        writeFileSync(`${root}/patterns/${bus}~${i}`, `p${i}*`);
        mkdirSync(`${root}/subscribers/t${i}`);
        symlinkSync("x", `${root}/subscribers/t${i}/${bus}`);
        mkdirSync(`${root}/servers/${hashed(`f${i}`)}`);
        mkdirSync(`${root}/loops/${names.newBus(processes.self, 0)}`);
      }
      assertEquals((await admin.groups())!.length, MAX_LISTED);
      const topics = (await admin.topics())!;
      assertEquals(topics.filter(({ pattern }) => pattern).length, MAX_LISTED);
      assertEquals(topics.filter(({ pattern }) => !pattern).length, MAX_LISTED);
      await admin.functions();
      assertEquals((await admin.buses())!.length, MAX_LISTED);
    });
    assertEquals(
      told,
      ["groups", "patterns", "topics", "functions", "buses"].map((things) =>
        `There are more than ${MAX_LISTED} ${things} in the namespace …: the others are not listed or counted`
      ),
    );
  });

  it("looks for dead buses, and removes them, in parts, and lists a limited number of them", async () => {
    const stretches = new Stretches();
    const told = await inspected(async (admin, { names, posix, processes }, root) => {
      for (let i = 0; i <= MAX_LISTED; i++) {
        mkdirSync(`${root}/loops/${names.newBus({ ...processes.self, pid: 5_000_000 + i }, 0)}`); // above every pid
      }
      const { openFile, unlinkQueue } = posix;
      posix.openFile = (...args) => (stretches.count(), openFile.apply(posix, args));
      posix.unlinkQueue = (...args) => (stretches.count(), unlinkQueue.apply(posix, args));
      try {
        const listed = (await admin.leftovers!()).length; // the living bus of the test may be among them
        assert(listed === MAX_LISTED || listed === MAX_LISTED - 1, `${listed} listed`);
        assertEquals((await Array.fromAsync(admin.reap!())).length, MAX_LISTED + 1);
        assertEquals(await admin.leftovers!(), []);
      } finally {
        Object.assign(posix, { openFile, unlinkQueue });
      }
    });
    assertEquals(told, [
      `There are more than ${MAX_LISTED} buses in the namespace …: the others are not listed or counted`,
    ]);
    // a step opens the state of a process, or removes two queues of a dead bus with what it had
    assert(stretches.most <= 3 * PART, `${stretches.most} calls without a pause`);
  });

  it("lists the queues that processes have open, in parts, if an empty directory is in the place of the kernel's queues", async () => {
    await inspected(async (admin, { names, posix, queues }) => {
      const [queue, descriptors] = [
        names.queue("jobs"),
        Array.from({ length: PART + 100 }, () => openSync("/dev/null", "r")),
      ];
      const { descriptor } = queues.hold(queues.use(queue, [{ messages: 1, size: 128 }])!);
      assertEquals(posix.send(descriptor, new Uint8Array(1), 1), 0);
      const stretches = new Stretches();
      const { readLink, stat } = posix;
      posix.stat = (...args) => stat.apply(posix, args[0] === MQUEUE ? ["/dev"] : args);
      posix.readLink = (...args) => (stretches.count(), readLink.apply(posix, args));
      try {
        assertEquals(await admin.queues(), [{ name: "jobs", waiting: 1, leased: 0, delayed: 0 }]);
      } finally {
        Object.assign(posix, { readLink, stat });
        for (const each of descriptors) closeSync(each);
        posix.unlinkQueue(queue);
      }
      assert(stretches.most <= PART, `${stretches.most} calls without a pause`);
    });
  });

  it("lists topics, patterns, groups, functions and buses in parts", async () => {
    const count = 3_000;
    await inspected(async (admin, { names, posix, processes }, root) => {
      const someBus = () => names.newBus({ ...processes.self, pid: 1 + Math.floor(4e6 * Math.random()) }, 0);
      const bus = names.newBus(processes.self, 0);
      for (const directory of ["patterns", "subscribers", "subscribers/all", "servers"]) {
        mkdirSync(`${root}/${directory}`);
      }
      for (let i = 0; i < count; i++) {
        writeFileSync(`${root}/patterns/group~${i}`, `=t${i}\0t${i}@g`);
        writeFileSync(`${root}/patterns/${bus}~${i}`, `p${i}*`);
        symlinkSync("x", `${root}/subscribers/all/${someBus()}`);
        const directory = `${root}/servers/${hashed(`f${i}`)}`;
        mkdirSync(directory);
        symlinkSync(`f${i}`, `${directory}/${someBus()}`);
        symlinkSync(`f${i}`, `${directory}/${bus}`);
        mkdirSync(`${root}/loops/${someBus()}`);
        mkdirSync(`${root}/loops/${names.newBus(processes.self, 0)}`);
      }
      const lists = [() => admin.topics(), () => admin.functions(), () => admin.groups(), () => admin.buses()];
      for (const list of [...lists, () => admin.inboxes()]) {
        const stretches = new Stretches();
        const methods = posix as unknown as Record<string, (...args: unknown[]) => unknown>;
        const real = { openFile: methods.openFile!, readLinkBytes: methods.readLinkBytes!, stat: methods.stat! };
        for (const [name, call] of Object.entries(real)) {
          methods[name] = (...args) => (stretches.count(), call.apply(posix, args));
        }
        try {
          await list();
        } finally {
          Object.assign(posix, real);
        }
        assert(stretches.most <= 4 * PART, `${stretches.most} calls without a pause in ${list}`);
      }
    });
  });

  it("reads a limited number of servers of all functions", async () => {
    const told = await inspected(async (admin, { bodyFiles, names, processes }, root) => {
      for (let i = 0; i < 21; i++) {
        const directory = names.servers(`f${i}`);
        bodyFiles.writeLink(directory, names.newBus(processes.self, 0), new TextEncoder().encode(`f${i}`));
        for (let j = 0; j < 5_000; j++) symlinkSync("x", `${root}/${directory}/${j}`);
      }
      const functions = (await admin.functions())!;
      assert(functions.length > 10 && functions.every(({ servers }) => servers.length === 1), `${functions.length}`);
    });
    assertEquals(told.length, 1);
    assertMatch(told[0]!, /^There are more than 100000 servers of functions in the namespace …/);
  });

  it("shows the program of a process only if it has the user of the bus, and the pid namespace of this process", async () => {
    await inspected(async (admin, { names, processes }, root) => {
      const { self } = processes;
      const program = async (bus: string) => {
        mkdirSync(`${root}/loops/${bus}`);
        symlinkSync("1", `${root}/loops/${bus}/thread`);
        return (await admin.buses())!.find(({ id }) => bus.endsWith(`.${id}`))!.process;
      };
      assert(await program(names.newBus(self, 0)) !== undefined, "its own");
      assertEquals(await program(names.newBus({ ...self, pidNamespace: self.pidNamespace + 1 }, 0)), undefined);
    });
  });

  const others = "does not show the program of another user whose pid is in the name of a bus";
  const missing = noOtherUser(new URL(import.meta.url));
  if (missing) skip(others, missing);
  else {
    it(others, async () => {
      const [command, ...args] = become(40_000);
      const other = new Child(command!, [...args, "sh", "-c", "echo ready; exec sleep 600"]);
      await inspected(async (admin, { names, processes }, root) => {
        while (!other.output.includes("ready")) await new Promise((resolve) => setTimeout(resolve, 10));
        const stat = readFileSync(`/proc/${other.pid}/stat`, "utf8");
        const start = Number(stat.replace(/^.*\) /s, "").split(" ")[19]);
        const bus = names.newBus({ ...processes.self, pid: other.pid, start }, 0);
        mkdirSync(`${root}/loops/${bus}`);
        symlinkSync("1", `${root}/loops/${bus}/thread`);
        const found = (await admin.buses())!.find(({ pid }) => pid === other.pid);
        assertEquals([found?.pid, found?.process], [other.pid, undefined]);
      });
      await other.kill();
    });
  }
});
