/** Runs a command in the process of the test: 10 ms of CPU, of which a process of its own takes 200. */
import { Buffer } from "node:buffer";
import process from "node:process";
import { Readable, Writable } from "node:stream";
import { main } from "../../cli/app.ts";
import { within } from "../support/until.ts";

/** The exit code of a command and its output. */
export interface Printed {
  readonly code: number;
  /** Standard output. */
  readonly stdout: string;
  /** Standard output and error, in order. */
  readonly output: string;
}

/** Runs beside a command. `lines` returns what the command has printed. When it resolves, the command receives SIGINT. */
export type Beside = (lines: () => string[]) => unknown;

let last: Promise<unknown> = Promise.resolve();

/** The surroundings of a command in the process of the test. */
export interface Surroundings {
  /** Lines of standard input. */
  readonly input?: readonly string[];
  /** Variables of the environment, while it runs. `TSMQ_NAMESPACE` is read before, when the modules are loaded. */
  readonly env?: Readonly<Record<string, string>>;
  readonly beside?: Beside;
}

/** Runs a command and waits until it calls `process.exit`. Commands run one at a time, because a process has one standard output. */
export function inside(args: readonly string[], surroundings: Surroundings = {}): Promise<Printed> {
  const run = last.then(() => runAlone(args, surroundings));
  last = run.catch(() => {});
  return run;
}

async function runAlone(args: readonly string[], { input = [], env = {}, beside }: Surroundings): Promise<Printed> {
  const printed = { stdout: "", output: "" };
  const stream = (take: (text: string) => void) =>
    new Writable({
      write: (chunk, _encoding, done) => {
        take(String(chunk));
        done();
      },
    });
  const before = process.exitCode;
  let code: number | undefined;
  const replaced = {
    stdout: stream((text) => {
      printed.stdout += text;
      printed.output += text;
    }),
    stderr: stream((text) => printed.output += text),
    stdin: Readable.from(input.map((line) => Buffer.from(`${line}\n`))),
    // the real one ends the process with this code
    exit: () => code = Number(process.exitCode ?? 0),
  };
  const real = Object.keys(replaced).map((name) => [name, Object.getOwnPropertyDescriptor(process, name)!] as const);
  const variables = Object.keys(env).map((name) => [name, process.env[name]] as const);
  process.exitCode = 0;
  try {
    Object.assign(process.env, env);
    for (const [name, value] of Object.entries(replaced)) {
      Object.defineProperty(process, name, { configurable: true, writable: true, value });
    }
    const ended = main(args);
    try {
      await beside?.(() => printed.stdout.split("\n").slice(0, -1));
    } finally {
      if (beside) process.emit("SIGINT");
      await within(`tsmq ${args.join(" ")} ends`, ended, 60_000);
    }
    return { code: code ?? Number(process.exitCode), ...printed };
  } finally {
    for (const [name, descriptor] of real) Object.defineProperty(process, name, descriptor);
    for (const [name, value] of variables) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
    process.exitCode = before ?? 0;
  }
}
