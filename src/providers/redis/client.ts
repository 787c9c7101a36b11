/**
 * The interface of a Redis client. `Connection` implements it for one server, `ClusterClient` for a Redis Cluster.
 *
 * @module
 */

import type { ReplyReader } from "./replies.ts";

/** Sends commands. */
export interface Client {
  /** Whether the connection is up. */
  readonly up: boolean;
  /**
   * Sends one command, once. A connection executes its commands in the order of the calls, and sends those of one turn in one write.
   * While the connection is down, they wait for it. A reply for which `read` throws breaks the connection.
   *
   * @throws {ProviderError} "unavailable" when no reply arrived within the client's timeout or the connection broke after
   *   the command was sent (the server may have executed it), another code for an error reply
   * @throws {ClosedError} after `close`
   */
  call<T>(read: ReplyReader<T>, name: string, ...args: string[]): Promise<T>;
  /** Closes the connection. Calls without a reply reject. Resolves within half a second, even if the server does not answer. */
  close(): Promise<void>;
}

/** Callbacks of a client to its owner. They never throw. */
export interface Observer {
  /**
   * Prepares a new connection, before anything else is sent on it. If it rejects, the client drops the connection and tries another.
   */
  prepare?(call: Client["call"]): Promise<void>;
  /** Called when the connection is ready. `again` is false only for the first connection. */
  up?(again: boolean): void;
  /** Called when the connection broke. */
  down?(error: unknown): void;
  /** Called when an attempt to restore the connection failed. */
  stillDown?(error: unknown): void;
  /** Called with an event on a channel. */
  message?(channel: string, body: string): void;
  /** Called with an event that a pattern matched. */
  patternMessage?(pattern: string, channel: string, body: string): void;
  /** Called with the keys that the server reports as changed (CLIENT TRACKING), or with null if all may have changed. */
  changed?(keys: unknown): void;
}
