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
  | { verb: "serve" }
  | { verb: "called"; count: number }
  | { verb: "opened" }
  | { verb: "idle"; count: number; ms: number };

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
  /** Milliseconds of each, where they are one after the other. */
  readonly latencies?: number[];
}

const [name, group, url] = process.argv.slice(2) as [string, string, string];
const { openSide } = await import(`./sides/${name}.ts`) as { openSide: OpenSide };
const open = () => openSide(url, group);
const side: Side = await open();

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
      return void await side.serve!();
    case "called": {
      const latencies: number[] = [];
      for (let i = 0; i < command.count; i++) {
        const before = performance.now();
        await side.call!(order(i));
        latencies.push(performance.now() - before);
      }
      return { ...since(start), latencies };
    }
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
