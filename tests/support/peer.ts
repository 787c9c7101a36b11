/** Another process of a test: a TypeScript file under either runtime, or a Python script. It exchanges lines of JSON with the test. */
import process from "node:process";
import { Child, type Exit } from "./child.ts";
import { type Tool, tool } from "./tools.ts";
import { PATIENCE, within } from "./until.ts";

/** The program that runs a peer. */
export type Runtime = "deno" | "bun" | "python";

/** The runtime of this process. */
export const here: "deno" | "bun" = "Bun" in globalThis ? "bun" : "deno";

/** The other of the two. */
export const there: "deno" | "bun" = here === "deno" ? "bun" : "deno";

/** Options of {@linkcode Peer.start}. */
export interface PeerOptions {
  /** Default: the runtime of this process; `python` for a file that ends in `.py`. */
  readonly runtime?: Runtime;
  /** The build of the runtime for another platform. */
  readonly build?: Extract<Tool, `${Runtime}-${string}`>;
  /** Arguments of the program. */
  readonly args?: readonly string[];
  /** Added to the environment of this process. */
  readonly env?: Readonly<Record<string, string>>;
  /** Deno's permissions; default `["-A"]`. Deno denies others without a prompt. */
  readonly permissions?: readonly string[];
}

/**
 * A running peer. It sends a value as a line `@<json>` on its standard output (`say` of `peer_side.ts` and `peer_side.py`) and
 * receives the values of {@linkcode Peer.tell} on its standard input. Its other output is kept for failure messages.
 */
export class Peer<Said = unknown> implements AsyncDisposable {
  readonly #child: Pick<Child, keyof Child>;
  readonly #said: Said[] = [];
  readonly #waiting: ((value: Said) => void)[] = [];

  private constructor(child: Pick<Child, keyof Child>) {
    this.#child = child;
    child.onLine((line) => {
      if (!line.startsWith("@")) return;
      const value = JSON.parse(line.slice(1)) as Said;
      const next = this.#waiting.shift();
      if (next) next(value);
      else this.#said.push(value);
    });
  }

  /** Returns the peer of a process that has started. */
  static of<Said = unknown>(child: Pick<Child, keyof Child>): Peer<Said> {
    return new Peer<Said>(child);
  }

  /** Starts a file: `Peer.start(new URL("server.ts", import.meta.url))`. */
  static start<Said = unknown>(file: URL | string, options: PeerOptions = {}): Peer<Said> {
    const path = file instanceof URL ? file.pathname : file;
    const runtime = options.runtime ?? (path.endsWith(".py") ? "python" : here);
    // without lock file and type check, because other processes start from the same tree at the same time
    const before = runtime === "deno"
      ? ["run", "--no-prompt", "--no-check", "--no-lock", ...options.permissions ?? ["-A"]]
      : runtime === "bun"
      ? ["run"]
      : ["-u"];
    const env = { ...process.env, ...options.env };
    return new Peer<Said>(new Child(tool(options.build ?? runtime), [...before, path, ...options.args ?? []], { env }));
  }

  /** The id of its process. */
  get pid(): number {
    return this.#child.pid;
  }

  /** Everything that it has printed. */
  get output(): string {
    return this.#child.output;
  }

  /** The exit of the process. Undefined while it runs. */
  get exit(): Exit | undefined {
    return this.#child.exit;
  }

  /** Resolves with the next value that the peer sends, in order. Rejects if it ends first, or after `patience` ms. */
  async next(patience: number = PATIENCE): Promise<Said> {
    if (this.#said.length > 0) return this.#said.shift()!;
    let take: (value: Said) => void = () => {};
    const said = new Promise<Said>((resolve) => this.#waiting.push(take = resolve));
    const ended = this.#child.ended.then((exit) => {
      throw new Error(`The peer ended with ${JSON.stringify(exit)}; its output:\n${this.output}`);
    });
    try {
      return await within(`the peer (process ${this.pid}) sends a value`, Promise.race([said, ended]), patience);
    } catch (error) {
      this.#waiting.splice(this.#waiting.indexOf(take), 1);
      if (error instanceof Error && !this.exit) error.message += `; its output:\n${this.output}`;
      throw error;
    }
  }

  /** Sends it a value. */
  tell(value: unknown): void {
    this.#child.write(`${JSON.stringify(value)}\n`);
  }

  /** Types a line into its standard input. */
  type(line: string): void {
    this.#child.write(`${line}\n`);
  }

  /** Sends a value and waits for the next value of the peer. */
  ask(value: unknown, patience?: number): Promise<Said> {
    this.tell(value);
    return this.next(patience);
  }

  /** Closes its standard input. */
  end(): void {
    this.#child.end();
  }

  /** Waits until the process ends by itself. */
  wait(patience?: number): Promise<Exit> {
    return this.#child.wait(patience);
  }

  /** Sends it a signal. */
  signal(signal: Parameters<Child["signal"]>[0]): void {
    this.#child.signal(signal);
  }

  /** Sends SIGKILL and waits until the process has ended. */
  kill(): Promise<void> {
    return this.#child.kill();
  }

  /** Kills the process if it still runs. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}
