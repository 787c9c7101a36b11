/** The cleanup after a dead bus, next to other buses that act before each of its system calls. */
// run: on deno, kernel-queues
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { stub } from "@std/testing/mock";
import { chownSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import process from "node:process";
import type { Delivery } from "../../src/provider/provider.ts";
import { ItemBatch } from "../../src/providers/ipc/item_batch.ts";
import { Cleanup, removeBus } from "../../src/providers/ipc/cleanup.ts";
import { Directories } from "../../src/providers/ipc/directories.ts";
import { readItem, writeItem } from "../../src/providers/ipc/frames.ts";
import { nameOfItem, queueDirectory } from "../../src/providers/ipc/items.ts";
import { Leases } from "../../src/providers/ipc/leases.ts";
import type { Namespace } from "../../src/providers/ipc/namespace.ts";
import { loadPosix, type Posix } from "../../src/providers/ipc/posix.ts";
import { finish } from "../../src/providers/ipc/walk.ts";
import { fresh, HandmadeBus, left, openNamespace } from "./ground.ts";

const ITEM = writeItem('"item"', false);

/** Runs `act`, with `other` before one of its system calls on files. Returns whether there was that many calls. */
function interrupted(posix: Posix, call: number, act: () => void, other: () => void): boolean {
  const methods = posix as unknown as Record<string, (...args: unknown[]) => unknown>;
  const names = Object.getOwnPropertyNames(Object.getPrototypeOf(Object.getPrototypeOf(posix)))
    .filter((name) => !["constructor", "result"].includes(name));
  let calls = 0;
  for (const name of names) {
    const real = methods[name]!;
    methods[name] = (...args) => {
      if (calls++ === call) other();
      return real.apply(posix, args);
    };
  }
  try {
    act();
  } finally {
    for (const name of names) delete methods[name];
  }
  return calls > call;
}

/** The items that are taken from a queue now. */
function take(internals: Namespace, queue: string): string[] {
  const { bodyFiles, names, posix, processes, queues } = internals;
  const leases = new Leases(internals, names.newBus(processes.self, 0));
  const batch = new ItemBatch<Delivery>(10);
  leases.take(queue, batch, undefined, (receipt) => {
    return readItem(bodyFiles.readItem(`${queueDirectory(queue)}/held`, receipt)).text;
  });
  const taken = batch.items.map(({ body }) => body);
  const { descriptor, size } = queues.use(queue)!;
  const buffer = new Uint8Array(size);
  for (let length; (length = posix.receive(descriptor, buffer)) >= 0;) {
    taken.push(readItem(buffer.subarray(0, length)).text);
  }
  return taken;
}

const WRITTEN: Record<string, Uint8Array | undefined> = {
  "": undefined,
  ", which had begun to hold it": ITEM.subarray(0, 3),
  ", which had held it": ITEM,
};

describe("the item in the crash slot of a dead bus", () => {
  for (const [how, written] of Object.entries(WRITTEN)) {
    for (const rival of ["cleans up too", "takes items"]) {
      it(`comes back once and whole${how}, at whichever moment another bus ${rival}`, async () => {
        const namespace = fresh();
        const posix = await loadPosix();
        const [first, second] = [await openNamespace(namespace), await openNamespace(namespace)];
        const queue = first.names.queue("jobs");
        const found: string[] = [];
        let moments = 0;
        for (let met = true; met; moments++) {
          using bus = await HandmadeBus.open(namespace);
          const { descriptor } = first.queues.use(queue, [{ messages: 1, size: 128 }])!;
          assertEquals(posix.send(descriptor, ITEM, ITEM.length), 0);
          bus.take("jobs");
          const dead = bus.die();
          if (written) {
            const slot = readFileSync(first.directories.path(`${first.busDirectory(dead)}/landing`), "utf8");
            const key = slot.split("\n")[1]!;
            const held = nameOfItem({ key, starts: 0, lease: 0, unconfirmed: false, bus: dead });
            const directory = `${queueDirectory(queue)}/held`;
            first.directories.within(directory, () => first.directories.make(directory));
            writeFileSync(first.directories.path(`${directory}/${held}`), written, { mode: 0o600 });
          }
          const taken: string[] = [];
          met = interrupted(posix, moments, () => removeBus(first, dead), () => {
            if (rival === "cleans up too") removeBus(second, dead);
            taken.push(...take(second, queue));
          });
          // another process removes the rest if it had to wait for this one
          for (const bus of finish(first.deadBuses())) removeBus(first, bus);
          taken.push(...take(second, queue));
          if (String(taken) !== '"item"') found.push(`${moments}: ${JSON.stringify(taken)}`);
        }
        posix.unlinkQueue(queue);
        finish(first.directories.remove("queues"));
        first.directories.prune("");
        for (const each of [first, second]) each.close();
        assertEquals(found, []);
        assert(moments > 20, `${moments} moments`);
        assertEquals(await left(namespace, []), []);
      });
    }
  }
});

describe("the item in the crash slot, of a queue with a line feed in its name,", () => {
  for (const queue of ["jobs\nx", "jobs\n0000000000000001-000001\nx"]) {
    it(`comes back: ${JSON.stringify(queue)}`, async () => {
      const namespace = fresh();
      using owner = await HandmadeBus.open(namespace);
      const { names, posix, queues } = owner.internals;
      const name = names.queue(queue);
      const { descriptor } = queues.use(name, [{ messages: 1, size: 128 }])!;
      try {
        assertEquals(posix.send(descriptor, ITEM, ITEM.length), 0);
        using bus = await HandmadeBus.open(namespace);
        bus.take(queue);
        removeBus(owner.internals, bus.die());
        assertEquals(take(owner.internals, name), ['"item"']);
      } finally {
        posix.unlinkQueue(name);
      }
    });
  }
});

describe("the descriptor of a namespace's directory", () => {
  it("keeps its number when the directory is removed and made again", async () => {
    const posix = await loadPosix();
    const directories = new Directories(posix, `/dev/shm/${fresh()}`, {});
    const open = () => (posix.list("/proc/self/fd") as string[]).length;
    directories.make("below");
    const [{ descriptor }, count] = [directories, open()];
    for (let i = 0; i < 3; i++) {
      directories.prune("below");
      assertEquals(directories.list(""), []);
      assertEquals(directories.make("below"), 0);
      assertEquals([directories.descriptor, open()], [descriptor, count]);
      assertEquals(typeof directories.stat("below"), "object");
    }
    directories.prune("below");
    directories.close();
    assertEquals(open(), count - 1);
  });
});

describe("a bus that closes on a busy machine", () => {
  it("removes all its names, though it is paused for longer than its cleanup may take", async () => {
    const namespace = fresh();
    using bus = await HandmadeBus.open(namespace);
    const { names, subscriptions, waiting } = bus.internals;
    for (let i = 0; i < 20; i++) subscriptions.subscribe(`topic-${i}`, bus.busName);
    for (let i = 0; i < 200; i++) waiting.add(names.queue(`queue-${i}`), bus.busName);
    {
      let time = 0;
      using _ = stub(performance, "now", () => time += 1_000);
      removeBus(bus.internals, bus.busName);
    }
    assertEquals(await left(namespace, [bus.busName]), []);
  });
});

describe("the cleanup of a namespace", () => {
  it("removes old empty directories that killed processes of this user have left in the root of a group", async () => {
    const namespace = await openNamespace(fresh(), { group: process.getgid!() });
    const { directories, posix } = namespace;
    assertEquals(directories.make("loops"), 0);
    /** Makes a directory, in a process that is killed before it has its name. Returns the name that it has. */
    const killed = (age: number, contents?: string) => {
      const before = new Set(directories.list(""));
      {
        using _ = stub(posix as { rename(from: string, to: string): number }, "rename", () => {
          throw new Error("killed");
        });
        assertThrows(() => directories.make("topic"), Error, "killed");
      }
      const [name] = directories.list("").filter((name) => !before.has(name));
      if (contents) mkdirSync(directories.path(`${name}/${contents}`));
      assertEquals(posix.setModified(directories.path(name!), Date.now() - age), 0);
      return name!;
    };
    const [old, recent, full] = [killed(120_000), killed(10_000), killed(120_000, "item")];
    const others = [full, "~", `~${"0".repeat(36)}`, old.slice(1)];
    for (const name of others.slice(1)) {
      mkdirSync(directories.path(name));
      posix.setModified(directories.path(name), 0);
    }
    if (posix.user === 0) {
      const theirs = `~${crypto.randomUUID()}`;
      mkdirSync(directories.path(theirs));
      posix.setModified(directories.path(theirs), 0);
      chownSync(directories.path(theirs), 40_000, process.getgid!());
      others.push(theirs);
    }
    const cleanup = new Cleanup(namespace);
    {
      let time = 0;
      using _ = stub(performance, "now", () => time += 1e6);
      cleanup.run(Infinity, Infinity);
      const found = directories.list("").toSorted();
      posix.setModified(directories.path(recent), Date.now() - 120_000);
      for (let i = 0; i < 3; i++) cleanup.run(Infinity, Infinity);
      const later = directories.list("").toSorted();
      rmSync(directories.root, { recursive: true });
      namespace.close();
      assertEquals(found, [...others, recent, "loops"].toSorted());
      assertEquals(later, [...others, "loops"].toSorted());
    }
  });

  it("is not postponed by any number of names of buses", async () => {
    using bus = await HandmadeBus.open(fresh());
    const { busDirectory, directories, names, processes } = bus.internals;
    const strange = Array.from({ length: 1_000 }, () => names.newBus({ ...processes.self, pidNamespace: 1 }, 0));
    for (const each of strange) directories.make(busDirectory(each));
    const cleanup = new Cleanup(bus.internals);
    cleanup.run(Infinity, Infinity);
    assert(cleanup.wait <= 256_000, `${cleanup.wait} ms`);
    for (const each of strange) directories.prune(busDirectory(each));
  });
});
