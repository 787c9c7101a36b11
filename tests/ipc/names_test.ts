import { assert, assertEquals, assertMatch } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { mark, unmark } from "../../src/provider/delivery_mark.ts";
import { nameOfItem, parseItem } from "../../src/providers/ipc/items.ts";
import { directoryOf, Names } from "../../src/providers/ipc/names.ts";
import { Random, SEED } from "../support/random.ts";

const names = new Names("shop");
const encoder = new TextEncoder();
/** The parts that have a meaning in a path, in PyMQ's names, or in tsmq's. */
const PIECES = ["a", ".", "..", "/", "~", "$", "_$", "_", "pymq_shop_$1", "é", "😀", "*", "\n", "x".repeat(254)];

function texts(random: Random, count: number): Set<string> {
  return new Set(
    Array.from({ length: count }, () => Array.from({ length: random.int(1, 5) }, () => random.pick(PIECES)).join("")),
  );
}

describe(`names of POSIX queues and of the tree (seed ${SEED})`, () => {
  it("are PyMQ's where PyMQ can name them", () => {
    assertEquals(names.queue("jobs"), "/pymq_shop_jobs");
    assertEquals(names.topic("shop.events/placed"), { path: "subscribers/shop.events/placed", shared: true });
    assertEquals(directoryOf("shop"), "shop");
  });

  it("are kept for messages as long as they have few characters together: members of a group choose those of bindings", () => {
    const many = new Names("shop");
    const queues = Array.from({ length: 1_000 }, (_, i) => many.queue(`${i}/${"x".repeat(60_000)}`));
    const kept = queues.map((queue) => many.title(queue).length).filter((length) => length > 60_000);
    assertEquals([kept.length > 0, kept.length * 60_000 <= 2 ** 20], [true, true], `${kept.length} names`);
  });

  it("are different for different names, and never leave their directory", () => {
    const random = new Random(SEED);
    const [queues, topics, directories] = [new Map<string, string>(), new Map<string, string>(), new Set<string>()];
    const all = texts(random, 5_000);
    for (const name of all) {
      const queue = names.queue(name);
      assertMatch(queue, /^\/[^/]+$/);
      assert(encoder.encode(queue).length <= 256, `the kernel takes 255 bytes: ${queue}`);
      queues.set(queue, name);
      assertEquals(names.title(queue), `queue "${name}"`);
      const { path } = names.topic(name);
      for (const segment of path.split("/")) {
        assert(segment !== "" && segment !== "." && segment !== "..", `${JSON.stringify(path)} leaves the tree`);
        assert(encoder.encode(segment).length <= 255, `${path} is too long for a directory`);
      }
      topics.set(path, name);
      const directory = directoryOf(name);
      assertMatch(directory, /^[^/]+$/);
      assert(!/^\.+$/.test(directory));
      directories.add(directory);
    }
    assertEquals([queues.size, topics.size, directories.size], [all.size, all.size, all.size]);
  });

  it("of a bus differ from all queues and topics, and hold its process", () => {
    const process = { pid: 12, start: 345, pidNamespace: 678 };
    const busName = names.newBus(process, 9);
    assertEquals(names.parseBus(busName), { ...process, eventfd: 9, pymq: false });
    assert(names.queue(busName.slice("pymq_shop_".length)) !== `/${busName}`);
    assertEquals(names.topic(busName).shared, false);
    assertEquals(names.parseBus("pymq_shop_$12"), { pid: 12, pymq: true });
    for (const name of ["pymq_shop_$", "pymq_shop_$x", "pymq_shop_$1_2", "pymq_other_$12", "..", "", `${busName}/..`]) {
      assertEquals(names.parseBus(name), undefined, name);
    }
  });
});

describe("the name of an item, whose counts a member of the group has set to their largest number,", () => {
  it("is read again after the next attempt, and its number of attempts is kept in a mark", () => {
    const item = parseItem(`${"0".repeat(16)}-000000.9999999999.9999999999.bus`)!;
    const next = { ...item, starts: item.starts + 1, lease: item.lease + 1 };
    assertEquals(parseItem(nameOfItem(next)), item);
    assertEquals(unmark(`"x"${mark(next.starts)}`), { body: '"x"', deliveries: next.starts });
  });
});
