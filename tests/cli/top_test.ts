/** The keys of `tsmq top`, on a terminal of the test. */
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { PassThrough, Writable } from "node:stream";
import { Bus, memory } from "../../mod.ts";
import { Meter, type Sample } from "../../cli/meter.ts";
import type { Admin } from "../../src/provider/admin.ts";
import type { Terminal } from "../../cli/screen.ts";
import { watch } from "../../cli/commands/top.ts";
import { until } from "../support/until.ts";

/** Each key, the head of its column, and the order of the queues that it makes. */
const ORDERS = {
  n: ["QUEUE", "abcd"],
  w: ["WAITING", "abdc"],
  l: ["LEASED", "acbd"],
  d: ["DELAYED", "acdb"],
  x: ["DEAD", "adbc"],
  i: ["IN/S", "bacd"],
  o: ["OUT/S", "bcad"],
  p: ["P50 MS", "dcba"],
} as const;

/** The number of a queue in a column: the larger, the earlier it stands in the order. The last one is not known. */
function numberOf(key: keyof typeof ORDERS, name: string): number | undefined {
  const at = ORDERS[key][1].indexOf(name);
  return at === 3 ? undefined : 30 - at;
}

const SAMPLE: Sample = {
  topics: [{ name: "news", rate: 1, total: 2 }],
  queues: [..."cadb"].map((name) => ({
    name,
    waiting: numberOf("w", name),
    leased: numberOf("l", name),
    delayed: numberOf("d", name),
    dead: numberOf("x", name),
    in: numberOf("i", name),
    out: numberOf("o", name),
    p50: numberOf("p", name),
  })),
};

describe("tsmq top", () => {
  it("sorts by the column of each key, ignores other keys, and ends with q", async () => {
    let [frame, raw] = ["", false];
    const stdin = Object.assign(new PassThrough(), { isTTY: true, setRawMode: (on: boolean) => raw = on });
    const stdout = new Writable({
      write: (text, _encoding, done) => {
        frame = String(text);
        done();
      },
    });
    const terminal = { stdin, stdout: Object.assign(stdout, { columns: 80, rows: 20 }) } as unknown as Terminal;
    const signal = new AbortController().signal;
    const ended = watch(() => Promise.resolve(SAMPLE), "memory", { interval: 50, count: Infinity }, signal, terminal);
    await until("it draws", () => frame.includes("QUEUE"));
    assertEquals(raw, true);
    for (const key of ["w", "n", "\x1b[A", "z", "l", "d", "x", "i", "o", "p"]) {
      const [head, order] = ORDERS[Object.hasOwn(ORDERS, key) ? key as keyof typeof ORDERS : "n"];
      stdin.write(key);
      await until(`${key} sorts by ${head}; the screen is:\n${frame}`, () => {
        const names = frame.split("\r\n").map((line) => /^([a-d]) /.exec(line)?.[1] ?? "");
        return frame.includes(`${head}*`) && names.join("") === order;
      });
    }
    stdin.write("q");
    await ended;
    assertEquals([raw, frame], [false, "\x1b[?25h\x1b[?1049l"]);
  });

  it("keeps at most 10,000 queues without items, with names of at most 1,024 characters", async () => {
    const provider = memory();
    await using bus = await Bus.open(provider, { namespace: "emptied" });
    const admin = await provider.admin!.open("emptied");
    let names: string[] = [];
    const queues = () => Promise.resolve(names.map((name) => ({ name, waiting: 1, leased: 0, delayed: 0 })));
    const meter = new Meter(
      bus,
      { ...admin, queues, inboxes: () => [], buses: () => [] } as unknown as Admin,
      [],
      1_000,
    );
    const listed = async (of: string[]) => {
      names = of;
      return (await meter.sample()).queues.map(({ name }) => name.length);
    };
    const lengths = [4, 1_024, 1_025, 2 ** 20];
    assertEquals(await listed(lengths.map((length) => "q".repeat(length))), lengths);
    assertEquals(await listed([]), [4, 1_024]);
    await listed(Array.from({ length: 12_000 }, (_, i) => `${i}`));
    assertEquals((await listed([])).length, 10_000);
    await admin.close();
  });

  it("reads only the rows that fit on the screen, of thousands of long topics", async () => {
    let [read, frames, longest] = [0, 0, 0];
    const stdin = Object.assign(new PassThrough(), { isTTY: false });
    const stdout = new Writable({
      write: (text, _encoding, done) => {
        frames++;
        longest = Math.max(longest, String(text).length);
        done();
      },
    });
    const terminal = { stdin, stdout: Object.assign(stdout, { columns: 80, rows: 20 }) } as unknown as Terminal;
    const topics = Array.from({ length: 5_000 }, (_, i) => ({
      get name() {
        read++;
        return `${i}${"\u{1f4a9}".repeat(512)}`;
      },
      rate: i,
      total: i,
    }));
    const sample = { topics, queues: SAMPLE.queues };
    const { signal } = new AbortController();
    await watch(() => Promise.resolve(sample), "memory", { interval: 1, count: 3 }, signal, terminal);
    assertEquals(frames, 5); // two of them enter and leave the screen
    assert(read <= 3 * 20, `${read} names were read`);
    assert(longest < 10_000, `a frame of ${longest} characters`);
  });
});
