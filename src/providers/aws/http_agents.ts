/**
 * The sockets of the SDK's clients.
 *
 * Deno's `node:http` silently repeats a request when a connection that was used before ends without an answer, even when this program
 * cancelled the request (github.com/denoland/deno/issues/36786). An item would be put twice, and a cancelled poll would continue to receive
 * items. Deno recognises such a connection by `reusedSocket`, so that stays false here.
 *
 * @module
 */
import { Agent as HttpAgent, type ClientRequest } from "node:http";
import { Agent as HttpsAgent } from "node:https";
import type { Duplex } from "node:stream";

/** Options of both kinds of agents. */
interface AgentOptions {
  /** The largest number of sockets to one server. */
  readonly maxSockets: number;
}

/** An HTTP agent that keeps connections and sends each request once. */
export class OnceHttpAgent extends HttpAgent {
  /** Creates an agent with at most `maxSockets` sockets to one server. */
  constructor(options: AgentOptions) {
    super({ keepAlive: true, ...options });
  }

  /** Reuses a socket, as `Agent` does. */
  override reuseSocket(socket: Duplex, request: ClientRequest): void {
    super.reuseSocket(socket, request);
    request.reusedSocket = false;
  }
}

/** An HTTPS agent that keeps connections and sends each request once. */
export class OnceHttpsAgent extends HttpsAgent {
  /** Creates an agent with at most `maxSockets` sockets to one server. */
  constructor(options: AgentOptions) {
    super({ keepAlive: true, ...options });
  }

  /** Reuses a socket, as `Agent` does. */
  override reuseSocket(socket: Duplex, request: ClientRequest): void {
    super.reuseSocket(socket, request);
    request.reusedSocket = false;
  }
}
