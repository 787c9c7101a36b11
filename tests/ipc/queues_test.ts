// run: on bun, kernel-queues
import { assert, assertEquals, assertNotEquals, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { ClosedError, ProviderError } from "../../src/errors.ts";
import { WeighedTextMap } from "../../src/internal/caches.ts";
import type { Receiver, ReceiverContext, Sender } from "../../src/provider/provider.ts";
import { Directories } from "../../src/providers/ipc/directories.ts";
import { Errno } from "../../src/providers/ipc/errno.ts";
import { loadPosix } from "../../src/providers/ipc/posix.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { openReceiver } from "../../src/providers/ipc/receiver.ts";
import { spy } from "../support/spy.ts";
import { until } from "../support/until.ts";
import { busesOf, fresh, HandmadeBus, left } from "./ground.ts";

describe("queues that a thread holds open", () => {
  it("are closed when there are many, except the one in use", async () => {
    using bus = await HandmadeBus.open(fresh());
    const { names, posix, queues } = bus.internals;
    const item = new TextEncoder().encode("item");
    const all = Array.from({ length: 70 }, (_, i) => names.queue(`${i}`));
    try {
      for (const name of all) {
        const { descriptor } = queues.use(name, [{ messages: 1, size: 128 }])!;
        assertEquals(posix.send(descriptor, item, item.length), 0);
      }
      const open = (posix.list("/proc/self/fd") as string[]).filter((descriptor) =>
        all.includes(String(posix.readLink(`/proc/self/fd/${descriptor}`)))
      );
      assert(open.length < all.length, `${open.length} are open`);
    } finally {
      for (const name of all) posix.unlinkQueue(name);
    }
  });
});

const LARGE = "x".repeat(1_000);

/** Runs both halves of a bus on this thread. */
async function both(
  play: (sender: Sender, receiver: Receiver, faults: unknown[]) => Promise<void>,
): Promise<void> {
  const namespace = fresh();
  const faults: unknown[] = [];
  const nothing = () => {};
  const context: ReceiverContext & { sendTimeout: number } = {
    namespace,
    options: ipc({ messageSize: 128 }).options,
    ...{
      connectTimeout: 5_000,
      maxReceive: Infinity,
      sendTimeout: 5_000,
      congested: false,
      arrived: 0,
      due: Infinity,
      origin: {},
    },
    ...{ inbox: nothing, state: nothing, gap: nothing, fault: (error: unknown) => void faults.push(error) },
    ask: () => Promise.reject(new Error("nobody")),
  };
  const [sender, receiver] = [await ipc({ messageSize: 128 }).open(context), await openReceiver(context)];
  const buses = await busesOf(namespace);
  try {
    await play(sender, receiver, faults);
  } finally {
    await sender.drop("queue");
    await receiver.close();
    await sender.close();
  }
  assertEquals(faults, []);
  assertEquals(await left(namespace, buses, ["queue"]), []);
}

/** Uses up all descriptors until it is disposed, so that files cannot be opened. */
async function noDescriptor(file = /./): Promise<Disposable> {
  const posix = await loadPosix();
  const { openDirectory, openFile } = posix;
  posix.openFile = (...args) => file.test(args[0]) ? -Errno.EMFILE : openFile.apply(posix, args);
  posix.openDirectory = (...args) => file.test(args[0]) ? -Errno.EMFILE : openDirectory.apply(posix, args);
  return { [Symbol.dispose]: () => void Object.assign(posix, { openDirectory, openFile }) };
}

describe("an item whose file cannot be opened because no descriptor is left", () => {
  for (const lease of [undefined, 3_600_000]) {
    for (const back of [false, true]) {
      for (const body of [LARGE, "small"]) {
        if (!back && body === "small") continue; // has no file
        const what = `${body === LARGE ? "large" : body}${back ? ", back" : ""}${lease ? ", under a lease" : ""}`;
        it(`stays (${what})`, () =>
          both(async (sender, receiver) => {
            const { signal } = new AbortController();
            await sender.send("queue", body, { wait: 0 });
            if (back) {
              const [held] = await receiver.receive("queue", { max: 1, wait: 0, lease: 3_600_000, signal });
              await receiver.settle("queue", [held!.receipt], "nack", 1);
            }
            const take = (wait: number) => receiver.receive("queue", { max: 1, wait, lease, signal });
            await until("it is there", async () => await sender.size("queue") === 1);
            {
              using _ = await noDescriptor();
              const error = await assertRejects(() => take(0), ProviderError, "no descriptor left");
              assertEquals(error.code, "unavailable");
            }
            assertEquals((await take(10_000)).map(({ body }) => body), [body]);
            assertEquals(await sender.size("queue"), 0);
          }));
      }
    }
  }
});

describe("receive()", () => {
  for (const lease of [undefined, 3_600_000]) {
    for (const what of ["its signal aborts", "the receiver closes"]) {
      it(`takes nothing once ${what}${lease ? " (under a lease)" : ""}`, () =>
        both(async (sender, receiver) => {
          const abort = new AbortController();
          const { signal } = abort;
          await sender.send("queue", "first", { wait: 0 });
          assertEquals((await receiver.receive("queue", { max: 1, wait: 0, signal })).length, 1);
          const waiting = receiver.receive("queue", { max: 1, wait: 10_000, lease, signal });
          if (what === "its signal aborts") abort.abort();
          else void receiver.close();
          await sender.send("queue", "second", { wait: 0 });
          assertEquals(await waiting, []);
          assertEquals(await sender.size("queue"), 1);
        }));
    }
  }
});

describe("a closing receiver", () => {
  it("rejects subscriptions", () =>
    both(async (sender, receiver) => {
      const closed = receiver.close();
      await assertRejects(
        () => receiver.subscribe({ topic: "late", pattern: false, serves: false }, () => {}),
        ClosedError,
      );
      await closed;
      assertEquals(await sender.publish("late", "event"), 0);
    }));
});

describe("attempts", () => {
  it("count starts, not receives: a nack and an expired lease with a start count, and giving back untried does not", () =>
    both(async (sender, receiver) => {
      const { signal } = new AbortController();
      const posix = await loadPosix();
      const take = async (lease = 3_600_000) => {
        const [held] = await receiver.receive("queue", { max: 1, wait: 10_000, lease, signal });
        const { receipt, attempt, unconfirmed, body } = held!;
        assertEquals(body, "item");
        return { receipts: [receipt], told: unconfirmed ? [attempt, "unconfirmed"] : [attempt] };
      };
      const back = async (outcome: "nack" | "untried", told: unknown[], start: boolean, delay = 0) => {
        const taken = await take();
        assertEquals(taken.told, told);
        if (start) assertEquals(await receiver.start!("queue", taken.receipts), [true]);
        assertEquals(await receiver.extend("queue", taken.receipts, 3_600_000), [true]);
        assertEquals(await receiver.settle("queue", taken.receipts, outcome, delay), [true]);
        for (const late of ["ack", "nack", "untried"] as const) {
          assertEquals(await receiver.settle("queue", taken.receipts, late, 0), [false], `${late} after ${outcome}`);
        }
        assertEquals(await receiver.start!("queue", taken.receipts), [false]);
      };
      await sender.send("queue", "item", { wait: 0 });
      await back("untried", [1], false);
      await back("untried", [1], true);
      // PyMQ reads the item unchanged
      const queue = posix.openQueue(`/${receiver.inbox.slice(0, receiver.inbox.indexOf("$"))}queue`);
      const message = new Uint8Array(128);
      const length = posix.receive(queue, message);
      assertEquals(new TextDecoder().decode(message.subarray(0, length)), "item");
      assertEquals(posix.send(queue, message, length), 0);
      posix.close(queue);
      await back("untried", [1], false, 10);
      await back("nack", [1], false);
      await back("nack", [2], true, 10);
      const first = await take(20); // nobody starts it
      await back("untried", [3, "unconfirmed"], false);
      await back("untried", [3, "unconfirmed"], true);
      await back("untried", [3, "unconfirmed"], true, 10);
      assertEquals(await receiver.start!("queue", first.receipts), [false]);
      const started = await take(20);
      await receiver.start!("queue", started.receipts);
      await back("untried", [4, "unconfirmed"], true);
      const last = await take();
      assertEquals(last.told, [4, "unconfirmed"]);
      assertEquals(await receiver.settle("queue", started.receipts, "ack", 0), [false]);
      assertEquals(await receiver.settle("queue", last.receipts, "ack", 0), [true]);
    }));
});

describe("items that are given back", () => {
  it("keep their order, in the kernel queue and in files", () =>
    both(async (sender, receiver) => {
      const { signal } = new AbortController();
      const send = async (bodies: string) => {
        for (const body of bodies) await sender.send("queue", body, { wait: 0 });
      };
      const take = async (max: number, bodies: string) => {
        const deliveries = await receiver.receive("queue", { max, wait: 0, lease: 3_600_000, signal });
        assertEquals(deliveries.map(({ body }) => body).join(""), bodies);
        return deliveries.map(({ receipt }) => receipt);
      };
      const giveBack = (receipts: string[]) => receiver.settle("queue", receipts, "untried", 0);
      await send("abcdef");
      await giveBack(await take(6, "abcdef"));
      await giveBack(await take(2, "ab"));
      const held = await take(6, "abcdef");
      await send("ghijklm");
      await giveBack(held); // the kernel queue has room for three of them
      await giveBack(await take(2, "ab"));
      await take(13, "abcdefghijklm");
      // some of them were messages, some were in the overflow
      await send("ABCDEFGHIJKLMNOPQRSTUVWXYZ");
      await giveBack(await take(24, "ABCDEFGHIJKLMNOPQRSTUVWX"));
      await take(26, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
    }));
});

describe("items that arrive too late", () => {
  const ITEMS = ["first", LARGE, "second"];
  const cases: [name: string, calls: ("createFile" | "symlink")[], puts: number][] = [
    ["without room for files, while the kernel queue is full", ["createFile"], 10],
    ["without room for files and links", ["createFile", "symlink"], 0],
  ];
  for (const [name, calls, puts] of cases) {
    it(`go back in their order, large ones too: ${name}`, () =>
      both(async (sender, receiver) => {
        const { signal } = new AbortController();
        for (const body of ITEMS) await sender.send("queue", body, { wait: 0 });
        const deliveries = await receiver.receive("queue", { max: 3, wait: 0, signal });
        const later = Array.from({ length: puts }, (_, i) => `later ${i}`);
        for (const body of later) await sender.send("queue", body, { wait: 0 });
        const posix = await loadPosix();
        const property = { configurable: true, value: () => -Errno.ENOSPC };
        for (const call of calls) Object.defineProperty(posix, call, property);
        try {
          await receiver.restore("queue", deliveries);
        } finally {
          for (const call of calls) Reflect.deleteProperty(posix, call);
        }
        const again = await receiver.receive("queue", { max: 3 + puts, wait: 0, signal });
        assertEquals(again.map(({ body }) => body), [...ITEMS, ...later]);
      }));
  }
});

describe("queues that were used once", () => {
  it("are forgotten when there are many", () =>
    both(async (_, receiver) => {
      const kept: unknown[] = [];
      const end = spy(WeighedTextMap.prototype, "set", kept);
      const { exists } = Directories.prototype;
      Directories.prototype.exists = () => true; // a queue whose directory does not exist needs no listings
      try {
        const { signal } = new AbortController();
        const take = (queue: string) => receiver.receive(queue, { max: 1, wait: 0, signal });
        await take("0");
        const once = kept.splice(0).length;
        await take("0");
        assertEquals(kept.splice(0).length, 0);
        for (let i = 1; i < 10_000; i++) await take(`${i}`);
        kept.splice(0);
        await take("0");
        assertEquals([kept.length, once > 0], [once, true]);
      } finally {
        end();
        Directories.prototype.exists = exists;
      }
    }));
});

describe("a queue with a recent put", () => {
  it("counts as read, also at the end of a second", async () => {
    using bus = await HandmadeBus.open(fresh());
    const { names, posix, queues } = bus.internals;
    const said: string[] = [];
    for (let round = 0; round < 5; round++) { // a busy machine does not disturb each of them
      const name = names.queue(`${round}`);
      const { descriptor } = queues.create(name, [{ messages: 1, size: 128 }]);
      await until("a second is almost over", () => Date.now() % 1_000 > 920);
      posix.send(descriptor, new Uint8Array(1), 1);
      said.push(queues.readers(name, 900));
      posix.unlinkQueue(name);
    }
    assert(said.includes("some"), said.join());
  });
});

describe("the eventfd of a worker", () => {
  it("is closed by the sender, so its number is not reused while the sender may write to it", () =>
    both(async (sender, receiver) => {
      const posix = await loadPosix();
      const eventfd = Number(/\.(\d+)\.[0-9a-f]+$/.exec(receiver.inbox)![1]);
      const target = () => String(posix.readLink(`/proc/self/fd/${eventfd}`));
      sender.waker!.wake(receiver.inbox);
      await receiver.close();
      assertEquals(target(), "anon_inode:[eventfd]");
      sender.waker!.wake(receiver.inbox); // main does not know yet that the worker has closed
      await sender.close();
      assertNotEquals(target(), "anon_inode:[eventfd]");
    }));
});

describe("an event whose subscribers cannot be listed because no descriptor is left", () => {
  const cases = [["by name", false, /subscribers/], ["by pattern", true, /patterns$/], [
    "by pattern",
    true,
    /patterns\//,
  ]];
  for (const [how, pattern, file] of cases as [string, boolean, RegExp][]) {
    it(`is refused (${how}, ${file})`, () =>
      both(async (sender, receiver) => {
        await receiver.subscribe({ topic: "topic", pattern, serves: false }, () => {});
        {
          using _ = await noDescriptor(file);
          await assertRejects(() => sender.publish("topic", "event"), ProviderError, "no descriptor left");
        }
        assertEquals(await sender.publish("topic", "event"), 1);
      }));
  }
});
