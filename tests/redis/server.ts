/** Real redis-servers on free ports, and a wire between them and a client that can be cut. */
import { Redis } from "ioredis";
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";

const BINARY = process.env.TSMQ_TEST_REDIS_SERVER ?? "redis-server";
/** Milliseconds within which anything that is awaited must happen. */
const PATIENCE = 15_000;

/** Resolves when the condition holds; rejects, saying what did not happen, when it does not in time. */
export async function until(what: string, holds: () => unknown | Promise<unknown>, patience = PATIENCE): Promise<void> {
  const deadline = performance.now() + patience;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`within ${patience} ms it did not happen that ${what}`);
    await pause(10);
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** A redis-server of a test's own. */
export class RedisServer {
  readonly port: number;
  readonly dir: string;
  #args: string[];
  #process: ChildProcess | undefined;
  #exit: Promise<unknown> = Promise.resolve();

  private constructor(port: number, args: string[]) {
    this.port = port;
    this.dir = mkdtempSync(join(tmpdir(), "tsmq-redis-"));
    this.#args = ["--port", String(port), "--bind", "127.0.0.1", "--dir", this.dir, "--save", "", ...args];
  }

  /** A port where nobody listens. */
  static async freePort(): Promise<number> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
    const { port } = server.address() as { port: number };
    await new Promise((resolve) => server.close(resolve));
    return port;
  }

  /** Starts a Sentinel that watches a master for two of three. */
  static async sentinel(name: string, master: number): Promise<RedisServer> {
    const server = new RedisServer(await RedisServer.freePort(), []);
    const config = join(server.dir, "sentinel.conf");
    writeFileSync(
      config,
      [
        `port ${server.port}`,
        "bind 127.0.0.1",
        `dir ${server.dir}`,
        `sentinel monitor ${name} 127.0.0.1 ${master} 2`,
        `sentinel down-after-milliseconds ${name} 1000`,
        `sentinel failover-timeout ${name} 10000`,
      ].join("\n"),
    );
    server.#args = [config, "--sentinel"];
    await server.start();
    return server;
  }

  /** Starts one that answers; `args` as on its command line, a later one wins. */
  static async start(...args: string[]): Promise<RedisServer> {
    const server = new RedisServer(await RedisServer.freePort(), args);
    await server.start();
    return server;
  }

  /** Starts it (again). */
  async start(): Promise<void> {
    const child = this.#process = spawn(BINARY, this.#args, { stdio: ["ignore", "pipe", "pipe"] });
    let said = "";
    child.stdout!.on("data", (chunk) => said += chunk);
    child.stderr!.on("data", (chunk) => said += chunk);
    this.#exit = new Promise((resolve) => child.once("exit", resolve));
    await until(`redis-server is ready:\n${said}`, () => {
      if (child.exitCode !== null) throw new Error(`redis-server ended:\n${said}`);
      return /Ready to accept connections|Running mode=sentinel[\s\S]*Sentinel ID/.test(said);
    });
  }

  signal(signal: "SIGSTOP" | "SIGCONT" | "SIGKILL" | "SIGTERM"): void {
    // a ChildProcess of Deno passes on only one signal
    process.kill(this.#process!.pid!, signal);
  }

  /** Kills it, and waits until it is gone. */
  async kill(): Promise<void> {
    if (this.#process?.exitCode === null && this.#process.signalCode === null) this.signal("SIGKILL");
    await this.#exit;
  }

  /** Ends it for good. */
  async stop(): Promise<void> {
    await this.kill();
    rmSync(this.dir, { recursive: true, force: true });
  }

  /** Runs one command as an administrator. */
  async run(...[name, ...args]: string[]): Promise<unknown> {
    const redis = new Redis({ port: this.port, host: "127.0.0.1", lazyConnect: true, retryStrategy: null });
    redis.on("error", () => {});
    try {
      await redis.connect();
      return await redis.call(name!, ...args);
    } finally {
      redis.disconnect();
    }
  }

  /** Lines of CLIENT LIST other than the administrator's. */
  async clients(): Promise<string[]> {
    const text = String(await this.run("client", "list"));
    return text.trim().split("\n").filter((line) => !line.includes("cmd=client|list") && !line.includes("cmd=client "));
  }

  async keys(): Promise<string[]> {
    return (await this.run("keys", "*")) as string[];
  }
}

/** A wire to a server, for one test's clients. */
export class Wire {
  readonly port: number;
  #server: Server;
  #target: number;
  #sockets = new Set<Socket>();
  /** What the server says from now on is swallowed. */
  deaf = false;
  /** Nothing passes in either direction, and nothing is closed: a half-open connection. */
  dead = false;
  /** New connections are refused (accepted and closed at once). */
  shut = false;

  private constructor(server: Server, target: number) {
    this.#server = server;
    this.#target = target;
    this.port = (server.address() as { port: number }).port;
    server.on("connection", (client) => this.#join(client));
  }

  static async to(port: number): Promise<Wire> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
    return new Wire(server, port);
  }

  /** Breaks all connections. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.cut();
    await closed;
  }

  #join(client: Socket): void {
    if (this.shut) return void client.destroy();
    const server = connect(this.#target, "127.0.0.1");
    client.on("data", (data) => this.dead || server.write(data));
    server.on("data", (data) => this.dead || this.deaf || client.write(data));
    for (const [one, other] of [[client, server], [server, client]] as const) {
      this.#sockets.add(one);
      one.on("error", () => {});
      one.on("close", () => {
        this.#sockets.delete(one);
        if (!this.dead) other.destroy();
      });
    }
  }
}
