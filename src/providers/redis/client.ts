/**
 * All that the provider asks of a Redis client. `Connection` is one over ioredis to one server, `ClusterClient` one to a Redis Cluster.
 *
 * @module
 */

import type { Reads } from "./replies.ts";

/** Sends commands. */
export interface Client {
  /** Whether the connection is up. */
  readonly up: boolean;
  /**
   * Sends one command, once. Commands of one connection are carried out in the order of the calls, and those of one turn leave
   * in one write. While the connection is down they wait for it. A reply that `reads` refuses breaks the connection.
   *
   * @throws {ProviderError} "unavailable" when no reply came within the client's timeout or the connection broke after
   *   the command was sent (then it may have been carried out), another code for an error reply
   * @throws {ClosedError} after `close`
   */
  call<T>(reads: Reads<T>, name: string, ...args: string[]): Promise<T>;
  /** Ends the connection; what still waits for a reply rejects. Ends within half a second, whatever the server does. */
  close(): Promise<void>;
}

/** What a client tells its owner. Callbacks never throw. */
export interface Observer {
  /**
   * Runs on each new connection before anything else is sent on it. What it rejects with breaks the connection, and another is tried.
   */
  prepare?(call: Client["call"]): Promise<void>;
  /** The connection is prepared; `again`: it is not the first. */
  up?(again: boolean): void;
  /** The connection broke. */
  down?(error: unknown): void;
  /** An event on a channel. */
  message?(channel: string, body: string): void;
  /** An event that a pattern matched. */
  patternMessage?(pattern: string, channel: string, body: string): void;
}
