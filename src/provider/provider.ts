/**
 * The seam: what a transport implements so that a bus can run over it. This file contains only types.
 *
 * A provider is data and two halves. The {@linkcode Sender} lives on the user's thread, the {@linkcode Receiver} in a worker. A half does
 * each operation once and reports the outcome. It never retries, counts references, reads a body, or knows about calls, handlers and
 * schemas: the core does that for all providers. Seventeen members are required; everything else is a named part.
 *
 * Rules for both halves
 * - Bodies are opaque strings of well-formed Unicode, and white space at their end must stay. Names are any non-empty strings. Escape
 *   characters that the transport does not accept.
 * - A promise resolves when the transport has accepted the operation. Every promise settles: if the transport never answers, the half
 *   rejects with a `ProviderError` "unavailable". An operation with an unknown outcome rejects and is never repeated.
 * - Errors are those of `errors.ts`. Each provider has one table from the transport's errors to these.
 * - Members may be called at any time after opening, concurrently, until `close`. After `close` the half has left nothing behind: no timer,
 *   socket, file or key. `close` may be called twice.
 *
 * @module
 */

import type { AdminOpener, BusOrigin } from "./admin.ts";
import type {
  AnswerInbox,
  AskHandler,
  Binder,
  QueueInspector,
  QueuePeeker,
  ReplyQueues,
  TopicFilter,
  Waker,
} from "./parts.ts";

export type * from "./admin.ts";
export type * from "./parts.ts";

/** The capabilities of a transport. The conformance kit checks each claim. */
export interface Features {
  /** `publish` resolves with the number of transport subscriptions that it reached; otherwise with `undefined`. */
  readonly counts: boolean;
  /** Events of one publisher on one topic arrive in the order in which they were published. */
  readonly ordered: boolean;
  /** Queued items outlive every bus (and the provider's own worker). */
  readonly durable: boolean;
  /** Other processes reach the same topics, queues and functions. */
  readonly shared: boolean;
  /** The number of items that a queue holds before it is full. `Infinity` if it is never full. */
  readonly capacity: number;
  /** The largest body in bytes of UTF-8. `Infinity` if only memory limits it. */
  readonly maxBody: number;
  /** `size` is exact rather than approximate. */
  readonly exactSize: boolean;
  /** `attempt` counts only recorded starts. Otherwise it may be larger, so an item is dead-lettered only after a handler has received it. */
  readonly exactAttempts: boolean;
  /** The longest `delay` of a nack in milliseconds. */
  readonly maxDelay: number;
  /** The longest `delay` of a send in milliseconds. 0 if the transport cannot delay an item. One queue may have a shorter limit. */
  readonly maxPutDelay: number;
  /** Whether the sender has {@linkcode QueuePeeker}. */
  readonly peek: boolean;
  /** Whether the receiver has a {@linkcode Binder}, so that subscriptions can have groups. */
  readonly groups: boolean;
  /** Milliseconds until an operation is visible to all buses. The kit waits this long before it checks the result. */
  readonly latency: number;
}

/** A transport: a plain object that a factory such as `redis({ url })` creates. */
export interface Provider {
  /** Short name: `"redis"`. */
  readonly name: string;
  /** The capabilities of the transport. */
  readonly features: Features;
  /** The module of the worker, which calls `serve(openReceiver)` of `@tsmq/tsmq/worker`. */
  readonly worker: URL;
  /**
   * The options that the receiver is opened with. They are posted to the worker, so they must be cloneable: no functions. A console or a
   * logger may print them, so they must contain no secrets: the receiver asks for those (`context.ask`).
   */
  readonly options: unknown;
  /**
   * Whether a bus shares its worker with the other buses of its thread whose provider has the same `worker`, whatever their options. Default:
   * true. False for a receiver that blocks its thread.
   */
  readonly sharedWorker?: boolean;
  /**
   * Opens the sending half. Before it loads a large client library, which keeps the thread busy, it awaits a timer, so that the core can
   * first greet a worker that already listens.
   *
   * @throws {UnsupportedError} when the platform lacks the transport
   * @throws {ProviderError} "unavailable" or "denied" when the transport cannot be reached within `context.connectTimeout`
   */
  open(context: SenderContext): Promise<Sender>;
  /** Optional part that answers the questions of the receiver (`context.ask`), for example for credentials that a function returns. */
  readonly askHandler?: AskHandler;
  /** Optional part that lists what a namespace contains, for the command line and the dashboard. */
  readonly admin?: AdminOpener;
}

/** The functions and settings that the core passes to {@linkcode Provider.open}. */
export interface SenderContext {
  /** The namespace of the bus. */
  readonly namespace: string;
  /** Milliseconds that opening may take. */
  readonly connectTimeout: number;
  /** Milliseconds that any one send may take before it rejects with "unavailable". */
  readonly sendTimeout: number;
  /** The largest body in bytes that the core decodes. A peek need not read much larger ones. */
  readonly maxReceive: number;
  /** Aborts when the bus is closed before it is open. A half that is still opening then releases everything and rejects. */
  readonly signal?: AbortSignal;
  /** Asks the receiver of this bus; its `askHandler` answers. Rejects when the worker dies. Transports that live in the worker use it. */
  ask(verb: string, argument: unknown): Promise<unknown>;
  /** Reports that the connection was lost (with the reason) or restored. While it is lost, it may be called again with a newer reason. */
  state(connected: boolean, error?: unknown): void;
}

/** The sending half, on the user's thread. It must not block that thread. */
export interface Sender {
  /**
   * Publishes an event to all subscriptions whose filter matches the topic. Resolves with the number of matching transport
   * subscriptions if `Features.counts` is true, otherwise with `undefined`.
   */
  publish(topic: string, body: string): Promise<number | undefined>;
  /**
   * Delivers a message to the receiver that has this inbox address. Resolves with true when the receiver gets it, with false when the
   * receiver is gone, and with `undefined` if the transport cannot tell. The address may come from a request or a
   * registration that a hostile peer wrote: if it is not the address of an inbox of this namespace, the half sends nothing and resolves
   * with false.
   */
  post(inbox: string, body: string): Promise<boolean | undefined>;
  /**
   * Lists the receivers that are registered as servers of this topic: those that have subscribed to it with `Filter.serves` and still live.
   * With `Features.counts`, a list that is requested in the same turn after a `publish` contains no server that had ended before the
   * event reached it, and each server that the event has reached, unless that server has unregistered itself.
   */
  servers(topic: string, options?: ServersOptions): Promise<RegisteredServer[]>;
  /**
   * Puts one item at the end of a queue.
   *
   * @throws {QueueFullError} when there was no room within `wait` ms (0: it does not wait)
   * @throws `signal.reason` when the signal aborts first; then nothing was put
   */
  send(queue: string, body: string, options: SendOptions): Promise<void>;
  /** Returns the number of items that wait in the queue, without leased and delayed items. 0 for a queue that does not exist. */
  size(queue: string): Promise<number>;
  /** Removes the queue with its items and leases. Removing a queue that does not exist does nothing. */
  drop(queue: string): Promise<void>;
  /** Optional part for a receiver that sleeps outside its event loop. */
  readonly waker?: Waker;
  /** Optional part for a transport that can also count leased and delayed items. */
  readonly inspector?: QueueInspector;
  /** Optional part for a transport that can show items without delivering them. */
  readonly peeker?: QueuePeeker;
  /** Optional part for a transport that can also receive answers on the user's thread. */
  readonly answerInbox?: AnswerInbox;
  /**
   * The largest number of characters of a message that the core joins from the messages of one turn to one inbox. Default: 0, for a transport
   * on which a long message costs as much as several short ones.
   */
  readonly maxJoined?: number;
  /** Optional part for a transport that PyMQ supports too. */
  readonly replies?: ReplyQueues;
  /**
   * Closes the half. Sends that are still pending may be dropped, because the core has waited for them. The receiver has already closed, or
   * was aborted or terminated; in these cases, this half removes everything that only this process can remove. Work that has not ended after
   * `within` ms is aborted. Without `within`, the half chooses a deadline of some seconds.
   */
  close(within?: number): Promise<void>;
}

/** Options of {@linkcode Sender.servers}. */
export interface ServersOptions {
  /** The largest number of servers to return. If more are registered, each call returns a different sample. Default: all. */
  readonly max?: number;
  /**
   * Whether to check also which servers listen now. That may cost a second request, so the core asks for it only when a registered server
   * may be dead or reconnecting, not for each call. Default: false.
   */
  readonly listening?: boolean;
}

/** A receiver that is registered as a server of a topic. */
export interface RegisteredServer {
  /** The server's address for {@linkcode Sender.post}. */
  readonly inbox: string;
  /**
   * Whether the server listens now: false if it has died or is reconnecting. Absent without `listening`, or if the transport cannot tell.
   */
  readonly listening?: boolean;
}

/** Options of {@linkcode Sender.send}. */
export interface SendOptions {
  /** Milliseconds to wait for room; `Infinity`: without limit. */
  readonly wait: number;
  /** A signal that ends the wait for room. */
  readonly signal?: AbortSignal;
  /** Milliseconds before the item can be received, at most `Features.maxPutDelay`. It then precedes the items that wait. Default 0. */
  readonly delay?: number;
}

/** The topics that a subscription receives events of. */
export interface Filter extends TopicFilter {
  /**
   * Whether to register this receiver's inbox as a server of the topic, before the subscription is confirmed. It is never true with
   * `pattern`.
   */
  readonly serves: boolean;
}

/** Passes one event to the core: its concrete topic and its body. The call is synchronous and cheap, and never throws. */
export type Emit = (topic: string, body: string) => void;

/** The functions and settings that the core passes to the receiver's factory in the worker. */
export interface ReceiverContext {
  /** The namespace of the bus. */
  readonly namespace: string;
  /** A clone of {@linkcode Provider.options}. */
  readonly options: unknown;
  /** The program and machine that opened the bus, and the time, for `Admin.buses`. */
  readonly origin: BusOrigin;
  /** Milliseconds that opening may take. */
  readonly connectTimeout: number;
  /**
   * The largest body in bytes that the core decodes (the option `maxReceive` of the bus). A transport that keeps bodies in files need not
   * read files that are much larger.
   */
  readonly maxReceive: number;
  /** Passes a message that was posted to this receiver's inbox to the core. The call is synchronous and cheap, and never throws. */
  inbox(body: string): void;
  /**
   * Reports that the connection was lost (with the reason), or that it is restored, with all subscriptions and registrations. While it is
   * lost, it may be called again with a newer reason.
   */
  state(connected: boolean, error?: unknown): void;
  /**
   * Reports that events may have been lost, and why. The receiver calls it when the subscription is live again, before it emits the
   * first event after the gap. Without a filter, all subscriptions have the gap.
   *
   * @param filter the object that `subscribe` was given
   */
  gap(reason: string, filter?: Filter): void;
  /**
   * Reports a fault that belongs to no call, such as a failed renewal. The receiver continues. `rejected` is true if a message caused it:
   * such reports have a limit, because a peer can send many.
   */
  fault(error: unknown, rejected?: boolean): void;
  /** True while main is far behind. A transport that keeps unread events then stops reading them; other transports continue to read. */
  readonly congested: boolean;
  /** The number of batches of frames that have arrived from main. After {@linkcode Waker.wake}, a sleeping receiver turns its event loop until it grows. */
  readonly arrived: number;
  /**
   * The time when the core's next timer in this worker is due, in milliseconds of `performance.now()`. A sleeping receiver turns its event
   * loop then.
   */
  readonly due: number;
  /** Called each time `congested` ends. */
  onDrain?: () => void;
  /** Asks the provider on main; its `askHandler` answers. */
  ask(verb: string, argument: unknown): Promise<unknown>;
}

/** Opens the receiving half. It is the argument of `serve` in a worker entry. It rejects with the errors of {@linkcode Provider.open}. */
export type OpenReceiver = (context: ReceiverContext) => Promise<Receiver>;

/** One item taken from a queue. */
export interface Delivery {
  /**
   * Identifies the lease for `start`, `settle` and `extend`. It is empty for an item without a lease, and invalid after the lease has
   * ended.
   */
  readonly receipt: string;
  /** The body of the item, unchanged. */
  readonly body: string;
  /** The number of the attempt that begins if a handler starts now: one more than the recorded starts. */
  readonly attempt: number;
  /** The previous lease expired: the item may have killed its process. The core awaits `start` before the handler runs. */
  readonly unconfirmed?: boolean;
  /** The topic of an event that was stored for a bound pattern. Optional if the queue is bound to one topic. Absent for other items. */
  readonly topic?: string;
}

/** Options of {@linkcode Receiver.receive}. */
export interface ReceiveOptions {
  /** The largest number of items to return, at least 1. */
  readonly max: number;
  /** Milliseconds to wait for the first item. With 0 it asks the transport once. It may return no items earlier; then the core calls it again. */
  readonly wait: number;
  /** Milliseconds of the lease. Without a lease, items are removed immediately, so they are lost if the process dies. */
  readonly lease?: number;
  /** A signal that ends the wait: the half resolves soon, with the items that it has already taken, and loses none. */
  readonly signal: AbortSignal;
}

/**
 * The outcome of a lease. "ack" removes the item. "nack" gives it back after an attempt: the next delivery has `attempt` + 1, whether `start`
 * has arrived or not. "untried" gives it back as if it had never been received: the next delivery has the same `attempt` (and
 * `unconfirmed`), even if a start was recorded meanwhile. Items that are given back go to the head of the queue.
 */
export type Outcome = "ack" | "nack" | "untried";

/** The receiving half, in the worker. After a broken connection it reconnects, subscribes and registers again by itself. */
export interface Receiver {
  /** This receiver's address for {@linkcode Sender.post}: unique, valid until `close`, and either unguessable or protected by its owner. */
  readonly inbox: string;
  /**
   * Subscribes, and registers the inbox as a server if the filter says so. Resolves when the transport has both. If it rejects, it has
   * removed everything that it created. The core subscribes each filter at most once at a time.
   */
  subscribe(filter: Filter, emit: Emit): Promise<void>;
  /**
   * Ends a subscription and its registration. Nothing is emitted after it has resolved, except for a filter that `serves`: the requests
   * that were published before are emitted, and the core refuses them, so that no caller waits for them. An unknown filter is ignored.
   */
  unsubscribe(filter: Filter): Promise<void>;
  /**
   * Receives up to `max` items, oldest first, as soon as there is one. The core makes one call at a time for each pair of a queue and a
   * `lease`.
   */
  receive(queue: string, options: ReceiveOptions): Promise<Delivery[]>;
  /** Puts items that were received without a lease back to the head of the queue, in their order. Leased items are given back by `settle`. */
  restore(queue: string, deliveries: readonly Delivery[]): Promise<void>;
  /**
   * Records that the handlers of these leases start: only this counts an attempt, receiving does not. Resolves with true for each lease
   * that was still valid. It may be called after the lease was settled. It may be called again for a lease, which counts no further
   * attempt: so the core checks that the lease of a failed item is valid before it puts a dead letter. A transport that cannot record
   * starts only returns whether the leases are valid.
   */
  start(queue: string, receipts: readonly string[]): Promise<boolean[]>;
  /** Ends leases. Items that are given back can be received again after `delay` ms. Resolves with true for each lease that was still valid. */
  settle(queue: string, receipts: readonly string[], outcome: Outcome, delay: number): Promise<boolean[]>;
  /** Extends leases to `lease` ms from now. Resolves with true for each lease that was still valid. */
  extend(queue: string, receipts: readonly string[], lease: number): Promise<boolean[]>;
  /** Optional part for a transport that can store events in queues. */
  readonly binder?: Binder;
  /** Optional part that answers the questions of the sender (`context.ask`). */
  readonly askHandler?: AskHandler;
  /**
   * Closes the half: ends subscriptions, registrations, the inbox and connections, and gives back items that it holds. The core has settled
   * the leases. Resolves with the largest number of items that requests without a reply may have received without a lease, if the
   * transport has such requests. A second call does nothing.
   */
  close(): Promise<number | void>;
  /**
   * Ends the half immediately, without the transport: it destroys sockets and timers, drops its leases so that they expire, and rejects what
   * is pending. Nothing is emitted or reported after it. The core calls it at the end of a forced close, also while `close` is running or has
   * failed. Other receivers of the worker are not affected.
   */
  abort(): void;
}
