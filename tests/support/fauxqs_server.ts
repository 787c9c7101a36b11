/** SNS and SQS for tests: the emulator fauxqs in its own process, or the endpoint in `TSMQ_TEST_AWS_ENDPOINT`. */
import process from "node:process";
import { Peer } from "./peer.ts";

/** A running emulator. */
export class FauxqsServer implements AsyncDisposable {
  /** The URL of its API. */
  readonly endpoint: string;
  readonly #peer: Pick<Peer, "signal" | "kill"> | undefined;

  private constructor(endpoint: string, peer?: Pick<Peer, "signal" | "kill">) {
    this.endpoint = endpoint;
    this.#peer = peer;
  }

  /** Starts an emulator on a free port, unless the environment names an endpoint, and waits until it answers. */
  static async start(): Promise<FauxqsServer> {
    const given = process.env.TSMQ_TEST_AWS_ENDPOINT;
    if (given) return new FauxqsServer(given);
    // always under Deno, because it needs node:sqlite
    const peer = Peer.start<{ port: number }>(new URL("fauxqs_main.ts", import.meta.url), { runtime: "deno" });
    const { port } = await peer.next();
    return new FauxqsServer(`http://127.0.0.1:${port}`, peer);
  }

  /** False if the environment names the endpoint: then the tests cannot stop it. */
  get ours(): boolean {
    return this.#peer !== undefined;
  }

  /** Stops the process (SIGSTOP) until {@linkcode thaw}. */
  freeze(): void {
    this.#peer?.signal("SIGSTOP");
  }

  /** Continues the process. */
  thaw(): void {
    this.#peer?.signal("SIGCONT");
  }

  /** Ends it. */
  async stop(): Promise<void> {
    await this.#peer?.kill();
  }

  /** Ends it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
