/** Queues that are longer, and more numerous, than the kernel allows. */
// run: on bun, kernel-queues, deadline 400, quiet if all
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { stub } from "@std/testing/mock";
import { Bus } from "../../src/bus.ts";
import { ProviderError, QueueFullError } from "../../src/errors.ts";
import type { Delivery } from "../../src/provider/provider.ts";
import { ItemBatch } from "../../src/providers/ipc/item_batch.ts";
import { Errno } from "../../src/providers/ipc/errno.ts";
import type { Files } from "../../src/providers/ipc/files.ts";
import { writeItem } from "../../src/providers/ipc/frames.ts";
import { movingDirectory, queueDirectory } from "../../src/providers/ipc/items.ts";
import { Leases } from "../../src/providers/ipc/leases.ts";
import { loadPosix } from "../../src/providers/ipc/posix.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { ALL } from "../support/share.ts";
import { until } from "../support/until.ts";
import { describePlainUser } from "./as_plain_user.ts";
import { busesOf, fresh, HandmadeBus, KernelQueue, left } from "./ground.ts";

const CROWD = new URL("crowd.ts", import.meta.url);
// the nightly run has the full numbers; the others exceed what the kernel allows (256 queues, ten items in each), and a page of 256 items
const [queues, items, long, processes] = ALL ? [1_000, 100, 100_000, 50] : [280, 12, 1_100, 4];

describePlainUser(CROWD, [
  [
    `has ${queues} queues of ${items} items from 4 processes, of which two are killed`,
    { rounds: [items, items, items], half: true, lost: true, twice: 0, disordered: true },
    ...["queues", queues, items] as const,
  ],
  [`has ${long} items in one queue, in order`, { size: long, disordered: 0, flat: true }, "long", long],
  ["has 30 waiting gets on 30 queues, which wake at once", { prompt: true }, "gets", 30],
  [`has two buses in each of ${processes} processes`, { reached: 2 * processes }, "pairs", processes],
]);

function numbers(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}

describe("a queue with more items than the kernel holds", () => {
  it("is refilled in order for PyMQ, whose items are taken in their turn; nothing is left when it is freed", async () => {
    const namespace = fresh();
    const bus = await Bus.open(ipc(), { namespace });
    const queue = bus.queue<number>("queue");
    const large = "x".repeat(6_000); // PyMQ reads it, although a link cannot hold it
    for (let i = 0; i < 25; i++) await queue.put(i);
    const texts = bus.queue<string>("queue");
    await texts.put(large);
    for (let i = 25; i < 34; i++) await queue.put(i);
    assertEquals(await queue.qsize(), 35);
    {
      using pymq = await KernelQueue.open(namespace, "queue");
      const got: (string | undefined)[] = [];
      for (const most of [10, 20, 30]) {
        while (got.length < most) got.push(pymq.get());
        await until("it is filled again", () => pymq.size === Math.min(10, 35 - most));
      }
      assertEquals(got, [...numbers(25).map(String), JSON.stringify(large), "25", "26", "27", "28"]);
      assertEquals(pymq.put("-1"), 0);
      const rest = [];
      for (let i = 0; i < 6; i++) rest.push(await queue.get({ timeout: 5_000 }));
      assertEquals(rest, [29, 30, 31, 32, 33, -1]);
    }
    for (let i = 0; i < 30; i++) await queue.put(i);
    const buses = await busesOf(namespace);
    await queue.free();
    await bus.close();
    assertEquals(await left(namespace, buses, ["queue"]), []);
  });

  it("is read once for the puts of one turn, which keep their order while the overflow begins", async () => {
    const posix: Pick<Files, "stat"> = await loadPosix();
    await using bus = await Bus.open(ipc(), { namespace: fresh() });
    const queue = bus.queue<number>("queue");
    await queue.put(0);
    const real = posix.stat;
    using stat = stub(posix, "stat", (...args) => real.apply(posix, args));
    for (const from of [1, 21]) {
      await Promise.all(numbers(20).map((i) => queue.put(from + i)));
      // whether it has files, its pages, and the items that are being moved; then the page in which the first turn has created a link
      const paths = stat.calls.splice(0).filter(({ args: [target] }) => typeof target === "string").length;
      assert(paths > 0 && paths <= 4, `${paths} calls`);
    }
    const got = [];
    for (let i = 0; i <= 40; i++) got.push(await queue.get({ timeout: 5_000 }));
    assertEquals(got, numbers(41));
    await queue.free();
  });

  it("keeps its order under leases, when they are given back, and between buses", async () => {
    const namespace = fresh();
    await using bus = await Bus.open(ipc(), { namespace });
    await using other = await Bus.open(ipc(), { namespace });
    const queue = bus.queue<number>("queue");
    for (let i = 0; i < 30; i++) await (i % 2 ? queue : other.queue<number>("queue")).put(i);
    const leases = [];
    for (let i = 0; i < 15; i++) leases.push(await queue.receive({ timeout: 5_000 }));
    assertEquals(leases.map(({ item }) => item), numbers(15));
    assertEquals(await queue.qsize(), 15);
    for (const lease of leases.reverse()) await lease.nack();
    const again = [];
    for (let i = 0; i < 30; i++) again.push(await other.queue<number>("queue").get({ timeout: 5_000 }));
    assertEquals(again, numbers(30));
    await queue.free();
  });

  it("holds as many items as `capacity` says", async () => {
    for (const capacity of [3, 10, 25]) {
      const namespace = fresh();
      await using bus = await Bus.open(ipc({ capacity }), { namespace });
      const queue = bus.queue<number>("queue");
      for (let i = 0; i < capacity; i++) await queue.putNowait(i);
      await assertRejects(() => queue.putNowait(-1), QueueFullError);
      const put = queue.put(capacity);
      assertEquals(await queue.get(), 0);
      await put;
      const rest = [];
      for (let i = 0; i < capacity; i++) rest.push(await queue.get({ timeout: 5_000 }));
      assertEquals(rest, numbers(capacity + 1).slice(1));
      await queue.free();
    }
  });
});

describe("an item that moves into the kernel's queue", () => {
  it("is not a file with another name", async () => {
    using bus = await HandmadeBus.open(fresh());
    const { directories, names, overflow } = bus.internals;
    const name = names.queue("queue");
    const moving = movingDirectory(name);
    directories.within(moving, () => directories.symlink("x", `${moving}/x`));
    assertEquals([directories.list(moving), overflow.moving(name)], [["x"], 0]);
    directories.unlink(`${moving}/x`);
    directories.prune(moving);
  });

  it("is delivered once, however long its bus pauses", async () => {
    const namespace = fresh();
    using bus = await HandmadeBus.open(namespace);
    using other = await HandmadeBus.open(namespace);
    const { names, posix, queues } = bus.internals;
    const name = names.queue("queue");
    queues.use(name, [{ messages: 2, size: 128 }]);
    const [leases, theirs] = [new Leases(bus.internals, bus.busName), new Leases(other.internals, other.busName)];
    const receipt = leases.hold(name, leases.key(), writeItem("item", false), 0, 60_000);
    const { now, send } = posix;
    const found = new ItemBatch<Delivery>(10);
    posix.send = (...args) => {
      const sent = send.apply(posix, args);
      posix.now = () => now.call(posix) + 3_600_000;
      theirs.take(name, found, undefined, () => "item");
      posix.now = now;
      return sent;
    };
    try {
      assertEquals(leases.giveBack(name, [receipt], 0, true), [true]);
    } finally {
      posix.send = send;
    }
    assertEquals(found.items, []);
    assertEquals(posix.attributes(queues.use(name)!.descriptor)!.current, 1);
    posix.unlinkQueue(name);
    bus.internals.directories.remove(queueDirectory(name));
    bus.internals.directories.prune("queues");
  });

  it("comes back if its bus ends before it is sent, also if the process lives", async () => {
    const namespace = fresh();
    using bus = await HandmadeBus.open(namespace);
    using other = await HandmadeBus.open(namespace);
    const { directories, names } = bus.internals;
    const name = names.queue("queue");
    const leases = new Leases(bus.internals, bus.busName);
    const receipt = leases.hold(name, leases.key(), writeItem("item", false), 0, 60_000);
    const moving = `${queueDirectory(name)}/moving`;
    const to = `${moving}/${receipt}`;
    directories.within(moving, () => directories.rename(`${queueDirectory(name)}/held/${receipt}`, to));
    const theirs = new Leases(other.internals, other.busName);
    assertEquals(theirs.due(name), []);
    bus.remove();
    await until("it comes back", () => theirs.due(name).length === 1);
    directories.remove(queueDirectory(name));
    directories.prune("queues");
  });
});

describe("a batch with an item that cannot be given back", () => {
  it("is given back as a whole in the end, in its order", async () => {
    const namespace = fresh();
    await using bus = await Bus.open(ipc(), { namespace });
    await bus.queue("queue").put("later");
    using mine = await HandmadeBus.open(namespace);
    const { names, posix } = mine.internals;
    const name = names.queue("queue");
    const leases = new Leases(mine.internals, mine.busName);
    const receipts = ["a", "b", "c"].map((text) =>
      leases.hold(name, leases.key(), writeItem(JSON.stringify(text), false), 0, 60_000)
    );
    const { rename } = posix;
    posix.rename = (from, to, ...at) =>
      to.includes(receipts[2]!.slice(0, 23)) ? -Errno.ENOSPC : rename.call(posix, from, to, ...at);
    try {
      await assertRejects(async () => void await leases.giveBack(name, receipts, 0, true), ProviderError, "no space");
    } finally {
      posix.rename = rename;
    }
    const queue = bus.queue<string>("queue");
    await until("all are back", async () => await queue.qsize() === 4);
    const got = [];
    for (let i = 0; i < 4; i++) got.push(await queue.get({ timeout: 5_000 }));
    assertEquals(got, ["a", "b", "c", "later"]);
    await queue.free();
  });
});

describe("the limit of queues", () => {
  it("is raised to the hard one, and beyond it only with `raiseLimit` and the permission", async () => {
    const posix = await loadPosix();
    const MSGQUEUE = 12;
    const before = posix.limit(MSGQUEUE) as { soft: number; hard: number };
    if (before.hard < Infinity) assertEquals(posix.setLimit(MSGQUEUE, before.hard / 2, before.hard), 0);
    await (await Bus.open(ipc(), { namespace: fresh() })).close();
    assertEquals(posix.limit(MSGQUEUE), { soft: before.hard, hard: before.hard });
    try {
      await (await Bus.open(ipc({ raiseLimit: true }), { namespace: fresh() })).close();
      assertEquals(posix.limit(MSGQUEUE), { soft: Infinity, hard: Infinity });
      posix.setLimit(MSGQUEUE, before.hard, before.hard);
    } catch (error) {
      assert(error instanceof ProviderError && error.code === "denied", String(error));
      assertMatch(error.message, /CAP_SYS_RESOURCE/);
    }
  });
});
