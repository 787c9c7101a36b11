/** A TCP wire between a client and a server, for everything that goes wrong on wires. */
import { connect, createServer, type Server, type Socket } from "node:net";
import { pause } from "./until.ts";

/** One way through the proxy. */
export type Direction = "up" | "down";

interface Pair {
  readonly client: Socket;
  readonly server: Socket;
}

/** Listens on a free port of loopback and passes everything on to a server, until it is told otherwise. */
export class TcpProxy implements AsyncDisposable {
  /** Where clients connect. */
  readonly port: number;
  /** Where it connects to; new connections go where it points at that moment. */
  target: number;
  /** Connections accepted so far. */
  accepted = 0;
  /** Bytes passed so far, up (to the server) and down. */
  readonly bytes: Record<Direction, number> = { up: 0, down: 0 };
  /** Milliseconds that each chunk waits. */
  delay = 0;
  /** What the server says is swallowed. */
  deaf = false;
  /** Nothing passes in either direction, nothing is closed: half-open connections. */
  dead = false;
  /** New connections are accepted and closed at once. For connections refused, see {@linkcode TcpProxy.refuse}. */
  shut = false;
  /** Sees each chunk that a client sends; true: its connection breaks, and the chunk does not pass. */
  breaks: ((chunk: Uint8Array, client: Socket) => boolean) | undefined;
  /** Changes what passes: corrupts it, cuts it short, keeps it back (an empty result). */
  alter: ((chunk: Uint8Array, direction: Direction) => Uint8Array) | undefined;
  #server: Server | undefined;
  readonly #pairs = new Set<Pair>();

  private constructor(port: number, target: number) {
    this.port = port;
    this.target = target;
  }

  /** A proxy to a port of loopback. */
  static async to(target: number): Promise<TcpProxy> {
    const server = createServer();
    await listen(server, 0);
    const proxy = new TcpProxy((server.address() as { port: number }).port, target);
    proxy.#serve(server);
    return proxy;
  }

  /** Connections open now; one whose other side does not know yet that it has ended counts. */
  get connections(): number {
    return this.#pairs.size;
  }

  /** Breaks all connections, or those of these clients; new ones are accepted. */
  cut(which: (client: Socket) => boolean = () => true): void {
    for (const { client, server } of this.#pairs) {
      if (!which(client)) continue;
      client.destroy();
      server.destroy();
    }
  }

  /** Nothing passes any more on the connections that are open now, and nobody is told; new ones pass. */
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

  /** Data and the end of a stream wait in one line, so what was sent before a close arrives before it. */
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
        const passed = this.alter ? this.alter(chunk, direction) : chunk;
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
