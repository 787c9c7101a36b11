import { assertEquals, assertMatch } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import process from "node:process";
import { Bus } from "../../src/bus.ts";
import { removeBus } from "../../src/providers/ipc/cleanup.ts";
import { writeItem } from "../../src/providers/ipc/frames.ts";
import { CrashSlot } from "../../src/providers/ipc/crash_slot.ts";
import { Leases } from "../../src/providers/ipc/leases.ts";
import { eventsOf, inboxOf } from "../../src/providers/ipc/names.ts";
import { loadPosix, type Stat } from "../../src/providers/ipc/posix.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { finish } from "../../src/providers/ipc/walk.ts";
import { skip } from "../support/skip.ts";
import { until } from "../support/until.ts";
import { fresh, left, noOtherUser, notBlindable, openNamespace, runAs, runBlind } from "./ground.ts";

// Any other bus of this user that opens at the same time would clean up these dead buses.
// run: on bun, kernel-queues

const PEER = new URL("group_peer.ts", import.meta.url);
const BLIND_PEER = new URL("blind_peer.ts", import.meta.url);
/** A user of this run alone, and its group.  */
const USER = 40_000 + Math.floor(Math.random() * 20_000);
const SMALL = [{ messages: 1, size: 128 }];
const ITEM = writeItem('"item"', false);

describe("users of one group", () => {
  const name = "take each other's items, and clear up after each other as far as the kernel lets them";
  const missing = noOtherUser(PEER);
  if (missing) return skip(name, missing);
  it(name, async () => {
    const namespace = fresh();
    const internals = await openNamespace(namespace, { group: USER });
    const { names, directories, posix, processes, queues } = internals;
    const self = names.newBus(processes.self, 0);
    const dead = names.newBus({ ...processes.self, start: 1 }, 0); // nobody has started at that time
    directories.within("loops", () => directories.make(internals.busDirectory(dead)));
    for (const queue of [eventsOf(dead), inboxOf(dead)]) queues.use(queue, SMALL);

    const [living, gone] = [new Leases(internals, self), new Leases(internals, dead)];
    for (const queue of ["back", "for good", "still"]) {
      living.restore(names.queue(queue), living.key(), ITEM, 0);
    }
    internals.overflow.put(names.queue("overflow"), living.key(), ITEM);
    gone.hold(names.queue("held"), gone.key(), ITEM, 1, 3_600_000);
    const { descriptor } = queues.use(names.queue("taken"), SMALL)!;
    assertEquals(posix.send(descriptor, ITEM, ITEM.length), 0);
    const crashSlot = new CrashSlot(internals, dead);
    crashSlot.receive(names.queue("taken"), gone.key(), descriptor, 128);
    crashSlot.close();
    const theirs = names.queue("theirs");
    queues.use(theirs, SMALL);
    const receipt = living.hold(theirs, living.key(), ITEM, 1, 3_600_000);

    try {
      const { output } = await runAs(USER, PEER, namespace, String(USER));
      assertMatch(output, /^\{.*\}$/m);
      assertEquals(JSON.parse(/^\{.*\}$/m.exec(output)![0]), {
        back: ["item", 1],
        "back, for good": "item",
        "in the overflow": ["item", 1],
        "held by a dead bus": ["item", 2],
        "in the crash slot of a dead bus": ["item", 1],
        "held here, by one who stands still": [1, ["item", 1]],
        freed: "denied",
        "a group of others": "denied",
      }, output);
      assertEquals(living.ack(theirs, receipt), true, "what could not be freed is as it was");
      assertEquals(finish(internals.deadBuses()), [dead], "only its own user can remove its queues");
    } finally {
      removeBus(internals, dead);
      for (const queue of ["taken", "theirs"]) posix.unlinkQueue(names.queue(queue));
      finish(directories.remove("queues"));
      directories.prune("");
      queues.close();
    }
    for (const each of [namespace, `${namespace}-0`]) assertEquals(await left(each, [dead]), []);
  });
});

describe("a bus of a group", () => {
  it("creates each directory, file and queue for its user alone, and then gives it to the group", async () => {
    const posix = await loadPosix();
    const share = posix.share;
    const modes: string[] = [];
    posix.share = (descriptor, mode, group) => {
      const stat = posix.stat(descriptor);
      if (typeof stat === "object") modes.push(`${(stat.mode & 0o777).toString(8)} ${(mode & 0o777).toString(8)}`);
      return share.call(posix, descriptor, mode, group);
    };
    try {
      const group = process.getegid!();
      const { bodyFiles, directories, names, queues } = await openNamespace(fresh(), { group });
      bodyFiles.write("bodies", "body", true);
      const { descriptor } = queues.use(names.queue("queue"), SMALL)!;
      assertEquals((posix.stat(descriptor) as Stat).mode, 0o660);
      posix.unlinkQueue(names.queue("queue"));
      queues.close();
      finish(directories.remove("bodies"));
      directories.prune("");
    } finally {
      posix.share = share;
    }
    assertEquals(modes, ["700 770", "700 770", "600 660", "600 660"]);
  });
});

describe("buses of a user whose processes others of the group cannot see", () => {
  const name = "do not count as dead for them";
  const missing = noOtherUser(PEER) ?? notBlindable();
  if (missing) return skip(name, missing);
  it(name, async () => {
    const namespace = fresh();
    await using bus = await Bus.open(ipc({ group: USER }), { namespace });
    const seen: unknown[] = [];
    await bus.subscribe("topic", (event) => void seen.push(event)).ready;
    const { output } = await runBlind(USER, BLIND_PEER, namespace, String(USER));
    assertMatch(output, /^reached 1$/m);
    assertEquals(await bus.publish("ours", "topic"), 1);
    await until("both are here", () => seen.length === 2);
    assertEquals(seen, ["theirs", "ours"]);
  });
});
