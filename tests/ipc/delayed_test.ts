/** Delayed items and items that are shown, over the kernel's queues and files. */
// run: on bun, waiting, kernel-queues
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { rmSync } from "node:fs";
import { Bus } from "../../src/bus.ts";
import { QueueEmptyError } from "../../src/errors.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { Peer } from "../support/peer.ts";
import { pause, until } from "../support/until.ts";
import { busesOf, calls, fresh, KernelQueue, left, openNamespace } from "./ground.ts";

const PEER = new URL("delayed_peer.ts", import.meta.url);

async function drain(bus: Bus, queue: string): Promise<number[]> {
  const items: number[] = [];
  try {
    while (true) items.push(await bus.queue<number>(queue).get({ timeout: 0 }));
  } catch (error) {
    if (!(error instanceof QueueEmptyError)) throw error;
  }
  return items;
}

/** Starts a process that repeats an operation, and kills it. */
async function killed(namespace: string, what: "peek" | "take"): Promise<void> {
  const peer = Peer.start(PEER, { args: [namespace, what] });
  await peer.next();
  await pause(Math.random() * 20);
  await peer.kill();
}

describe("a delayed item", () => {
  it("survives the death of every process, and is taken in the order of its time", async () => {
    const namespace = fresh();
    const peer = Peer.start(PEER, { args: [namespace, "put"] });
    await peer.next();
    await peer.kill(); // it was the only process
    const bus = await Bus.open(ipc(), { namespace });
    const queue = bus.queue<number | string>("later");
    const { waiting = 0, leased, delayed = 0 } = await queue.stats();
    assertEquals([waiting + delayed, leased], [3, 0]);
    const got = [];
    for (let i = 0; i < 3; i++) got.push(await queue.get({ timeout: 20_000 }));
    assertEquals(got, [1, "x".repeat(20_000), 3]);
    await queue.free();
    const buses = await busesOf(namespace);
    await bus.close();
    assertEquals(await left(namespace, buses, ["later"]), []);
  });

  it("reaches PyMQ when its time has come, in the order of the times, before the items that wait", async () => {
    const namespace = fresh();
    await using bus = await Bus.open(ipc(), { namespace });
    const queue = bus.queue<number>("queue");
    for (let i = 0; i < 3; i++) await queue.put(10 + i);
    const start = performance.now();
    for (const i of [2, 1, 0]) await queue.put(i, { delay: 300 + 300 * i });
    using pymq = await KernelQueue.open(namespace, "queue");
    await until("all are there", () => pymq.size === 6);
    const waited = performance.now() - start;
    assert(waited >= 899, `an item was there after ${waited} ms`);
    assertEquals(await queue.qsize(), 6);
    assertEquals(Array.from({ length: 6 }, () => Number(pymq.get())), [0, 1, 2, 10, 11, 12]);
    await queue.free();
  });

  it("is taken behind those that were due earlier and are in the kernel's queue already", async () => {
    const namespace = fresh();
    await using bus = await Bus.open(ipc(), { namespace });
    const queue = bus.queue<number>("queue");
    await queue.put(2);
    await queue.put(0, { delay: 100 });
    await queue.put(1, { delay: 1_500 });
    using pymq = await KernelQueue.open(namespace, "queue");
    await until("the first one is there", () => pymq.size === 2);
    // no pass of a bus has moved the second one yet
    while ((await queue.qsize()) < 3) await pause(1);
    const leases = [await queue.receive(), await queue.receive()];
    assertEquals([...leases.map(({ item }) => item), ...await drain(bus, "queue")], [0, 1, 2]);
    for (const lease of leases) await lease.ack();
    await queue.free();
  });

  it("is found in its order among more than are kept, without a list for each", async () => {
    const namespace = fresh();
    const ours = await openNamespace(namespace);
    const { delayed, directories, names, posix } = ours;
    const [queue, count] = [names.queue("queue"), 40_000];
    const pathOf = (i: number) => `queues${queue}/later/0000000000/${String(i).padStart(16, "0")}-000000.0.0.x`;
    directories.make(pathOf(0).slice(0, pathOf(0).lastIndexOf("/")));
    for (let i = 0; i < count; i++) directories.symlink("x", pathOf(i));
    let [taken, rounds] = [0, 0];
    const lists = calls(posix, ["listOpen"], () => {
      for (; rounds < count && taken < count; rounds++) {
        for (const { path } of delayed.due(queue, 10)) {
          if (path !== pathOf(taken)) return;
          directories.unlink(path);
          delayed.taken(queue);
          taken++;
        }
      }
    });
    assertEquals([taken, rounds], [count, count / 10]);
    assert(lists < rounds / 10, `${lists} lists for ${rounds} takes`);
    assertEquals(delayed.due(queue), []);
    ours.close();
    rmSync(`/dev/shm/${namespace}`, { recursive: true, force: true });
  });

  it("is not lost if the process that receives it is killed", async () => {
    const namespace = fresh();
    await using bus = await Bus.open(ipc(), { namespace });
    const queue = bus.queue<number>("queue");
    for (let i = 0; i < 200; i++) await queue.put(i, { delay: 1 + 5 * i });
    for (let round = 0; round < 2; round++) await killed(namespace, "take");
    const items = new Set<number>();
    while (items.size < 200) {
      const lease = await queue.receive({ timeout: 20_000 });
      items.add(lease.item);
      await lease.ack();
    }
    await queue.free();
  });
});

describe("peek()", () => {
  it("shows items of all places in the order in which they are taken, and leaves them in the kernel's queue", async () => {
    const namespace = fresh();
    await using bus = await Bus.open(ipc(), { namespace });
    const queue = bus.queue<number | string>("queue");
    const large = "x".repeat(9_000);
    await queue.put(large);
    for (let i = 0; i < 30; i++) await queue.put(i);
    const expired = await queue.receive(); // given back with a delay, it stays a file
    await expired.nack({ delay: 1 });
    await until("it is back", async () => (await queue.stats()).waiting === 31);
    const all = [large, ...Array.from({ length: 30 }, (_, i) => i)];
    for (let i = 0; i < 3; i++) assertEquals((await queue.peek({ limit: 100 })).map(({ item }) => item), all);
    assertEquals((await queue.peek({ limit: 2, offset: 9 })).map(({ item }) => item), [8, 9]);
    assertEquals((await queue.stats()).waiting, 31);
    {
      using pymq = await KernelQueue.open(namespace, "queue");
      assert(pymq.size >= 9, `${pymq.size} messages`);
    }
    assertEquals(await drain(bus, "queue"), all);
    await queue.free();
  });

  it("loses nothing when its process is killed at any moment, and redelivers at most the item that it was sending back", async () => {
    const namespace = fresh();
    await using bus = await Bus.open(ipc(), { namespace });
    const queue = bus.queue<number>("queue");
    for (let i = 0; i < 25; i++) await queue.put(i);
    const rounds = 6;
    for (let round = 0; round < rounds; round++) await killed(namespace, "peek");
    const items = await drain(bus, "queue");
    // a bus gives back what the dead one has held
    await until("all are there", async () => {
      items.push(...await drain(bus, "queue"));
      return new Set(items).size === 25;
    });
    assert(items.length <= 25 + rounds, `${items}`);
    await queue.free();
  });
});
