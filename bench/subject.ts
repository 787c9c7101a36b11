/**
 * The measured process: opens one side, then works by commands, one JSON line each on stdin, one line of figures each on stdout.
 *
 * @module
 */
import process from "node:process";
import { createInterface } from "node:readline";
import { threadCpu } from "./cpu.ts";
import { type OpenSide, order, type Side } from "./side.ts";

/** What a subject does. `subscribe` and `expect` answer at once; the load comes from outside. */
export type Command =
  | { verb: "subscribe"; topics: string[] }
  | { verb: "expect"; count: number }
  | { verb: "received" }
  | { verb: "published" | "looped"; count: number; topic: string; window: number }
  | { verb: "queued"; count: number; concurrency: number }
  | { verb: "serve" }
  | { verb: "called"; count: number }
  | { verb: "opened" };

/** What it took. */
export interface Figures {
  /** Milliseconds from the first to the last. */
  readonly ms: number;
  /** Milliseconds of the main thread's CPU. */
  readonly cpu: number;
  /** Milliseconds of each, where they are one after the other. */
  readonly latencies?: number[];
}

const [name, url] = process.argv.slice(2) as [string, string];
const open: OpenSide = name === "raw"
  ? (await import("./raw.ts")).openSide
  : name === "redis"
  ? (await import("./tsmq.ts")).openRedis
  : (await import("./tsmq.ts")).openMemory;
const side: Side = await open(url);

let expected = 0;
let seen = 0;
let started = { ms: 0, cpu: 0 };
let arrived = Promise.withResolvers<Figures>();

function now(): { ms: number; cpu: number } {
  return { ms: performance.now(), cpu: threadCpu() };
}

function since(start: { ms: number; cpu: number }): Figures {
  const end = now();
  return { ms: end.ms - start.ms, cpu: end.cpu - start.cpu };
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

async function publish(count: number, topic: string, window: number): Promise<void> {
  for (let sent = 0; sent < count; sent += window) {
    const batch: Promise<unknown>[] = [];
    for (let i = sent; i < Math.min(count, sent + window); i++) batch.push(side.publish(order(i), topic));
    await Promise.all(batch);
  }
}

async function queue(count: number, concurrency: number): Promise<void> {
  const repeat = async (work: () => Promise<unknown>) => {
    for (let i = 0; i < count / concurrency; i++) await work();
  };
  const loops: Promise<void>[] = [];
  for (let i = 0; i < concurrency; i++) loops.push(repeat(() => side.put(order(i))), repeat(() => side.get()));
  await Promise.all(loops);
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
      await publish(command.count, command.topic, command.window);
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
      return void await side.serve();
    case "called": {
      const latencies: number[] = [];
      for (let i = 0; i < command.count; i++) {
        const before = performance.now();
        await side.call(order(i));
        latencies.push(performance.now() - before);
      }
      return { ...since(start), latencies };
    }
    case "opened": {
      const another = await open(url);
      await another.subscribe(["opened"], () => {});
      const figures = since(start);
      await another.close();
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
