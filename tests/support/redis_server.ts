/** Real Redis servers for one test, on free ports. */
import { Redis } from "ioredis";
import type { Buffer } from "node:buffer";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { Child, makeDir, removeDir } from "./child.ts";
import { freePort } from "./port.ts";
import { certificate } from "./certificate.ts";
import { type Tool, tool } from "./tools.ts";
import { until } from "./until.ts";

/** The options of a server. */
export interface RedisServerOptions {
  /** The program; default: `redis-server`, or the path in `TSMQ_TEST_REDIS_SERVER`. */
  readonly tool?: Extract<Tool, `${"redis" | "valkey"}-server${string}`>;
  /** The port; default: a free one, which a restart keeps. */
  readonly port?: number;
  /** The password of the default user. */
  readonly password?: string;
  /** Use TLS with a self-signed certificate for 127.0.0.1: {@linkcode RedisServer.ca}. */
  readonly tls?: boolean;
  /** Run as a Sentinel. */
  readonly sentinel?: boolean;
  /** Lines of its configuration. */
  readonly config?: readonly string[];
  /** Further command-line arguments, such as `["--maxmemory", "5mb"]`; a later one overrides an earlier one. */
  readonly args?: readonly string[];
}

/** A redis-server, Sentinel or node of a cluster. */
export class RedisServer implements AsyncDisposable {
  readonly port: number;
  readonly dir: string;
  readonly password: string | undefined;
  /** The certificate to trust, if it uses TLS. */
  readonly ca: string | undefined;
  readonly #command: string;
  readonly #args: string[];
  #child: Child | undefined;

  private constructor(port: number, options: RedisServerOptions) {
    this.port = port;
    this.dir = makeDir("redis");
    this.password = options.password;
    this.#command = options.tool ? tool(options.tool) : process.env.TSMQ_TEST_REDIS_SERVER || tool("redis-server");
    const listen = ["--bind", "127.0.0.1", "--dir", this.dir];
    if (options.tls) {
      const files = certificate(this.dir);
      this.ca = files.ca;
      listen.push("--port", "0", "--tls-port", String(port), "--tls-auth-clients", "no");
      listen.push("--tls-cert-file", files.certFile, "--tls-key-file", files.keyFile);
      listen.push("--tls-ca-cert-file", files.certFile);
    } else {
      listen.push("--port", String(port));
    }
    if (options.password) listen.push("--requirepass", options.password);
    const config = join(this.dir, "redis.conf");
    writeFileSync(config, [...options.config ?? [], ""].join("\n"));
    const mode = options.sentinel ? ["--sentinel"] : ["--save", "", "--appendonly", "no"];
    this.#args = [config, ...listen, ...mode, ...options.args ?? []];
  }

  /** Starts a server and waits until it answers. */
  static async start(options: RedisServerOptions = {}): Promise<RedisServer> {
    const server = new RedisServer(options.port ?? await freePort(), options);
    await server.start();
    return server;
  }

  /** Its URL for clients. */
  get url(): string {
    return `redis${this.ca ? "s" : ""}://${this.password ? `:${this.password}@` : ""}127.0.0.1:${this.port}`;
  }

  /** The id of its process. */
  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** Starts the server again with the same port and directory. It keeps data only with an option such as `--appendonly yes`. */
  async start(): Promise<void> {
    const child = this.#child = new Child(this.#command, this.#args);
    const ready = () => /Ready to accept connections|Sentinel ID is/.test(child.output);
    try {
      await until("redis-server is ready or has ended", () => ready() || child.exit);
    } finally {
      if (!ready()) await this.stop();
    }
    if (!ready()) throw new Error(`Cannot start ${this.#command}:\n${child.output}`);
  }

  /** Sends a signal to its process. */
  signal(signal: Parameters<Child["signal"]>[0]): void {
    this.#child?.signal(signal);
  }

  /** Sends SIGKILL and waits until the server has ended. {@linkcode start} starts it again. */
  async kill(): Promise<void> {
    await this.#child?.kill();
  }

  /** Stops the process (SIGSTOP) until {@linkcode thaw}. */
  freeze(): void {
    this.signal("SIGSTOP");
  }

  /** Continues the process. */
  thaw(): void {
    this.signal("SIGCONT");
  }

  /** Ends the server and removes its files. */
  async stop(): Promise<void> {
    await this.kill();
    removeDir(this.dir);
  }

  /** Ends the server and removes its files. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  /** Runs one command on a connection of its own. */
  async run(name: string, ...args: (string | number | Buffer)[]): Promise<unknown> {
    const { port, password, ca } = this;
    const tls = ca ? { ca } : undefined;
    const redis = new Redis({ port, password, tls, host: "127.0.0.1", lazyConnect: true, retryStrategy: null });
    redis.on("error", () => {}); // the command rejects too
    try {
      await redis.connect();
      return await redis.call(name, ...args);
    } finally {
      redis.disconnect();
    }
  }

  /** Returns the lines of CLIENT LIST without this connection. */
  async clients(): Promise<string[]> {
    const lines = String(await this.run("client", "list")).trim().split("\n");
    return lines.filter((line) => !/ cmd=client(\||%7c| )/.test(line));
  }

  /** Returns all keys. */
  async keys(): Promise<string[]> {
    return await this.run("keys", "*") as string[];
  }
}
