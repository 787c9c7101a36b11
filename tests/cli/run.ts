/** The command line, under the runtime of the test. */
import { fileURLToPath } from "node:url";
import process from "node:process";
import { Child } from "../support/child.ts";
import { here } from "../support/peer.ts";
import { tool } from "../support/tools.ts";
import { until } from "../support/until.ts";
import { type Beside, inside } from "./inside.ts";

const PROGRAM = fileURLToPath(new URL("../../cli/mod.ts", import.meta.url));

/** Options of a command. Those below `beside` give it a process of its own. */
export interface RunOptions {
  /** Lines of standard input. */
  readonly input?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Runs beside a command in this process, which ends after it. */
  readonly beside?: Beside;
  /** Standard input does not end after its lines. Default false. */
  readonly open?: boolean;
  /** Deno's permissions. Default: all. */
  readonly permissions?: readonly string[];
  /** A command that starts it, such as `["prlimit", "--msgqueue=1000"]`. */
  readonly through?: readonly string[];
  /** It runs in a process of its own, as a user runs it. Default false. */
  readonly own?: boolean;
}

/** The output of a command, and its exit code. */
export interface Outcome {
  readonly code: number | null;
  /** Lines of standard output. */
  readonly lines: string[];
  /** Lines of standard error that tsmq wrote. */
  readonly errors: string[];
}

/** A command that runs in a process of its own. */
export class Running implements AsyncDisposable {
  readonly lines: string[] = [];
  readonly child: Child;

  constructor(args: readonly string[], options: RunOptions = {}) {
    const before = here === "deno"
      ? ["run", "--no-prompt", "--no-check", "--no-lock", ...options.permissions ?? ["-A"]]
      : ["run"];
    const env = { ...process.env, NO_COLOR: "1", ...options.env };
    const [command, ...rest] = [...options.through ?? [], tool(here), ...before, PROGRAM, ...args];
    this.child = new Child(command!, rest, { env });
    this.child.onLine((line) => this.lines.push(line));
    for (const line of options.input ?? []) this.child.write(`${line}\n`);
    if (!options.open) this.child.end();
  }

  /** Waits for this number of lines. */
  async printed(count: number): Promise<string[]> {
    await until(
      `the command prints ${count} line(s); it printed:\n${this.child.output}`,
      () => this.lines.length >= count || this.child.exit,
    );
    return this.lines;
  }

  /** Waits until it ends. */
  async ended(): Promise<Outcome> {
    const { code } = await this.child.wait(60_000);
    // the pipe may still hold the last output
    let before = -1;
    await until("its output is read", () => {
      const settled = before === this.child.output.length;
      before = this.child.output.length;
      return settled;
    });
    return outcome(code, this.lines, this.child.output);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.child.kill();
  }
}

/** Runs a command and waits until it ends: in this process, unless its options need one of its own. */
export async function tsmq(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const { input, env, beside, ...own } = options;
  if (Object.values(own).every((option) => option === undefined)) {
    const { code, stdout, output } = await inside(args, { input, env, beside });
    return outcome(code, stdout.split("\n").slice(0, -1), output);
  }
  await using running = new Running(args, options);
  return await running.ended();
}

function outcome(code: number | null, lines: readonly string[], output: string): Outcome {
  const isError = (line: string) => line.startsWith("tsmq: ");
  return { code, lines: lines.filter((line) => !isError(line)), errors: output.split("\n").filter(isError) };
}
