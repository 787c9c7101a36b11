/** Members of a group, who create many names in the directories of the namespace that they share with a user. */
// run: on deno, kernel-queues
import { assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { afterAll, describe, it } from "@std/testing/bdd";
import { mkdirSync, rmSync } from "node:fs";
import { Bus } from "../../src/bus.ts";
import { BusError } from "../../src/errors.ts";
import { MAX_BINDINGS } from "../../src/provider/bindings.ts";
import { IpcAdmin } from "../../src/providers/ipc/admin.ts";
import { cleanBriefly, Cleanup, OthersCleanup, removeBus, STEPS } from "../../src/providers/ipc/cleanup.ts";
import { countItems, countWaiting } from "../../src/providers/ipc/counts.ts";
import { bodyDirectory, queueDirectory } from "../../src/providers/ipc/items.ts";
import { Files, STRANGE_PARTS } from "../../src/providers/ipc/files.ts";
import { Leases } from "../../src/providers/ipc/leases.ts";
import { Moves } from "../../src/providers/ipc/moves.ts";
import { MQUEUE } from "../../src/providers/ipc/mqueues.ts";
import { hashed, MAX_BUSES, MAX_CACHED } from "../../src/providers/ipc/names.ts";
import { Namespace, type Settings } from "../../src/providers/ipc/namespace.ts";
import type { Posix } from "../../src/providers/ipc/posix.ts";
import { textSet } from "../../src/internal/text_map.ts";
import { MAX_IGNORED } from "../../src/providers/ipc/patterns.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { Refill } from "../../src/providers/ipc/refill.ts";
import { finish } from "../../src/providers/ipc/walk.ts";
import { skip } from "../support/skip.ts";
import { pause, until } from "../support/until.ts";
import { calls, fresh, openNamespace } from "./ground.ts";
import { Intruder, noIntruder } from "./intruders.ts";

const intruder = new Intruder();
const GROUP = intruder.group;
const TOPIC = "subscribers/topic";
/** The number of names that a member creates. Without a limit, each costs several system calls. */
const NAMES = 3_000;
const CALLS = ["stat", "openFile", "openQueue", "readLinkBytes", "rename", "unlink", "unlinkQueue"] as const;

/** The largest size of a map of members' names: a `LimitedMap` adds an entry before it removes one. */
const FEW = MAX_CACHED + 1;

/** Returns the number of bytes that are read from files while `act` runs. */
function bytesRead(posix: Posix, act: () => void): number {
  const { read } = posix;
  let bytes = 0;
  posix.read = (...args) => {
    const length = read.apply(posix, args);
    bytes += Math.max(0, length);
    return length;
  };
  try {
    act();
  } finally {
    posix.read = read;
  }
  return bytes;
}

/**
 * Returns the largest size of a `Map` or `Set` to which `act` adds a string. Members choose names with one hash, and each access takes as many
 * steps as there are such names.
 */
async function largestMap(act: () => unknown): Promise<number> {
  const [{ set }, { add }] = [Map.prototype, Set.prototype];
  let largest = 0;
  const count = (key: unknown, size: number) => {
    if (typeof key === "string") largest = Math.max(largest, size);
  };
  Map.prototype.set = function (key, value) {
    set.call(this, key, value);
    count(key, this.size);
    return this;
  };
  Set.prototype.add = function (value) {
    add.call(this, value);
    count(value, this.size);
    return this;
  };
  try {
    await act();
  } finally {
    Map.prototype.set = set;
    Set.prototype.add = add;
  }
  return largest;
}

/** A namespace that a member of the group has flooded. */
interface Flooded {
  readonly name: string;
  readonly ours: Namespace;
  /** The number of requests for a cleanup. */
  readonly asked: () => number;
  intrude(what: string, ...args: (string | number)[]): Promise<void>;
}

describe("many names that a member of a group has created", () => {
  afterAll(() => intruder.end());
  const each = (title: string, act: (flooded: Flooded) => Promise<void>) => {
    if (noIntruder) return skip(title, noIntruder);
    it(title, async () => {
      const name = fresh();
      let asked = 0;
      const ours = await Namespace.open(ipc({ group: GROUP }).options as Settings, name, () => void asked++);
      ours.directories.make("loops");
      const intrude = async (what: string, ...args: (string | number)[]) => {
        await intruder.act(name, what, ...args);
        await pause(50); // names that have just changed are listed again
      };
      try {
        await act({ name, ours, asked: () => asked, intrude });
      } finally {
        ours.close();
        rmSync(`/dev/shm/${name}`, { recursive: true, force: true });
      }
    });
  };

  each("of dead subscribers and servers: one cleanup is asked for, and it removes them in parts", async (flooded) => {
    const { ours, asked, intrude } = flooded;
    const { directories, names, posix, subscriptions } = ours;
    const servers = names.servers("function");
    await intrude("create", MAX_BUSES, "link", `${TOPIC}/@`);
    await intrude("create", MAX_BUSES, "link", `${servers}/@`);
    const left = () => directories.list(TOPIC).length + directories.list(servers).length;
    assertEquals(left(), 2 * MAX_BUSES);
    assertEquals([subscriptions.route("topic").destinations, asked()], [[], 1]);
    assertEquals([subscriptions.servers("function"), asked()], [[], 2]);
    const cleanup = new Cleanup(ours);
    cleanup.ask();
    let most = 0;
    await until("all are removed", () => {
      most = Math.max(most, calls(posix, ["unlink", "unlinkQueue", "openFile"], () => cleanup.run()));
      return left() === 0;
    });
    assertEquals(most > 0 && most <= MAX_BUSES, true, `${most} calls at once`);
    cleanup.end();
  });

  each(
    "of more subscribers than there can be: publishes are refused until those of dead ones are removed",
    async (flooded) => {
      const { name, ours, intrude } = flooded;
      await using bus = await Bus.open(ipc({ group: GROUP }), { namespace: name });
      await bus.subscribe("topic", () => {}).ready;
      await bus.expose("function", () => "result");
      const rounds: [directory: string, act: () => Promise<unknown>, result: unknown][] = [
        [TOPIC, () => bus.publish("event", "topic"), 1],
        [ours.names.servers("function"), () => bus.stub("function")(), "result"],
      ];
      for (const [directory, act, result] of rounds) {
        await intrude("create", 4 * MAX_BUSES, "link", `${directory}/@`);
        const error = await assertRejects(act, BusError, `there are the names of more than ${MAX_BUSES} buses`);
        assertEquals(error.code, "busy");
        await until("they are removed", () => ours.directories.list(directory).length === 1);
        assertEquals(await act(), result);
      }
      assertEquals(bus.health().restarts, 0);
    },
  );

  each(
    "in the directory of patterns: foreign ones cost no call, and too many of buses stop publishes",
    async (flooded) => {
      const { ours, intrude } = flooded;
      const { directories, names, posix, processes, subscriptions } = ours;
      const bus = names.newBus(processes.self, 0);
      directories.make(ours.busDirectory(bus));
      subscriptions.patterns.subscribe("t*", bus, ours.busDirectory(bus));
      await intrude("create", 1_000, "file", `patterns/#${hashed("pattern")}`);
      const route = () => subscriptions.route("topic").destinations.length;
      assertEquals(route(), 1);
      assertEquals(calls(posix, ["stat", "openFile"], () => assertEquals(route(), 1)) < 10, true);
      await intrude("create", NAMES, "file", `patterns/@${hashed("pattern")}`);
      let made = 0;
      const read = () => subscriptions.patterns.read();
      const largest = await largestMap(() => made = calls(posix, ["stat", "openFile"], read));
      assertEquals([made < 1_000, largest <= FEW], [true, true], `${made} calls, ${largest} names`);
      const refused = assertThrows(route, BusError, `has more than ${MAX_IGNORED} files that cannot be read`);
      assertEquals(refused.code, "busy");
      await intrude("create", MAX_BINDINGS - NAMES, "file", `patterns/@${hashed("pattern")}`);
      for (const act of [route, () => subscriptions.patterns.subscribe("a*", bus, ours.busDirectory(bus))]) {
        const error = assertThrows(act, BusError, `has ${MAX_BINDINGS + 1} patterns of buses`);
        assertEquals(error.code, "busy");
      }
    },
  );

  /** The paths of the names that a member creates, and what the bus does then. */
  const cases: [title: string, path: (queue: string) => string, act: (ours: Namespace, queue: string) => () => void][] =
    [
      ["of queues", (queue) => `queues${queue}#/over/1/x`, (ours) => {
        const refill = new Refill(ours, new Moves(ours, "bus"), () => "", (error) => assertEquals(error, undefined));
        return () => refill.run();
      }],
      ["of no bus beside subscribers", () => `${TOPIC}/#`, ({ subscriptions }) => () => {
        assertEquals(subscriptions.route("topic").destinations, []);
      }],
      [
        "of buses that wait for items",
        (queue) => `waiting${queue}/@`,
        ({ waiting }, queue) => () => waiting.wake(queue),
      ],
      ["of items that are being moved", (queue) => `queues${queue}/moving/#-000000.0.0.@`, (ours, queue) => {
        const moves = new Moves(ours, "bus");
        return () => moves.recover(queue);
      }],
      ["of items that are held", (queue) => `queues${queue}/held/#-000000.0.0.@`, (ours, queue) => {
        const leases = new Leases(ours, "bus");
        return () => leases.due(queue);
      }],
      ["of items that were given back", (queue) => `queues${queue}/back/#-000000.0.0.@`, (ours, queue) => {
        const leases = new Leases(ours, "bus");
        return () => leases.due(queue);
      }],
      ["of pages of the overflow", (queue) => `queues${queue}/over/#/x`, ({ overflow }, queue) => () => {
        assertEquals([overflow.oldest(queue), ...overflow.all(queue)], [undefined]);
        assertEquals([overflow.size(queue, 9), overflow.files(queue).flat().length], [9, NAMES]);
      }],
    ];
  for (const [title, path, act] of cases) {
    each(
      `${title}: a bus makes a limited number of system calls at once, and keeps few of them in a map`,
      async ({ ours, intrude }) => {
        const queue = ours.names.queue("queue");
        await intrude("create", NAMES, "link", path(queue));
        const run = act(ours, queue);
        let made = 0;
        const largest = await largestMap(() => made = calls(ours.posix, CALLS, run));
        assertEquals([made > 0 && made < NAMES, largest <= FEW], [true, true], `${made} calls, ${largest} names`);
      },
    );
  }

  each("of buses that wait for items of many queues: each turn wakes a limited number", async ({ ours, intrude }) => {
    const queues = Array.from({ length: 20 }, (_, i) => ours.names.queue(`queue${i}`));
    for (const queue of queues) await intrude("create", 200, "link", `waiting${queue}/@`);
    const wake = () => ours.waiting.wakeEach(textSet(queues));
    assertEquals(calls(ours.posix, ["openQueue"], wake), MAX_BUSES);
  });

  each("of dead buses: all are removed in parts, which do not list the others again", async ({ ours, intrude }) => {
    await intrude("create", NAMES, "link", "loops/@/x");
    const cleanup = new Cleanup(ours);
    let [parts, most, listed] = [0, 0, 0];
    const largest = await largestMap(() =>
      until("all are removed", () => {
        const run = () => listed += calls(ours.posix, ["listOpen"], () => cleanup.run());
        most = Math.max(most, calls(ours.posix, CALLS, run));
        parts++;
        return ours.buses().length === 0;
      })
    );
    assertEquals([most < NAMES, listed < 5], [true, true], `${most} calls, ${listed} lists in ${parts} parts`);
    assertEquals(largest <= FEW, true, `${largest} names`);
    cleanup.end();
  });

  each("of queues: a list of them keeps none in a map", async ({ name, ours, intrude }) => {
    await intrude("create", NAMES, "link", `queues${ours.names.queue("queue")}#/back/#-000000.0.0.@`);
    const admin = new IpcAdmin(ipc({ group: GROUP }).options as Settings, name);
    let listed = 0;
    const largest = await largestMap(async () => listed = (await admin.queues()).length);
    await admin.close();
    assertEquals([listed, largest <= FEW], [NAMES, true], `${largest} names`);
  });

  each("of items of dead buses: a bus reads no more of their crash slots than it needs", async ({ ours, intrude }) => {
    const queue = ours.names.queue("queue");
    await intrude("slots", 20, 2 ** 20, queue);
    const bytes = bytesRead(ours.posix, () => assertEquals(new Leases(ours, "bus").due(queue), []));
    assertEquals(bytes >= 20 * 64 && bytes < 2 ** 20, true, `${bytes} bytes`);
  });

  each("of files of a queue: the queue is freed in parts", async ({ name, ours, intrude }) => {
    await intrude("create", NAMES, "link", `queues${ours.names.queue("queue")}/over/#/x`);
    const ask = () => Promise.reject(new Error("nobody"));
    const limits = { connectTimeout: 5_000, sendTimeout: 5_000 };
    const sender = await ipc({ group: GROUP }).open({
      namespace: name,
      ...limits,
      maxReceive: Infinity,
      ask,
      state: () => {},
    });
    let dropped: Promise<void> | undefined;
    const made = calls(ours.posix, ["unlink"], () => dropped = sender.drop("queue"));
    assertEquals(made < NAMES, true, `${made} calls`); // on a busy machine, the first part may only open the directory
    await sender.close(); // waits for the other parts
    assertEquals([await dropped, ours.directories.list("queues")], [undefined, []]);
  });

  each("beside subscribers, of no bus and of PyMQ's: a search for dead buses keeps few", async (flooded) => {
    const { name, ours: { posix, subscriptions }, intrude } = flooded;
    await intrude("create", NAMES, "link", `${TOPIC}/#`);
    await intrude("create", NAMES, "link", `${TOPIC}/pymq_${name}_$%`);
    const steps = subscriptions.deadPymq();
    let [done, read] = [false, 0];
    const largest = await largestMap(() => {
      while (!done) read = Math.max(read, calls(posix, ["listPart"], () => done = steps.next().done === true));
    });
    // the first step also lists the queues of the kernel
    assertEquals([largest > 0 && largest <= FEW, read <= 3], [true, true], `${largest} names, ${read} calls`);
  });

  each("of subscribers: a large event is not copied for all of them", async ({ name, intrude }) => {
    await using bus = await Bus.open(ipc({ group: GROUP }), { namespace: name });
    await intrude("subscribe", "topic", 20);
    const error = await assertRejects(() => bus.publish("x".repeat(7 * 2 ** 20), "topic"), BusError);
    assertEquals(error.code, "too_large");
    assertMatch(error.message, /0 groups and 20 buses, and the limit for all copies is 134217728 characters/);
  });

  each("of minutes of delayed items: all are counted, a part at a time", async ({ ours, intrude }) => {
    const queue = ours.names.queue("queue");
    await intrude("create", NAMES, "link", `queues${queue}/later/%/#-000000.0.0.@`);
    ours.posix.now = () => NAMES * 60_000;
    const leases = new Leases(ours, "bus");
    const counts = [
      [() => countItems(ours, leases, queue), { waiting: NAMES, leased: 0, delayed: 0 }],
      [() => countWaiting(ours, leases, queue), NAMES],
    ] as const;
    try {
      for (const [count, expected] of counts) {
        let counted: unknown;
        const made = calls(ours.posix, ["stat", "openDirectory"], () => counted = count());
        assertEquals(made > 0 && made < NAMES, true, `${made} calls`);
        assertEquals(await counted, expected);
      }
    } finally {
      delete (ours.posix as { now?: unknown }).now;
    }
  });

  each("of dead buses: a cleanup without parts reads no large file of another user", async ({ ours, intrude }) => {
    await intrude("slots", 4, 2 ** 20 + 1, ours.names.queue("queue"));
    const bytes = bytesRead(ours.posix, () => cleanBriefly(ours));
    assertEquals([bytes < 2 ** 20, finish(ours.deadBuses()).length], [true, 4], `${bytes} bytes`);
  });

  each(
    "of one large file that only it can remove: the file is not read, and an item does not come back",
    async (flooded) => {
      const { ours, intrude } = flooded;
      const { bodyFiles, directories } = ours;
      const queue = ours.names.queue("queue");
      const bodies = bodyDirectory(queue);
      await intrude("create", 1, "file", `${bodies}/${"0".repeat(20)}#`);
      const read = () => bodyFiles.read(bodies, "0".repeat(36));
      assertEquals(read(), "");
      await intrude("mode", bodies, "2750");
      assertEquals(assertThrows(read, BusError, "this user has no permission").code, "denied");
      await intrude("slots", 2, 2_000, queue);
      const [first, second] = finish(ours.deadBuses());
      await intrude("mode", ours.busDirectory(first!), "2750");
      for (let i = 0; i < 2; i++) cleanBriefly(ours);
      assertEquals(
        [finish(ours.deadBuses()), directories.list(`${queueDirectory(queue)}/back`).length],
        [[first], 1],
        second,
      );
    },
  );

  each("of dead buses: a cleanup without parts ends after a time", async ({ ours, intrude }) => {
    await intrude("slots", 20, 2_000, ours.names.queue("queue"));
    const { posix } = ours;
    const { lock } = posix;
    const { now } = performance;
    let later = 0;
    performance.now = () => now.call(performance) + later;
    posix.lock = (...file) => {
      later += 1_000; // a slow step
      return lock.apply(posix, file);
    };
    try {
      assertEquals(calls(posix, ["unlinkQueue"], () => cleanBriefly(ours)), 2); // the queues of one bus
    } finally {
      performance.now = now;
      posix.lock = lock;
    }
  });

  each("of topics: the removal of a bus makes a limited number of steps", async ({ ours, intrude }) => {
    await intrude("create", 2 * STEPS, "link", "topics/topic/#");
    const bus = ours.names.newBus(ours.processes.self, 0);
    ours.directories.within("loops", () => ours.directories.make(ours.busDirectory(bus)));
    const opened = calls(ours.posix, ["openDirectory"], () => removeBus(ours, bus));
    assertEquals(opened > 0 && opened < 2 * STEPS, true, `${opened} calls`);
    assertEquals(ours.buses(), []);
  });

  each("of items: all are found, a part at a time", async ({ ours, intrude }) => {
    const queue = ours.names.queue("queue");
    const { delayed, directories, posix } = ours;
    const leases = new Leases(ours, "bus");
    for (const directory of ["held", "back", "later/%"]) {
      await intrude("create", NAMES, "link", `queues${queue}/${directory}/#-000000.0.0.@`);
    }
    const largest = await largestMap(() => until("all are due", () => leases.due(queue).length === 2 * NAMES));
    assertEquals(largest <= FEW, true, `${largest} names`);
    posix.now = () => NAMES * 60_000;
    let found = 0;
    let most = 0;
    try {
      await until("all are taken", () => {
        most = Math.max(most, calls(posix, CALLS, () => void delayed.due(queue)));
        for (const { path } of delayed.due(queue)) {
          assertEquals(directories.unlink(path), 0);
          delayed.taken(queue);
          found++;
        }
        return found === NAMES;
      });
    } finally {
      delete (posix as { now?: unknown }).now;
    }
    assertEquals(most < NAMES, true, `${most} calls`);
  });
});

describe("many names in the directory of all namespaces, where any user can create them", () => {
  it("are looked at a part at a time by the cleanup of other namespaces", async () => {
    const directory = `/dev/shm/${fresh()}`;
    for (let i = 0; i < NAMES; i++) mkdirSync(`${directory}/other${i}`, { recursive: true });
    const ours = await openNamespace("ours", { directory });
    const others = new OthersCleanup(ours);
    const made = calls(ours.posix, CALLS, () => others.run());
    assertEquals(made > 0 && made < NAMES, true, `${made} calls`);
    await until("all are looked at", () => others.run() === Infinity);
    ours.close();
    rmSync(directory, { recursive: true });
  });

  it("are not listed without an end while they are created, nor are those of kernel queues", async () => {
    const name = fresh();
    const ours = await openNamespace(name);
    const admin = new IpcAdmin(ipc().options as Settings, name);
    await admin.queues(); // opens its namespace
    const lists: Record<string, () => unknown> = {
      "other namespaces": () => ours.others().next(),
      "buses of PyMQ": () => ours.subscriptions.deadPymq().next(),
      queues: () => admin.queues(),
    };
    const { listPart } = Files.prototype;
    const { posix } = ours;
    const { stat } = posix;
    // the queues count as mounted: where they are not, an admin does not list them
    posix.stat = (...args) => {
      const state = stat.apply(posix, args);
      return args[0] === MQUEUE && typeof state === "object" ? { ...state, device: -1 } : state;
    };
    try {
      for (const [what, list] of Object.entries(lists)) {
        let parts = 0;
        // the names are not UTF-8, and so are left out
        Files.prototype.listPart = function (...args) {
          return parts < 10 * STRANGE_PARTS ? Number(++parts > 0) : listPart.apply(this, args);
        };
        await list();
        assertEquals(parts >= STRANGE_PARTS && parts < 10 * STRANGE_PARTS, true, `${what}: ${parts} parts`);
      }
    } finally {
      Files.prototype.listPart = listPart;
      posix.stat = stat;
      await admin.close();
      ours.close();
      rmSync(`/dev/shm/${name}`, { recursive: true, force: true });
    }
  });
});
