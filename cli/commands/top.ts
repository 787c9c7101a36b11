import { buildCommand } from "@stricli/core";
import process from "node:process";
import type { Bus } from "../../mod.ts";
import type { Admin } from "../../src/provider/admin.ts";
import { printable } from "../../src/internal/printable.ts";
import { after } from "../../src/internal/time.ts";
import { aborted, print, printRaw } from "../io.ts";
import { BUS_FLAGS, type BusFlags, count, number, URL_ARGUMENT, withBus } from "../session.ts";
import { providerFor } from "../urls.ts";

interface Flags extends BusFlags {
  readonly interval: number;
  readonly count: number;
  readonly queue?: readonly string[];
  readonly json: boolean;
}

interface Row {
  readonly kind: "topic" | "queue";
  readonly name: string;
  /** Events a second since the last sample, or the growth of the queue a second. */
  readonly rate: number;
  /** All received events, or the waiting items. */
  readonly total: number;
}

/** Counts received events and samples the sizes of queues. */
class Meter {
  #bus: Bus;
  #admin: Admin | undefined;
  #given: readonly string[];
  #topics = new Map<string, { seen: number; before: number }>();
  #sizes = new Map<string, number>();
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
    else this.#topics.set(topic, { seen: 1, before: 0 });
  }

  async sample(): Promise<Row[]> {
    const names = new Set([
      ...this.#given,
      ...(await this.#admin?.queues() ?? []).map(({ name }) => name),
      ...this.#sizes.keys(),
    ]);
    const sizes = await Promise.all([...names].map((name) => this.#bus.queue(name).qsize()));
    const now = performance.now();
    const seconds = (now - this.#last) / 1_000;
    this.#last = now;
    const topics = [...this.#topics].map(([name, counter]): Row => {
      const rate = (counter.seen - counter.before) / seconds;
      counter.before = counter.seen;
      return { kind: "topic", name, rate, total: counter.seen };
    });
    const queues = [...names].map((name, index): Row => {
      const total = sizes[index]!;
      const rate = (total - (this.#sizes.get(name) ?? total)) / seconds;
      this.#sizes.set(name, total);
      return { kind: "queue", name, rate, total };
    });
    const busiest = (a: Row, b: Row) => Math.abs(b.rate) - Math.abs(a.rate) || b.total - a.total;
    return [...topics.sort(busiest), ...queues.sort(busiest)];
  }
}

function table(all: readonly Row[]): string {
  const rows = all.map((row) => ({ ...row, name: printable(row.name) }));
  const width = Math.max(20, ...rows.map(({ name }) => name.length));
  const one = (name: string, rate: string, total: string) =>
    `${name.padEnd(width)} ${rate.padStart(12)} ${total.padStart(12)}`;
  const part = (kind: Row["kind"], head: string) => {
    const found = rows.filter((row) => row.kind === kind);
    if (found.length === 0) return [];
    return [head, ...found.map(({ name, rate, total }) => one(name, rate.toFixed(1), String(total))), ""];
  };
  const lines = [
    ...part("topic", one("TOPIC", "events/s", "seen")),
    ...part("queue", one("QUEUE", "growth/s", "waiting")),
  ];
  return lines.length === 0
    ? "Nothing yet: no event has arrived, and no queue that the transport lists has items. Name others with --queue.\n"
    : lines.join("\n");
}

/** The command `tsmq top`. */
export const command = buildCommand({
  func: (flags: Flags, url: string, pattern?: string) =>
    withBus(url, flags, async (bus, signal) => {
      const admin = await (await providerFor(url)).admin?.open(flags.namespace);
      const { isTTY } = process.stdout;
      try {
        const meter = new Meter(bus, admin, flags.queue ?? []);
        await meter.watch(pattern ?? "*");
        for (let left = flags.count; left > 0 && !signal.aborted; left--) {
          await pause(flags.interval, signal);
          const rows = await meter.sample();
          if (!flags.json) await printRaw(`${isTTY ? "\x1b[H\x1b[2J" : ""}${table(rows)}\n`);
          else for (const row of rows) await print(JSON.stringify(row));
        }
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
      json: {
        kind: "boolean",
        brief: "Print one JSON object for each row, for programs",
        default: false,
        withNegated: false,
      },
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
    brief: "Watch the rates of topics and queues",
    fullDescription: [
      "Subscribes to the topics and counts their events: each second, and since the start. For queues it shows the number of",
      "waiting items, and its growth each second. Single calls are not counted, because they go straight to a server's inbox.",
    ].join("\n"),
    customUsage: [
      "<url> [<pattern>] [flags]",
      { input: "redis://localhost", brief: "all topics and queues of the namespace, every second" },
      { input: "redis://localhost 'shop.*' -i 5000", brief: "some topics, every five seconds" },
      { input: "redis://localhost -c 1 --json", brief: "one sample, for a program" },
    ],
  },
});

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  await Promise.race([aborted(signal), promise]).finally(after(ms, resolve));
}
