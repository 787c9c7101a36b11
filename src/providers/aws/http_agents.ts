/**
 * The sockets of the SDK's clients.
 *
 * Deno's `node:http` sends a request again, silently, when a connection that was used before ends without an answer, even
 * when it was we who gave the request up (github.com/denoland/deno/issues/36786). An item would be put twice, a poll that
 * was given up would go on taking items. It tells such a connection by `reusedSocket`, so that stays false here.
 *
 * @module
 */
import { Agent as HttpAgent, type ClientRequest } from "node:http";
import { Agent as HttpsAgent } from "node:https";
import type { Duplex } from "node:stream";

/** What both kinds are made with. */
interface AgentOptions {
  /** Sockets to one server at most. */
  readonly maxSockets: number;
}

/** Keeps connections, and sends each request once. */
export class OnceHttpAgent extends HttpAgent {
  /** An agent with so many sockets. */
  constructor(options: AgentOptions) {
    super({ keepAlive: true, ...options });
  }

  /** As of `Agent`. */
  override reuseSocket(socket: Duplex, request: ClientRequest): void {
    super.reuseSocket(socket, request);
    request.reusedSocket = false;
  }
}

/** The same over TLS. */
export class OnceHttpsAgent extends HttpsAgent {
  /** An agent with so many sockets. */
  constructor(options: AgentOptions) {
    super({ keepAlive: true, ...options });
  }

  /** As of `Agent`. */
  override reuseSocket(socket: Duplex, request: ClientRequest): void {
    super.reuseSocket(socket, request);
    request.reusedSocket = false;
  }
}
