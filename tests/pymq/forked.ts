/** A Python service that a process which has loaded PyMQ forks. It takes 10 ms of CPU to start, and a new process 200. */
import { createServer, type Socket } from "node:net";
import process from "node:process";
import type { Child, Exit } from "../support/child.ts";
import { Peer } from "../support/peer.ts";
import { within } from "../support/until.ts";

let forks: Peer<number> | undefined;

/** Forks a service with these arguments. */
export async function fork<Said>(args: readonly string[]): Promise<Peer<Said>> {
  forks ??= Peer.start<number>(new URL("forks.py", import.meta.url));
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const connected = new Promise<Socket>((resolve) => server.once("connection", resolve));
  try {
    const { port } = server.address() as { port: number };
    const pid = await forks.ask([port, ...args]);
    return Peer.of<Said>(new Fork(pid, await within("the service connects", connected), forks));
  } finally {
    server.close();
  }
}

/** A forked process. It exchanges lines with the test over a connection; its errors are in the output of the process that forked it. */
class Fork implements Pick<Child, keyof Child> {
  readonly pid: number;
  readonly exited: Promise<Exit>;
  readonly ended: Promise<Exit>;
  /** Its exit code is unknown. */
  exit: Exit | undefined;
  readonly #socket: Socket;
  readonly #parent: Peer<number>;

  constructor(pid: number, socket: Socket, parent: Peer<number>) {
    this.pid = pid;
    this.#socket = socket.setEncoding("utf8").on("error", () => {}); // "close" follows
    this.#parent = parent;
    this.exited = new Promise((resolve) => {
      socket.once("close", () => resolve(this.exit = { code: null, signal: null }));
    });
    this.ended = this.exited;
  }

  get output(): string {
    return this.#parent.output;
  }

  onLine(take: (line: string) => void): void {
    let rest = "";
    this.#socket.on("data", (text: string) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      lines.forEach(take);
    });
  }

  write(text: string): void {
    this.#socket.write(text);
  }

  end(): void {
    this.#socket.end();
  }

  signal(signal: Parameters<Child["signal"]>[0]): void {
    if (this.exit) return;
    try {
      process.kill(this.pid, signal);
    } catch (error) {
      if ((error as { code?: string }).code !== "ESRCH") throw error; // it has just ended
    }
  }

  wait(patience?: number): Promise<Exit> {
    return within(`process ${this.pid} ends; the output of all services:\n${this.output}`, this.exited, patience);
  }

  async kill(): Promise<void> {
    this.signal("SIGKILL");
    await this.wait();
  }
}
