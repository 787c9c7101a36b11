/** Processes of a run: the server and the subjects. @module */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Command, Figures } from "./subject.ts";

/** A runtime to measure on. */
export type Runtime = "deno" | "bun";

/** Something that runs until it is stopped. */
export interface Running {
  stop(): Promise<void>;
}

/** The command line that runs a module on a runtime. */
function commandOf(runtime: Runtime): string[] {
  if (runtime === "bun") return ["bun"];
  return [process.versions.deno ? process.execPath : "deno", "run", "--quiet", "-A"];
}

/** What a runtime calls itself. */
export async function versionOf(command: string): Promise<string> {
  const child = spawn(command, ["--version"], { stdio: ["ignore", "pipe", "inherit"] });
  for await (const line of createInterface({ input: child.stdout })) return line.trim();
  return "";
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill();
  await exited;
}

/** Starts a redis-server that keeps nothing and drops no slow subscriber. */
export async function startRedis(): Promise<Running & { readonly port: number }> {
  const port = await freePort();
  const child = spawn("redis-server", [
    ...["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
    ...["--client-output-buffer-limit", "pubsub 0 0 0", "--loglevel", "warning"],
  ], { stdio: ["ignore", "ignore", "inherit"] });
  await listening(child, port);
  return { port, stop: () => end(child) };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}

async function listening(child: ChildProcess, port: number): Promise<void> {
  while (child.exitCode === null) {
    const socket = connect(port, "127.0.0.1");
    const open = await new Promise<boolean>((resolve) => {
      socket.once("connect", () => resolve(true));
      socket.once("error", () => resolve(false));
    });
    socket.destroy();
    if (open) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`redis-server ended with ${child.exitCode}`);
}

/** A measured process. */
export class Subject implements Running {
  /** Milliseconds from its start to its first subscription. */
  readonly startup: number;
  #child: ChildProcess;
  #lines: AsyncIterator<string>;

  private constructor(child: ChildProcess, lines: AsyncIterator<string>, startup: number) {
    this.#child = child;
    this.#lines = lines;
    this.startup = startup;
  }

  /** Starts a process with one side in it. */
  static async start(runtime: Runtime, side: string, url: string): Promise<Subject> {
    const [command, ...args] = commandOf(runtime);
    const start = performance.now();
    const module = fileURLToPath(new URL("subject.ts", import.meta.url));
    const child = spawn(command!, [...args, module, side, url], { stdio: ["pipe", "pipe", "inherit"] });
    const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
    const { done } = await lines.next();
    if (done) throw new Error(`The ${side} subject on ${runtime} did not start`);
    return new Subject(child, lines, performance.now() - start);
  }

  /** Has it do something. */
  async do(command: Command): Promise<Figures> {
    this.#child.stdin!.write(`${JSON.stringify(command)}\n`);
    const { done, value } = await this.#lines.next();
    if (done) throw new Error(`The subject ended during "${command.verb}"`);
    return JSON.parse(value) as Figures;
  }

  /** Ends the process. */
  stop(): Promise<void> {
    return end(this.#child);
  }
}
