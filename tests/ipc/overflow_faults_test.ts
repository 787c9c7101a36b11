/** The overflow of queues, and the limits, when processes meet, pause or end at the worst moment, and without room. */
// run: on bun, kernel-queues
import { assertEquals, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { ProviderError } from "../../src/errors.ts";
import type { Receiver, ReceiverContext, Sender } from "../../src/provider/provider.ts";
import { Errno } from "../../src/providers/ipc/errno.ts";
import { writeItem } from "../../src/providers/ipc/frames.ts";
import { bodyDirectory, movingDirectory, queueDirectory } from "../../src/providers/ipc/items.ts";
import { Leases } from "../../src/providers/ipc/leases.ts";
import { eventsOf, probeOf } from "../../src/providers/ipc/names.ts";
import { loadPosix, type Posix } from "../../src/providers/ipc/posix.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { openReceiver } from "../../src/providers/ipc/receiver.ts";
import { finish } from "../../src/providers/ipc/walk.ts";
import { pause, until } from "../support/until.ts";
import { fresh, HandmadeBus } from "./ground.ts";

const LARGE = "x".repeat(10_000);
const { signal } = new AbortController();

function contextOf(namespace: string): ReceiverContext & { sendTimeout: number } {
  const nothing = () => {};
  return {
    namespace,
    options: ipc().options,
    ...{
      connectTimeout: 5_000,
      maxReceive: Infinity,
      sendTimeout: 5_000,
      congested: false,
      arrived: 0,
      due: Infinity,
      origin: {},
    },
    ...{ inbox: nothing, state: nothing, gap: nothing, fault: nothing },
    ask: () => Promise.reject(new Error("nobody")),
  };
}

/** Replaces a system call until it is disposed. `act` receives the real one. */
async function replaced<K extends "openQueue" | "poll" | "rename" | "send" | "unlink" | "write">(
  call: K,
  act: (real: Posix[K], ...args: Parameters<Posix[K]>) => number,
): Promise<Disposable> {
  const posix = await loadPosix();
  const real = posix[call].bind(posix) as Posix[K];
  const property = { configurable: true, writable: true, enumerable: true };
  Object.defineProperty(posix, call, {
    ...property,
    value: (...args: Parameters<Posix[K]>) => act(real, ...args),
  });
  return { [Symbol.dispose]: () => void Reflect.deleteProperty(posix, call) };
}

/** Runs both halves of a bus on this thread, beside a bus that does nothing by itself. */
async function play(
  act: (sender: Sender, receiver: Receiver, other: HandmadeBus, namespace: string) => Promise<void>,
): Promise<void> {
  const namespace = fresh();
  using other = await HandmadeBus.open(namespace);
  const context = contextOf(namespace);
  const [sender, receiver] = [await ipc().open(context), await openReceiver(context)];
  try {
    await act(sender, receiver, other, namespace);
  } finally {
    await sender.drop("queue");
    await receiver.close();
    await sender.close();
  }
}

describe("the overflow", () => {
  it("takes a put while the item before it is moved into the kernel's queue", () =>
    play(async (sender, receiver, other) => {
      const { directories, overflow, names } = other.internals;
      const name = names.queue("queue");
      await sender.send("queue", "0", { wait: 0 });
      const leases = new Leases(other.internals, other.busName);
      overflow.put(name, leases.key(), writeItem("1", false));
      const path = overflow.oldest(name)!.path;
      const to = `${movingDirectory(name)}/${leases.key()}.0.0.${other.busName}`;
      directories.within(movingDirectory(name), () => directories.rename(path, to));
      directories.prune(path.slice(0, path.lastIndexOf("/")));
      await sender.send("queue", "2", { wait: 0 });
      assertEquals(overflow.size(name, 9), 1);
      const back = to.replace("/moving/", "/back/");
      directories.within(`${queueDirectory(name)}/back`, () => directories.rename(to, back));
      await sender.send("queue", "3", { wait: 0 });
      const got = await receiver.receive("queue", { max: 4, wait: 0, signal });
      assertEquals(got.map(({ body }) => body), ["1", "0", "2", "3"]);
    }));

  for (const end of ["moved", "put back, because there is no room"]) {
    it(`is taken in order, though another bus that gets few turns moves an item, which is ${end}`, () =>
      play(async (sender, receiver, other) => {
        const { directories, names, overflow, posix, queues } = other.internals;
        const name = names.queue("queue");
        await sender.send("queue", "first", { wait: 0 });
        await receiver.receive("queue", { max: 1, wait: 0, signal }); // leaves an empty queue of the kernel
        const leases = new Leases(other.internals, other.busName);
        for (const body of ["0", "1", "2"]) overflow.put(name, leases.key(), writeItem(body, false));
        const { path } = overflow.oldest(name)!;
        const moving = `${movingDirectory(name)}/${leases.key()}.0.0.${other.busName}`;
        directories.within(movingDirectory(name), () => directories.rename(path, moving));
        let checks = 0;
        using _ = await replaced("poll", (real, fds, count, ms) => {
          if (++checks > 5) return real(fds, count, ms);
          if (checks < 5) return real(fds, count, 100);
          if (end !== "moved") return directories.rename(moving, path);
          const message = writeItem("0", false);
          posix.send(queues.use(name)!.descriptor, message, message.length);
          return directories.unlink(moving);
        });
        const got = await receiver.receive("queue", { max: 3, wait: 0, signal });
        assertEquals(got.map(({ body }) => body), ["0", "1", "2"]);
      }));
  }

  it("is taken in order, though it is removed and begins again while a bus takes its items", () =>
    play(async (sender, receiver, other) => {
      const { directories, names, overflow } = other.internals;
      const name = names.queue("queue");
      await sender.send("queue", "first", { wait: 0 });
      await receiver.receive("queue", { max: 1, wait: 0, signal }); // leaves an empty queue of the kernel
      const leases = new Leases(other.internals, other.busName);
      for (const body of ["0", "1"]) overflow.put(name, leases.key(), writeItem(body, false));
      let taken = 0;
      using _ = await replaced("rename", (real, from, ...to) => {
        const result = real(from, ...to);
        if (result < 0 || !from.includes("/over/") || ++taken !== 2) return result;
        directories.prune(from.slice(0, from.lastIndexOf("/"))); // another bus finds the page empty
        for (let i = 2; i < 16; i++) void sender.send("queue", `${i}`, { wait: 0 }); // some have no room in the kernel's queue
        return result;
      });
      const got = await receiver.receive("queue", { max: 16, wait: 0, lease: 60_000, signal });
      assertEquals(got.map(({ body }) => body), Array.from({ length: 16 }, (_, i) => `${i}`));
    }));

  it("waits for the kernel's queue that is created just before it is read", () =>
    play(async (sender, receiver) => {
      let looked = 0;
      {
        using _ = await replaced("openQueue", (real, name, create) => {
          const opened = real(name, create);
          // at the first look there is no queue; before the next step there is one, and overflow
          if (!create && name.endsWith("_queue") && looked++ === 0) {
            for (let i = 0; i < 12; i++) void sender.send("queue", `${i}`, { wait: 0 });
          }
          return opened;
        });
        const got = await receiver.receive("queue", { max: 12, wait: 5_000, signal });
        assertEquals(got.map(({ body }) => body), Array.from({ length: 12 }, (_, i) => `${i}`));
      }
    }));

  it("holds the items of two processes that have the same key", () =>
    play(async (_, receiver, other, namespace) => {
      using third = await HandmadeBus.open(namespace);
      const name = other.internals.names.queue("queue");
      const key = new Leases(other.internals, other.busName).key();
      for (const { internals } of [other, third]) internals.overflow.put(name, key, writeItem("item", false));
      const got = await receiver.receive("queue", { max: 3, wait: 0, signal });
      assertEquals(got.map(({ body }) => body), ["item", "item"]);
    }));

  it("rejects a get that has no room, and loses no item", () =>
    play(async (_, receiver, other) => {
      const { bodyFiles, names, overflow } = other.internals;
      const [name, leases] = [names.queue("queue"), new Leases(other.internals, other.busName)];
      for (const body of ["0", "1"]) {
        const file = bodyFiles.write(bodyDirectory(name), body, true);
        overflow.put(name, leases.key(), writeItem(file, true));
      }
      for (const lease of [undefined, 60_000]) {
        using _ = await replaced("rename", (real, from, to, ...at) =>
          to.includes("/held/") ? -Errno.ENOSPC : real(from, to, ...at));
        const error = await assertRejects(
          () =>
            receiver.receive("queue", { max: 1, wait: 5_000, lease, signal }),
          ProviderError,
          "no space",
        );
        assertEquals(error.code, "unavailable");
      }
      const got = await receiver.receive("queue", { max: 12, wait: 0, signal });
      assertEquals(got.map(({ body }) => body), ["0", "1"]);
    }));
});

describe("a get without a lease", () => {
  it("takes an item that is all in its link without room for a lease, unless another bus removes the link first", () =>
    play(async (_, receiver, other) => {
      const { names, overflow } = other.internals;
      const leases = new Leases(other.internals, other.busName);
      for (const body of ["0", "1", "2"]) overflow.put(names.queue("queue"), leases.key(), writeItem(body, false));
      using _full = await replaced("rename", () => -Errno.ENOSPC);
      const get = () => receiver.receive("queue", { max: 1, wait: 0, signal });
      assertEquals((await get()).map(({ body }) => body), ["0"]);
      let removed = 0;
      using _other = await replaced("unlink", (real, ...path) => {
        const result = real(...path);
        return removed++ === 0 ? -Errno.ENOENT : result;
      });
      assertEquals((await get()).map(({ body }) => body), ["2"]);
    }));

  it("keeps the body of an item that another bus gives back meanwhile", () =>
    play(async (_, receiver, other) => {
      const { bodyFiles, directories, names, overflow } = other.internals;
      const name = names.queue("queue");
      const file = bodyFiles.write(bodyDirectory(name), LARGE, true);
      overflow.put(name, new Leases(other.internals, other.busName).key(), writeItem(file, true));
      {
        using _ = await replaced("unlink", (real, path, ...at) => {
          if (!path.includes("/held/")) return real(path, ...at);
          directories.within(`${queueDirectory(name)}/back`, () =>
            directories.rename(path, path.replace("held", "back")));
          return -Errno.ENOENT;
        });
        assertEquals(await receiver.receive("queue", { max: 1, wait: 0, signal }), []);
      }
      await pause(20); // longer than the turn after which a body is removed
      const got = await receiver.receive("queue", { max: 1, wait: 5_000, signal });
      assertEquals(
        got.map(({ body }) =>
          body.length
        ),
        [LARGE.length],
      );
    }));
});

describe("a get that was cancelled after it took items", () => {
  it("gives them back without room for the file of a large one", () =>
    play(async (sender, receiver) => {
      const bodies = [LARGE, "small"];
      for (const body of bodies) await sender.send("queue", body, { wait: 0 });
      {
        using _ = await replaced("write", () => -Errno.ENOSPC);
        await receiver.restore("queue", await receiver.receive("queue", { max: 2, wait: 0, signal }));
      }
      const got = await receiver.receive("queue", { max: 2, wait: 5_000, signal });
      assertEquals(got.map(({ body }) => body), bodies);
    }));
});

describe("an item that could be neither sent nor put back into its place", () => {
  it("comes back", async () => {
    using bus = await HandmadeBus.open(fresh());
    const { directories, names, posix, queues } = bus.internals;
    const name = names.queue("queue");
    queues.use(name, [{ messages: 2, size: 128 }]);
    const leases = new Leases(bus.internals, bus.busName);
    const receipt = leases.hold(name, leases.key(), writeItem("item", false), 0, 60_000);
    {
      using _ = await replaced("send", () => -Errno.EAGAIN);
      using __ = await replaced(
        "rename",
        (real, from, ...to) => from.includes("/moving/") ? -Errno.ENOSPC : real(from, ...to),
      );
      leases.giveBack(name, [receipt], 0, true);
    }
    await until("it comes back", () => leases.due(name).length === 1);
    posix.unlinkQueue(name);
    finish(directories.remove(queueDirectory(name)));
    directories.prune("queues");
  });
});

describe("a bus that opens", () => {
  it("leaves no queue open while it waits for room, and removes a queue that showed the room of a killed process", async () => {
    const posix = await loadPosix();
    const probe = probeOf(posix.user, 0);
    posix.close(posix.openQueue(probe, { messages: 1, size: 64, mode: 0o600 }));
    const namespace = fresh();
    let refused = 0;
    let receiver: Receiver;
    {
      using _ = await replaced(
        "openQueue",
        (real, name, create) =>
          create && name.endsWith(".inbox") && refused < 6 ? (refused++, -Errno.EMFILE) : real(name, create),
      );
      receiver = await openReceiver(contextOf(namespace));
    }
    const open = (posix.list("/proc/self/fd") as string[]).map((each) =>
      String(posix.readLink(`/proc/self/fd/${each}`))
    );
    assertEquals(open.filter((target) => target.includes(namespace) && target.includes("$")).length, 2);
    assertEquals(posix.openQueue(probe), -Errno.ENOENT);
    await receiver.close();
  });
});

describe("a publisher", () => {
  it("reaches more full buses than it keeps queues open", async () => {
    const namespace = fresh();
    using bus = await HandmadeBus.open(namespace);
    const { directories, names, posix, processes, subscriptions } = bus.internals;
    const buses = Array.from({ length: 80 }, () => names.newBus(processes.self, 0));
    const queues = buses.map((each) => {
      directories.within("loops", () => directories.make(bus.internals.busDirectory(each)));
      subscriptions.subscribe("topic", each);
      return posix.openQueue(eventsOf(each), { messages: 1, size: 128, mode: 0o600, exclusive: true });
    });
    const waited: number[] = [];
    const ask = (_: string, argument: unknown) => {
      waited.push((argument as [descriptor: number])[0]);
      return Promise.reject(new Error("nobody"));
    };
    const sender = await ipc().open({ ...contextOf(namespace), ask });
    const buffer = new Uint8Array(128);
    try {
      assertEquals(await sender.publish("topic", "first"), buses.length);
      const second = [sender.publish("topic", "second"), sender.publish("topic", "third")];
      await until("it waits for all", () => waited.length >= buses.length);
      assertEquals(new Set(waited.slice(0, buses.length)).size, buses.length); // each by its own descriptor
      const counts = queues.map(() => 0);
      const read = () => queues.forEach((queue, i) => counts[i]! += Number(posix.receive(queue, buffer) > 0));
      await until("all have received the rest", () => (read(), counts.every((count) => count >= 2)));
      assertEquals(Math.max(...counts), 2);
      assertEquals(await Promise.all(second), [buses.length, buses.length]);
    } finally {
      await sender.close();
      for (const queue of queues) posix.close(queue);
      for (const each of buses) {
        posix.unlinkQueue(eventsOf(each));
        finish(directories.remove(bus.internals.busDirectory(each)));
        subscriptions.unsubscribe("topic", each);
      }
    }
  });
});
