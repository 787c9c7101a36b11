/** Names of items in shared directories that no bus can use: they are not UTF-8, their files are missing, or their bodies cannot be read. */
// run: on bun, kernel-queues
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { execFileSync } from "node:child_process";
import { countItems } from "../../src/providers/ipc/counts.ts";
import { CrashSlot } from "../../src/providers/ipc/crash_slot.ts";
import { Errno } from "../../src/providers/ipc/errno.ts";
import { writeItem } from "../../src/providers/ipc/frames.ts";
import { MAX_UNREADABLE } from "../../src/providers/ipc/item_batch.ts";
import { ItemReceiver } from "../../src/providers/ipc/item_receiver.ts";
import { movingDirectory, queueDirectory } from "../../src/providers/ipc/items.ts";
import { Leases } from "../../src/providers/ipc/leases.ts";
import { Moves } from "../../src/providers/ipc/moves.ts";
import { Peeker } from "../../src/providers/ipc/peeker.ts";
import type { PollLoop } from "../../src/providers/ipc/poll_loop.ts";
import type { Posix } from "../../src/providers/ipc/posix.ts";
import { ReturnedItems } from "../../src/providers/ipc/returned_items.ts";
import { Refill } from "../../src/providers/ipc/refill.ts";
import { pause } from "../support/until.ts";
import { calls, fresh, HandmadeBus } from "./ground.ts";

const QUEUE = "queue";
/** The name of an item that is older than all others. */
const FIRST = `${"0".repeat(16)}-000000.0.0.`;
/** More system calls than a pass needs. A loop without an end must fail the test, not stop it. */
const MANY = 5_000;

/** A bus, its refill, and the number of messages in the kernel's queue. */
interface Ground {
  readonly bus: HandmadeBus;
  readonly name: string;
  readonly put: (body: string) => void;
  readonly refill: () => void;
  readonly size: () => number;
}

async function play<T>(act: (ground: Ground) => T | Promise<T>): Promise<T> {
  using bus = await HandmadeBus.open(fresh());
  const { directories, names, overflow, posix, queues } = bus.internals;
  const name = names.queue(QUEUE);
  const { descriptor } = queues.hold(queues.use(name, [{ messages: 4, size: 128 }])!);
  const leases = new Leases(bus.internals, bus.busName);
  const faults: unknown[] = [];
  const moves = new Moves(bus.internals, bus.busName);
  const refill = new Refill(bus.internals, moves, () => leases.key(), (error) => faults.push(error));
  try {
    return await act({
      bus,
      name,
      put: (body) => void overflow.put(name, leases.key(), writeItem(body, false)),
      refill: () => {
        const { stat } = posix;
        let left = MANY;
        posix.stat = (...args) => {
          if (left-- === 0) throw new Error("the pass does not end");
          return stat.apply(posix, args);
        };
        try {
          refill.run();
        } finally {
          posix.stat = stat;
        }
        assertEquals(faults, []);
      },
      size: () => posix.attributes(descriptor)!.current,
    });
  } finally {
    posix.unlinkQueue(name);
    execFileSync("rm", ["-rf", directories.root]);
  }
}

/** Creates a link whose name ends with a byte that is not UTF-8. The functions of the runtimes write text only. */
function linkNotText(directory: string, start: string): void {
  execFileSync("sh", ["-c", 'ln -s x "$1/$2$(printf "\\377")"', "sh", directory, start]);
}

function digits(i: number): string {
  return String(i).padStart(16, "0");
}

describe("a name that is not UTF-8", () => {
  it("is in no listing, and one with the character U+FFFD is", () =>
    play(({ bus: { internals: { directories } } }) => {
      directories.make("top");
      directories.symlink("x", "top/\ufffd");
      linkNotText(directories.path("top"), "a");
      assertEquals(directories.list("top"), ["\ufffd"]);
    }));

  it("does not stop the moves into the kernel's queue, and hides no later item", () =>
    play(({ bus: { internals: { directories, overflow } }, name, put, refill, size }) => {
      put("item");
      const { path } = overflow.oldest(name)!;
      linkNotText(directories.path(path.slice(0, path.lastIndexOf("/"))), FIRST);
      overflow.refresh(name);
      refill();
      assertEquals(size(), 1);
    }));
});

describe("an item that can never be moved", () => {
  it("ends the pass of the moves", () =>
    play(({ bus: { internals: { posix } }, put, refill, size }) => {
      put("item");
      const { rename } = posix;
      posix.rename = () => -Errno.ENOENT;
      try {
        refill();
      } finally {
        posix.rename = rename;
      }
      assertEquals(size(), 0);
    }));
});

/** Returns a function that takes one item without a wait, and one that peeks at one. They return its body, if any. */
function readersOf({ internals, busName }: HandmadeBus): Record<"take" | "peek", () => Promise<string | undefined>> {
  const leases = new Leases(internals, busName);
  const [moves, slot] = [new Moves(internals, busName), new CrashSlot(internals, busName)];
  const loop = { closed: false } as PollLoop;
  const receiver = new ItemReceiver(internals, busName, moves, leases, slot, loop, 8_192, () => {});
  const peeker = new Peeker(internals, moves, leases, slot);
  const { signal } = new AbortController();
  return {
    take: async () => (await receiver.receive(QUEUE, { max: 1, wait: 0, lease: 60_000, signal }))[0]?.body,
    peek: () => Promise.resolve(peeker.peek(internals.names.queue(QUEUE), 0, 1)[0]?.body),
  };
}

/** Returns what `act` resolves with, and the number of calls of these methods while it runs until its first pause. */
async function counted<T>(posix: Posix, names: (keyof Posix)[], act: () => Promise<T>): Promise<[T, number]> {
  let result: Promise<T> | undefined;
  const made = calls(posix, names, () => void (result = act()));
  return [await result!, made];
}

describe("foreign files in a page of the overflow", () => {
  it("are not listed again at each check", () =>
    play(async ({ bus: { internals: { directories, overflow, posix } }, name }) => {
      const path = `${queueDirectory(name)}/over/0`;
      directories.make(path);
      directories.symlink("x", `${path}/foreign`);
      await pause(50); // names that have just changed are listed again
      const look = () => assertEquals(overflow.oldest(name), undefined);
      look();
      assertEquals(calls(posix, ["listPart"], look), 0);
    }));
});

describe("items that are being moved by buses that have paused, in several queues", () => {
  it("delay the takes from each queue once", () =>
    play(({ bus: { internals, busName } }) => {
      const { directories, names, posix, processes } = internals;
      const queues = Array.from({ length: 5 }, (_, i) => names.queue(`queue${i}`));
      const other = names.newBus({ ...processes.self, pidNamespace: 1 }, 0); // never looks dead
      directories.make(internals.busDirectory(other));
      for (const queue of queues) {
        directories.make(movingDirectory(queue));
        for (let i = 0; i < 256; i++) {
          directories.symlink("x", `${movingDirectory(queue)}/${digits(i)}-000000.0.0.${other}`);
        }
      }
      const moves = new Moves(internals, busName);
      const { poll } = posix;
      let polls = 0;
      posix.poll = () => ++polls;
      const settled = () => queues.map((queue) => moves.settle(queue));
      try {
        assertEquals(settled(), queues.map(() => true));
        polls = 0;
        assertEquals([settled(), polls], [queues.map(() => false), 0]);
      } finally {
        posix.poll = poll;
      }
    }));
});

describe("items that other buses begin to move at each look", () => {
  /** Returns the number of checks of one take, each of which takes `ms`, while `before` items are being moved already. */
  const checks = (ms: number, before: number) =>
    play(async ({ bus, name, put }) => {
      const { directories, names, overflow, posix, processes } = bus.internals;
      const other = names.newBus({ ...processes.self, pidNamespace: 1 }, 0); // never looks dead
      directories.make(bus.internals.busDirectory(other));
      directories.make(movingDirectory(name));
      put("item");
      const { poll } = posix;
      const { oldest } = overflow;
      let [polls, begun] = [0, 0];
      const begin = () => directories.symlink("x", `${movingDirectory(name)}/${digits(begun++)}-000000.0.0.${other}`);
      while (begun < before) begin();
      const { now } = performance;
      performance.now = () => now.call(performance) + polls * ms;
      posix.poll = () => ++polls;
      overflow.oldest = (queue) => {
        begin();
        return oldest.call(overflow, queue);
      };
      try {
        begin();
        await readersOf(bus).take();
      } finally {
        Object.assign(posix, { poll });
        Object.assign(overflow, { oldest });
        Object.assign(performance, { now });
      }
      return polls;
    });

  it("delay a take by a limited number of checks", async () => {
    const made = await checks(0, 0);
    assertEquals([made >= 200, made <= 400], [true, true], `${made} checks`);
  });

  it("delay a take by 2 s at most, however long a check takes", async () => {
    const made = await checks(50, 200);
    assertEquals([made > 10, made <= 40], [true, true], `${made} checks`);
  });

  it("delay no take if they are more than buses move, because each check would list them all", async () => {
    assertEquals(await checks(0, 257), 0);
  });
});

describe("the name of a body that is not a name of tsmq", () => {
  it("is not looked at when its item is moved", () =>
    play(({ bus: { internals: { directories, overflow } }, name, refill, size }) => {
      const paths: string[] = [];
      const { stat } = directories;
      directories.stat = (path) => {
        paths.push(path);
        return stat.call(directories, path);
      };
      overflow.put(name, `${digits(1)}-000000`, writeItem("../secret", true));
      try {
        refill();
      } finally {
        Object.assign(directories, { stat });
      }
      assertEquals([size(), paths.filter((path) => path.includes("secret"))], [1, []]);
    }));
});

describe("many items that were given back", () => {
  it("are looked at once", () =>
    play(async ({ bus: { internals }, name }) => {
      const count = 2_000;
      const path = `${queueDirectory(name)}/back`;
      internals.directories.make(path);
      for (let i = 0; i < count; i++) internals.directories.symlink("x", `${path}/${digits(i)}-000000.0.0.a`);
      await pause(50); // names that have just changed are listed again
      const returned = new ReturnedItems(internals);
      const { exec } = RegExp.prototype;
      let parsed = 0;
      RegExp.prototype.exec = function (text) {
        parsed++;
        return exec.call(this, text);
      };
      try {
        for (let i = 0; i <= count / 256; i++) returned.due(name);
      } finally {
        RegExp.prototype.exec = exec;
      }
      assertEquals([returned.due(name).length, parsed], [count, count]);
    }));
});

describe("items that can never be taken", () => {
  const COUNT = 3 * MAX_UNREADABLE;
  for (const directory of ["back", `later/${"0".repeat(10)}`]) {
    it(`in ${directory.slice(0, 5)} are tried a part at a time, and less and less often`, () =>
      play(async ({ bus, name }) => {
        const { directories, posix, queues } = bus.internals;
        const path = `${queueDirectory(name)}/${directory}`;
        directories.make(path);
        for (let i = 0; i < COUNT; i++) directories.symlink("x", `${path}/${digits(i)}-000000.0.0.a`);
        const message = writeItem("item", false);
        directories.make(`${queueDirectory(name)}/held`);
        posix.send(queues.use(name)!.descriptor, message, message.length);
        const { now, setModified } = posix;
        const start = posix.now() + 1; // their times are not later
        let later = 0;
        posix.now = () => start + later;
        let tries = 0;
        posix.setModified = () => {
          tries++;
          return -Errno.EACCES;
        };
        const { take } = readersOf(bus);
        const tried = async () => {
          tries = 0;
          return [await take(), tries] as const;
        };
        try {
          await pause(50); // names that have just changed are listed again
          const rounds: number[] = [];
          let body: string | undefined;
          for (let made; body === undefined; rounds.push(made)) [body, made] = await tried();
          assertEquals([body, rounds.length], ["item", COUNT / MAX_UNREADABLE + 1]);
          assertEquals(rounds.every((made) => made <= 2 * MAX_UNREADABLE), true, `${rounds}`);
          for (let ms = 10; ms <= 160; ms *= 2) {
            assertEquals(await tried(), [undefined, 0]);
            later += ms;
            for (let i = 0; i < COUNT / MAX_UNREADABLE; i++) assertEquals((await tried())[1] > 0, true);
          }
        } finally {
          Object.assign(posix, { now, setModified });
        }
      }));
  }
});

describe("many queues", () => {
  it("are looked at for a limited time at once by the moves into the kernel's queues", () =>
    play(({ bus: { internals }, refill }) => {
      const { directories, names, posix } = internals;
      const queues = 200;
      for (let i = 0; i < queues; i++) directories.make(`${queueDirectory(names.queue(`queue${i}`))}/later/9999999999`);
      const { now } = performance;
      const { stat } = posix;
      let later = 0;
      performance.now = () => now.call(performance) + later;
      posix.stat = (...args) => {
        later++;
        return stat.apply(posix, args);
      };
      try {
        const stats = [0, 0].map(() => {
          const before = later;
          refill();
          return later - before;
        });
        assertEquals(stats.every((made) => made > 1 && made < queues), true, `${stats}`);
      } finally {
        performance.now = now;
        posix.stat = stat;
      }
    }));
});

describe("an item that is being moved all the time", () => {
  it("does not keep a count for longer than a second", () =>
    play(async ({ bus: { internals, busName }, name }) => {
      const { delayed, directories, names, processes } = internals;
      const other = names.newBus({ ...processes.self, pidNamespace: 1 }, 0); // never looks dead
      for (const path of [internals.busDirectory(other), movingDirectory(name)]) directories.make(path);
      directories.symlink("x", `${movingDirectory(name)}/${FIRST}${other}`);
      const { now } = performance;
      let [later, counts] = [0, 0];
      performance.now = () => now.call(performance) + later;
      const { counts: count } = delayed;
      delayed.counts = (...args) => {
        counts++;
        later += 400;
        return count.apply(delayed, args);
      };
      try {
        assertEquals(await countItems(internals, new Leases(internals, busName), name), {
          waiting: 1,
          leased: 0,
          delayed: 0,
        });
        assertEquals(counts > 0 && counts <= 3, true, `${counts} counts`);
      } finally {
        performance.now = now;
      }
    }));
});

describe("items that cannot be read", () => {
  const COUNT = 3 * MAX_UNREADABLE;
  for (const directory of ["over/0", "back", `later/${"0".repeat(10)}`]) {
    it(`in ${directory.slice(0, 5)} are removed a part at a time, and do not make a bus list them again for each`, () =>
      play(async ({ bus, name, put }) => {
        const { directories, overflow, posix } = bus.internals;
        const path = `${queueDirectory(name)}/${directory}`;
        const create = (i: number) => directories.symlink("x", `${path}/${digits(i)}-000000.0.0.a`);
        directories.make(path);
        for (let i = 0; i < COUNT; i++) assertEquals(create(i), 0);
        put("item");
        overflow.refresh(name);
        const { take } = readersOf(bus);
        let [listed, most, takes, body] = [0, 0, 0, undefined as string | undefined];
        for (; takes < 10 && body === undefined; takes++) {
          let renamed = 0;
          let lists = 0;
          [[body, renamed], lists] = await counted(posix, ["listPart"], () => counted(posix, ["rename"], take));
          most = Math.max(most, renamed);
          listed += lists;
        }
        assertEquals([body, takes], ["item", COUNT / MAX_UNREADABLE + 1]);
        assertEquals([most <= MAX_UNREADABLE + 2, listed <= 60], [true, true], `${most} renames, ${listed} lists`);
      }));
  }

  it("in the kernel's queue do not occupy a bus, though another process puts more meanwhile", () =>
    play(async ({ bus, name }) => {
      const { posix, queues } = bus.internals;
      const { descriptor } = queues.use(name)!;
      const { receive } = posix;
      const message = writeItem("missing", true);
      posix.send(descriptor, message, message.length);
      let received = 0;
      posix.receive = (...args) => {
        if (++received > MANY) throw new Error("the take does not end");
        const length = receive.apply(posix, args);
        posix.send(descriptor, message, message.length);
        return length;
      };
      try {
        assertEquals([await readersOf(bus).take(), received], [undefined, MAX_UNREADABLE]);
      } finally {
        posix.receive = receive;
      }
    }));

  it("end a peek after a number of them", () =>
    play(async ({ bus, name }) => {
      const { directories, posix } = bus.internals;
      const path = `${queueDirectory(name)}/over/0`;
      directories.make(path);
      for (let i = 0; i < COUNT; i++) directories.symlink("x", `${path}/${digits(i)}-000000.0.0.a`);
      assertEquals(await counted(posix, ["readLinkBytes"], readersOf(bus).peek), [undefined, MAX_UNREADABLE]);
    }));
});
