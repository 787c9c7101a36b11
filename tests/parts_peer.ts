/**
 * Keeps small parts of large texts, as a bus does that waits for handlers, answers and acks. Says how many bytes more the process has then, for
 * each kind of part.
 */
import process from "node:process";
import * as v from "valibot";
import { Bus, memory } from "../mod.ts";
import { Codec } from "../src/codec/codec.ts";
import { unwrap } from "../src/codec/envelope.ts";
import { readMarks, writeMarks } from "../src/codec/marks.ts";
import { validate } from "../src/codec/schema.ts";
import { RawClient } from "../src/conformance/raw_client.ts";
import { BusError, type ValidationError } from "../src/errors.ts";
import { LimitedMap, LimitedTextMap } from "../src/internal/caches.ts";
import { stringIn } from "../src/internal/json.ts";
import { Inflow } from "../src/port/inflow.ts";
import type { FromReceiver } from "../src/port/protocol.ts";
import { Streams } from "../src/port/streams.ts";
import { readEvents } from "../src/providers/ipc/frames.ts";
import { readHandedOver } from "../src/providers/redis/hand_over.ts";
import { Decodings } from "../src/rpc/decodings.ts";
import { schema } from "./support/schema.ts";
import { say } from "./support/peer_side.ts";

type Events = FromReceiver & { kind: "events" };

const COUNT = 32;
const SIZE = 512 * 1024;
const never = Promise.withResolvers<never>().promise;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

class Late {
  static readonly topic = "Late";
  static readonly schema = schema(() => never);
}

/** Returns the text as one that arrives: it refers to no other. */
const arrived = (text: string) => decoder.decode(encoder.encode(text));
const large = JSON.stringify("x".repeat(SIZE));

async function bytes(): Promise<number> {
  const { gc, Bun } = globalThis as { gc?: () => void; Bun?: { gc(sync: boolean): void } };
  for (let i = 0; i < 4; i++) {
    gc?.();
    Bun?.gc(true);
    await new Promise((resolve) => setTimeout(resolve)); // the collector also scans the stack
  }
  return process.memoryUsage().heapUsed;
}

/** Says how much the process grows while it keeps the results. */
async function measure(what: string, keep: (i: number) => unknown): Promise<void> {
  const kept: unknown[] = [];
  await keep(COUNT); // code and tables that the first one needs
  const before = await bytes();
  for (let i = 0; i < COUNT; i++) kept.push(await keep(i));
  say({ what, grown: await bytes() - before, kept: kept.length });
}

const id = (i: number) => `the name of number ${i + 100}`;
const map = new LimitedMap<number>(COUNT);
await measure("a key of a LimitedMap", (i) => void map.set(arrived(id(i) + large).slice(0, 22), i));
const texts = new LimitedTextMap<number>(COUNT);
await measure("a key of a LimitedTextMap", (i) => void texts.set(arrived(id(i) + large).slice(0, 22), i));
await measure("the marks of a body", (i) => void readMarks(arrived(large + writeMarks(`{"${id(i)}":"S"}`))));
await measure("the trace of an old envelope", (i) => {
  const trace = `00-${"ab".repeat(16)}-${"cd".repeat(7)}${i + 10}-01`;
  return unwrap(arrived(`{"__traceparent":"${trace}","__obj":${large}}`))!.headers;
});
await measure("a header", (i) => {
  return unwrap(arrived(`{"__tsmq":{"name":"${id(i)}"},"__obj":${large}}`))!.headers["name"];
});
await measure("a long header", (i) => {
  return unwrap(arrived(`{"__tsmq":{"name":"${id(i).repeat(300)}"},"__obj":${large}}`))!.headers["name"];
});
await measure("a header with escapes", (i) => {
  return unwrap(arrived(`{"__tsmq":{"name":"\\u007d${id(i)}"},"__obj":${large}}`))!.headers["name"];
});
await measure("a string of a JSON text", (i) => stringIn(arrived(JSON.stringify(id(i)) + large).slice(0, 24)));
await measure("the receipt of a handed over item", (i) => {
  return readHandedOver(arrived(`1.1.1.1\nthe receipt of number ${i + 100}:0\n${large}`))!.delivery.receipt;
});
await measure("an event of a batch on a POSIX queue", (i) => {
  const body = JSON.stringify(id(i));
  const batch = `\x01${[large, large].map(() => `7:90000,`).join("")}7:${body.length},\n`;
  const rest = large.slice(0, 90_000);
  return readEvents(encoder.encode(`${batch}topic 1${rest}topic 2${rest}topic 3${body}`))!.at(-1);
});
await measure("the message of an error", (i) => {
  return new BusError("internal", arrived(id(i) + large)).message;
});
await measure("the issues of a schema", (i) => {
  const text = v.pipe(v.string(), v.check(() => false, ({ input }) => arrived(`${i} ${input}`)));
  try {
    return validate(v.array(text), [arrived(large), 1], "it");
  } catch (error) {
    return (error as ValidationError).issues;
  }
});
const decodings = new Decodings({
  codec: new Codec([Late]),
  report: () => {},
  full: () => false,
  dropped: () => {},
});
await measure("a message that a schema validates", (i) => {
  const body = `{"__type":"Late","id":"${id(i)}"}`;
  decodings.decode(arrived(body + large).slice(0, body.length), "fn", () => true, () => undefined);
});

let topic = "";
const streams = new Streams({
  worker: () => "worker",
  connected: () => true,
  nextId: () => 1,
  subscribe: () => Promise.resolve(),
  unsubscribe: () => Promise.resolve(),
  credit: () => {},
  fault: () => {},
});
streams.open({ topic: "*", pattern: true, serves: false }, (topics) => topic = topics.at(-1)!);
await measure("the topic of an event", (i) => {
  const inflow = new Inflow((frame) => queueMicrotask(() => streams.receive(structuredClone(frame) as Events)));
  const emit = inflow.open(1, true, Infinity);
  emit(large, "1");
  emit(id(i), "1");
  inflow.sent();
  return Promise.resolve().then(() => topic);
});

const [provider, namespace] = [memory(), "parts"];
const bus = await Bus.open(provider, { namespace });
const client = await RawClient.open(provider, namespace);
let handled = () => {};
await bus.subscribe("fast", () => handled()).ready;
await bus.subscribe(Late, () => {}).ready;
await measure("an event behind one that a schema validates", async (i) => {
  const done = new Promise<void>((resolve) => handled = resolve);
  void client.publish("fast", large);
  void client.publish("Late", `{"__type":"Late","id":"${id(i)}"}`);
  await done;
});
process.exit(0);
