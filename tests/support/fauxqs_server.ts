/** SNS and SQS for tests: the emulator fauxqs in a process of its own, or what `TSMQ_TEST_AWS_ENDPOINT` names. */
import process from "node:process";
import { Peer } from "./peer.ts";

/** A running emulator. */
export class FauxqsServer implements AsyncDisposable {
  /** Where it answers. */
  readonly endpoint: string;
  readonly #peer: Pick<Peer, "signal" | "kill"> | undefined;

  private constructor(endpoint: string, peer?: Pick<Peer, "signal" | "kill">) {
    this.endpoint = endpoint;
    this.#peer = peer;
  }

  /** Starts one that answers, on a free port; nothing is started when the environment names an endpoint. */
  static async start(): Promise<FauxqsServer> {
    const given = process.env.TSMQ_TEST_AWS_ENDPOINT;
    if (given) return new FauxqsServer(given);
    // Under Deno always: it needs node:sqlite.
    const peer = Peer.start<{ port: number }>(new URL("fauxqs_main.ts", import.meta.url), { runtime: "deno" });
    const { port } = await peer.next();
    return new FauxqsServer(`http://127.0.0.1:${port}`, peer);
  }

  /** False when the endpoint was given: nothing else is known of it, and it cannot be killed. */
  get ours(): boolean {
    return this.#peer !== undefined;
  }

  /** It stays alive but does nothing, until {@linkcode thaw}. */
  freeze(): void {
    this.#peer?.signal("SIGSTOP");
  }

  /** Lets it go on. */
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
