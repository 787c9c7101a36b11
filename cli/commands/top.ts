import { buildCommand } from "@stricli/core";
import process from "node:process";
import { printable } from "../../src/internal/printable.ts";
import { pause } from "../../src/internal/time.ts";
import { print } from "../io.ts";
import { Meter, type Sample } from "../meter.ts";
import { Screen, type Terminal } from "../screen.ts";
import { BUS_FLAGS, type BusFlags, count, JSON_FLAG, number, URL_ARGUMENT, withBusAndAdmin } from "../session.ts";
import { type Cell, shorten, table } from "../table.ts";
import { TRAFFIC_NOTE, type TrafficRow } from "../traffic.ts";

interface Flags extends BusFlags {
  readonly interval: number;
  readonly count: number;
  readonly queue?: readonly string[];
  readonly json: boolean;
}

/** The keys that sort the queues, and their columns. */
const ORDERS = {
  n: { head: "QUEUE", of: ({ name }: TrafficRow) => name },
  w: { head: "WAITING", of: ({ waiting }: TrafficRow) => waiting },
  l: { head: "LEASED", of: ({ leased }: TrafficRow) => leased },
  d: { head: "DELAYED", of: ({ delayed }: TrafficRow) => delayed },
  x: { head: "DEAD", of: ({ dead }: TrafficRow) => dead },
  i: { head: "IN/S", of: (queue: TrafficRow) => queue.in },
  o: { head: "OUT/S", of: ({ out }: TrafficRow) => out },
  p: { head: "P50 MS", of: ({ p50 }: TrafficRow) => p50 },
} as const;
type Key = keyof typeof ORDERS;

const KEYS = "sort: n name  w waiting  l leased  d delayed  x dead  i in  o out  p p50  q quit";

/** Sorts queues: by name from a to z, by a number from the largest to the smallest. */
function sorted(queues: readonly TrafficRow[], key: Key): TrafficRow[] {
  const { of } = ORDERS[key];
  const size = (queue: TrafficRow) => Number(of(queue) ?? -1);
  const byName = (a: TrafficRow, b: TrafficRow) => a.name < b.name ? -1 : Number(a.name > b.name);
  return queues.toSorted((a, b) => (key === "n" ? 0 : size(b) - size(a)) || byName(a, b));
}

/** Returns the lines of a sample. With a `height`, it returns the rows that fit, and the number of further rows. */
function format({ queues, topics }: Sample, key: Key, width: number, height = Infinity): string[] {
  if (queues.length + topics.length === 0) {
    return [
      "No event has arrived yet, and no queue that the transport lists has items or consumers. Name others with --queue.",
    ];
  }
  // half of the screen each, unless one of them needs less; each has a line of heads
  const room = height - 2;
  const forTopics = Math.max(Math.floor(room / 2), room - queues.length - 1);
  const forQueues = Math.max(Math.floor(room / 2), room - topics.length - 1);
  const heads = Object.entries(ORDERS).map(([each, { head }]) => each === key && height < Infinity ? `${head}*` : head);
  const cells = (queue: TrafficRow) => Object.values(ORDERS).map(({ of }) => of(queue));
  const busiest = topics.toSorted((a, b) => b.rate - a.rate || b.total - a.total);
  return [
    ...queues.length > 0 ? [...fitted(heads, sorted(queues, key), cells, width, forQueues), ""] : [],
    ...topics.length > 0
      ? fitted(["TOPIC", "EVENTS/S", "SEEN"], busiest, ({ name, rate, total }) => [name, rate, total], width, forTopics)
      : [],
  ];
}

/** Returns the lines of a table of the first rows, at most `height` of them. The other rows, perhaps thousands, cost nothing. */
function fitted<Row>(
  heads: readonly string[],
  rows: readonly Row[],
  cells: (row: Row) => Cell[],
  width: number,
  height: number,
): string[] {
  const shown = rows.length < height ? rows : rows.slice(0, Math.max(0, height - 2));
  const lines = table(heads, shown.map(cells), width);
  return shown === rows ? lines : [...lines, `… ${rows.length - shown.length} more`];
}

/** Shows samples on the whole terminal. Resolves when the signal aborts or `q` is pressed. */
export async function watch(
  next: () => Promise<Sample>,
  title: string,
  flags: Pick<Flags, "interval" | "count">,
  signal: AbortSignal,
  terminal: Terminal = process,
): Promise<void> {
  const quit = new AbortController();
  const ended = AbortSignal.any([signal, quit.signal]);
  let [key, sample]: [Key, Sample | undefined] = ["n", undefined];
  using screen = new Screen((pressed) => {
    if (pressed === "q") return quit.abort();
    if (Object.hasOwn(ORDERS, pressed)) key = pressed as Key;
    draw();
  }, terminal);
  const draw = () => {
    if (!sample) return;
    const time = new Date().toTimeString().slice(0, 8);
    const buses = sample.buses === undefined ? [] : [`${sample.buses} bus(es)`];
    const rest = ["", ...buses, time].join("   ");
    const header = shorten(title, screen.width - rest.length) + rest;
    const body = format(sample, key, screen.width, screen.height - 3);
    const free = Array.from({ length: Math.max(0, screen.height - 3 - body.length) }, () => "");
    screen.draw([header, "", ...body, ...free, KEYS]);
  };
  for (let left = flags.count; left > 0 && !ended.aborted; left--) {
    await pause(flags.interval, ended);
    if (ended.aborted) return;
    sample = await next();
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
    withBusAndAdmin(url, flags, async (bus, admin, signal, { name }) => {
      const meter = new Meter(bus, admin, flags.queue ?? [], flags.interval);
      await meter.watch(pattern ?? "*");
      const title = printable(`${name}   ${flags.namespace}`);
      if (flags.json || !process.stdout.isTTY) await report(meter, flags, signal);
      else await watch(() => meter.sample(), title, flags, signal);
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
      "Shows for each queue the items that wait, are leased and are delayed, its dead letters, items put and removed each second,",
      "and the median duration of its handlers (p50). `-` is a number that is not known. Subscribes to the topics and",
      "counts their events. Calls of single servers are not counted, because they go directly to the inbox of a server. On a",
      "terminal, keys sort the queues, and q quits.",
      ...TRAFFIC_NOTE,
    ].join("\n"),
    customUsage: [
      "<url> [<pattern>] [flags]",
      { input: "redis://localhost", brief: "all topics and queues of the namespace, every second" },
      { input: "redis://localhost 'shop.*' -i 5000", brief: "some topics, every five seconds" },
      { input: "redis://localhost -c 1 --json", brief: "one sample, for a program" },
    ],
  },
});
