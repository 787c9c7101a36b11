/** A real NATS server with JetStream for one test, on a free port. */
import { Child, makeDir, removeDir } from "./child.ts";
import { freePort } from "./port.ts";
import { tool } from "./tools.ts";
import { until } from "./until.ts";

/** A nats-server. */
export class NatsServer implements AsyncDisposable {
  readonly port: number;
  readonly #child: Child;
  readonly #dir: string;

  private constructor(port: number) {
    this.port = port;
    this.#dir = makeDir("nats");
    this.#child = new Child(tool("nats-server"), ["-a", "127.0.0.1", "-p", String(port), "-js", "-sd", this.#dir]);
  }

  /** Starts a server and waits until it answers. */
  static async start(): Promise<NatsServer> {
    const server = new NatsServer(await freePort());
    const ready = () => server.#child.output.includes("Server is ready");
    await until("nats-server is ready or has ended", () => ready() || server.#child.exit);
    if (ready()) return server;
    await server.stop();
    throw new Error(`Cannot start nats-server:\n${server.#child.output}`);
  }

  /** Its address for clients. */
  get url(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** Ends the server and removes its files. */
  async stop(): Promise<void> {
    await this.#child.kill();
    removeDir(this.#dir);
  }

  /** Ends it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
