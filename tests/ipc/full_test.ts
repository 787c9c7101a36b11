// run: on bun, kernel-queues
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { readdirSync } from "node:fs";
import { Bus } from "../../src/bus.ts";
import { type BusError, ProviderError, QueueEmptyError } from "../../src/errors.ts";
import { eventsOf } from "../../src/providers/ipc/names.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { skip } from "../support/skip.ts";
import { until, within } from "../support/until.ts";
import { fresh, HandmadeBus, left, notMountable, SmallDirectory } from "./ground.ts";

/** A body larger than the small directory. */
const HUGE = "x".repeat(500_000);
/** A body that fits into the small directory once, not twice. */
const LARGE = "x".repeat(100_000);

/** Milliseconds that a test may take: the longest waits for one cleanup of three buses, up to 6 seconds. */
const PATIENCE = 60_000;

const missing = notMountable();

type Play = (small: SmallDirectory, open: () => Promise<Bus>, namespace: string) => Promise<void>;

/** Runs a test in a small directory and its own namespace. It frees the queue "queue", and checks that nothing is left. */
function test(name: string, play: Play): void {
  if (missing) return skip(name, missing);
  it(name, async () => {
    using small = new SmallDirectory("size=256k,nr_inodes=100");
    const namespace = fresh();
    const buses: Bus[] = [];
    const open = async () => {
      const bus = await Bus.open(ipc({ directory: small.path }), { namespace, sendTimeout: 500 });
      buses.push(bus);
      return bus;
    };
    try {
      await within("the test ends", play(small, open, namespace), PATIENCE);
    } finally {
      small.empty();
      await buses[0]?.queue("queue").free();
      await Promise.all(buses.map((bus) => bus.close()));
    }
    assertEquals(readdirSync(small.path), ["ballast"]);
  });
}

/** Checks that an operation without room is refused with advice. `doing` is the operation in the words of its user. */
async function noRoom(act: () => Promise<unknown>, doing = ""): Promise<void> {
  const error = await assertRejects(act, ProviderError);
  assertEquals(error.code, "unavailable");
  assert(error.message.startsWith(`Cannot ${doing}`), error.message);
  assertMatch(error.message, /no space is left there; enlarge it/);
}

/** The errors that a bus reports. */
function reported(bus: Bus): BusError[] {
  const errors: BusError[] = [];
  bus.addEventListener("error", (event) => errors.push(event.error as BusError));
  return errors;
}

/** The files of large events to a bus. */
function files(small: SmallDirectory, namespace: string): string[] {
  const buses = `${small.path}/${namespace}/loops`;
  const found = readdirSync(buses).flatMap((bus) => readdirSync(`${buses}/${bus}`, { withFileTypes: true }));
  return found.filter((entry) => entry.isFile()).map((entry) => entry.name);
}

describe("no space left in the directory:", () => {
  test("a body that is too large is refused, and the bus continues to work", async (_, open) => {
    const bus = await open();
    const queue = bus.queue<string>("queue");
    await noRoom(() => queue.put(HUGE), 'put into queue "queue" by a file of 500002 bytes in ');
    await bus.subscribe("topic", () => {}).ready;
    await noRoom(() => bus.publish(HUGE, "topic"), 'publish to "topic" by a file of ');
    await queue.put("small");
    assertEquals(await queue.get(), "small");
    assertEquals(await bus.publish("small", "topic"), 1);
  });

  test(
    "of two subscribers one gets a large event, and the file that was written for the other is removed",
    async (small, open, namespace) => {
      const [bus, other] = [await open(), await open()];
      let seen = 0;
      for (const each of [bus, other]) await each.subscribe("topic", () => void seen++).ready;
      small.fill(150_000);
      const received = async (times: number) => {
        await until("all who can have it do", () => seen === times);
        await until("its files are gone", () => files(small, namespace).length === 0);
      };
      let before = 0;
      // a subscriber that has read its file makes room for the other's
      await noRoom(async () => {
        for (;; before = seen) {
          await bus.publish(LARGE, "topic");
          await received(before + 2);
        }
      });
      await received(before + 1);
      small.empty();
      assertEquals(await bus.publish(LARGE, "topic"), 2);
      await received(before + 3);
    },
  );

  test(
    "files for a subscriber that does not read are removed when the send times out",
    async (small, open, namespace) => {
      const bus = await open();
      using deaf = await HandmadeBus.open(namespace, small.path);
      deaf.internals.queues.create(eventsOf(deaf.busName), [{ messages: 1, size: 512 }]);
      deaf.internals.subscriptions.subscribe("topic", deaf.busName);
      assertEquals(await bus.publish(LARGE, "topic"), 1);
      await assertRejects(
        () => bus.publish(LARGE, "topic"),
        ProviderError,
        'Cannot publish to "topic": the queue of a bus is full, and that bus has read nothing for 500 ms',
      );
      assertEquals(files(small, namespace).length, 1);
    },
  );

  test("an item that cannot be held stays in its queue, and is held when there is room", async (small, open) => {
    const bus = await open();
    const queue = bus.queue<string>("queue");
    const take = () => queue.receive({ timeout: 0 });
    for (const item of ["first", "second"]) await queue.put(item);
    small.fill();
    await noRoom(take); // there is no room where it would land
    assertEquals(await queue.qsize(), 2);
    small.empty();
    const lease = await take();
    small.fill();
    await noRoom(take, 'hold an item of queue "queue" by a file of '); // nor, once there is, where it would be held
    assertEquals(await queue.qsize(), 1);
    const waiting = queue.receive();
    await lease.nack();
    small.empty();
    const leases = [await waiting, await take()];
    assertEquals(leases.map(({ item, attempt }) => [item, attempt]).sort(), [["first", 2], ["second", 1]]);
    for (const lease of leases) await lease.ack();
    small.fill();
    await queue.put("third");
    assertEquals(await queue.get(), "third"); // needs no room
  });

  test("an item in the crash slot of a dead bus stays there until there is room", async (small, open, namespace) => {
    const bus = await open();
    const errors = reported(bus);
    const queue = bus.queue<string>("queue");
    await queue.put("item");
    using other = await HandmadeBus.open(namespace, small.path);
    const { internals } = other;
    // as long as it lives, the first bus does not give back what it has taken
    assertEquals(other.take("queue"), '"item"');
    small.fillNames(2); // enough for a bus, not for the item
    for (let i = 0; i < 10; i++) await queue.putNowait(`${i}`); // nor is there room in the kernel
    const dead = other.die();
    const second = await open();
    await second.close();
    assertEquals(internals.buses().includes(dead), true);
    small.empty();
    const got: string[] = [];
    while (got.length < 11) got.push(await queue.get({ timeout: PATIENCE }));
    assertEquals([...got].sort(), [..."0123456789", "item"]);
    assertEquals([errors.length, bus.health().restarts], [0, 0]);
    await until("nothing is left of the dead one", () => !internals.buses().includes(dead));
    assertEquals((await left(namespace, [dead])).length, 0);
  });

  test("with no inode left opening a bus fails and leaves nothing", async (small, open) => {
    for (const some of [0, 1, 2, 3]) {
      small.fillNames(some);
      await noRoom(open);
      assertEquals(readdirSync(small.path), ["ballast"]);
      small.empty();
    }
    const bus = await open();
    assertEquals(await bus.publish("x", "topic"), 0);
  });

  test("with no inode left a subscription waits for room and reports it", async (small, open) => {
    const bus = await open();
    const errors = reported(bus);
    const seen: unknown[] = [];
    for (const some of [0, 1]) {
      small.fillNames(some);
      errors.length = 0;
      const subscriptions = [
        bus.subscribe("topic", (event) => void seen.push(event)),
        bus.subscribe("t*", (event) => void seen.push(event), { pattern: true }),
      ];
      const exposed = bus.expose("fn", () => "answer");
      await until("all are reported", () => errors.length === 3);
      for (const { code, message } of errors) {
        assertMatch(`${code} ${message}`, /^unavailable Cannot .*: no space is left/);
      }
      assertEquals(await bus.publish("nobody", "topic"), 0);
      small.empty();
      await Promise.all([...subscriptions.map(({ ready }) => ready), exposed]);
      assertEquals(await bus.publish("event", "topic"), 2);
      await until("both have it", () => seen.length === 2);
      assertEquals(await bus.stub("fn")(), "answer");
      seen.length = 0;
      for (const subscription of subscriptions) await subscription.unsubscribe();
      await bus.unexpose("fn");
    }
  });

  test("with no inode left an item that is given back comes back when there is room", async (small, open) => {
    const bus = await open();
    const queue = bus.queue<string>("queue");
    await queue.put("item");
    const lease = await queue.receive();
    small.fillNames();
    await noRoom(() => lease.nack(), 'give an item back to queue "queue": ');
    assertEquals(await queue.qsize(), 0);
    small.empty();
    const again = await queue.receive({ timeout: 10_000 });
    assertEquals([again.item, again.attempt], ["item", 2]);
    await again.ack();
    assert(await queue.qsize() === 0);
  });

  test("a pattern that found no room leaves nothing when its bus closes", async (small, open) => {
    const [_, bus] = [await open(), await open()];
    const errors = reported(bus);
    small.fill();
    const { ready } = bus.subscribe("*", () => {}, { pattern: true });
    const ended = assertRejects(() => ready);
    await until("it is reported", () => errors.length > 0);
    await bus.close();
    await ended;
  });

  test("an item that could not be given back reaches another waiting bus when there is room", async (small, open) => {
    const [queue, theirs] = [(await open()).queue<string>("queue"), (await open()).queue<string>("queue")];
    await queue.put("item");
    const lease = await queue.receive({ lease: 3_600_000 });
    // from now on the other bus has cached when the lease ends
    await assertRejects(() => theirs.receive({ timeout: 500 }), QueueEmptyError);
    const waiting = theirs.receive();
    small.fillNames();
    await noRoom(() => lease.nack());
    small.empty();
    const again = await waiting;
    assertEquals([again.item, again.attempt], ["item", 2]);
    await again.ack();
  });
});
