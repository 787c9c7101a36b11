/**
 * The frames between the main thread and the worker. This file contains only types. Each end posts one array of frames in each turn of its
 * event loop.
 *
 * @module
 */
import type { PlainError } from "../errors.ts";
import type { BusOrigin, Delivery, Filter, Outcome } from "../provider/provider.ts";

/** The worker's message to its parent when it listens. On both runtimes, messages that were posted earlier are lost. */
export interface Listening {
  readonly kind: "tsmq:listening";
  /** Whether its receiver is still loading. The message is posted again when the receiver is loaded. */
  readonly loading?: true;
}

/** The first message to a worker, with its end of the port. All later messages use the port. */
export interface Hello {
  readonly kind: "tsmq:hello";
  readonly port: InstanceType<typeof MessageChannel>["port1"]; // the types of Node have no name for it
  readonly namespace: string;
  readonly options: unknown;
  readonly origin: BusOrigin;
  readonly connectTimeout: number;
  readonly maxReceive: number;
}

/** The frames from main to the worker. Each frame with an `id` is answered by `done` or `failed`. */
export type ToWorker =
  /** A heartbeat, which the worker sends back. */
  | { kind: "beat" }
  /** With `queue`, it binds that queue to the topic instead of receiving the events. */
  | { kind: "subscribe"; id: number; subscription: number; filter: Filter; credit: number; queue?: string }
  | { kind: "unsubscribe"; id: number; subscription: number }
  | { kind: "unbind"; id: number; filter: Filter; queue: string }
  | { kind: "credit"; subscription: number; count: number }
  | { kind: "receive"; id: number; queue: string; max: number; wait: number; lease?: number }
  | { kind: "cancel"; id: number; queue: string; lease?: number }
  | { kind: "start"; id: number; queue: string; receipts: string[] }
  | { kind: "settle"; id: number; queue: string; receipts: string[]; outcome: Outcome; delay: number }
  | { kind: "ask"; id: number; verb: string; argument: unknown }
  | { kind: "answer"; id: number; value?: unknown; error?: PlainError }
  | { kind: "close"; id: number }
  /** The last frame, to a worker that other buses use: it ends the port and, unless `close` has ended it, the receiver. */
  | { kind: "abort" };

/** The frames from the worker to main: its own state, and the frames of its receiver. */
export type ToMain =
  | { kind: "ready"; inbox: string }
  | { kind: "fatal"; error: PlainError }
  | { kind: "beat" }
  | FromReceiver;

/** The frames from the receiver to main. */
export type FromReceiver =
  | { kind: "done"; id: number; value?: unknown }
  | { kind: "failed"; id: number; error: PlainError }
  /**
   * Events, in columns. `runs`: pairs of a subscription and its number of consecutive events. `topics`: one for each event, present if
   * any event belongs to a pattern. `batch.ts` packs the bodies, but not the topics, which the waiting events keep.
   */
  | { kind: "events"; runs: number[]; topics?: string[]; bodies: string | string[] }
  /** Messages of the inbox, which `batch.ts` packs. */
  | { kind: "inbox"; bodies: string | string[] }
  /** Bodies from the topics of served functions, one topic for each. */
  | { kind: "requests"; topics: string[]; bodies: string[] }
  /** A gap, in its place among the events of a subscription. Without a number, it is the gap of a bus without subscriptions. */
  | { kind: "gap"; reason: string; lost: number; subscription?: number }
  /** Leases that ended before they were settled, or whose extension has failed until their end. */
  | { kind: "lost"; queue: string; receipts: string[] }
  | { kind: "state"; connected: boolean; error?: PlainError }
  | { kind: "fault"; error: PlainError; rejected?: boolean }
  | { kind: "ask"; id: number; verb: string; argument: unknown };

/** The value of `done` for each kind of request. */
export interface Answers {
  /** Whether a queue that is now bound was not bound before, if the transport knows that. */
  subscribe: boolean | void;
  unsubscribe: undefined;
  unbind: undefined;
  receive: Delivery[];
  start: boolean[];
  settle: boolean[];
  ask: unknown;
  close: Ended;
}

/** The outcome for the items that a receiver had when it closed. */
export interface Ended {
  /** The number of leased items that went back to their queues. */
  readonly returned: number;
  /** The number of items that may have been taken, but have not reached a get. */
  readonly uncertain: number;
}
