import { buildCommand } from "@stricli/core";
import process from "node:process";
import type { Bus } from "../../mod.ts";
import type { Admin } from "../../src/provider/admin.ts";
import { printable } from "../../src/internal/printable.ts";
import { pause } from "../../src/internal/time.ts";
import { print } from "../io.ts";
import { listQueues, MAX_TOPIC, MAX_TOPICS, type QueueRow } from "../overview.ts";
import { Screen } from "../screen.ts";
import { BUS_FLAGS, type BusFlags, count, JSON_FLAG, number, URL_ARGUMENT, withBus } from "../session.ts";
import { table } from "../table.ts";

interface Flags extends BusFlags {
  readonly interval: number;
  readonly count: number;
  readonly queue?: readonly string[];
  readonly json: boolean;
}

interface TopicRow {
  readonly name: string;
  /** Events a second since the last sample. */
  readonly rate: number;
  /** All received events. */
  readonly total: number;
}

/** A queue, and the number of waiting items that it gained each second since the last sample. */
type SampledQueue = QueueRow & { readonly rate: number };

interface Sample {
  readonly queues: readonly SampledQueue[];
  readonly topics: readonly TopicRow[];
  /** The number of buses that are up, if the transport knows it; without the bus of this command. */
  readonly buses?: number;
}

/** Counts received events, and samples queues. */
class Meter {
  #bus: Bus;
  #admin: Admin | undefined;
  #given: readonly string[];
  #topics = new Map<string, { seen: number; before: number }>();
  #waiting = new Map<string, number>();
  #last = performance.now();

  constructor(bus: Bus, admin: Admin | undefined, queues: readonly string[]) {
    this.#bus = bus;
    this.#admin = admin;
    this.#given = queues;
  }

  async watch(pattern: string): Promise<void> {
    await this.#bus.subscribe(pattern, (_, { topic }) => this.#count(topic), { pattern: true }).ready;
    await this.sample();
  }

  #count(topic: string): void {
    const known = this.#topics.get(topic);
    if (known) known.seen++;
    else if (this.#topics.size < MAX_TOPICS && topic.length <= MAX_TOPIC) {
      this.#topics.set(topic, { seen: 1, before: 0 });
    }
  }

  async sample(): Promise<Sample> {
    const [listed, buses] = await Promise.all([this.#list(), this.#admin?.buses()]);
    const now = performance.now();
    const seconds = (now - this.#last) / 1_000;
    this.#last = now;
    const topics = [...this.#topics].map(([name, counter]): TopicRow => {
      const rate = (counter.seen - counter.before) / seconds;
      counter.before = counter.seen;
      return { name, rate, total: counter.seen };
    });
    const queues = listed.map((queue): SampledQueue => {
      const { name, waiting = 0 } = queue;
      const rate = (waiting - (this.#waiting.get(name) ?? waiting)) / seconds;
      this.#waiting.set(name, waiting);
      return { ...queue, rate };
    });
    return { queues, topics, buses: buses && Math.max(0, buses.length - 1) };
  }

  /** Lists the queues: those that the transport lists, those that the user named, and those of earlier samples. */
  async #list(): Promise<QueueRow[]> {
    const listed = this.#admin && await listQueues(this.#admin) || [];
    const found = new Set(listed.map(({ name }) => name));
    const others = [...new Set([...this.#given, ...this.#waiting.keys()])].filter((name) => !found.has(name));
    return [...listed, ...await Promise.all(others.map((name) => this.#read(name)))];
  }

  async #read(name: string): Promise<QueueRow> {
    return { name, ...await this.#bus.queue(name).stats() };
  }
}

/** The keys that sort the queues, and their columns. */
const ORDERS = {
  n: { head: "QUEUE", of: ({ name }: SampledQueue) => name },
  w: { head: "WAITING", of: ({ waiting }: SampledQueue) => waiting },
  l: { head: "LEASED", of: ({ leased }: SampledQueue) => leased },
  d: { head: "DELAYED", of: ({ delayed }: SampledQueue) => delayed },
  x: { head: "DEAD", of: ({ dead }: SampledQueue) => dead },
  g: { head: "GROWTH/S", of: ({ rate }: SampledQueue) => rate },
} as const;
type Key = keyof typeof ORDERS;

const KEYS = "sort by: n name  w waiting  l leased  d delayed  x dead  g growth   q quit";

/** Sorts queues: by name from a to z, by a number from the largest to the smallest. */
function sorted(queues: readonly SampledQueue[], key: Key): SampledQueue[] {
  const { of } = ORDERS[key];
  const size = (queue: SampledQueue) => Math.abs(Number(of(queue) ?? -1));
  const byName = (a: SampledQueue, b: SampledQueue) => a.name < b.name ? -1 : Number(a.name > b.name);
  return queues.toSorted((a, b) => (key === "n" ? 0 : size(b) - size(a)) || byName(a, b));
}

/** Returns the lines of a sample. With a `height`, it returns the rows that fit, and the number of further rows. */
function format({ queues, topics }: Sample, key: Key, width: number, height = Infinity): string[] {
  const rows = [
    ...table(
      Object.entries(ORDERS).map(([each, { head }]) => each === key && height < Infinity ? `${head}*` : head),
      sorted(queues, key).map((queue) => Object.values(ORDERS).map(({ of }) => of(queue))),
      width,
    ),
  ];
  const events = table(
    ["TOPIC", "EVENTS/S", "SEEN"],
    topics.toSorted((a, b) => b.rate - a.rate || b.total - a.total).map(({ name, rate, total }) => [name, rate, total]),
    width,
  );
  if (queues.length + topics.length === 0) {
    return ["No event has arrived yet, and no queue that the transport lists has items. Name others with --queue."];
  }
  // half of the screen each, unless one of them needs less
  const room = height - 2;
  const forTopics = Math.max(Math.floor(room / 2), room - rows.length);
  const forQueues = Math.max(Math.floor(room / 2), room - events.length);
  return [
    ...queues.length > 0 ? [...fitted(rows, forQueues), ""] : [],
    ...topics.length > 0 ? fitted(events, forTopics) : [],
  ];
}

function fitted(lines: readonly string[], height: number): readonly string[] {
  return lines.length <= height ? lines : [...lines.slice(0, height - 1), `… ${lines.length - height + 1} more`];
}

/** Shows samples on the whole terminal until a key ends it. Resolves when the signal aborts or `q` is pressed. */
async function watch(meter: Meter, title: string, flags: Flags, signal: AbortSignal): Promise<void> {
  const quit = new AbortController();
  const ended = AbortSignal.any([signal, quit.signal]);
  let [key, sample]: [Key, Sample | undefined] = ["n", undefined];
  using screen = new Screen((pressed) => {
    if (pressed === "q") return quit.abort();
    if (Object.hasOwn(ORDERS, pressed)) key = pressed as Key;
    draw();
  });
  const draw = () => {
    if (!sample) return;
    const time = new Date().toTimeString().slice(0, 8);
    const buses = sample.buses === undefined ? [] : [`${sample.buses} bus(es)`];
    const body = format(sample, key, screen.width, screen.height - 3);
    const free = Array.from({ length: Math.max(0, screen.height - 3 - body.length) }, () => "");
    screen.draw([[title, ...buses, time].join("   "), "", ...body, ...free, KEYS]);
  };
  for (let left = flags.count; left > 0 && !ended.aborted; left--) {
    await pause(flags.interval, ended);
    if (ended.aborted) return;
    sample = await meter.sample();
    draw();
  }
}

/** Prints samples as JSON lines or as tables, one after the other. */
async function report(meter: Meter, flags: Flags, signal: AbortSignal): Promise<void> {
  for (let left = flags.count; left > 0 && !signal.aborted; left--) {
    await pause(flags.interval, signal);
    const sample = await meter.sample();
    const lines = flags.json
      ? [
        ...sample.topics.map((topic) => JSON.stringify({ kind: "topic", ...topic })),
        ...sample.queues.map((queue) => JSON.stringify({ kind: "queue", ...queue })),
      ]
      : [...format(sample, "n", Infinity), ""];
    for (const line of lines) await print(line);
  }
}

/** The command `tsmq top`. */
export const command = buildCommand({
  func: (flags: Flags, url: string, pattern?: string) =>
    withBus(url, flags, async (bus, signal, { name, admin: opener }) => {
      const admin = await opener?.open(flags.namespace);
      try {
        const meter = new Meter(bus, admin, flags.queue ?? []);
        await meter.watch(pattern ?? "*");
        const title = printable(`${name}   ${flags.namespace}`);
        if (flags.json || !process.stdout.isTTY) await report(meter, flags, signal);
        else await watch(meter, title, flags, signal);
      } finally {
        await admin?.close();
      }
    }),
  parameters: {
    flags: {
      ...BUS_FLAGS,
      interval: { kind: "parsed", parse: number(50), brief: "Milliseconds between samples", default: "1000" },
      count: { kind: "parsed", parse: count, brief: "End after this number of samples", default: "Infinity" },
      queue: {
        kind: "parsed",
        parse: String,
        brief: "A queue to sample, if the transport cannot list it; may be repeated",
        optional: true,
        variadic: true,
      },
      json: JSON_FLAG,
    },
    aliases: { n: "namespace", i: "interval", c: "count", q: "queue" },
    positional: {
      kind: "tuple",
      parameters: [
        URL_ARGUMENT,
        { parse: String, brief: "A glob of topics; default: all", placeholder: "pattern", optional: true },
      ],
    },
  },
  docs: {
    brief: "Watch queues and the rates of topics",
    fullDescription: [
      "Shows for each queue the items that wait, are leased and are delayed, its dead letters, and the growth of the waiting",
      "items each second. Subscribes to the topics and counts their events. Calls of single servers are not counted, because",
      "they go directly to the inbox of a server. On a terminal, keys sort the queues, and q quits.",
    ].join("\n"),
    customUsage: [
      "<url> [<pattern>] [flags]",
      { input: "redis://localhost", brief: "all topics and queues of the namespace, every second" },
      { input: "redis://localhost 'shop.*' -i 5000", brief: "some topics, every five seconds" },
      { input: "redis://localhost -c 1 --json", brief: "one sample, for a program" },
    ],
  },
});
