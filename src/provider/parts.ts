/**
 * The optional parts of a provider and of its halves: operations that only some transports support or need. This file contains only types.
 *
 * @module
 */

/** The part of a half that answers questions of the other half, which calls `context.ask`. */
export interface AskHandler {
  /** Returns the answer. If it throws or rejects, `context.ask` of the other half rejects with the same error. */
  answer(verb: string, argument: unknown): unknown | Promise<unknown>;
}

/** A topic or a glob: the events that a subscription receives or a queue stores. */
export interface TopicFilter {
  /** A topic, or a glob as Redis matches it. */
  readonly topic: string;
  /** Whether `topic` is a glob. */
  readonly pattern: boolean;
}

/**
 * The part of a receiver that stores the events of topics in queues, for groups. A binding does not belong to the receiver: it stays when
 * the receiver closes or dies, until `unbind`. It is as durable as the items of the queue.
 */
export interface Binder {
  /**
   * Binds a queue to a topic or a pattern. After it has resolved, each matching event, whichever bus publishes it, is put at the end of the
   * queue before its `publish` resolves. If the queue is full, the event is put nevertheless, or `publish` waits for room. The transport
   * may also store events that do not match: the core acknowledges those, by `Delivery.topic`. Binding again does nothing. The core repeats
   * it when it rejects "unavailable", after each lost connection, when the receiver reports that it is connected, and in each new worker. It
   * changes the bindings of one queue one after another. It may resolve with true if the queue was not bound: if it had been, the transport
   * has lost the binding, and the core reports a gap.
   */
  bind(filter: TopicFilter, queue: string): Promise<boolean | void>;
  /**
   * Ends a binding. When it resolves, no publisher puts further events into the queue, except those whose publish began earlier. An
   * unknown binding is ignored. The queue and its items stay.
   */
  unbind(filter: TopicFilter, queue: string): Promise<void>;
}

/** The part of a sender that counts the items of a queue by their states. A queue that does not exist has no items. */
export interface QueueInspector {
  /** Counts the items. A count is absent if the transport does not know it. */
  stats(queue: string): Promise<QueueStats>;
}

/** The part of a sender that shows waiting items. */
export interface QueuePeeker {
  /**
   * Returns up to `limit` waiting items after the first `offset` ones, in the order in which they will be received. They stay in the queue.
   * If they have more than 16 MiB, it may return fewer, but at least one, so that they fit into memory.
   */
  peek(queue: string, offset: number, limit: number): Promise<WaitingItem[]>;
}

/** An item that waits in a queue. */
export interface WaitingItem {
  /** The body of the item, unchanged. */
  readonly body: string;
  /** The attempt of the next delivery, as in `Delivery`. */
  readonly attempt: number;
  /** The topic of an event that was stored for a bound pattern, as in `Delivery`. */
  readonly topic?: string;
}

/** The numbers of items of a queue. */
export interface QueueStats {
  /** The items that can be received now. */
  readonly waiting?: number;
  /** The items that are leased. */
  readonly leased?: number;
  /** The items whose delay has not passed. */
  readonly delayed?: number;
}

/**
 * The part of a sender that receives the answers of this bus's calls, on the user's thread. It is for transports on which a message arrives
 * earlier there than through the worker. It may lose messages, because calls ask again for lost answers.
 */
export interface AnswerInbox {
  /**
   * Opens an inbox. Resolves with its address once messages that are posted to it arrive. The address stays valid until the half is closed:
   * after a lost connection the half restores it, and reports both with `SenderContext.state`. `receive` is called with each message; it
   * never throws. The core opens one inbox when a call first needs it. If this rejects, the core tries again at a later call, and until then
   * answers come to the receiver's inbox.
   */
  open(receive: (body: string) => void): Promise<string>;
}

/** The part of a sender that wakes a receiver which sleeps outside its event loop, in a blocking call to the transport. */
export interface Waker {
  /**
   * Wakes the receiver with this inbox address. The core calls it when both halves are open and after each batch of frames that main
   * posted to the worker. A new worker has another address. The receiver then runs its event loop until
   * `ReceiverContext.arrived` has grown.
   */
  wake(inbox: string): void;
}

/**
 * The part of a sender that PyMQ's calls need. In PyMQ, a caller creates an answer queue for each call, the server puts one answer into it,
 * and servers are not registered.
 */
export interface ReplyQueues {
  /**
   * Whether a late answer creates its queue again after the caller has removed it with `drop`. If so, the core reads late answers for a
   * while.
   */
  readonly lingers: boolean;
  /** Creates an answer queue, if servers drop their answer when the queue does not exist. The core removes it with `drop`. */
  open(queue: string): Promise<void>;
  /** Puts an answer into the caller's queue. The answer expires if the caller does not take it. */
  put(queue: string, body: string): Promise<void>;
  /**
   * Returns how many receivers subscribe to exactly this topic, tsmq's servers among them; `undefined` if the transport cannot tell. After
   * a `publish` in the same turn, it is the number of those that the event reaches.
   */
  candidates(topic: string): Promise<number | undefined>;
  /**
   * Immediately registers the receiver of this bus as a server of the topic again. The core calls it when its registration was lost or has
   * expired: a caller found no registered server, but reached this one by publishing.
   */
  register(topic: string, inbox: string): Promise<void>;
}
