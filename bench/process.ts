/** The processes of a run: servers and measured systems. @module */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import process from "node:process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { cpuOf } from "./cpu.ts";
import type { Command, Figures } from "./subject.ts";

// programs of `deno task tools` take precedence over those of the machine
process.env.PATH = [fileURLToPath(new URL("../.cache/bin", import.meta.url)), process.env.PATH].join(delimiter);

/** The runtime or program of a side. */
export type Runtime = "deno" | "bun" | "python" | "c";

/** Milliseconds that a subject may take for one command. */
const DEADLINE = 30_000;
/** Round trips whose median is taken. */
const ROUND_TRIPS = 5_000;
/** Milliseconds for a subject to end by itself. */
const PATIENCE = 5_000;

/** A process that runs until it is stopped. */
export interface Running {
  stop(): Promise<void>;
}

/** The command line that runs a module on a runtime. */
export function commandOf(runtime: Runtime): [string, ...string[]] {
  if (runtime === "bun") return ["bun"];
  return [process.versions.deno ? process.execPath : "deno", "run", "--quiet", "-A"];
}

/** Returns the version that a program prints. */
export async function versionOf(command: string): Promise<string> {
  const said = await output(command, "--version").catch(() => `no ${command}`);
  const line = said.trim().split("\n")[0]!;
  return /^\d/.test(line) ? `${command} ${line}` : line;
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill();
  await exited;
}

/** A server of a run. */
export interface Server extends Running {
  readonly port: number;
  /** Milliseconds of CPU that it has used. */
  cpu(): number;
}

/** Starts a nats-server with JetStream, in a folder that ends with it. */
export async function startNats(): Promise<Server> {
  const port = await freePort();
  const folder = await mkdtemp(join(tmpdir(), "tsmq-bench-"));
  const child = spawn("nats-server", ["-a", "127.0.0.1", "-p", String(port), "-js", "-sd", folder], {
    stdio: "ignore",
  });
  await listening(child, port);
  return {
    port,
    cpu: () => cpuOf(child.pid!),
    stop: async () => {
      await end(child);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Starts a redis-server without persistence that disconnects no slow subscriber. */
export async function startRedis(): Promise<Server> {
  const port = await freePort();
  const child = spawn("redis-server", [
    ...["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
    ...["--client-output-buffer-limit", "pubsub 0 0 0", "--loglevel", "warning"],
  ], { stdio: ["ignore", "ignore", "inherit"] });
  await listening(child, port);
  return { port, cpu: () => cpuOf(child.pid!), stop: () => end(child) };
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
  await once(child, "spawn"); // rejects if there is no such program
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
  throw new Error(`The server ended with ${child.exitCode}`);
}

/** A measured process, or two. */
export interface Subject extends Running {
  /** Milliseconds from its start to its first subscription. */
  readonly startup: number;
  /** Runs a command in the process. */
  do(command: Command): Promise<Figures>;
}

/** Starts a process with one side of a group in it. */
export async function startSubject(runtime: Runtime, side: string, group: string, url: string): Promise<Subject> {
  const start = performance.now();
  if (runtime === "c") return { startup: performance.now() - start, ...await program(sideFile(`${side}.c`)) };
  const [command, ...args] = runtime === "python"
    ? ["python", "-u", sideFile(`${side}.py`)]
    : [...commandOf(runtime), fileURLToPath(new URL("subject.ts", import.meta.url)), side];
  const child = spawn(command!, [...args, group, url], { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  const next = async (doing: string) => {
    const { done, value } = await lines.next();
    if (done) throw new Error(`${side} over ${group} on ${runtime} ended while it ${doing}`);
    return JSON.parse(value) as Figures;
  };
  await next("started");
  return {
    startup: performance.now() - start,
    do: async (command) => {
      child.stdin!.write(`${JSON.stringify(command)}\n`);
      const timer = setTimeout(() => child.kill("SIGKILL"), DEADLINE);
      try {
        return await next(command.verb);
      } finally {
        clearTimeout(timer);
      }
    },
    // it removes what would outlive the process, such as kernel queues
    stop: async () => {
      child.stdin!.end();
      const timer = setTimeout(() => child.kill("SIGKILL"), PATIENCE);
      if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
      clearTimeout(timer);
    },
  };
}

/** Starts a C program, which runs one workload in two processes and ends. */
async function program(source: string): Promise<Omit<Subject, "startup">> {
  const folder = await mkdtemp(join(tmpdir(), "tsmq-bench-"));
  const binary = join(folder, "side");
  await output("cc", "-O2", "-o", binary, source, "-lrt");
  let expected = 0;
  const run = async (work: string, count: number) => JSON.parse(await output(binary, work, String(count))) as Figures;
  return {
    do: (command) => {
      if (command.verb === "expect") expected = command.count;
      if (command.verb === "received") return run("events", expected);
      if (command.verb === "called") return run("called", command.count);
      return Promise.resolve({ ms: 0, cpu: 0, all: 0 });
    },
    stop: () => rm(folder, { recursive: true, force: true }),
  };
}

function sideFile(name: string): string {
  return fileURLToPath(new URL(`sides/${name}`, import.meta.url));
}

/** Starts a module of this folder on the current runtime. Resolves when it prints its first line. */
export async function launch(file: string, ...args: string[]): Promise<{ other: ChildProcess; line: string }> {
  const runtime = "Deno" in globalThis ? ["run", "-A", "--quiet"] : ["run"];
  const side = fileURLToPath(new URL(file, import.meta.url));
  const other = spawn(process.execPath, [...runtime, side, ...args], { stdio: ["ignore", "pipe", "inherit"] });
  return { other, line: (await createInterface({ input: other.stdout })[Symbol.asyncIterator]().next()).value! };
}

/** Repeats an operation and returns its median time in microseconds. */
export async function middle(work: () => Promise<unknown>): Promise<number> {
  const took: number[] = [];
  for (let i = 0; i < ROUND_TRIPS; i++) {
    const start = performance.now();
    await work();
    took.push(performance.now() - start);
  }
  return took.sort((a, b) => a - b)[ROUND_TRIPS / 2]! * 1_000;
}

/** Runs a program and resolves with its output. */
export async function output(command: string, ...args: string[]): Promise<string> {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] });
  const ended = once(child, "exit");
  ended.catch(() => {}); // awaited below
  let text = "";
  for await (const chunk of child.stdout) text += chunk;
  const [code] = await ended;
  if (code !== 0) throw new Error(`${command} ended with ${code}`);
  return text;
}
