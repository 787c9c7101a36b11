import { assert, assertEquals, assertMatch } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { Bus } from "../../src/bus.ts";
import { writeBatch } from "../../src/providers/ipc/frames.ts";
import { loadPosix, type Posix } from "../../src/providers/ipc/posix.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { makeDir, removeDir } from "../support/child.ts";
import { Peer } from "../support/peer.ts";
import { reported } from "../support/reports.ts";
import { until } from "../support/until.ts";
import { busesOf, fresh, left, openNamespace } from "./ground.ts";

// One of these uses up RLIMIT_MSGQUEUE.
// run: on deno, kernel-queues

const encoder = new TextEncoder();

/** Garbage that another program may write to a bus's queues. */
const GARBAGE: Record<string, Uint8Array> = {
  nothing: new Uint8Array(),
  zeros: new Uint8Array(100),
  "random bytes": crypto.getRandomValues(new Uint8Array(2_000)),
  text: encoder.encode("hello"),
  "PyMQ's end": encoder.encode('"__STOP_EVENTBUS__"'),
  null: encoder.encode("null"),
  "an event of a wrong kind": encoder.encode('{"__obj":[1,"topic","1"],"__type":"pymq.provider.ipc.IpcEvent"}'),
  "an event without a body": encoder.encode('{"__obj":[0,"topic"],"__type":"pymq.provider.ipc.IpcEvent"}'),
  "half a batch": half(),
  "a batch without lengths": encoder.encode("\x01topic"),
  "lengths of nothing": encoder.encode("\x015:99999,\ntopicx"),
  "a body without a topic": encoder.encode("\x01:1,\nx"),
  "a file that is not there": encoder.encode(`\x015:@36,\ntopic${crypto.randomUUID()}`),
  "a file elsewhere": encoder.encode("\x015:@29,\ntopic../../../../../../etc/passwd"),
};

function send(posix: Posix, queue: string, message: Uint8Array): void {
  const descriptor = posix.openQueue(queue);
  assertEquals(posix.send(descriptor, message, message.length), 0);
  posix.close(descriptor);
}

function half(): Uint8Array {
  const message = new Uint8Array(200);
  const length = writeBatch([{ topic: "topic", body: "x".repeat(100), file: false }], message);
  return message.slice(0, length / 2);
}

describe("bad input:", () => {
  it("garbage in either queue of a bus is reported, and the bus continues", async () => {
    const namespace = fresh();
    const posix = await loadPosix();
    await using bus = await Bus.open(ipc(), { namespace });
    const errors: string[] = [];
    bus.addEventListener("error", (event) => errors.push(String(event.error)));
    const seen: unknown[] = [];
    await bus.subscribe("topic", (event) => void seen.push(event)).ready;
    await bus.expose("fn", () => "answer");
    const [busName] = await busesOf(namespace);
    const file = crypto.randomUUID();
    const named = encoder.encode(`\x010:@36,\n${file}`);
    for (const [what, message] of Object.entries({ ...GARBAGE, "a file of garbage": named })) {
      writeFileSync(`/dev/shm/${namespace}/loops/${busName}/${file}`, "garbage");
      for (const queue of [`/${busName}`, `/${busName}.inbox`]) {
        const before = errors.length;
        const descriptor = posix.openQueue(queue);
        await until(`there is room for ${what}`, () => posix.send(descriptor, message, message.length) === 0);
        posix.close(descriptor);
        await until(`${what} is reported`, () => errors.length > before);
      }
    }
    await bus.publish("still there", "topic");
    await until("the next event arrives", () => seen.length === 1);
    assertEquals(await bus.stub("fn")(), "answer");
    assertEquals(seen, ["still there"]);
  });

  it("much garbage is reported at a limited rate", async () => {
    const namespace = fresh();
    const posix = await loadPosix();
    const bus = await Bus.open(ipc(), { namespace });
    const errors: string[] = [];
    bus.addEventListener("error", (event) => errors.push(String(event.error)));
    let ended = false;
    await bus.subscribe("topic", () => void (ended = true)).ready;
    const descriptor = posix.openQueue(`/${(await busesOf(namespace))[0]}`);
    const messages = [encoder.encode("hello"), GARBAGE["a file that is not there"]!];
    for (let i = 0; i < 500; i++) {
      const message = messages[i % 2]!;
      await until("there is room", () => posix.send(descriptor, message, message.length) === 0);
    }
    posix.close(descriptor);
    await bus.publish("end", "topic");
    await until("all are read", () => ended);
    await bus.close();
    assertEquals(reported(errors), 500);
    assert(errors.length < 500, `${errors.length} reports`);
  });

  it("dangling links, files and directories in the tree are ignored", async () => {
    const namespace = fresh();
    await using bus = await Bus.open(ipc(), { namespace });
    const seen: unknown[] = [];
    await bus.subscribe("topic", (event) => void seen.push(event)).ready;
    const subscriptions = `/dev/shm/${namespace}/subscribers/topic`;
    symlinkSync("/dev/mqueue/nowhere", `${subscriptions}/pymq_${namespace}_$999999`);
    symlinkSync("/etc/passwd", `${subscriptions}/passwd`);
    mkdirSync(`${subscriptions}/pymq_${namespace}_$1`);
    assertEquals(await bus.publish("x", "topic"), 1);
    await until("it arrives", () => seen.length === 1);
    execFileSync("rm", ["-r", `/dev/shm/${namespace}/subscribers`]);
    assertEquals(await bus.publish("x", "topic"), 0);
    await bus.close();
    assertEquals(await left(namespace, []), []);
  });

  it("links to files elsewhere are not followed: their targets are neither read nor removed", async () => {
    const namespace = fresh();
    const posix = await loadPosix();
    const outside = makeDir("outside");
    writeFileSync(`${outside}/secret`, '5\ntopic"secret"');
    await using bus = await Bus.open(ipc(), { namespace });
    const errors: string[] = [];
    bus.addEventListener("error", (event) => errors.push(String(event.error)));
    const seen: unknown[] = [];
    await bus.subscribe("topic", (event) => void seen.push(event)).ready;
    const queue = bus.queue<string>("queue");
    await queue.put("first");
    await (await queue.receive()).nack({ delay: 1 });
    const file = crypto.randomUUID();
    const [busName] = await busesOf(namespace);
    const state = `/dev/shm/${namespace}/queues/pymq_${namespace}_queue`;
    mkdirSync(`${state}/bodies`);
    const key = "0".repeat(16) + "-000000";
    const links = [
      `/dev/shm/${namespace}/loops/${busName}/${file}`,
      `${state}/bodies/${file}`,
      `${state}/back/${key}.1.0.${busName}`,
      `/dev/shm/${namespace}/patterns/${busName}~x`,
    ];
    mkdirSync(`/dev/shm/${namespace}/patterns`);
    for (const link of links) symlinkSync(`${outside}/secret`, link);
    posix.setModified(links[2]!, 0); // it is due
    symlinkSync(outside, `/dev/shm/${namespace}/subscribers/elsewhere`);
    mkdirSync(`${outside}/${busName}`);
    send(posix, `/${busName}`, encoder.encode(`\x010:@36,\n${file}`));
    send(posix, `/pymq_${namespace}_queue`, encoder.encode(`\x02${file}`));
    await until("the first is reported", () => errors.length >= 1);
    assertEquals(await queue.get({ timeout: 5_000 }), "first");
    await queue.put("second");
    assertEquals(await queue.get({ timeout: 5_000 }), "second");
    assertEquals(await bus.publish("event", "topic"), 1);
    await until("the event arrives", () => seen.length === 1);
    assertEquals(seen, ["event"]);
    assertEquals(errors.length, 3);
    for (const error of errors) assertMatch(error, /it is a symbolic link/);
    await queue.free();
    await bus.close();
    assertEquals(readdirSync(outside).sort(), [busName, "secret"].sort());
    removeDir(outside);
    execFileSync("rm", ["-r", `/dev/shm/${namespace}`]);
    assertEquals(await left(namespace, [busName!], ["queue"]), []);
  });

  it("unknown names in the tree and garbage in a crash slot are ignored", async () => {
    const namespace = fresh();
    await using bus = await Bus.open(ipc(), { namespace });
    const errors: unknown[] = [];
    bus.addEventListener("error", (event) => errors.push(event.error));
    const seen: unknown[] = [];
    await bus.subscribe("topic", (event) => void seen.push(event)).ready;
    const queue = bus.queue<string>("queue");
    await queue.put("item");
    await (await queue.receive()).nack({ delay: 1 });
    const root = `/dev/shm/${namespace}`;
    const posix = await loadPosix();
    const [busName] = await busesOf(namespace);
    mkdirSync(`${root}/patterns`);
    const directories = ["loops", "patterns", "subscribers/topic", `queues/pymq_${namespace}_queue/held`];
    directories.push(`queues/pymq_${namespace}_queue/back`);
    const silly = ["a\nb", "\n", "x", "1.2.3", "..", "~", "é", `${busName}\n`, `pymq_${namespace}_$x`].map((name) =>
      `${name}.`
    );
    for (const path of directories.flatMap((directory) => silly.map((name) => `${root}/${directory}/${name}`))) {
      writeFileSync(path, "garbage");
      posix.setModified(path, 0); // it would be due
    }
    // dead buses with garbage in their crash slots
    const { processes, names } = await openNamespace(namespace);
    const slots = ["garbage", "\n\n", `/../../../x\n../../../y\n`, `/pymq_${namespace}_queue\n../../x\n`];
    const dead = slots.map((crashSlot) => {
      const busName = names.newBus({ ...processes.self, start: 1 }, 0);
      mkdirSync(`${root}/aside`);
      writeFileSync(`${root}/aside/landing`, crashSlot.padEnd(1_024, "\0") + '"never"');
      renameSync(`${root}/aside`, `${root}/loops/${busName}`); // in one step: a cleanup could find it without its slot
      return busName;
    });
    // the time of one cleanup of five buses is at most ten seconds; it would be half a minute if unknown names counted
    await until("what they left is gone", async () => !(await busesOf(namespace)).some((name) => dead.includes(name)));
    assertEquals(await queue.get({ timeout: 5_000 }), "item");
    assertEquals(await queue.qsize(), 0);
    assertEquals(await bus.publish("event", "topic"), 1);
    await until("the event arrives", () => seen.length === 1);
    assertEquals(errors, []);
    await queue.free();
    await bus.close();
    execFileSync("rm", ["-r", root]);
    assertEquals(await left(namespace, [busName!, ...dead], ["queue"]), []);
  });

  it("topics and queues cannot leave their directory", async () => {
    const namespace = fresh();
    await using bus = await Bus.open(ipc(), { namespace });
    for (const name of ["/x", "..", "../../x", "a/../../../x", "x/", "$1", "~", "x".repeat(256), "x/".repeat(300)]) {
      const seen: unknown[] = [];
      const subscription = bus.subscribe(name, (event) => void seen.push(event));
      assertEquals(await bus.publish(name, name), 1);
      await until(`"${name}" arrives`, () => seen.length === 1);
      await subscription.unsubscribe();
      const queue = bus.queue(name);
      await queue.put(name);
      assertEquals(await queue.get(), name);
      await queue.free();
    }
    const buses = await busesOf(namespace);
    await bus.close();
    assertEquals(await left(namespace, buses), []);
  });

  it("opening rejects where there are no POSIX queues", async () => {
    const peer = Peer.start<[string, string]>(new URL("elsewhere.ts", import.meta.url));
    const [name, message] = await peer.next();
    assertEquals(name, "UnsupportedError");
    assertMatch(message, /on Linux.*not on darwin/);
  });

  it("an error names the limit that was reached, and only the operation over it fails", async () => {
    const peer = Peer.start<string[]>(new URL("limited.ts", import.meta.url), { args: [fresh()] });
    const said = await peer.next(30_000);
    const patterns = [
      /^Cannot create a queue of a bus: .*RLIMIT_MSGQUEUE/,
      /^works$/,
      /^Cannot (put into queue "one"|list) .*RLIMIT_NOFILE/,
      /^works$/,
    ];
    for (const [i, pattern] of patterns.entries()) assertMatch(said[i]!, pattern);
    await peer.wait();
  });

  it("without descriptors opening a bus fails and leaves nothing, no bus is considered dead, and the next one opens", async () => {
    const namespace = fresh();
    const peer = Peer.start<unknown[]>(new URL("openings.ts", import.meta.url), { args: [namespace] });
    const attempts = [];
    for (let free = 0; free < 8; free++) {
      const [how, ...there] = await peer.next(30_000);
      attempts.push(how);
      assertEquals(there, [2, 1], "queues and buses, those of the other bus");
    }
    // an eventfd and two queues
    for (const how of attempts.slice(0, 3)) assertMatch(String(how), /^unavailable: .*RLIMIT_NOFILE/);
    assertEquals(attempts.at(-1), "opens");
    assertEquals(await peer.next(), [[], 1]);
    await peer.wait();
    assertEquals(await left(namespace, []), []);
  });
});
