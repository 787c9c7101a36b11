import { assert, assertEquals, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { existsSync, mkdirSync, readdirSync, readlinkSync } from "node:fs";
import { Bus } from "../../src/bus.ts";
import { QueueEmptyError } from "../../src/errors.ts";
import { writeItem } from "../../src/providers/ipc/frames.ts";
import { Names } from "../../src/providers/ipc/names.ts";
import { loadPosix } from "../../src/providers/ipc/posix.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { faulty } from "../bus/faulty.ts";
import { here, Peer, there } from "../support/peer.ts";
import { ALL, runsHere } from "../support/share.ts";
import { until, within } from "../support/until.ts";
import { busesOf, fresh, HandmadeBus, left } from "./ground.ts";

// In the nightly run, fifty buses use most of RLIMIT_MSGQUEUE.
// run: on bun, kernel-queues

/** Queues, and if wanted directories of namespaces, that this process holds open. */
function descriptors(pattern = /^\/(pymq_|dev\/shm\/ipc-)/): string[] {
  return readdirSync("/proc/self/fd").flatMap((name) => {
    try {
      const target = readlinkSync(`/proc/self/fd/${name}`);
      return pattern.test(target) ? [target] : [];
    } catch {
      return []; // that of the listing itself
    }
  });
}

const MEMBER = new URL("member.ts", import.meta.url);
/** The number of processes besides the test's own, whose events to all cost the square of it, and how many of them are killed. */
const [others, kills] = ALL ? [49, 10] : [9, 3];

describe("processes that are killed", () => {
  // its processes are of both runtimes, whichever runs the test
  const itOnce = runsHere(1) ? it : () => {};
  const all = `${others + 1} processes publish to all and call all while some are killed; the last one leaves nothing`;
  itOnce(all, async () => {
    const namespace = fresh();
    const members: Peer[] = [];
    for (let i = 0; i < others; i++) {
      // mostly Bun, which needs less memory
      members.push(Peer.start(MEMBER, { args: [namespace], runtime: i % (ALL ? 10 : 5) === 0 ? "deno" : "bun" }));
      if (i % 5 === 4) await Promise.all(members.slice(-5).map((member) => member.next(60_000)));
    }
    await Promise.all(members.slice(others - others % 5).map((member) => member.next(60_000)));
    const bus = await Bus.open(ipc(), { namespace });
    bus.addEventListener("error", () => {});
    const buses = await busesOf(namespace);
    assertEquals(buses.length, others + 1);
    try {
      const gather = async () => (await bus.stub("who", { multi: true })()).map(({ status }) => status);
      assertEquals(await bus.publish("hello", "all"), others);
      assertEquals(await gather(), members.map(() => "fulfilled"));
      for (const member of members) assertEquals(await until("it heard", () => member.ask("count")), 1);

      await Promise.all(members.map((member) => member.ask("busy")));
      const queue = bus.queue<string>("mine");
      for (let killed = 0; killed < kills; killed++) {
        const victim = members.splice(Math.floor(Math.random() * members.length), 1)[0]!;
        const dying = victim.kill();
        await Promise.allSettled([
          bus.publish("x", "all"),
          bus.stub("who")(),
          queue.put("item").then(() => queue.get()),
        ]);
        await dying;
      }
      const living = others - kills;
      await until("publish reaches the living, and only them", async () => await bus.publish("x", "all") === living);
      await until("the living answer", async () => (await gather()).length === living);
      await Promise.all(members.map((member) => member.ask("close", 60_000)));
      await bus.queue("work").free();
      await queue.free();
    } finally {
      await Promise.all(members.map((member) => member.kill()));
      await bus.close();
    }
    assertEquals(await left(namespace, buses, ["work", "mine"]), []);
  });

  for (const runtime of [here, there]) {
    it(`the items that a killed ${runtime} process held come back at once`, async () => {
      const namespace = fresh();
      await using bus = await Bus.open(ipc(), { namespace });
      const queue = bus.queue<string>("held");
      await queue.put("item");
      const member = Peer.start(MEMBER, { args: [namespace], runtime });
      await member.next();
      assertEquals(await member.ask("hold"), "item");
      await member.kill();
      const lease = await queue.receive({ timeout: 10_000 });
      assertEquals([lease.item, lease.attempt], ["item", 2]);
      await lease.ack();
      await queue.free();
    });
  }

  it("the next bus of this user, in any namespace, cleans up after the last one", async () => {
    const namespace = fresh();
    const member = Peer.start(MEMBER, { args: [namespace] });
    await member.next();
    const buses = await busesOf(namespace);
    assertEquals(buses.length, 1);
    await member.kill();
    // it may have been killed just before it created a file here
    mkdirSync(`/dev/shm/${namespace}/waiting/queue`, { recursive: true });
    // on a busy machine, a bus may not have the time, and the one after it continues
    await until("nothing is left", async () => {
      const bus = await Bus.open(ipc(), { namespace: fresh() });
      await bus.close();
      return (await left(namespace, buses)).length === 0;
    });
  });

  for (const how of ["hang", "terminate"] as const) {
    it(`a bus whose worker ends by "${how}" leaves nothing when it is closed before the worker is replaced`, async () => {
      const { provider, fault } = faulty(undefined, ipc());
      const namespace = fresh();
      const before = descriptors();
      const bus = await Bus.open(provider, { namespace });
      bus.addEventListener("error", () => {});
      const buses = await busesOf(namespace);
      assertEquals(buses.length, 1);
      const queue = bus.queue("queue");
      await queue.put("item");
      await queue.get();
      queue.get().catch(() => {}); // its worker holds the kernel's queue open
      await bus.queue("none").getNowait().catch(() => {}); // when this has been answered, the worker waits
      fault(how);
      assertEquals((await bus.close({ timeout: 200 })).clean, false);
      await until("all is closed", () => String(descriptors()) === String(before));
      const posix = await loadPosix();
      posix.unlinkQueue(new Names(namespace).queue("queue"));
      await until("all is removed", async () => (await left(namespace, buses)).length === 0);
    });
  }

  it("a bus whose worker was terminated after it had closed its queues leaves nothing", async () => {
    const { provider, fault } = faulty(undefined, ipc());
    const namespace = fresh();
    const posix = await loadPosix();
    const bus = await Bus.open(provider, { namespace });
    bus.addEventListener("error", () => {});
    const buses = await busesOf(namespace);
    const thread = String(posix.readLink(`/dev/shm/${namespace}/loops/${buses[0]}/thread`)).split(" ")[0];
    for (const name of readdirSync("/proc/self/fd")) {
      if (String(posix.readLink(`/proc/self/fd/${name}`)).startsWith(`/${buses[0]}`)) posix.close(Number(name));
    }
    fault("terminate");
    await bus.close({ timeout: 200 });
    await until("its thread has ended", () => !existsSync(`/proc/self/task/${thread}`));
    await until("all is removed", async () => (await left(namespace, buses)).length === 0);
  });

  it("descriptors of a worker that was terminated are closed only when its thread has ended", async () => {
    const namespace = fresh();
    const posix = await loadPosix();
    const early: string[] = [];
    for (let i = 0; i < 10; i++) {
      // a worker that was terminated while it closed its bus may leave the directory open: who has its number is not known then
      const queues = () => descriptors(/^\/pymq_/);
      const before = queues();
      const bus = await Bus.open(ipc(), { namespace });
      const [name] = await busesOf(namespace);
      const thread = String(posix.readLink(`/dev/shm/${namespace}/loops/${name}/thread`)).split(" ")[0];
      const { close } = posix;
      posix.close = (descriptor) => {
        const target = String(posix.readLink(`/proc/self/fd/${descriptor}`));
        if (target.startsWith(`/${name}`) && existsSync(`/proc/self/task/${thread}`)) early.push(target);
        close.call(posix, descriptor);
      };
      try {
        await bus.close({ timeout: 0 });
        await until("all is removed", async () => (await left(namespace, [name!])).length === 0);
        await until("all is closed", () => String(queues()) === String(before));
      } finally {
        posix.close = close;
      }
    }
    assertEquals(early, []);
  });

  it("an item is not lost if its bus is killed just after taking it", async () => {
    const namespace = fresh();
    const first = await Bus.open(ipc(), { namespace });
    await first.queue("jobs").put("item");
    using other = await HandmadeBus.open(namespace);
    assertEquals(other.take("jobs"), '"item"');
    const dead = other.die();
    const lease = await first.queue<string>("jobs").receive({ timeout: 10_000 });
    assertEquals([lease.item, lease.attempt], ["item", 1]);
    await lease.ack();
    await first.queue("jobs").free();
    await first.close();
    assertEquals(await left(namespace, [dead], ["jobs"]), []);
  });

  it("a lease that is set long after its item was taken holds, also for buses that have checked it before", async () => {
    const namespace = fresh();
    const bus = await Bus.open(ipc(), { namespace });
    using other = await HandmadeBus.open(namespace);
    const queue = bus.queue<string>("jobs");
    await queue.put("item");
    const lease = other.hold("jobs", writeItem(other.take("jobs"), false));
    const waiting = queue.receive();
    await assertRejects(() => queue.receive({ timeout: 500 }), QueueEmptyError);
    lease(1);
    const again = await within("it comes back", waiting);
    assertEquals([again.item, again.attempt], ["item", 2]);
    await again.ack();
    other.remove(); // gives back the item in the crash slot
    await queue.free();
    await bus.close();
    assertEquals(await left(namespace, [other.busName], ["jobs"]), []);
  });

  it("an item whose lease was never set is held while its bus lives, and comes back when it ends, also if the process lives", async () => {
    const namespace = fresh();
    const bus = await Bus.open(ipc(), { namespace });
    using other = await HandmadeBus.open(namespace);
    const queue = bus.queue<string>("jobs");
    other.hold("jobs", writeItem('"item"', false));
    const waiting = queue.receive();
    await assertRejects(() => queue.receive({ timeout: 500 }), QueueEmptyError);
    other.remove();
    const again = await within("it comes back", waiting);
    assertEquals([again.item, again.attempt], ["item", 2]);
    await again.ack();
    await queue.free();
    await bus.close();
    assertEquals(await left(namespace, [other.busName], ["jobs"]), []);
  });

  it("a subscriber that is stopped, then killed, does not delay the others", async () => {
    const namespace = fresh();
    await using bus = await Bus.open(ipc(), { namespace, sendTimeout: 60_000 });
    const seen: number[] = [];
    await bus.subscribe("all", (event: number) => void seen.push(event)).ready;
    const member = Peer.start(MEMBER, { args: [namespace] });
    await member.next();
    member.signal("SIGSTOP");
    const published = Array.from({ length: 2_000 }, (_, i) => bus.publish(i, "all"));
    await until("our own subscriber has all", () => seen.length === 2_000);
    await member.kill();
    const reached = await Promise.all(published);
    assert(reached.every((count) => count === 1 || count === 2) && reached.at(-1) === 1, "the dead one is not counted");
    assertEquals(seen, seen.map((_, i) => i));
  });
});
