/** A TCP proxy between a client and a server that injects network faults. */
import { connect, createServer, type Server, type Socket } from "node:net";
import { pause } from "./until.ts";

/** The direction of data through the proxy. */
export type Direction = "up" | "down";

interface Pair {
  readonly client: Socket;
  readonly server: Socket;
}

/** Listens on a free port of loopback and forwards everything to a server, until a test injects a fault. */
export class TcpProxy implements AsyncDisposable {
  /** The port for clients. */
  readonly port: number;
  /** The port of the server, for connections that are opened from now on. */
  target: number;
  /** Connections accepted so far. */
  accepted = 0;
  /** Bytes forwarded so far, up (to the server) and down. */
  readonly bytes: Record<Direction, number> = { up: 0, down: 0 };
  /** Milliseconds of delay for each chunk. */
  delay = 0;
  /** Discards the data of the server. */
  deaf = false;
  /** Discards the data of both directions and closes nothing: half-open connections. */
  dead = false;
  /** Accepts new connections and closes them at once. {@linkcode TcpProxy.refuse} refuses connections. */
  shut = false;
  /** Called with each chunk of a client. If it returns true, the connection breaks and the chunk is discarded. */
  breaks: ((chunk: Uint8Array, client: Socket) => boolean) | undefined;
  /** Changes each chunk: corrupts it, truncates it, or discards it (an empty result). */
  alter: ((chunk: Uint8Array, direction: Direction, client: Socket) => Uint8Array) | undefined;
  #server: Server | undefined;
  readonly #pairs = new Set<Pair>();

  private constructor(port: number, target: number) {
    this.port = port;
    this.target = target;
  }

  /** Starts a proxy to a port of loopback. */
  static async to(target: number): Promise<TcpProxy> {
    const server = createServer();
    await listen(server, 0);
    const proxy = new TcpProxy((server.address() as { port: number }).port, target);
    proxy.#serve(server);
    return proxy;
  }

  /** The number of open connections, including those that one side has closed. */
  get connections(): number {
    return this.#pairs.size;
  }

  /** Breaks all connections, or those of these clients. New connections are accepted. */
  cut(which: (client: Socket) => boolean = () => true): void {
    for (const { client, server } of this.#pairs) {
      if (!which(client)) continue;
      client.destroy();
      server.destroy();
    }
  }

  /** Silently discards all data of the connections that are open now. New connections work. */
  forget(): void {
    for (const { client, server } of this.#pairs) {
      for (const socket of [client, server]) socket.removeAllListeners("data").resume();
    }
  }

  /** Stops listening, so that new connections are refused, and breaks all connections. */
  async refuse(): Promise<void> {
    const closed = new Promise((resolve) => this.#server ? this.#server.close(resolve) : resolve(undefined));
    this.#server = undefined;
    this.cut();
    await closed;
  }

  /** Listens again after {@linkcode refuse}. */
  async accept(): Promise<void> {
    if (this.#server) return;
    const server = createServer();
    await listen(server, this.port);
    this.#serve(server);
  }

  /** Ends it. */
  async close(): Promise<void> {
    await this.refuse();
  }

  /** Ends it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #serve(server: Server): void {
    this.#server = server;
    server.on("connection", (client) => this.#join(client));
  }

  #join(client: Socket): void {
    this.accepted++;
    if (this.shut) return void client.destroy();
    const pair = { client, server: connect(this.target, "127.0.0.1") };
    this.#pairs.add(pair);
    this.#pass(client, pair.server, "up", pair);
    this.#pass(pair.server, client, "down", pair);
  }

  /** Forwards data and the end of a stream in order, so data that was sent before a close arrives before it. */
  #pass(from: Socket, to: Socket, direction: Direction, pair: Pair): void {
    let line: Promise<void> | undefined;
    const after = (act: () => void): void => {
      if (!line && this.delay === 0) return act();
      const due = performance.now() + this.delay;
      const before = line ?? Promise.resolve();
      const mine = line = before.then(() => pause(Math.ceil(Math.max(0, due - performance.now())))).then(act).finally(
        () => {
          if (line === mine) line = undefined;
        },
      );
    };
    from.setNoDelay(true);
    from.on("error", () => {});
    from.on("data", (chunk: Uint8Array) =>
      after(() => {
        if (this.dead || (this.deaf && direction === "down")) return;
        if (direction === "up" && this.breaks?.(chunk, from)) {
          from.destroy();
          to.destroy();
          return;
        }
        const passed = this.alter ? this.alter(chunk, direction, pair.client) : chunk;
        this.bytes[direction] += passed.length;
        if (passed.length > 0 && !to.destroyed) to.write(passed);
      }));
    from.on("close", () => {
      if (to.destroyed) this.#pairs.delete(pair);
      after(() => this.dead || to.destroySoon());
    });
  }
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
}
