/** A Python service on PyMQ for the tests of this folder. */
import { Peer } from "../support/peer.ts";

/** What the service says. */
type Said = { ready: string } | { done: unknown } | { event: Shown };

/** A Python value as the service shows it: its type, its `repr` or its parts. */
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
    const peer = Peer.start<Said>(new URL("peer.py", import.meta.url), { args: [where, namespace, name] });
    await peer.next();
    return new Python(peer);
  }

  /** Makes it do something and gives what it says to that. */
  async do<T = unknown>(command: Record<string, unknown>): Promise<T> {
    this.#peer.tell(command);
    while (true) {
      const said = await this.#peer.next();
      if ("done" in said) return said.done as T;
      if ("event" in said) this.#events.push(said.event);
    }
  }

  /** The next event that one of its subscribers got. */
  async event(): Promise<Shown> {
    const event = this.#events.shift();
    if (event) return event;
    const said = await this.#peer.next();
    if ("event" in said) return said.event;
    throw new Error(`an event was expected, not ${JSON.stringify(said)}`);
  }

  /** The id of its process. */
  get pid(): number {
    return this.#peer.pid;
  }

  /** SIGKILL. */
  kill(): Promise<void> {
    return this.#peer.kill();
  }

  /** Ends it, as PyMQ ends: it removes what is its own. One that was killed has ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#peer.end();
    await this.#peer.wait();
  }
}
