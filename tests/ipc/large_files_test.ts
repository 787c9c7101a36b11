/** Files that are larger than a bus reads: another member of a group may write any file. */
// run: on deno, kernel-queues
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import {
  closeSync,
  existsSync,
  ftruncateSync,
  linkSync,
  mkdirSync,
  openSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import process from "node:process";
import { Bus } from "../../src/bus.ts";
import { BusError } from "../../src/errors.ts";
import { CrashSlot } from "../../src/providers/ipc/crash_slot.ts";
import { writeItem } from "../../src/providers/ipc/frames.ts";
import { ItemReceiver } from "../../src/providers/ipc/item_receiver.ts";
import { Leases } from "../../src/providers/ipc/leases.ts";
import { Moves } from "../../src/providers/ipc/moves.ts";
import { hashed, MAX_PATTERN } from "../../src/providers/ipc/names.ts";
import type { Settings } from "../../src/providers/ipc/namespace.ts";
import type { PollLoop } from "../../src/providers/ipc/poll_loop.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { assertLargestHeaders, assertLongLetter } from "../support/long_items.ts";
import { until } from "../support/until.ts";
import { busesOf, fresh, HandmadeBus, KernelQueue } from "./ground.ts";

/** Bytes of each file. It has no blocks, so it needs no memory. */
const SIZE = 10 * 2 ** 30;
const MAX_RECEIVE = 1_000_000;

function plant(path: string): void {
  const file = openSync(path, "wx", 0o600);
  ftruncateSync(file, SIZE);
  closeSync(file);
}

describe("a file that is larger than maxReceive", () => {
  it("is read if it is an item with the largest headers", () => assertLargestHeaders(ipc()));

  it("is never a dead letter: if a letter would be too large to be read, its item is put in its place", () =>
    assertLongLetter(ipc()));
});

describe("items of 9 MiB", () => {
  it("are received and shown two at once, in their order", async () => {
    const namespace = fresh();
    await using bus = await Bus.open(ipc(), { namespace });
    const queue = bus.queue<string>("queue");
    for (const i of [1, 2, 3]) await queue.put(i + "x".repeat(9 * 2 ** 20));
    const numbers = (texts: readonly string[]) => texts.map((text) => parseInt(text.replace('"', "")));
    const shown = async (offset: number) => (await queue.peek({ limit: 64, offset })).map(({ item }) => item!);
    assertEquals([numbers(await shown(0)), numbers(await shown(2))], [[1, 2], [3]]);
    using own = await HandmadeBus.open(namespace);
    const { internals, busName } = own;
    const moves = new Moves(internals, busName);
    const leases = new Leases(internals, busName, moves);
    const crashSlot = new CrashSlot(internals, busName);
    const [loop, { messageSize }] = [{ closed: false } as PollLoop, ipc().options as Settings];
    const throws = (error: unknown) => {
      throw error;
    };
    const receiver = new ItemReceiver(internals, busName, moves, leases, crashSlot, loop, messageSize, throws);
    const receipts: string[] = [];
    const take = async (lease?: number) => {
      const taken = await receiver.receive("queue", { max: 64, wait: 0, lease, signal: new AbortController().signal });
      receipts.push(...taken.map(({ receipt }) => receipt));
      return numbers(taken.map(({ body }) => body));
    };
    assertEquals([await take(60_000), await take(60_000)], [[1, 2], [3]]);
    leases.giveBack(internals.names.queue("queue"), receipts, 1, true);
    await until("their delay is over", async () => await queue.qsize() === 3);
    assertEquals([await take(), await take()], [[1, 2], [3]]);
    receiver.close();
    crashSlot.close();
    await queue.free();
  });
});

describe("a file of 10 GiB", () => {
  it("is not read, as an event, an item or the body of an item; the next ones arrive, and items are put aside", async () => {
    const namespace = fresh();
    await using bus = await Bus.open(ipc(), { namespace, maxReceive: MAX_RECEIVE });
    const errors: string[] = [];
    bus.addEventListener("error", ({ error }) => errors.push(String(error)));
    const seen: unknown[] = [];
    await bus.subscribe("topic", (event) => void seen.push(event)).ready;
    const queue = bus.queue<string>("queue");
    await queue.put("first");
    await (await queue.receive()).nack({ delay: 1 });
    await until("its delay is over", async () => (await queue.stats()).delayed === 0);
    const [busName] = await busesOf(namespace);
    const own = `/dev/shm/${namespace}/loops/${busName}`;
    const state = `/dev/shm/${namespace}/queues/pymq_${namespace}_queue`;
    const names = Array.from({ length: 4 }, () => crypto.randomUUID());
    mkdirSync(`${state}/bodies`, { mode: 0o700 });
    plant(`${own}/${names[0]}`);
    for (const name of names.slice(1)) plant(`${state}/bodies/${name}`);
    plant(`${state}/back/0000000000000000-000000.1.0.${busName}`);
    const before = process.memoryUsage().rss;
    {
      using events = await KernelQueue.named(`/${busName}`);
      assertEquals(events.put(`\x010:@36,\n${names[0]}`), 0);
      using kernel = await KernelQueue.open(namespace, "queue");
      const items = [names[1], names[2], '"second"', names[3], '"third"'];
      for (const item of items) {
        const text = item!.startsWith('"') ? item! : new TextDecoder().decode(writeItem(item!, true));
        assertEquals(kernel.put(text), 0);
      }
    }
    const got = [await queue.get({ timeout: 10_000 }), await queue.get({ timeout: 10_000 })];
    const lease = await queue.receive({ timeout: 10_000 });
    await lease.ack();
    assertEquals([...got, lease.item], ["first", "second", "third"]);
    await bus.publish("event", "topic");
    await until("the next event arrives", () => seen.length === 1);
    await until("each file is reported", () => errors.length >= 5);
    for (const error of errors) {
      assertMatch(error, /it has 10737418240 bytes, and this bus reads files of up to 2196608/);
    }
    const grown = process.memoryUsage().rss - before;
    assert(grown < 500e6, `memory has grown by ${grown} bytes`);
    assertEquals(await queue.stats(), { waiting: 0, leased: 0, delayed: 0 });
    for (const name of names.slice(1)) assert(existsSync(`${state}/bodies/${name}`), "the body of an item was removed");
    assertEquals(existsSync(`${own}/${names[0]}`), false);
    await queue.free();
    assertEquals(existsSync(state), false);
  });

  it("is not read as the crash slot of a bus that has ended", async () => {
    const namespace = fresh();
    using dead = await HandmadeBus.open(namespace);
    const name = dead.die();
    plant(`/dev/shm/${namespace}/loops/${name}/landing`);
    const before = process.memoryUsage().rss;
    await using bus = await Bus.open(ipc(), { namespace });
    assert(process.memoryUsage().rss - before < 500e6);
    assertEquals(existsSync(`/dev/shm/${namespace}/loops/${name}`), false);
    await bus.publish("event", "topic");
  });
});

describe("a file that needs less memory than its size", () => {
  it("is not read: one with holes, or with several names", async () => {
    const namespace = fresh();
    await using bus = await Bus.open(ipc(), { namespace });
    const errors: string[] = [];
    bus.addEventListener("error", ({ error }) => errors.push(String(error)));
    const seen: unknown[] = [];
    await bus.subscribe("topic", (event) => void seen.push(event)).ready;
    const [busName] = await busesOf(namespace);
    const own = `/dev/shm/${namespace}/loops/${busName}`;
    const [linked, link, sparse, whole] = Array.from({ length: 4 }, () => crypto.randomUUID());
    for (const name of [linked, sparse, whole]) writeFileSync(`${own}/${name}`, '5\ntopic"event"', { mode: 0o600 });
    linkSync(`${own}/${linked}`, `${own}/${link}`);
    truncateSync(`${own}/${sparse}`, 2 ** 26);
    using events = await KernelQueue.named(`/${busName}`);
    assertEquals(events.put(`\x010:@36,0:@36,0:@36,\n${link}${sparse}${whole}`), 0);
    await until("the file that tsmq could have written is read", () => seen.length > 0);
    assertEquals(seen, ["event"]);
    await until("the others are reported", () => errors.length === 2);
    for (const error of errors) assertMatch(error, /it has holes or several names/);
    unlinkSync(`${own}/${linked}`);
  });
});

describe("a pattern of more than 128 KiB", () => {
  it("is refused, and not read from a file of another process; nor is a binding", async () => {
    const namespace = fresh();
    await using bus = await Bus.open(ipc(), { namespace });
    const [most, more] = ["*".repeat(MAX_PATTERN), "*".repeat(MAX_PATTERN + 1)];
    const refusals = [
      bus.subscribe(more, () => {}, { pattern: true }),
      bus.subscribe("a".repeat(MAX_PATTERN / 2), () => {}, { group: "g" }),
    ];
    for (const subscription of refusals) {
      const refused = await assertRejects(() => subscription.ready, BusError, `and the limit is ${MAX_PATTERN}`);
      assertEquals(refused.code, "too_large");
    }
    await bus.subscribe(most, () => {}, { pattern: true }).ready;
    assertEquals(await bus.publish("event", "topic"), 1);
    const [busName] = await busesOf(namespace);
    const path = `/dev/shm/${namespace}/patterns/${busName}${hashed(more)}`;
    writeFileSync(path, more, { mode: 0o600 });
    assertEquals(await bus.publish("event", "topic"), 1);
    unlinkSync(path);
  });
});
