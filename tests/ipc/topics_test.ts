// run: on bun, kernel-queues
import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { chownSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { BusError } from "../../mod.ts";
import { MAX_BINDINGS, writeBinding } from "../../src/provider/bindings.ts";
import { Bus } from "../../src/bus.ts";
import { readEvents, readLarge } from "../../src/providers/ipc/frames.ts";
import { eventsOf, hashed } from "../../src/providers/ipc/names.ts";
import { GROUP, PATTERNS } from "../../src/providers/ipc/patterns.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { Namespace, type Settings } from "../../src/providers/ipc/namespace.ts";
import { makeDir, removeDir } from "../support/child.ts";
import { Peer, there } from "../support/peer.ts";
import { skip } from "../support/skip.ts";
import { pause, until } from "../support/until.ts";
import { warnings } from "../support/warnings.ts";
import { busesOf, calls, fresh, HandmadeBus, left, notMountable, SmallDirectory } from "./ground.ts";

/** 10,000 characters: more bytes than any message of the kernel has. */
const LONG = "長いtopic/\n".repeat(1_000);
const LARGE = "é".repeat(100_000);
/** Takes up most of a message of the smallest queue. */
const WIDE = `長${"x".repeat(440)}`;
/** The published events, in order. */
const EVENTS: [topic: string, body: string][] = [
  ["長い", "short"],
  [LONG, "long topic"],
  [LONG, "the same again"],
  ["長い", LARGE],
  ["長い", "short again"],
  [LONG, LARGE],
  [`${LONG}!`, ""],
  [WIDE, LARGE],
  [WIDE, "x".repeat(40)],
];

describe("topics that are longer than a kernel message", () => {
  it("reach subscribers by name and by pattern, from another process, in order", async () => {
    const namespace = fresh();
    await using bus = await Bus.open(ipc(), { namespace });
    const seen: Record<string, unknown[]> = {};
    for (const [topic, pattern] of [[LONG, false], ["長*", true], [`${LONG}*`, true]] as const) {
      const got: unknown[] = seen[topic] = [];
      await bus.subscribe(topic, (event, { topic }) => void got.push([topic, event]), { pattern }).ready;
    }
    await using member = Peer.start(new URL("member.ts", import.meta.url), { args: [namespace], runtime: there });
    await member.next();
    const buses = await busesOf(namespace);
    const reached: unknown[] = [];
    for (const [topic, body] of EVENTS) reached.push(await member.ask({ topic, body }));
    assertEquals(reached, [1, 3, 3, 1, 1, 3, 2, 1, 1]);
    const expected = {
      [LONG]: EVENTS.filter(([topic]) => topic === LONG),
      "長*": EVENTS,
      [`${LONG}*`]: EVENTS.filter(([topic]) => topic.startsWith(LONG)),
    };
    const counts = (all: object) => Object.values(all).map(({ length }) => length);
    await until("all are there", () => counts(seen).join() === counts(expected).join());
    assertEquals(seen, expected);
    await member.ask("close");
    await bus.close();
    assertEquals(await left(namespace, buses), []);
  });

  it("and large bodies pass through the smallest queue of a bus", async () => {
    const namespace = fresh();
    await using bus = await Bus.open(ipc(), { namespace });
    using other = await HandmadeBus.open(namespace);
    const { busName, internals: { bodyFiles, directories, posix, queues, subscriptions } } = other;
    const directory = other.internals.busDirectory(busName);
    const { descriptor } = queues.create(eventsOf(busName), [{ messages: 10, size: 512 }]);
    for (const topic of new Set(EVENTS.map(([topic]) => topic))) subscriptions.subscribe(topic, busName);
    const published = await Promise.all(EVENTS.map(([topic, body]) => bus.publish(body, topic)));
    assertEquals(published, EVENTS.map(() => 1));
    const got: unknown[] = [];
    const message = new Uint8Array(512);
    for (let length; (length = posix.receive(descriptor, message)) >= 0;) {
      for (const frame of readEvents(message.subarray(0, length))!) {
        const { topic, body } = frame.file ? readLarge(bodyFiles.read(directory, frame.body))! : frame;
        got.push([topic, JSON.parse(body)]);
      }
    }
    assertEquals(got, EVENTS);
    assert(directories.list(directory).length > 0);
    other.remove();
    await bus.close();
    assertEquals(await left(namespace, [busName]), []);
  });
});

describe("the file of a pattern that cannot be read", () => {
  it("is looked at again when the directory has changed, and not at each publish", async () => {
    using other = await HandmadeBus.open(fresh());
    const { busName, internals: { bodyFiles, busDirectory, directories, posix, subscriptions } } = other;
    subscriptions.patterns.subscribe("t*", busName, busDirectory(busName));
    const path = directories.path(`patterns/${directories.list("patterns")[0]}`);
    const reached = () => subscriptions.route("topic").destinations.length;
    writeFileSync(path, "");
    await pause(50); // names that have just changed are listed again
    assertEquals(reached(), 0);
    let reads = 0;
    const readFile = bodyFiles.readFile.bind(bodyFiles);
    bodyFiles.readFile = (...file) => {
      reads++;
      return readFile(...file);
    };
    const stats = (times: number) =>
      calls(posix, ["stat"], () => {
        for (let i = 0; i < times; i++) assertEquals(reached(), 0);
      });
    const once = stats(1);
    assertEquals([stats(10), reads], [10 * once, 0]);
    writeFileSync(directories.path("patterns/foreign"), ""); // changes the directory, and is not read
    await pause(50);
    assertEquals([reached(), reads], [0, 0]);
    subscriptions.patterns.subscribe("t*", busName, busDirectory(busName));
    await pause(50);
    for (let i = 0; i < 10; i++) assertEquals(reached(), 1);
    assertEquals(reads, 1);
    rmSync(directories.path("patterns/foreign"));
    subscriptions.patterns.unsubscribe("t*", busName);
  });
});

describe("patterns whose comparison with a topic takes too long", () => {
  it("make a publish reject, also without groups: a subscription to a later pattern would miss the event", async () => {
    using other = await HandmadeBus.open(fresh());
    const { busName, internals: { busDirectory, subscriptions: { patterns } } } = other;
    const hostile = Array.from({ length: 100 }, (_, i) => `*[^${"!".repeat(2_000)}${i}]~`);
    for (const pattern of hostile) patterns.subscribe(pattern, busName, busDirectory(busName));
    await pause(50); // names that have just changed are listed again
    patterns.read();
    assertEquals(patterns.match("t").buses, []);
    assertThrows(() => patterns.match("topic".repeat(10)), BusError, "takes too long");
    for (const pattern of hostile) patterns.unsubscribe(pattern, busName);
  });
});

describe("many bindings of groups, which another member of the group has written", () => {
  it("are not read: publishes and further groups are refused until they are removed", async () => {
    using other = await HandmadeBus.open(fresh());
    const { busName, internals } = other;
    const { bodyFiles, directories, subscriptions } = internals;
    const bind = (topic: string) => {
      subscriptions.patterns.bind({ topic, pattern: false }, "queue", internals.busDirectory(busName));
    };
    bind("topic");
    assertEquals([...subscriptions.route("topic").queues], [["queue", false]]);
    const path = directories.path(PATTERNS);
    const write = (binding: string) => writeFileSync(`${path}/${GROUP}${hashed(binding)}`, binding);
    const reads = [0];
    const readFile = bodyFiles.readFile.bind(bodyFiles);
    bodyFiles.readFile = (...file) => {
      reads[0]!++;
      return readFile(...file);
    };
    const floods: [files: number, read: number, binding: (i: number) => string][] = [
      [MAX_BINDINGS, 0, (i) => writeBinding({ topic: `many${i}`, pattern: false }, "q")],
      [20, 9, (i) => writeBinding({ topic: `${i}${"x".repeat(120_000)}`, pattern: true }, "q")],
    ];
    for (const [files, read, binding] of floods) {
      const before = readdirSync(path);
      for (let i = 0; i < files; i++) write(binding(i));
      await pause(50); // names that have just changed are listed again
      reads[0] = 0;
      for (const act of [() => void subscriptions.route("topic"), () => bind("another")]) {
        const error = assertThrows(act, BusError, `has ${files + 1} bindings of groups`);
        assertEquals(error.code, "busy");
      }
      bind("topic"); // is bound already
      assertEquals(reads[0], read);
      for (const file of readdirSync(path)) if (!before.includes(file)) rmSync(`${path}/${file}`);
      await pause(50);
      assertEquals([...subscriptions.route("topic").queues], [["queue", false]]);
      assertEquals(reads[0], read); // the known one is not read again
    }
    subscriptions.patterns.unbind({ topic: "topic", pattern: false }, "queue");
  });
});

describe("PyMQ's directory of a namespace, if somebody else has taken its name", () => {
  const strangers: Record<string, [take: (path: string) => void, reason: RegExp]> = {
    "by a file": [(path) => writeFileSync(path, ""), /it is a file or a link, and no directory/],
    "as another user": [
      (path) => {
        mkdirSync(path);
        chownSync(path, 12_345, 12_345);
      },
      /it belongs to user 12345/,
    ],
  };
  for (const [how, [take, reason]] of Object.entries(strangers)) {
    const [ours, pymq, namespace] = [makeDir("ours"), makeDir("pymq"), fresh()];
    const remove = () => [ours, pymq].forEach(removeDir);
    const name = `${how}, is left out with a warning, and used when it is free`;
    try {
      take(`${pymq}/${namespace}`);
    } catch {
      remove();
      skip(name, "nobody here can give a directory away");
      continue;
    }
    it(name, async () => {
      const provider = ipc({ directory: ours });
      (provider.options as { pymqDirectory: string }).pymqDirectory = pymq;
      const written = await warnings(async () => {
        await using bus = await Bus.open(provider, { namespace });
        await bus.subscribe("topic", () => {}).ready;
        assertEquals(await bus.publish("event", "topic"), 1);
        rmSync(`${pymq}/${namespace}`, { recursive: true });
        await until("the topic is linked there", () => existsSync(`${pymq}/${namespace}/subscribers/topic`));
      });
      remove();
      assertEquals(written.length, 1);
      assertMatch(written[0]!, /^PyMQ cannot be reached over topics. Cannot use/);
      assertMatch(written[0]!, reason);
    });
  }
});

describe("a topic where PyMQ's directory is another file system in memory", () => {
  const name = "is linked in both";
  const missing = notMountable();
  if (missing) return skip(name, missing);
  it(name, async () => {
    using ours = new SmallDirectory();
    using pymq = new SmallDirectory();
    const settings = { ...ipc().options as Settings, directory: ours.path, pymqDirectory: pymq.path };
    const { names, processes, subscriptions } = await Namespace.open(settings, "namespace", () => {});
    const busName = names.newBus(processes.self, 0);
    subscriptions.subscribe("topic", busName);
    for (const { path } of [ours, pymq]) assertEquals(readdirSync(`${path}/namespace/subscribers/topic`), [busName]);
    subscriptions.unsubscribe("topic", busName);
    for (const { path } of [ours, pymq]) assertEquals(readdirSync(path), ["ballast"]);
  });
});
