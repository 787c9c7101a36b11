/**
 * The interface through which the command line and the dashboard inspect a transport: checks, the contents of a namespace, and the remains
 * of dead buses. This file contains only types. A provider implements it in its `admin.ts`, which is loaded on first use.
 *
 * @module
 */
import type { BusOrigin } from "../internal/origin.ts";
import type { QueueStats } from "./parts.ts";

export type { BusOrigin };

/** The part of a provider that opens its {@linkcode Admin}. */
export interface AdminOpener {
  /** Opens the admin of a namespace. It needs no bus. */
  open(namespace: string): Promise<Admin>;
}

/**
 * Examines a transport and lists what one namespace contains. A list is `undefined` if the transport cannot give it, and a field is absent
 * if the transport does not know it. All names come from the wire.
 */
export interface Admin {
  /** Runs the checks one after the other. After a check that finds something broken, it skips those that depend on it. */
  checks(): AsyncIterable<Check>;
  /** Lists the queues. A queue without items may be absent, and so may a queue whose name is stored as a hash. */
  queues(): Promise<readonly QueueInfo[] | undefined>;
  /** Lists the topics and patterns that have subscribers. Servers subscribe to the topics of their functions. */
  topics(): Promise<readonly TopicInfo[] | undefined>;
  /** Lists the functions that have registered servers. */
  functions(): Promise<readonly FunctionInfo[] | undefined>;
  /** Lists the groups, whether they have members or not. */
  groups(): Promise<readonly GroupInfo[] | undefined>;
  /** Lists the buses that are up. Those of PyMQ may be absent. */
  buses(): Promise<readonly BusInfo[] | undefined>;
  /**
   * Lists the inboxes of the buses that are up, for `Sender.post`. They are secrets, because anybody who knows an inbox can send messages
   * to its bus.
   */
  inboxes(): Promise<readonly string[] | undefined>;
  /** Lists the remains of dead buses that `reap` would remove, one line each. */
  leftovers(): Promise<readonly string[]>;
  /** Removes the remains of dead buses. Yields one line for each removed thing. */
  reap(): AsyncIterable<string>;
  /** Closes the connections. */
  close(): Promise<void>;
}

/** The result of one check. */
export interface Check {
  /** The name of the check: `"login"`. */
  readonly name: string;
  /** "ok", "risk" (it works, but it may lose something or be slow) or "broken" (it does not work). */
  readonly state: "ok" | "risk" | "broken";
  /** The finding. */
  readonly detail: string;
  /** The advice for this problem, if the state is not "ok". */
  readonly mend?: string;
}

/** A queue and the numbers of its items. */
export interface QueueInfo extends QueueStats {
  /** The name of the queue. */
  readonly name: string;
}

/** A topic or a pattern that has subscribers. */
export interface TopicInfo {
  /** The topic, or the glob. */
  readonly name: string;
  /** Whether it is a glob. */
  readonly pattern: boolean;
  /** The number of buses that subscribe to it. */
  readonly subscribers?: number;
}

/** A function that has registered servers. */
export interface FunctionInfo {
  /** The name of the function. */
  readonly name: string;
  /** The ids of the buses that serve it, as in {@linkcode BusInfo.id}. */
  readonly servers: readonly string[];
}

/** A group: a queue that stores the events of a topic. */
export interface GroupInfo {
  /** The topic, or the glob. */
  readonly target: string;
  /** Whether the target is a glob. */
  readonly pattern: boolean;
  /** The name of the group. */
  readonly group: string;
  /** The name of its queue. */
  readonly queue: string;
}

/** A bus that is up. */
export interface BusInfo extends BusOrigin {
  /** A short id, unique among the buses of the namespace. */
  readonly id: string;
}
