/** Uses queues while others hold all that the kernel allows a user, and prints the results. Arguments: the operation, and the namespace. */
import process from "node:process";
import { Bus } from "../../src/bus.ts";
import { loadPosix } from "../../src/providers/ipc/posix.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { pause, until } from "../support/until.ts";

const [what, namespace] = process.argv.slice(2) as [string, string];
const posix = await loadPosix();
const taken: string[] = [];

/** Takes all room: with large queues, then with small ones. */
function takeRoom(): void {
  for (const size of [8_192, 64]) {
    for (let descriptor = 0; descriptor >= 0;) {
      const name = `/pymq_${namespace}_${crypto.randomUUID()}`;
      descriptor = posix.openQueue(name, { messages: 1, size, mode: 0o600 });
      if (descriptor < 0) break;
      posix.close(descriptor);
      taken.push(name);
    }
  }
}

function release(count = Infinity): void {
  for (const name of taken.splice(0, count)) posix.unlinkQueue(name);
}

const doing: Record<string, () => Promise<unknown>> = {
  async open() {
    takeRoom();
    const start = performance.now();
    const buses = Array.from({ length: 5 }, () => Bus.open(ipc(), { namespace }));
    await pause(500);
    const early = await Promise.race([...buses, pause(0)]);
    release();
    for (const bus of await Promise.all(buses)) await bus.close();
    return { waited: early === undefined && performance.now() - start >= 499 };
  },

  async answers() {
    const nobody = () => Promise.reject(new Error("nobody"));
    const context = {
      namespace,
      connectTimeout: 5_000,
      sendTimeout: 5_000,
      maxReceive: Infinity,
      ask: nobody,
      state() {},
    };
    const sender = await ipc().open(context);
    const { replies } = sender;
    takeRoom();
    const opened: number[] = [];
    const count = 8;
    const all = Promise.all(Array.from({ length: count }, async (_, i) => {
      await replies!.open(`answer-${i}`);
      opened.push(i);
    }));
    await pause(100);
    const early = opened.length;
    await sender.drop("answer-3"); // its caller has timed out
    await until("it ends", () => opened.length === 1);
    for (let i = 2; i <= count; i++) {
      release(1);
      await until("the next one opens", () => opened.length >= i);
    }
    await all;
    for (let i = 0; i < count; i++) await sender.drop(`answer-${i}`);
    release();
    await sender.close();
    return { early, opened };
  },

  async group() {
    const bus = await Bus.open(ipc(), { namespace });
    takeRoom();
    const seen: unknown[] = [];
    const member = bus.subscribe("topic", (event) => void seen.push(event), { group: "members" });
    await member.ready;
    for (let i = 0; i < 30; i++) await bus.publish(i, "topic");
    await until("all are handled", () => seen.length === 30);
    await member.free();
    release();
    await bus.close();
    return { seen };
  },
};

console.log(JSON.stringify(await doing[what]!()));
