/**
 * The seam: what a transport must be so that the bus runs over it. Types and prose only.
 *
 * A provider is data plus two halves. The {@linkcode Sender} lives on the thread of the user, the
 * {@linkcode Receiver} in a worker of the provider's own. A half does what its transport can do, once, and tells
 * the truth about it. It never retries, counts references, reads a body, or knows of calls, handlers and schemas:
 * that is the core's work, done once for all providers.
 *
 * Rules for both halves
 * - Bodies are opaque strings of well-formed Unicode, white space at their end included; names are any non-empty string. Escape where the transport is narrow.
 * - A promise resolves when the transport has it. Every promise ends: what the transport leaves hanging, the half ends
 *   with a `ProviderError` "unavailable". What may or may not have been sent rejects; it is never sent again.
 * - Errors are those of `errors.ts`, mapped from the transport's by one table a provider.
 * - Verbs may be called at any time after opening and overlap freely, until `close`, after which nothing of the half is left:
 *   no timer, socket, file, key. `close` may be called twice.
 *
 * @module
 */

/** What a transport can and cannot do. The conformance kit checks each claim. */
export interface Features {
  /** `publish` resolves with the number of transport subscriptions that it reached; otherwise with `undefined`. */
  readonly counts: boolean;
  /** Events of one publisher on one topic arrive in the order in which they were published. */
  readonly ordered: boolean;
  /** Queued items outlive every bus (and the provider's own worker). */
  readonly durable: boolean;
  /** Other processes reach the same topics, queues and functions. */
  readonly shared: boolean;
  /** Items a queue holds before it is full; `Infinity` where it never is. */
  readonly capacity: number;
  /** The largest body in bytes of UTF-8; `Infinity` where only memory limits it. */
  readonly maxBody: number;
  /** `size` is exact rather than approximate. */
  readonly exactSize: boolean;
  /** `attempt` counts recorded starts and nothing else. Otherwise it may be larger: then no item is dead-lettered before a handler has had it. */
  readonly exactAttempts: boolean;
  /** The longest `delay` of a nack in milliseconds. */
  readonly maxDelay: number;
  /** Milliseconds within which what was sent is to be seen by all; the kit waits this long before it judges. */
  readonly latency: number;
}

/** A transport, made by a factory such as `redis({ url })`. A plain object. */
export interface Provider {
  /** Short name: `"redis"`. */
  readonly name: string;
  /** What the transport can do. */
  readonly features: Features;
  /** The module of the worker, which calls `serve(openReceiver)` of `@tsmq/tsmq/worker`. */
  readonly worker: URL;
  /** The options that the receiver is opened with. They are posted to the worker, so they must be cloneable: no functions. */
  readonly options: unknown;
  /** All buses opened with this very value share one worker, as the in-memory broker needs. Default: false. */
  readonly sharedWorker?: boolean;
  /**
   * Opens the sending half.
   *
   * @throws {UnsupportedError} when the platform lacks the transport
   * @throws {ProviderError} "unavailable" or "denied" when the transport cannot be reached within `context.connectTimeout`
   */
  open(context: SenderContext): Promise<Sender>;
  /** Part: answers what the receiver asks main with `context.ask`, such as for credentials that a function gets. */
  readonly askHandler?: AskHandler;
}

/** The part of a half that answers what the other half asks with `context.ask`. */
export interface AskHandler {
  /** Returns the answer. What it throws or rejects with, the asking half's `context.ask` rejects with. */
  answer(verb: string, argument: unknown): unknown | Promise<unknown>;
}

/** What the core gives to {@linkcode Provider.open}. */
export interface SenderContext {
  /** The namespace of the bus. */
  readonly namespace: string;
  /** Milliseconds that opening may take. */
  readonly connectTimeout: number;
  /** Milliseconds that any one send may take before it rejects with "unavailable". */
  readonly sendTimeout: number;
  /** Asks the receiver of this bus; its `askHandler` answers. Rejects when the worker dies. For transports that live in the worker. */
  ask(verb: string, argument: unknown): Promise<unknown>;
  /** Reports that the connection went down (with the reason) or came back. */
  state(connected: boolean, error?: unknown): void;
}

/** The sending half, on the user's thread. It must not block that thread. */
export interface Sender {
  /**
   * Publishes an event to all subscriptions whose filter matches the topic. Resolves with how many transport subscriptions matched
   * (`Features.counts`), else with `undefined`.
   */
  publish(topic: string, body: string): Promise<number | undefined>;
  /**
   * Delivers a message to the receiver that has this inbox address. Resolves with true when the receiver gets it, with false when the
   * receiver is gone, and with `undefined` where the transport cannot tell.
   */
  post(inbox: string, body: string): Promise<boolean | undefined>;
  /** Lists the receivers that are registered as servers of this topic: those that subscribed to it with `Filter.serves` and still live. */
  servers(topic: string, options?: ServersOptions): Promise<RegisteredServer[]>;
  /**
   * Puts one item at the end of a queue.
   *
   * @throws {QueueFullError} when there was no room within `wait` ms (0: it does not wait)
   * @throws `signal.reason` when the signal aborts first; then nothing was put
   */
  send(queue: string, body: string, options: SendOptions): Promise<void>;
  /** Returns how many items wait in the queue; leased items do not wait. 0 for a queue that does not exist. */
  size(queue: string): Promise<number>;
  /** Removes the queue with its items and leases. Removing a queue that does not exist does nothing. */
  drop(queue: string): Promise<void>;
  /** Part: for receivers that sleep outside their event loop. */
  readonly waker?: Waker;
  /** Part: for transports that PyMQ speaks too. */
  readonly replies?: ReplyQueues;
  /**
   * Closes the half. The core has awaited the pending sends, or gives them up: those that are left may be dropped. The receiver has ended
   * before, by its `close` or by force; in the second case this removes what only this process can remove. What has not ended after
   * `within` ms is cut off; with 0 it is cut off immediately. Without `within`, the half chooses a deadline of some seconds.
   */
  close(within?: number): Promise<void>;
}

/** Options of {@linkcode Sender.servers}. */
export interface ServersOptions {
  /** The most servers to return. Where more are registered, each call returns a different sample. Default: all. */
  readonly max?: number;
  /**
   * Asks also whether each server listens now. That may cost a second request, so the core asks for it only when a registered server
   * may be dead or reconnecting, not for each call. Default: false.
   */
  readonly listening?: boolean;
}

/** A receiver that is registered as a server of a topic. */
export interface RegisteredServer {
  /** Its address for {@linkcode Sender.post}. */
  readonly inbox: string;
  /** Whether it listens now: false for one that has died or is reconnecting. Absent where nobody asked or the transport cannot tell. */
  readonly listening?: boolean;
}

/** Options of {@linkcode Sender.send}. */
export interface SendOptions {
  /** Milliseconds to wait for room; `Infinity`: without limit. */
  readonly wait: number;
  /** Gives up waiting for room. */
  readonly signal?: AbortSignal;
}

/** The part of a sender that wakes a receiver which sleeps outside its event loop, in a blocking call to the transport. */
export interface Waker {
  /**
   * Wakes the receiver with this inbox address. The core calls it when both halves are open and after each batch of frames that main
   * posted to the worker. The address is another one after the worker was replaced. The receiver then turns its event loop until
   * `ReceiverContext.arrived` has grown.
   */
  wake(inbox: string): void;
}

/**
 * The part of a sender that PyMQ's calls need. In PyMQ a caller makes an answer queue for each call, the server puts one answer into it,
 * and no registry knows the servers.
 */
export interface ReplyQueues {
  /** A late answer makes a queue again that the caller has removed with `drop`: the core fetches late answers for a while. */
  readonly lingers: boolean;
  /** Makes an answer queue, where a server would drop its answer if the queue did not exist. The core removes it with `drop`. */
  open(queue: string): Promise<void>;
  /** Puts an answer into the caller's queue. It expires by itself when nobody fetches it. */
  put(queue: string, body: string): Promise<void>;
  /** Returns how many receivers subscribe to exactly this topic, tsmq's servers among them; `undefined` where the transport cannot tell. */
  candidates(topic: string): Promise<number | undefined>;
  /**
   * Registers the receiver of this bus as a server of the topic again, at once. The core calls it when a caller found no registered
   * server and reached this one by publishing: the registration was lost, or has expired.
   */
  register(topic: string, inbox: string): Promise<void>;
}

/** What a subscription matches. */
export interface Filter {
  /** A topic, or a glob as Redis matches it. */
  readonly topic: string;
  /** `topic` is a glob. */
  readonly pattern: boolean;
  /** Register this receiver's inbox as a server of the topic, before the subscription is confirmed. Never with `pattern`. */
  readonly serves: boolean;
}

/** Passes one event on: its concrete topic and its body. Synchronous, cheap, never throws. */
export type Emit = (topic: string, body: string) => void;

/** What the core gives to the receiver's factory in the worker. */
export interface ReceiverContext {
  /** The namespace of the bus. */
  readonly namespace: string;
  /** {@linkcode Provider.options}, cloned. */
  readonly options: unknown;
  /** Milliseconds that opening may take. */
  readonly connectTimeout: number;
  /** Passes on what was posted to this receiver's inbox. Synchronous, cheap, never throws. */
  inbox(body: string): void;
  /** Says that the connection went down, or is up again with everything subscribed and registered. */
  state(connected: boolean, error?: unknown): void;
  /**
   * Reports that events may have been missed, and why. The receiver calls it when the subscription is live again, before it emits the
   * first event that comes after the hole. Without a filter all subscriptions have the gap.
   *
   * @param filter the object that `subscribe` was given
   */
  gap(reason: string, filter?: Filter): void;
  /** Reports a fault that belongs to no verb (garbage from the wire, a failed renewal). The receiver lives on. */
  fault(error: unknown): void;
  /** True while main is far behind. A transport that keeps what is not read stops reading events; others read on. */
  readonly congested: boolean;
  /** How many batches of frames have come from main: after a {@linkcode Waker.wake}, the event loop turns until it is there. */
  readonly arrived: number;
  /** When the core's next timer in this worker is due, in milliseconds of `performance.now()`: who sleeps turns the event loop then. */
  readonly due: number;
  /** Called each time `congested` ends. */
  onDrain?: () => void;
  /** Asks the provider on main; its `askHandler` answers. */
  ask(verb: string, argument: unknown): Promise<unknown>;
}

/** Opens the receiving half; the argument of `serve` in a worker entry. Rejects as {@linkcode Provider.open} does. */
export type OpenReceiver = (context: ReceiverContext) => Promise<Receiver>;

/** One item taken from a queue. */
export interface Delivery {
  /** Names the lease to `settle` and `extend`; empty for an item taken without one. */
  readonly receipt: string;
  /** The item. */
  readonly body: string;
  /** One more than the starts that are recorded for this item: the number of the attempt that begins if a handler starts now. */
  readonly attempt: number;
  /** The lease before this one ran out: the item may have killed its holder. The core confirms the start before the handler runs. */
  readonly unconfirmed?: boolean;
}

/** Options of {@linkcode Receiver.receive}. */
export interface ReceiveOptions {
  /** At most so many items, at least 1. */
  readonly max: number;
  /** Milliseconds to wait for the first item; 0: look once, truly. The half may return empty earlier and is then called again. */
  readonly wait: number;
  /** Milliseconds of the lease; without one the items are handed over for good (at most once when the process dies). */
  readonly lease?: number;
  /** Ends the wait: the half resolves soon, with what it has taken already or nothing. Nothing may be lost. */
  readonly signal: AbortSignal;
}

/**
 * What becomes of a leased item. "ack" removes it. "nack" gives it back after an attempt: the next delivery says `attempt` + 1,
 * whether `start` has arrived or not. "untried" gives it back as if it had never been taken: the next delivery says the same
 * `attempt` (and `unconfirmed`), also if a start was recorded meanwhile. Both go to the head of the queue.
 */
export type Outcome = "ack" | "nack" | "untried";

/** The receiving half, in the worker. After a broken connection it reconnects, subscribes and registers again by itself. */
export interface Receiver {
  /** This receiver's address for {@linkcode Sender.post}: unguessable or owned, unique, alive until `close`. */
  readonly inbox: string;
  /** Subscribes, and registers if the filter says so. Each filter is subscribed at most once at a time. */
  subscribe(filter: Filter, emit: Emit): Promise<void>;
  /** Ends a subscription and its registration; nothing is emitted after it resolves. */
  unsubscribe(filter: Filter): Promise<void>;
  /** Takes up to `max` items, oldest first, as soon as there is one. Never more than one call at a time for one queue with one `lease`. */
  receive(queue: string, options: ReceiveOptions): Promise<Delivery[]>;
  /** Puts items that were taken without a lease back to the head, in their order; for leased ones use `settle`. */
  restore(queue: string, deliveries: readonly Delivery[]): Promise<void>;
  /**
   * Records that the handlers of these leases start. True for each whose lease still held. A take itself counts nothing. It may arrive
   * after the lease was settled. Where the transport can record nothing, it answers whether the leases hold.
   */
  start(queue: string, receipts: readonly string[]): Promise<boolean[]>;
  /** Settles leases, after `delay` ms where the items come back. True for each whose lease still held. */
  settle(queue: string, receipts: readonly string[], outcome: Outcome, delay: number): Promise<boolean[]>;
  /** Makes leases last `lease` ms from now. True for each that still held. */
  extend(queue: string, receipts: readonly string[], lease: number): Promise<boolean[]>;
  /** Part: answers what the sender asks with `context.ask`. */
  readonly askHandler?: AskHandler;
  /**
   * Ends subscriptions, registrations, inbox and connections, and gives back what waits. Leases were settled by the core. Resolves with
   * how many items may have been taken without a lease by requests that have had no reply, where the transport has such requests.
   */
  close(): Promise<number | void>;
}
