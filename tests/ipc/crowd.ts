/** Uses many queues and buses as a plain user with the default limits, and prints the results. Arguments: the operation, and its own. */
import { spawn } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { Bus } from "../../src/bus.ts";
import { QueueEmptyError } from "../../src/errors.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { pause, until } from "../support/until.ts";

const [what, namespace, ...counts] = process.argv.slice(2) as [string, string, ...string[]];
const [first = 0, second = 0] = counts.map(Number);

/** Another process of this user, which runs an operation of this file. */
class Member {
  readonly lines: string[] = [];
  readonly exited: Promise<unknown>;
  readonly pid: number;
  readonly #child;

  constructor(what: string, ...args: unknown[]) {
    const file = fileURLToPath(import.meta.url);
    const run = "Deno" in globalThis ? ["run", "-A", "--no-check", "--no-lock"] : ["run"];
    this.#child = spawn(process.execPath, [...run, file, what, namespace, ...args.map(String)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.pid = this.#child.pid!;
    let rest = "";
    this.#child.stdout!.setEncoding("utf8").on("data", (text: string) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop()!;
      this.lines.push(...lines);
    });
    this.exited = new Promise((resolve) => this.#child.once("close", resolve));
  }

  async says(line: string): Promise<void> {
    await until(`a member says ${line}`, () => this.lines.includes(line), 120_000);
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }
}

function queue(bus: Bus, i: number) {
  return bus.queue<number>(`crowd-${i}`);
}

/** Takes all items of a queue. */
async function drain(bus: Bus, i: number): Promise<number[]> {
  const items: number[] = [];
  try {
    while (true) items.push(await queue(bus, i).getNowait());
  } catch (error) {
    if (!(error instanceof QueueEmptyError)) throw error;
  }
  return items;
}

/** Runs `act` for each number below `count`, some at the same time. */
async function each(count: number, act: (i: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  await Promise.all(Array.from({ length: 32 }, async () => {
    while (next < count) await act(next++);
  }));
}

const doing: Record<string, () => Promise<unknown>> = {
  /** Puts items into every fourth queue, in rounds, and reports each round. */
  async put() {
    const [queues, items, member] = counts.map(Number) as [number, number, number];
    const bus = await Bus.open(ipc(), { namespace });
    for (let item = 0; item < items; item++) {
      await each(queues / 4, (i) => queue(bus, 4 * i + member).put(item));
      console.log(`round ${item}`);
    }
    await bus.close();
  },

  /** Takes and acknowledges items of all queues in turn, and reports each. */
  async take() {
    const bus = await Bus.open(ipc(), { namespace });
    for (let i = 0;; i = (i + 1) % first) {
      const lease = await queue(bus, i).receive({ timeout: 0 });
      await lease.ack();
      console.log(`${i} ${lease.item}`);
    }
  },

  /** Many queues of many items from four processes; one is killed while it puts, another one while it takes. */
  async queues() {
    const bus = await Bus.open(ipc(), { namespace });
    const members = [0, 1, 2, 3].map((member) => new Member("put", first, second, member));
    const half = Math.floor(second / 2);
    await members[0]!.says(`round ${half - 1}`);
    members[0]!.kill();
    await Promise.all(members.map(({ exited }) => exited));
    const rounds = members.map(({ lines }) => lines.filter((line) => line.startsWith("round")).length);
    const taker = new Member("take", first);
    await until("it takes", () => taker.lines.length > first / 2, 60_000);
    taker.kill();
    await taker.exited;
    const taken = new Set(taker.lines);
    let [lost, disordered, twice] = [0, 0, 0];
    await each(first, async (i) => {
      let items = await drain(bus, i);
      const mine = rounds[i % 4]!;
      const has = (item: number) => items.includes(item) || taken.has(`${i} ${item}`);
      if (await queue(bus, i).qsize() > 0) items = items.concat(await drain(bus, i));
      for (let item = 0; item < mine; item++) if (!has(item)) lost++;
      twice += items.length - new Set(items).size + items.filter((item) => taken.has(`${i} ${item}`)).length;
      if (items.some((item, at) => at > 0 && item < items[at - 1]!)) disordered++;
    });
    await each(first, (i) => queue(bus, i).free());
    await bus.close();
    // one item was acknowledged and not reported, or is given back late, behind others
    return { rounds: rounds.slice(1), half: rounds[0]! >= half, lost: lost <= 1, twice, disordered: disordered <= 1 };
  },

  /** A long queue. 100,000 of its items take 300 MB. */
  async long() {
    const bus = await Bus.open(ipc(), { namespace });
    const long = bus.queue<string>("crowd-0");
    const item = (number: number) => `${number} ${"x".repeat(3_000)}`;
    const before = process.memoryUsage().rss;
    let [most, disordered, next] = [0, 0, 0];
    const look = () => most = Math.max(most, process.memoryUsage().rss - before);
    for (let i = 0; i < first; i += 100) {
      await Promise.all(Array.from({ length: 100 }, (_, j) => long.put(item(i + j))));
      look();
    }
    const size = await long.qsize();
    for (; next < first / 2; next++) if (await long.get() !== item(next)) disordered++;
    look();
    const consumer = long.consume((taken) => void (taken !== item(next++) && disordered++));
    await until("all are taken", () => next === first, 100_000);
    await consumer.close();
    look();
    await long.free();
    await bus.close();
    console.log(`memory grew by ${Math.round(most / 1e6)} MB`);
    return { size, disordered, flat: most < 250e6 };
  },

  async putTimes() {
    const bus = await Bus.open(ipc(), { namespace });
    for (let i = 0; i < first; i++) {
      await Promise.all([queue(bus, i).put(Date.now()), bus.publish(Date.now(), "beat")]);
      await pause(20);
    }
    await bus.close();
  },

  /** Gets that wait, one on each queue. The machine may be busy, so they are compared with events, which always wake a bus at once. */
  async gets() {
    const bus = await Bus.open(ipc(), { namespace });
    const beats: number[] = [];
    await bus.subscribe<number>("beat", (sent) => void beats.push(Date.now() - sent)).ready;
    const late = Array.from({ length: first }, (_, i) => queue(bus, i).get().then((item) => Date.now() - item));
    await pause(2_000); // from now on a bus checks rarely
    const member = new Member("putTimes", first);
    const times = await Promise.all(late);
    await member.exited;
    await until("all events are received", () => beats.length === first, 10_000);
    await each(first, (i) => queue(bus, i).free());
    await bus.close();
    const median = (all: number[]) => all.sort((a, b) => a - b)[Math.floor(first / 2)]!;
    return { prompt: median(times) < 100 + 2 * median(beats) || `${times}, events ${beats}` };
  },

  async pair() {
    const buses = [await Bus.open(ipc(), { namespace }), await Bus.open(ipc(), { namespace })];
    for (const bus of buses) await bus.subscribe("all", () => queue(bus, process.pid).put(1)).ready;
    console.log("open");
    await until("the end", async () => await buses[0]!.queue("end").qsize() > 0, 300_000);
    await Promise.all(buses.map((bus) => bus.close()));
  },

  /** Two buses in each of many processes, with queues in use. */
  async pairs() {
    const bus = await Bus.open(ipc(), { namespace });
    for (let i = 0; i < 20; i++) await queue(bus, -i).put(i);
    const members: Member[] = [];
    for (let i = 0; i < first; i += 5) {
      const some = Array.from({ length: Math.min(5, first - i) }, () => new Member("pair"));
      members.push(...some);
      await Promise.all(some.map((member) => member.says("open")));
    }
    const reached = await bus.publish("hello", "all");
    const sizes = async () => (await Promise.all(members.map((member) => queue(bus, member.pid).qsize())));
    await until("all have put", async () => (await sizes()).every((size) => size === 2), 60_000);
    await bus.queue("end").put(1);
    await Promise.all(members.map(({ exited }) => exited));
    for (const { pid } of members) await queue(bus, pid).free();
    for (let i = 0; i < 20; i++) await queue(bus, -i).free();
    await bus.queue("end").free();
    await bus.close();
    return { reached };
  },
};

const result = await doing[what]!();
if (result !== undefined) console.log(JSON.stringify(result));
