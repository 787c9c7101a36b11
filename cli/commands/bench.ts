import { buildCommand } from "@stricli/core";
import { setImmediate } from "node:timers";
import { Bus } from "../../mod.ts";
import { within } from "../../src/internal/time.ts";
import type { Provider } from "../../src/provider/provider.ts";
import { print, whileRead } from "../io.ts";
import { withProgress } from "../progress.ts";
import {
  BUS_FLAGS,
  type BusFlags,
  count,
  interrupted,
  JSON_FLAG,
  keysOf,
  number,
  ONCE,
  URL_ARGUMENT,
} from "../session.ts";
import { table } from "../table.ts";
import { providerFor } from "../urls.ts";

interface Flags extends Pick<BusFlags, "keys"> {
  readonly seconds: number;
  readonly size: number;
  readonly concurrency: number;
  readonly json: boolean;
}

/** Milliseconds of sending after which the event loop gets a turn. */
const TURN = 1;
/** Milliseconds in which a message should arrive. */
const ARRIVAL = 10_000;
/** The name of the topic, of the queue and of the function. */
const NAME = "bench";

/** A load that one bus sends and another one receives. */
interface Load {
  readonly what: "events" | "items" | "calls";
  /** Prepares the receiver. It calls `arrived` with the time at which each message was sent. Returns a function that stops receiving. */
  prepare(receiver: Bus, arrived: (sent: number) => void): Promise<() => Promise<unknown>>;
  /** Sends one message with this time and this payload. */
  send(sender: Bus, sent: number, payload: string): Promise<unknown>;
}

const LOADS: readonly Load[] = [
  {
    what: "events",
    prepare: async (receiver, arrived) => {
      const subscription = receiver.subscribe<[number]>(NAME, ([sent]) => arrived(sent));
      await subscription.ready;
      return () => subscription.unsubscribe();
    },
    send: (sender, sent, payload) => sender.publish([sent, payload], NAME),
  },
  {
    what: "items",
    prepare: (receiver, arrived) => {
      const consumer = receiver.queue<[number]>(NAME).consume(([sent]) => arrived(sent), { concurrency: 64 });
      return Promise.resolve(() => consumer.close());
    },
    send: (sender, sent, payload) => sender.queue(NAME).put([sent, payload]),
  },
  {
    what: "calls",
    prepare: async (receiver) => {
      await receiver.expose(NAME, (payload: string) => payload);
      return () => receiver.unexpose(NAME);
    },
    send: (sender, _, payload) => sender.stub(NAME)(payload),
  },
];

interface Result {
  readonly what: Load["what"];
  /** The number of messages that arrived each second. */
  readonly rate: number;
  /** Milliseconds from sending a message until its handler starts, or its answer arrives. */
  readonly p50: number;
  readonly p99: number;
}

/** Runs one load for `flags.seconds`, with `flags.concurrency` messages in flight. */
async function measure(load: Load, [sender, receiver]: [Bus, Bus], flags: Flags, signal: AbortSignal): Promise<Result> {
  const payload = "x".repeat(flags.size);
  const latencies: number[] = [];
  let first = Promise.withResolvers<void>();
  const arrived = (sent: number) => {
    latencies.push(performance.now() - sent);
    first.resolve();
  };
  const stop = await load.prepare(receiver, arrived);
  // the first message opens connections and wakes threads, which is not measured
  signal.addEventListener("abort", () => first.resolve());
  await load.send(sender, performance.now(), payload);
  if (load.what !== "calls") await within(ARRIVAL, first.promise);
  latencies.length = 0;
  first = Promise.withResolvers();
  const start = performance.now();
  const end = start + flags.seconds * 1_000;
  let turned = start;
  const lane = async () => {
    while (performance.now() < end && !signal.aborted) {
      const sent = performance.now();
      // some transports accept messages without a turn of the event loop, which the receiver needs
      if (sent - turned > TURN) {
        turned = sent;
        await new Promise((resolve) => setImmediate(resolve));
      }
      await load.send(sender, sent, payload);
      if (load.what === "calls") arrived(sent);
    }
  };
  await withProgress(
    `bench ${load.what}`,
    Math.ceil(flags.seconds),
    () => Math.floor((performance.now() - start) / 1_000),
    () => Promise.all(Array.from({ length: flags.concurrency }, lane)),
  );
  if (!signal.aborted) await within(ARRIVAL, first.promise); // on a slow transport, at least one message is measured
  const seconds = (performance.now() - start) / 1_000;
  const rate = latencies.length / seconds; // what arrives later is not counted
  await stop();
  latencies.sort((a, b) => a - b);
  const at = (part: number) => rounded(latencies[Math.floor(latencies.length * part)] ?? NaN);
  return { what: load.what, rate: Math.round(rate), p50: at(0.5), p99: at(0.99) };
}

function rounded(ms: number): number {
  return Math.round(ms * 100) / 100;
}

async function bench(provider: Provider, flags: Flags): Promise<void> {
  using interrupts = interrupted();
  const namespace = `bench-${crypto.randomUUID()}`;
  const options = { namespace, ...await keysOf(flags), ...ONCE };
  await using sender = await Bus.open(provider, options);
  await using receiver = await Bus.open(provider, options);
  const results: Result[] = [];
  try {
    for (const load of LOADS) {
      if (interrupts.signal.aborted) break;
      const result = await measure(load, [sender, receiver], flags, interrupts.signal);
      if (flags.json) await print(JSON.stringify(result));
      results.push(result);
    }
  } finally {
    await sender.queue(NAME).free();
  }
  if (flags.json) return;
  const rows = results.map(({ what, rate, p50, p99 }) => [what, rate, p50, p99]);
  for (const line of table(["LOAD", "PER SECOND", "P50 MS", "P99 MS"], rows)) await print(line);
}

/** The command `tsmq bench`. */
export const command = buildCommand({
  func: (flags: Flags, url: string) => whileRead(async () => await bench(await providerFor(url), flags)),
  parameters: {
    flags: {
      seconds: { kind: "parsed", parse: number(0.1), brief: "Seconds of each load", default: "2" },
      size: { kind: "parsed", parse: number(), brief: "Characters of each message", default: "100" },
      concurrency: { kind: "parsed", parse: count, brief: "Messages in flight", default: "16" },
      keys: BUS_FLAGS.keys,
      json: JSON_FLAG,
    },
    aliases: { s: "seconds", c: "concurrency" },
    positional: { kind: "tuple", parameters: [URL_ARGUMENT] },
  },
  docs: {
    brief: "Measure rates and latencies on this transport",
    fullDescription: [
      "One bus sends events, then items, then calls to another one, in a new namespace. Prints how many arrive each second,",
      "and the milliseconds from sending one until its handler starts or its answer arrives. It loads the transport:",
      "do not run it on a busy one. Everything that it creates is removed. With keys, it measures their cost too.",
    ].join("\n"),
    customUsage: [
      "<url> [flags]",
      { input: "redis://localhost", brief: "two seconds for each load" },
      { input: "redis://localhost -s 10 -c 1 --json", brief: "one at a time, for a program" },
    ],
  },
});
