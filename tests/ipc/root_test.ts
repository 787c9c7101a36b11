/** Queues of a stranger, which a bus that runs as root may change and remove as far as the kernel is concerned. */
// run: on deno, kernel-queues
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { rmSync } from "node:fs";
import { Bus } from "../../src/bus.ts";
import { ProviderError } from "../../src/errors.ts";
import { removeBuses } from "../../src/providers/ipc/cleanup.ts";
import { eventsOf, inboxOf, Names } from "../../src/providers/ipc/names.ts";
import { loadPosix, type Stat } from "../../src/providers/ipc/posix.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { finish } from "../../src/providers/ipc/walk.ts";
import { skip } from "../support/skip.ts";
import { until } from "../support/until.ts";
import { fresh, noOtherUser, openNamespace, runAs } from "./ground.ts";

const OTHER_USER = new URL("other_user.ts", import.meta.url);
/** A user of this run alone, and a group in which it is not. */
const STRANGER = 40_000 + Math.floor(Math.random() * 20_000);
const GROUP = STRANGER + 1;

/** The owner, the group and the mode of a queue; undefined if it does not exist. */
async function stateOf(queue: string): Promise<Stat | undefined> {
  const posix = await loadPosix();
  const descriptor = posix.openQueue(queue);
  if (descriptor < 0) return undefined;
  const stat = posix.stat(descriptor);
  posix.close(descriptor);
  return stat as Stat;
}

/** Runs `act` with a queue of the stranger, of this mode, with an item in it. */
async function strange(queue: string, mode: string, act: () => Promise<void>): Promise<void> {
  const directory = `/dev/shm/${fresh()}`;
  try {
    const { output } = await runAs(STRANGER, OTHER_USER, queue, directory, mode);
    assertMatch(output, /^made$/m);
    await act();
  } finally {
    (await loadPosix()).unlinkQueue(queue);
    rmSync(directory, { recursive: true, force: true });
  }
}

describe("a queue of a stranger", () => {
  const missing = noOtherUser(OTHER_USER);
  const each = (name: string, act: () => Promise<void>) => missing ? skip(name, missing) : it(name, act);

  // the sticky bit is that of a queue that its creator has not given to the group yet
  for (const mode of ["1600", "1666", "600", "666"]) {
    each(`of mode ${mode} is neither given to the group nor used`, async () => {
      const namespace = fresh();
      const queue = new Names(namespace).queue("jobs");
      await strange(queue, mode, async () => {
        await using bus = await Bus.open(ipc({ group: GROUP }), { namespace });
        const jobs = bus.queue("jobs");
        for (const act of [() => jobs.put("ours"), () => jobs.get({ timeout: 10_000 }), () => jobs.free()]) {
          assertEquals((await assertRejects(act, ProviderError, "it belongs to ")).code, "denied");
        }
        const { uid, gid, mode: now } = (await stateOf(queue))!;
        assertEquals([uid, gid, now.toString(8)], [STRANGER, STRANGER, mode]);
      });
    });
  }

  each("is not removed as that of a dead bus of PyMQ", async () => {
    const name = fresh();
    const namespace = await openNamespace(name);
    const { posix, subscriptions } = namespace;
    const [theirs, ours] = [`pymq_${name}_$9999998`, `pymq_${name}_$9999999`]; // above every pid
    for (const bus of [theirs, ours]) subscriptions.subscribe("topic", bus);
    const own = posix.openQueue(eventsOf(ours), { messages: 1, size: 100, mode: 0o600 });
    try {
      await strange(eventsOf(theirs), "666", async () => {
        assertEquals(posix.send(own, new Uint8Array(1), 1), 0);
        await until("a bus of this user counts as dead", () => finish(namespace.deadBuses()).includes(ours));
        await until(
          "the stranger's queue is as old",
          async () => Date.now() - (await stateOf(eventsOf(theirs)))!.modified > 1_250,
        );
        assertEquals(finish(namespace.deadBuses()), [ours]);
        finish(removeBuses(namespace, [theirs, ours]));
        assertEquals(await stateOf(eventsOf(ours)), undefined);
        assert(await stateOf(eventsOf(theirs)));
      });
    } finally {
      posix.close(own);
      posix.unlinkQueue(eventsOf(ours));
      finish(namespace.directories.remove("subscribers"));
      namespace.directories.prune("subscribers");
      namespace.close();
    }
  });

  each("is not removed as that of a dead bus", async () => {
    const namespace = await openNamespace(fresh());
    const { directories, names, posix, processes } = namespace;
    const dead = names.newBus({ ...processes.self, start: 1 }, 0); // no process has that start time
    directories.within("loops", () => directories.make(namespace.busDirectory(dead)));
    posix.close(posix.openQueue(eventsOf(dead), { messages: 1, size: 100, mode: 0o600 }));
    try {
      await strange(inboxOf(dead), "600", async () => {
        finish(removeBuses(namespace, finish(namespace.deadBuses())));
        assertEquals(await stateOf(eventsOf(dead)), undefined);
        assert(await stateOf(inboxOf(dead)));
      });
      finish(removeBuses(namespace, finish(namespace.deadBuses())));
      assertEquals(finish(namespace.deadBuses()), []);
    } finally {
      namespace.close();
    }
  });
});
