/**
 * The measured process: opens one side, then works by commands, one JSON line each on stdin, one line of figures each on stdout.
 *
 * @module
 */
import process from "node:process";
import { createInterface } from "node:readline";
import { processCpu, threadCpu } from "./cpu.ts";
import { type OpenSide, order, type Side } from "./side.ts";

/** The commands of a subject. `subscribe` and `expect` answer at once, because the load comes from another process. */
export type Command =
  | { verb: "subscribe"; topics: string[] }
  | { verb: "expect"; count: number }
  | { verb: "received" }
  | { verb: "published" | "looped"; count: number; topic: string; window: number; bytes?: number }
  | { verb: "queued"; count: number; concurrency: number }
  | { verb: "fill"; count: number }
  | { verb: "consumed"; count: number; concurrency: number }
  | { verb: "join"; concurrency: number }
  | { verb: "handled" }
  | { verb: "leave" }
  | { verb: "picked"; count: number }
  | { verb: "serve" }
  | { verb: "called"; count: number; concurrency: number }
  | { verb: "cpu" }
  | { verb: "opened" }
  | { verb: "idle"; count: number; ms: number };

/** Milliseconds between two puts to a waiting consumer. */
const IDLE = 5;

/** The measurements of a command. */
export interface Figures {
  /** Milliseconds from the first to the last. */
  readonly ms: number;
  /** Milliseconds of the main thread's CPU. */
  readonly cpu: number;
  /** Milliseconds of the whole process's CPU. */
  readonly all: number;
  /** Bytes of memory that it holds. */
  readonly rss?: number;
  /** Milliseconds of each. */
  readonly latencies?: number[];
  /** Handled items, and the times of the first and the last in milliseconds since 1970, which other processes can compare. */
  readonly count?: number;
  readonly first?: number;
  readonly last?: number;
}

const [name, group, url] = process.argv.slice(2) as [string, string, string];
const { openSide } = await import(`./sides/${name}.ts`) as { openSide: OpenSide };
const open = () => openSide(url, group);
const side: Side = await open();

let serving: Promise<void> | undefined;
let expected = 0;
let seen = 0;
let started = now();
let arrived = Promise.withResolvers<Figures>();

function now(): Figures {
  return { ms: performance.now(), cpu: threadCpu(), all: processCpu() };
}

function since(start: Figures): Figures {
  const end = now();
  return { ms: end.ms - start.ms, cpu: end.cpu - start.cpu, all: end.all - start.all };
}

function expect(count: number): void {
  expected = count;
  seen = 0;
  arrived = Promise.withResolvers();
}

function handle(): void {
  if (seen === 0) started = now();
  if (++seen === expected) arrived.resolve(since(started));
}

async function publish(count: number, topic: string, window: number, bytes?: number): Promise<void> {
  for (let sent = 0; sent < count; sent += window) {
    const batch: Promise<unknown>[] = [];
    for (let i = sent; i < Math.min(count, sent + window); i++) batch.push(side.publish!(order(i, bytes), topic));
    await Promise.all(batch);
  }
}

async function queue(count: number, concurrency: number): Promise<void> {
  const repeat = async (work: () => Promise<unknown>) => {
    for (let i = 0; i < count / concurrency; i++) await work();
  };
  const loops: Promise<void>[] = [];
  for (let i = 0; i < concurrency; i++) loops.push(repeat(() => side.put!(order(i))), repeat(() => side.get!()));
  await Promise.all(loops);
}

/** From the first handler to the last acknowledgement. */
async function consume(count: number, concurrency: number): Promise<Figures> {
  expect(count);
  let first: Figures | undefined;
  const consumer = side.consume!(() => {
    first ??= now();
    handle();
  }, concurrency);
  await arrived.promise;
  await consumer.acknowledged();
  const figures = since(first!);
  await consumer.close();
  return figures;
}

/** A consumer beside those of other processes. */
let joined:
  | { readonly start: Figures; count: number; first: number; last: number; leave(): Promise<unknown> }
  | undefined;

function join(concurrency: number): void {
  const one = joined = { start: now(), count: 0, first: 0, last: 0, leave: () => consumer.close() };
  const consumer = side.consume!(() => {
    one.last = performance.timeOrigin + performance.now();
    if (one.count++ === 0) one.first = one.last;
  }, concurrency);
}

function handled(): Figures {
  const { start, count, first, last } = joined!;
  return { ...since(start), count, first, last };
}

/** From each put to its handler, of a consumer that waits. */
async function pick(count: number): Promise<Figures> {
  const start = now();
  const latencies: number[] = [];
  let handled = () => {};
  const consumer = side.consume!(() => handled(), 1);
  for (let i = 0; i < count; i++) {
    const { promise, resolve } = Promise.withResolvers<number>();
    handled = () => resolve(performance.now());
    const before = performance.now();
    side.put!(order(i));
    latencies.push(await promise - before);
    await new Promise((resolve) => setTimeout(resolve, IDLE)); // it acknowledges, and waits again
  }
  await consumer.close();
  return { ...since(start), latencies };
}

async function call(count: number, concurrency: number): Promise<Figures> {
  const start = now();
  const latencies: number[] = [];
  const caller = async () => {
    for (let i = 0; i < count / concurrency; i++) {
      const before = performance.now();
      await side.call!(order(i));
      latencies.push(performance.now() - before);
    }
  };
  await Promise.all(Array.from({ length: concurrency }, caller));
  return { ...since(start), latencies };
}

async function work(command: Command): Promise<Figures | undefined> {
  const start = now();
  switch (command.verb) {
    case "subscribe":
      return void await side.subscribe(command.topics, handle);
    case "expect":
      return void expect(command.count);
    case "received":
      return await arrived.promise;
    case "published":
      await publish(command.count, command.topic, command.window, command.bytes);
      return since(start);
    case "looped":
      expect(command.count);
      await publish(command.count, command.topic, command.window);
      await arrived.promise;
      return since(start);
    case "queued":
      await queue(command.count, command.concurrency);
      return since(start);
    case "serve":
      return void await (serving ??= side.serve!());
    case "fill":
      return void await side.fill!(Array.from({ length: command.count }, (_, i) => order(i)));
    case "consumed":
      return await consume(command.count, command.concurrency);
    case "join":
      return void join(command.concurrency);
    case "handled":
      return handled();
    case "leave":
      return void await joined!.leave();
    case "picked":
      return await pick(command.count);
    case "called":
      return await call(command.count, command.concurrency);
    case "cpu":
      return start;
    case "opened": {
      const another = await open();
      await another.subscribe(["opened"], () => {});
      const figures = since(start);
      await another.close();
      return figures;
    }
    case "idle": {
      const { rss } = process.memoryUsage();
      const many = await Promise.all(Array.from({ length: command.count }, open));
      await Promise.all(many.map((one) => one.subscribe(["idle"], () => {})));
      const opened = now();
      await new Promise((resolve) => setTimeout(resolve, command.ms));
      const figures = { ...since(opened), rss: process.memoryUsage().rss - rss };
      await Promise.all(many.map((one) => one.close()));
      return figures;
    }
    default:
      command satisfies never;
  }
}

function say(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

await side.subscribe(["started"], () => {});
say({});
for await (const line of createInterface({ input: process.stdin })) {
  say(await work(JSON.parse(line) as Command) ?? {});
}
await side.close();
process.exit();
