/** Child processes that end with the test, even if the test is killed. */
import { type ChildProcess, spawn, type SpawnOptions } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { within } from "./until.ts";

/** The exit of a child process: its exit code, or the signal that ended it. */
export interface Exit {
  readonly code: number | null;
  readonly signal: string | null;
}

/** A started program. It keeps the program's output for failure messages. */
export class Child {
  readonly pid: number;
  readonly exited: Promise<Exit>;
  /** Resolves when it has exited and its output is read. If a child of its own holds the pipe, it resolves 2 s after the exit. */
  readonly ended: Promise<Exit>;
  /** The exit of the process. Undefined while it runs. */
  exit: Exit | undefined;
  /** Standard output and error so far, at most the last 64 KiB. */
  output = "";
  readonly #process: ChildProcess;

  constructor(command: string, args: readonly string[], options: SpawnOptions = {}) {
    this.#process = spawn(command, args, { stdio: ["pipe", "pipe", "pipe"], ...options });
    this.pid = this.#process.pid ?? 0;
    if (this.pid) watchdog(`pid ${this.pid}`);
    for (const stream of [this.#process.stdout, this.#process.stderr]) {
      stream?.setEncoding("utf8");
      stream?.on("data", (text: string) => this.output = (this.output + text).slice(-65_536));
    }
    this.#process.stdin?.on("error", () => {}); // the pipe of a dead child; its exit is reported elsewhere
    this.exited = new Promise<Exit>((resolve) => {
      this.#process.once("error", (error) => {
        this.output += `${error}\n`;
        resolve(this.exit = { code: null, signal: null });
      });
      this.#process.once("exit", (code, signal) => {
        watchdog(`gone ${this.pid}`);
        resolve(this.exit = { code, signal });
      });
    });
    const read = new Promise<void>((resolve) => this.#process.once("close", () => resolve()));
    this.ended = this.exited.then(async (exit) => {
      await within("its output is read", read, 2_000).catch(() => {});
      return exit;
    });
  }

  /** Calls `take` with each line of standard output. */
  onLine(take: (line: string) => void): void {
    let rest = "";
    this.#process.stdout?.on("data", (text: string) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      lines.forEach(take);
    });
  }

  /** Writes to standard input. */
  write(text: string): void {
    this.#process.stdin?.write(text);
  }

  /** Closes standard input. */
  end(): void {
    this.#process.stdin?.end();
  }

  /** Sends a signal. Does nothing if the process has ended. */
  signal(signal: "SIGTERM" | "SIGKILL" | "SIGINT" | "SIGSTOP" | "SIGCONT" | "SIGHUP"): void {
    // Not ChildProcess.kill: in Deno 2.9 only its first call sends a signal.
    if (this.exit || !this.pid) return;
    try {
      process.kill(this.pid, signal);
    } catch (error) {
      if ((error as { code?: string }).code !== "ESRCH") throw error; // it has just ended
    }
  }

  /** Waits until the process ends by itself. */
  wait(patience?: number): Promise<Exit> {
    return within(`process ${this.pid} ends; its output:\n${this.output}`, this.exited, patience);
  }

  /** Sends SIGKILL and waits until the process has ended. */
  async kill(): Promise<void> {
    this.signal("SIGKILL");
    await this.wait();
  }
}

/** Creates a directory for a test. {@linkcode removeDir} removes it, or the watchdog when the test dies. */
export function makeDir(prefix: string): string {
  const dir = mkdtempSync(join(tmpdir(), `tsmq-${prefix}-`));
  watchdog(`dir ${dir}`);
  return dir;
}

/** Removes a directory of {@linkcode makeDir}. */
export function removeDir(dir: string): void {
  rmSync(dir, { recursive: true, force: true });
}

// It reads until its standard input ends. That happens when this process ends, even by SIGKILL.
const WATCHDOG = `
trap '' INT TERM HUP
pids=' '
while read -r verb what; do
  case $verb in
    pid) pids="$pids$what " ;;
    gone) pids="\${pids%% $what *} \${pids#* $what }" ;;
    dir) set -- "$@" "$what" ;;
  esac
done
for pid in $pids; do kill -9 "$pid"; done 2>/dev/null
rm -rf -- "$@"
`;

let guard: ChildProcess | undefined;

/** Sends a command to the watchdog of this process, which the first command starts. */
function watchdog(line: string): void {
  if (!guard) {
    guard = spawn("/bin/sh", ["-c", WATCHDOG], { stdio: ["pipe", "ignore", "ignore"], detached: true });
    guard.unref();
    (guard.stdin as unknown as { unref?(): void }).unref?.();
    guard.stdin?.on("error", () => {});
  }
  guard.stdin?.write(`${line}\n`);
}
