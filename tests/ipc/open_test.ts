/** Namespaces whose directories are open to other users, as PyMQ creates them in a process with a small umask. */
// run: on deno, kernel-queues
import { assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { chmodSync, lchownSync, mkdirSync, readdirSync, rmSync, statSync, symlinkSync } from "node:fs";
import process from "node:process";
import { Bus } from "../../src/bus.ts";
import { BusError, NoSuchRemoteError } from "../../src/errors.ts";
import { queueDirectory } from "../../src/providers/ipc/items.ts";
import { Names } from "../../src/providers/ipc/names.ts";
import { loadPosix } from "../../src/providers/ipc/posix.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { makeDir, removeDir } from "../support/child.ts";
import { skip } from "../support/skip.ts";
import { calls, fresh, noOtherUser, openNamespace, runAs } from "./ground.ts";

const THIEF = new URL("thief.ts", import.meta.url);
const OTHER_USER = new URL("other_user.ts", import.meta.url);
const OTHER = 40_000 + Math.floor(Math.random() * 20_000);

/** Runs `act` with a namespace whose directories have these modes: that of the namespace, and one in it. */
async function open(
  mode: number,
  below: number,
  act: (name: string, root: string, queue: string) => Promise<void>,
): Promise<void> {
  const name = fresh();
  const root = `/dev/shm/${name}`;
  for (const [path, bits] of [[root, mode], [`${root}/subscribers`, below]] as const) {
    mkdirSync(path);
    chmodSync(path, bits);
  }
  try {
    await act(name, root, queueDirectory(new Names(name).queue("jobs")));
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

function modeOf(path: string): number {
  return statSync(path).mode & 0o7777;
}

/** Runs the thief. Resolves with the word that it prints. */
async function thief(what: string, root: string, queue: string, pid = 0): Promise<string> {
  const { output } = await runAs(OTHER, THIEF, what, root, queue, String(pid));
  return /^(planted|stole \d+|E[A-Z]+)$/m.exec(output)?.[0] ?? output;
}

describe("a namespace that was open to other users", () => {
  const missing = noOtherUser(THIEF);
  const each = (name: string, act: () => Promise<void>) => missing ? skip(name, missing) : it(name, act);

  each(
    "gets no items into directories of others, and says whose they are",
    () =>
      open(0o777, 0o777, async (name, root, queue) => {
        assertEquals(await thief("plant", root, queue), "planted");
        await using bus = await Bus.open(ipc(), { namespace: name });
        const jobs = bus.queue("jobs");
        const errors: unknown[] = [];
        for (let i = 0; i < 14; i++) await jobs.put("mine").catch((error) => errors.push(error));
        assertEquals(await thief("steal", root, queue), "stole 0");
        assertEquals(errors.length, 4);
        for (const error of errors) {
          assertEquals((error as BusError).code, "denied");
          assertMatch((error as BusError).message, new RegExp(`/queues.*user ${OTHER}`));
        }
        assertEquals(await jobs.qsize(), 10);
        await jobs.free().catch(() => {});
      }),
  );

  each(
    "is closed to them when a bus opens, and stays usable for its user",
    () =>
      open(0o777, 0o777, async (name, root, queue) => {
        await using bus = await Bus.open(ipc(), { namespace: name });
        assertEquals(modeOf(root), 0o1700);
        assertEquals(await thief("plant", root, queue), "EACCES");
        const jobs = bus.queue("jobs");
        for (let i = 0; i < 14; i++) await jobs.put("mine");
        assertEquals(await thief("steal", root, queue), "stole 0");
        for (let i = 0; i < 14; i++) assertEquals(await jobs.get(), "mine");
        await jobs.free();
      }),
  );

  for (const group of [undefined, process.getegid!()]) {
    const whose = group === undefined ? "its user" : "a group";
    each(
      `and is now for ${whose}, publishes and calls though others have put the names of buses there`,
      () =>
        open(0o777, 0o777, async (name, root) => {
          const topic = `${root}/subscribers/topic`;
          mkdirSync(topic);
          chmodSync(topic, 0o777);
          const prefix = `pymq_${name}_$`;
          const queue = `/${prefix}${process.pid}`;
          const directory = `/dev/shm/${fresh()}`;
          try {
            assertEquals(await thief("subscribe", topic, prefix, process.pid), "planted");
            // a bus cannot tell whether a member of its group has put a name there: it removes those of dead buses
            if (group !== undefined) {
              for (const each of readdirSync(topic)) if (!each.endsWith(`$${process.pid}`)) rmSync(`${topic}/${each}`);
            }
            assertMatch((await runAs(OTHER, OTHER_USER, queue, directory)).output, /^made$/m);
            await using bus = await Bus.open(ipc({ group }), { namespace: name });
            await assertRejects(() => bus.stub<() => void>("topic")(), NoSuchRemoteError);
            await bus.subscribe("topic", () => {}).ready;
            assertEquals(await bus.publish("event", "topic"), 1);
          } finally {
            (await loadPosix()).unlinkQueue(queue);
            rmSync(directory, { recursive: true, force: true });
          }
        }),
    );
  }
});

describe("a namespace that a group has shared, and that is now for its user alone", () => {
  it("is not left through a link", () =>
    open(0o2700, 0o700, async (name, root) => {
      const home = makeDir("home");
      try {
        symlinkSync(home, `${root}/servers`);
        const namespace = await openNamespace(name);
        const { directories, subscriptions } = namespace;
        assertThrows(() => subscriptions.register("topic", "bus"), BusError);
        assertEquals([directories.shared, readdirSync(home)], [true, []]);
        namespace.close();
      } finally {
        removeDir(home);
      }
    }));

  const name = "gets no items that another user has put there";
  const missing = noOtherUser(THIEF);
  if (missing) skip(name, missing);
  else {
    it(name, () =>
      open(0o2700, 0o700, async (name, root) => {
        const namespace = await openNamespace(name);
        const { bodyFiles } = namespace;
        bodyFiles.writeLink("items", "item", new TextEncoder().encode("forged"));
        lchownSync(`${root}/items/item`, OTHER, OTHER);
        assertThrows(() => bodyFiles.readItem("items", "item"), BusError, `it belongs to user ${OTHER}`);
        namespace.close();
      }));
  }
});

describe("a directory that is open to other users", () => {
  it("is closed when it is used, below a root that others may only enter", () =>
    open(0o755, 0o777, async (name, root) => {
      await using bus = await Bus.open(ipc(), { namespace: name });
      await bus.subscribe("topic", () => {}).ready;
      assertEquals([modeOf(root), modeOf(`${root}/subscribers`)], [0o755, 0o700]);
      assertEquals(await bus.publish("event", "topic"), 1);
    }));

  it("is closed to all but the group, if its namespace has one", () =>
    open(0o777, 0o777, async (name, root) => {
      await using bus = await Bus.open(ipc({ group: process.getegid!() }), { namespace: name });
      await bus.subscribe("topic", () => {}).ready;
      assertEquals([modeOf(root), modeOf(`${root}/subscribers`)], [0o1770, 0o770]);
    }));

  it("is not taken from a group for which another bus has made it", () =>
    open(0o3770, 0o2770, async (name, root) => {
      const error = await assertRejects(() => Bus.open(ipc(), { namespace: name }), BusError, "its mode or group");
      assertEquals([error.code, modeOf(root)], ["denied", 0o3770]);
    }));

  it("costs a namespace of this user alone no system call", async () => {
    const namespace = await openNamespace(fresh());
    const { directories, posix } = namespace;
    directories.make("a/b/c");
    const all = ["openDirectory", "stat", "list", "listOpen", "close", "symlink", "setMode"] as const;
    assertEquals(calls(posix, all, () => void directories.symlink("x", "a/b/c/d")), 1);
    directories.unlink("a/b/c/d");
    directories.prune("a/b/c");
    namespace.close();
  });
});
