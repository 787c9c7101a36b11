/** A Python service on PyMQ for the tests of this folder. */
import type { Peer } from "../support/peer.ts";
import { fork } from "./forked.ts";

/** The messages of the service. */
type Said = { ready: string } | { done: unknown } | { event: Shown };

/** A Python value as the service describes it: its type, and its `repr` or its parts. */
export interface Shown {
  readonly type: string;
  readonly value: unknown;
}

/** A running service. */
export class Python implements AsyncDisposable {
  #peer: Peer<Said>;
  #events: Shown[] = [];

  private constructor(peer: Peer<Said>) {
    this.#peer = peer;
  }

  /** Starts a service: `where` is `ipc` or the URL of a Redis server. */
  static async start(where: string, namespace: string, name = "python"): Promise<Python> {
    const peer = await fork<Said>([where, namespace, name]);
    await peer.next();
    return new Python(peer);
  }

  /** Sends a command and resolves with its result. */
  async do<T = unknown>(command: Record<string, unknown>): Promise<T> {
    this.#peer.tell(command);
    while (true) {
      const said = await this.#peer.next();
      if ("done" in said) return said.done as T;
      if ("event" in said) this.#events.push(said.event);
    }
  }

  /** Resolves with the next event of its subscribers. */
  async event(): Promise<Shown> {
    const event = this.#events.shift();
    if (event) return event;
    const said = await this.#peer.next();
    if ("event" in said) return said.event;
    throw new Error(`Expected an event, received ${JSON.stringify(said)}`);
  }

  /** The id of its process. */
  get pid(): number {
    return this.#peer.pid;
  }

  /** SIGKILL. */
  kill(): Promise<void> {
    return this.#peer.kill();
  }

  /** Ends the service: PyMQ shuts down and removes what it has created. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#peer.end();
    await this.#peer.wait();
  }
}
