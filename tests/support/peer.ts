/** Another process of a test: a TypeScript file under either runtime, or a Python script, that talks in lines of JSON. */
import process from "node:process";
import { Child, type Exit } from "./child.ts";
import { type Tool, tool } from "./tools.ts";
import { PATIENCE, within } from "./until.ts";

/** What runs a peer. */
export type Runtime = "deno" | "bun" | "python";

/** The runtime of this process. */
export const here: "deno" | "bun" = "Bun" in globalThis ? "bun" : "deno";

/** The other of the two. */
export const there: "deno" | "bun" = here === "deno" ? "bun" : "deno";

/** Options of {@linkcode Peer.start}. */
export interface PeerOptions {
  /** Default: that of this process; `python` for a file that ends in `.py`. */
  readonly runtime?: Runtime;
  /** The runtime as it is for another platform. */
  readonly build?: Extract<Tool, `${Runtime}-${string}`>;
  /** Arguments of the program. */
  readonly args?: readonly string[];
  /** Added to the environment of this process. */
  readonly env?: Readonly<Record<string, string>>;
  /** Deno's permissions; default `["-A"]`. Without it nothing is asked, just denied. */
  readonly permissions?: readonly string[];
}

/**
 * A running peer. It says a value by a line `@<json>` on its standard output (`say` of `peer_side.ts` and `peer_side.py`) and
 * hears what {@linkcode Peer.tell} writes to its standard input. All else that it prints is kept for failure messages.
 */
export class Peer<Said = unknown> implements AsyncDisposable {
  readonly #child: Child;
  readonly #said: Said[] = [];
  readonly #waiting: ((value: Said) => void)[] = [];

  private constructor(child: Child) {
    this.#child = child;
    child.onLine((line) => {
      if (!line.startsWith("@")) return;
      const value = JSON.parse(line.slice(1)) as Said;
      const next = this.#waiting.shift();
      if (next) next(value);
      else this.#said.push(value);
    });
  }

  /** Starts a file: `Peer.start(new URL("server.ts", import.meta.url))`. */
  static start<Said = unknown>(file: URL | string, options: PeerOptions = {}): Peer<Said> {
    const path = file instanceof URL ? file.pathname : file;
    const runtime = options.runtime ?? (path.endsWith(".py") ? "python" : here);
    // No watch on the lock file and no type check: other processes start from the same tree at the same time.
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

  /** All that it printed. */
  get output(): string {
    return this.#child.output;
  }

  /** How it ended, once it has. */
  get exit(): Exit | undefined {
    return this.#child.exit;
  }

  /** The next value that it says, in their order; rejects when it ends first or takes longer than `patience` ms. */
  async next(patience: number = PATIENCE): Promise<Said> {
    if (this.#said.length > 0) return this.#said.shift()!;
    let take: (value: Said) => void = () => {};
    const said = new Promise<Said>((resolve) => this.#waiting.push(take = resolve));
    const ended = this.#child.exited.then((exit) => {
      throw new Error(`The peer ended with ${JSON.stringify(exit)}; it said:\n${this.output}`);
    });
    try {
      return await within(`the peer says something (it is ${this.pid})`, Promise.race([said, ended]), patience);
    } catch (error) {
      this.#waiting.splice(this.#waiting.indexOf(take), 1);
      if (error instanceof Error && !this.exit) error.message += `; it said:\n${this.output}`;
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

  /** Sends it a value and waits for the next that it says. */
  ask(value: unknown, patience?: number): Promise<Said> {
    this.tell(value);
    return this.next(patience);
  }

  /** Closes its standard input. */
  end(): void {
    this.#child.end();
  }

  /** Waits until it has ended by itself. */
  wait(patience?: number): Promise<Exit> {
    return this.#child.wait(patience);
  }

  /** Sends it a signal. */
  signal(signal: Parameters<Child["signal"]>[0]): void {
    this.#child.signal(signal);
  }

  /** SIGKILL, and waits until it is gone. */
  kill(): Promise<void> {
    return this.#child.kill();
  }

  /** Kills it, if it has not ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}
