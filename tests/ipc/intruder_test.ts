/** Members of a group, who use the namespace that they share with a user to reach that user's other namespaces. */
// run: on bun, kernel-queues
import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { afterAll, describe, it } from "@std/testing/bdd";
import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, rmSync, statSync } from "node:fs";
import { Bus } from "../../src/bus.ts";
import { BusError } from "../../src/errors.ts";
import { OthersCleanup } from "../../src/providers/ipc/cleanup.ts";
import { Leases } from "../../src/providers/ipc/leases.ts";
import { Moves } from "../../src/providers/ipc/moves.ts";
import { eventsOf, inboxOf, Names } from "../../src/providers/ipc/names.ts";
import { THREAD } from "../../src/providers/ipc/namespace.ts";
import { loadPosix, type Posix } from "../../src/providers/ipc/posix.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { Refill } from "../../src/providers/ipc/refill.ts";
import { finish, walk } from "../../src/providers/ipc/walk.ts";
import { WorkerThread } from "../../src/providers/ipc/worker_thread.ts";
import { skip } from "../support/skip.ts";
import { calls, fresh, HandmadeBus, left, openNamespace } from "./ground.ts";
import { Intruder, noIntruder } from "./intruders.ts";

const intruder = new Intruder();
const GROUP = intruder.group;
const SMALL = [{ messages: 2, size: 128 }];

async function clear(namespaces: readonly string[], queues: readonly string[]): Promise<void> {
  const posix = await loadPosix();
  for (const queue of queues) posix.unlinkQueue(queue);
  // Bun's `rmSync` takes a time that is quadratic in the depth
  execFileSync("rm", ["-rf", ...namespaces.map((each) => `/dev/shm/${each}`)]);
}

/** A shared namespace, and a private one of the same user whose queues have ambiguous names. */
function pair(): { shared: string; secret: string; queue: string } {
  const shared = fresh();
  return { shared, secret: `${shared}_secret`, queue: new Names(shared).queue("secret_jobs") };
}

function denied(act: () => Promise<unknown>, message = /its mode or group is not that of this namespace/) {
  return assertRejects(act, BusError).then((error) => {
    assertEquals(error.code, "denied");
    assertMatch(error.message, message);
  });
}

describe("a member of a group", () => {
  afterAll(() => intruder.end());
  const cases: Record<string, () => Promise<void>> = {
    async "puts nothing into queues that are not of the namespace"() {
      const { shared, secret, queue } = pair();
      const [ours, theirs] = [await openNamespace(shared, { group: GROUP }), await openNamespace(secret)];
      const bus = theirs.names.newBus(theirs.processes.self, 0);
      const targets = [queue, eventsOf(bus), inboxOf(bus), new Names(fresh()).queue("jobs"), `/${crypto.randomUUID()}`];
      const opened = targets.map((name) => ours.posix.openQueue(name, { ...SMALL[0]!, mode: 0o600 }));
      const own = ours.names.queue("own");
      const { descriptor } = ours.queues.hold(ours.queues.use(own, SMALL)!);
      try {
        await intruder.act(shared, "overflow", own, ...targets);
        const self = ours.names.newBus(ours.processes.self, 0);
        const leases = new Leases(ours, self);
        const faults: unknown[] = [];
        new Refill(ours, new Moves(ours, self), () => leases.key(), (error) => faults.push(error)).run();
        const counts = [descriptor, ...opened].map((each) => ours.posix.attributes(each)!.current);
        assertEquals([counts, faults], [[1, 0, 0, 0, 0, 0], []]);
      } finally {
        for (const each of opened) ours.posix.close(each);
        for (const each of [ours, theirs]) each.close();
        await clear([shared, secret], [own, ...targets]);
      }
    },

    async "gets no event of the shared namespace into a private queue, and no private item into a shared one"() {
      const { shared, secret, queue } = pair();
      {
        await using ours = await Bus.open(ipc({ group: GROUP }), { namespace: shared });
        await using theirs = await Bus.open(ipc(), { namespace: secret });
        try {
          await theirs.queue("jobs").put("private");
          await intruder.act(shared, "bind", "topic", "secret_jobs");
          await denied(() => ours.publish("event", "topic"));
          assertEquals(await theirs.queue("jobs").qsize(), 1);
          (await loadPosix()).unlinkQueue(queue);
          await ours.publish("event", "topic");
          await denied(() => theirs.queue("jobs").put("private"));
        } finally {
          await clear([], [queue]);
        }
      }
      await clear([shared, secret], []);
    },

    async "gives a bus no time that is not valid"() {
      const shared = fresh();
      {
        await using bus = await Bus.open(ipc({ group: GROUP }), { namespace: shared });
        assertEquals(await bus.publish("event", "topic"), 0);
        const admin = await ipc({ group: GROUP }).admin!.open(shared);
        const since = async () => (await admin.buses!())!.map(({ since }) => typeof since);
        assertEquals(await since(), ["number"]);
        const [name] = (await admin.inboxes!())!;
        for (const time of [2 ** 44 * 1_000, -9e15]) {
          await intruder.act(shared, "replace", `loops/${name}/${THREAD}`, "0", String(time));
          assertEquals(await since(), ["undefined"]);
        }
        await admin.close();
      }
      await clear([shared], []);
    },

    async "does not keep other namespaces of the user from opening by a deep directory"() {
      const shared = fresh();
      const ours = await openNamespace(shared, { group: GROUP });
      ours.directories.make("loops");
      ours.directories.make("subscribers");
      try {
        await intruder.act(shared, "dig", "1500");
        await using bus = await Bus.open(ipc(), { namespace: fresh() });
        assertEquals(await bus.publish("event", "topic"), 0);
        assertEquals(calls(ours.posix, ["openDirectory"], () => finish(ours.deadBuses())) < 100, true);
      } finally {
        ours.close();
        await clear([shared], []);
      }
    },
  };
  for (const [name, act] of Object.entries(cases)) {
    if (noIntruder) skip(name, noIntruder);
    else it(name, act);
  }
});

describe("two namespaces of a user, one of them shared with a group, whose queues have ambiguous names", () => {
  afterAll(() => intruder.end());
  const each = (name: string, act: () => Promise<void>) => noIntruder ? skip(name, noIntruder) : it(name, act);

  each("do not put, take, peek or free through each other, if either creates the queue", async () => {
    const { shared, secret, queue } = pair();
    {
      await using ours = await Bus.open(ipc({ group: GROUP }), { namespace: shared });
      await using theirs = await Bus.open(ipc(), { namespace: secret });
      for (const [one, other] of [["jobs", "secret_jobs"], ["secret_jobs", "jobs"]] as const) {
        const [first, second] = one === "jobs" ? [theirs, ours] : [ours, theirs];
        await first.queue(one).put("mine");
        try {
          const strange = second.queue(other);
          for (
            const act of [
              () => strange.put("yours"),
              () => strange.getNowait(),
              () => strange.peek(),
              () => strange.free(),
            ]
          ) await denied(act);
          assertEquals(await first.queue(one).get(), "mine");
        } finally {
          await clear([], [queue]);
        }
      }
    }
    await clear([shared, secret], []);
  });

  each("tell a queue of the group from a private one, before the group has it", async () => {
    const { shared, secret, queue } = pair();
    const [ours, again, theirs] = [
      await openNamespace(shared, { group: GROUP }),
      await openNamespace(shared, { group: GROUP }),
      await openNamespace(secret),
    ];
    const { posix } = ours;
    const share = posix.share;
    const found: unknown[] = [];
    posix.share = (...args) => {
      posix.share = share;
      for (const namespace of [theirs, again]) {
        try {
          found.push(namespace.queues.use(queue)?.size);
        } catch (error) {
          found.push((error as BusError).code);
        }
      }
      return share.apply(posix, args);
    };
    try {
      assertEquals(ours.queues.use(queue, SMALL)?.size, 128);
      assertEquals(found, ["denied", 128]);
    } finally {
      posix.share = share;
      for (const each of [ours, again, theirs]) each.close();
      await clear([], [queue]);
    }
  });

  each("keep their descriptors when a member replaces the link of a worker", async () => {
    const { shared, secret, queue } = pair();
    const [ours, theirs] = [await openNamespace(shared, { group: GROUP }), await openNamespace(secret)];
    const { descriptor } = theirs.queues.hold(theirs.queues.use(queue, SMALL)!);
    ours.directories.make("loops"); // opens the directory
    const [thread, directory] = [ours.posix.thread(), ours.directories.descriptor];
    try {
      for (const forged of [`${thread} -1`, `${thread} ${directory}`, `999999 ${directory}`]) {
        const bus = ours.names.newBus(ours.processes.self, ours.posix.eventfd()); // `remove` closes the eventfd
        const link = `${ours.busDirectory(bus)}/${THREAD}`;
        ours.directories.within("loops", () => ours.directories.make(ours.busDirectory(bus)));
        await intruder.act(shared, "replace", link, forged);
        assertEquals(new TextDecoder().decode(ours.directories.readLink(link) as Uint8Array), forged);
        await new WorkerThread(ours, bus).remove();
      }
      assertEquals(ours.posix.attributes(descriptor)?.messages, 2);
      assertEquals(typeof ours.posix.stat(`/proc/self/fd/${directory}`), "object");
    } finally {
      for (const each of [ours, theirs]) each.close();
      await clear([shared], [queue]);
    }
  });

  each("use the queues that PyMQ creates for one process, also in the shared one", async () => {
    const { shared } = pair();
    const ours = await openNamespace(shared, { group: GROUP });
    const { names, posix, queues } = ours;
    const made = [`pymq_${shared}_$1`, `pymq_${shared}___rpc_${crypto.randomUUID()}`].map((name) => `/${name}`);
    const named = names.queue("jobs");
    try {
      for (const name of [...made, named]) posix.close(posix.openQueue(name, { ...SMALL[0]!, mode: 0o600 }));
      for (const name of made) assertEquals(queues.use(name)?.size, 128);
      await denied(async () => await queues.use(named));
    } finally {
      ours.close();
      await clear([], [...made, named]);
    }
  });
});

describe("the cleanup of other namespaces", () => {
  it("does not enter those that others may write: a member could make each of its system calls take any time", async () => {
    const modes: Record<string, number> = { [fresh()]: 0o2770, [fresh()]: 0o1777, [fresh()]: 0o755 };
    const dead = new Map<string, string>();
    const internals = await openNamespace(fresh());
    try {
      for (const [name, mode] of Object.entries(modes)) {
        const bus = await HandmadeBus.open(name);
        dead.set(name, bus.die());
        bus.internals.close();
        chmodSync(`/dev/shm/${name}`, mode);
      }
      new OthersCleanup(internals).finish();
      for (const [name, mode] of Object.entries(modes)) {
        const bus = `/dev/shm/${name}/loops/${dead.get(name)}`;
        if (mode === 0o755) assertEquals(existsSync(bus), false);
        else assertEquals([existsSync(bus), statSync(`/dev/shm/${name}`).mode & 0o7777], [true, mode]);
      }
    } finally {
      internals.close();
      await clear(Object.keys(modes), []);
    }
  });

  it("continues after one that cannot be cleaned", async () => {
    const names = [fresh(), fresh()];
    const posix = await loadPosix();
    const dead: string[] = [];
    for (const name of names) {
      const bus = await HandmadeBus.open(name);
      dead.push(bus.die());
      bus.internals.close();
    }
    const internals = await openNamespace(fresh());
    const unlink = posix.unlinkQueue;
    try {
      for (const stuck of names) {
        posix.unlinkQueue = (queue) => {
          if (queue.includes(stuck)) throw new Error("it cannot be cleaned");
          return unlink.call(posix, queue);
        };
        new OthersCleanup(internals).finish();
      }
      for (const [i, name] of names.entries()) assertEquals(await left(name, [dead[i]!]), []);
    } finally {
      posix.unlinkQueue = unlink;
      internals.close();
      await clear(names, []);
    }
  });
});

describe("a walk over directories", () => {
  /** A tree without an end. */
  function endless(): { posix: Posix; open: Set<number>; deepest: () => number; opened: () => number } {
    const open = new Set([0]);
    let [opened, deepest] = [0, 0];
    const posix = {
      openDirectory() {
        open.add(++opened);
        deepest = Math.max(deepest, open.size);
        return opened;
      },
      listPart: (_: number, names: string[]) => names.length === 0 ? names.push("a", "b", "c") : 0,
      close: (descriptor: number) => void open.delete(descriptor),
    } as unknown as Posix;
    return { posix, open, deepest: () => deepest, opened: () => opened };
  }

  it("ends, and has few directories open", () => {
    const { posix, open, deepest, opened } = endless();
    assertEquals(finish(walk(posix, 0, { leaf: () => false }, posix.openDirectory)), false);
    assertEquals([open.size, deepest(), opened() <= 2 ** 17], [0, 33, true]);
  });

  it("closes everything when it is stopped", () => {
    const { posix, open } = endless();
    const steps = walk(posix, 0, { leaf: () => false }, posix.openDirectory);
    for (let i = 0; i < 100; i++) steps.next();
    steps.return(false);
    assertEquals(open.size, 0);
  });

  it("removes what is chosen and the directories that are empty after that, and nothing through links", async () => {
    const { directories, posix } = await openNamespace(fresh());
    directories.make("top/chosen/deep");
    directories.make("top/empty");
    const outside = `/dev/shm/${fresh()}`;
    mkdirSync(outside);
    const paths = ["top/chosen/deep/x", "top/chosen/y", "top/x"];
    for (const path of paths) posix.close(directories.createFile(path));
    posix.close(posix.createFile(`${outside}/x`, 0o600));
    directories.symlink(outside, "top/link");
    const seen: string[] = [];
    finish(directories.walk("top", {
      visit: (path, names) => void seen.push(`${path}: ${[...names].sort()}`),
      leaf: () => false,
      remove: (name) => name === "x",
    }));
    assertEquals(seen.sort(), [": chosen,empty,link,x", "chosen/deep: x", "chosen: deep,y", "empty: "]);
    assertEquals(directories.list("top/chosen"), ["y"]);
    assertEquals([...directories.list("top")].sort(), ["chosen", "empty", "link"]);
    assertEquals(posix.list(outside), ["x"]);
    finish(directories.remove("top"));
    directories.prune("");
    rmSync(outside, { recursive: true });
  });
});

describe("a topic of many levels", () => {
  it("has no deep path", () => {
    const names = new Names("shop");
    assertEquals(names.topic(Array.from({ length: 32 }, () => "a").join("/")).shared, true);
    assertEquals(names.topic(Array.from({ length: 33 }, () => "a").join("/")).shared, false);
  });
});
