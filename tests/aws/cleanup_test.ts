import { assert, assertEquals, assertRejects } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { Bus } from "../../src/bus.ts";
import { NoSuchRemoteError, ValidationError } from "../../src/errors.ts";
import { Names } from "../../src/providers/aws/names.ts";
import { aws, reap } from "../../src/providers/aws/provider.ts";
import { memory } from "../../src/providers/memory/provider.ts";
import { Peer } from "../support/peer.ts";
import { pause, until } from "../support/until.ts";
import { Admin, NOTHING } from "./admin.ts";
import { type Emulator, startEmulator } from "./emulator.ts";
import { fresh, open } from "./halves.ts";

const LEASE = 2_000;
const serves = (topic: string) => ({ topic, pattern: false, serves: true });

describe("what dead buses leave", () => {
  let emulator: Emulator;
  let admin: Admin;
  beforeAll(async () => {
    emulator = await startEmulator();
    admin = new Admin(emulator.options);
  });
  afterAll(async () => {
    admin[Symbol.dispose]();
    await emulator.stop();
  });

  it("after SIGKILL: servers are dead with their lease, the item comes back, the next start sweeps the rest", async () => {
    const namespace = fresh();
    const options = { ...emulator.options, lease: LEASE, poll: 2_000 };
    const bus = await Bus.open(aws({ ...options, lease: 60_000 }), { namespace });
    try {
      await bus.queue("jobs").put("item");
      await using peer = Peer.start<string>(new URL("doomed.ts", import.meta.url), {
        args: [JSON.stringify(options), namespace],
      });
      assertEquals(await peer.next(), "item");
      assertEquals(await bus.stub("fn")(), "served");
      await peer.kill();
      assertEquals((await admin.leftovers(namespace)).queues.length, 2);
      await until("its lease has ended", async () => {
        const error = await bus.stub("fn", { timeout: 500 })().catch((error) => error);
        return error instanceof NoSuchRemoteError;
      });
      assertEquals(await bus.stub("fn", { multi: true })(), []);
      const lease = await bus.queue("jobs").receive({ timeout: 10_000 });
      assertEquals({ item: lease.item, attempt: lease.attempt }, { item: "item", attempt: 2 });
      await lease.ack();
      await using next = await Bus.open(aws(emulator.options), { namespace });
      await until("the next start has swept", async () => {
        const { queues, topics, subscriptions } = await admin.leftovers(namespace);
        return queues.length === 2 && topics.length === 0 && subscriptions.length === 0;
      });
      assertEquals(next.health().state, "up");
      await bus.queue("jobs").free();
    } finally {
      await bus.close();
    }
    assertEquals(await admin.leftovers(namespace), NOTHING);
  });

  it("a sweep leaves alone who lives, who is no bus, and topics with other subscribers", async () => {
    const namespace = fresh();
    const provider = aws(emulator.options);
    await using alive = await open(emulator.options, { namespace });
    const dead = await open(emulator.options, { namespace });
    const names = new Names(namespace);
    for (const { receiver } of [alive, dead]) await receiver.subscribe(serves("shared"), () => {});
    await dead.receiver.subscribe(serves("own"), () => {});
    await dead.sender.send("kept", "item", { wait: 0 });
    const url = await admin.url(dead.receiver.inbox);
    // it lives on and would renew its lease, so it is declared dead right before the sweep
    await admin.tag(dead.receiver.inbox, { "tsmq-lease": "1" });
    const swept = await reap(provider, namespace);
    assertEquals(swept.queues, [dead.receiver.inbox]);
    assertEquals(swept.topics.toSorted(), [names.topic("own"), names.registry("own")].toSorted());
    assertEquals(await admin.leftovers(namespace), {
      queues: [alive.receiver.inbox],
      topics: [names.topic("shared"), names.registry("shared")].toSorted(),
      subscriptions: [names.topic("shared"), names.registry("shared")].toSorted(),
    });
    assertEquals(await alive.sender.size("kept"), 1);
    assertEquals(await alive.sender.servers("shared"), [alive.receiver.inbox]);
    assertEquals(await alive.sender.servers("own"), []);
    assert(url);
    await alive.sender.drop("kept");
    await dead.close();
  });

  it("a bus whose policy could not list its topics is swept too", async () => {
    const namespace = fresh();
    const dead = await open({ ...emulator.options, lease: 2 ** 30 }, { namespace });
    const topics = Array.from({ length: 60 }, (_, i) => `${"long".repeat(20)}-${i}`);
    const subscribe = (topic: string) => dead.receiver.subscribe({ topic, pattern: false, serves: false }, () => {});
    await Promise.all(topics.map(subscribe));
    await admin.tag(dead.receiver.inbox, { "tsmq-lease": "1" });
    const swept = await reap(aws(emulator.options), namespace);
    assertEquals(swept.topics.length, 60);
    const { topics: left, subscriptions } = await admin.leftovers(namespace);
    assertEquals({ left, subscriptions }, { left: [], subscriptions: [] });
    await dead.close();
  });

  it("a bus renews its lease", async () => {
    await using halves = await open({ ...emulator.options, lease: LEASE });
    const end = async () => Number((await admin.tags(halves.receiver.inbox))["tsmq-lease"]);
    const first = await end();
    assert(first > Date.now() && first <= Date.now() + LEASE, `${first}`);
    await until("it is renewed", async () => await end() > first);
    await pause(LEASE);
    assert(await end() > Date.now());
    assertEquals(await halves.sender.servers("none"), []);
  });

  it("servers() are those that live, post() to one that is gone is false", async () => {
    const namespace = fresh();
    await using caller = await open(emulator.options, { namespace });
    const one = await open(emulator.options, { namespace });
    await using two = await open(emulator.options, { namespace });
    for (const { receiver } of [one, two]) await receiver.subscribe(serves("fn"), () => {});
    // a plain subscriber of the function's topic is no server of it
    await caller.receiver.subscribe({ topic: "fn", pattern: false, serves: false }, () => {});
    assertEquals((await caller.sender.servers("fn")).toSorted(), [one.receiver.inbox, two.receiver.inbox].toSorted());
    assertEquals(await caller.sender.post(one.receiver.inbox, "x"), true);
    await one.close();
    assertEquals(await caller.sender.servers("fn"), [two.receiver.inbox]);
    assertEquals(await caller.sender.post(one.receiver.inbox, "x"), false);
    await two.receiver.unsubscribe(serves("fn"));
    assertEquals(await caller.sender.servers("fn"), []);
  });

  it("fifty times open and close leave nothing", async () => {
    const namespace = fresh();
    for (let i = 0; i < 50; i++) {
      const halves = await open(emulator.options, { namespace });
      await halves.receiver.subscribe(serves("fn"), () => {});
      await halves.close();
    }
    assertEquals(await admin.leftovers(namespace), NOTHING);
  });

  it("reap() refuses what aws() did not make", async () => {
    await assertRejects(() => reap(memory()), ValidationError);
  });
});
