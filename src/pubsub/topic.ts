/**
 * The public types of pub/sub: topics, subscriptions, messages and handlers.
 *
 * @module
 */
import { type EventClass, nameOf } from "../codec/classes.ts";
import type { MessageHeaders } from "../codec/headers.ts";
import { ValidationError } from "../errors.ts";
import { isForeign, mark } from "../internal/copies.ts";
import { Fifo } from "../internal/fifo.ts";
import { checkName, kindOf, optionNames, refuseUnknown } from "../internal/arguments.ts";
import { checkSchema, type StandardSchemaV1 } from "../codec/schema.ts";

/** Properties of an event, the second argument of its handler. */
export interface Message {
  /** The topic of the event. For a pattern, it is the concrete topic. */
  readonly topic: string;
  /** The type tag of the body, if any: the name of the publisher's class. */
  readonly type?: string;
  /** The headers of the event; empty if it has none. */
  readonly headers: MessageHeaders;
  /** In a group: the number of this attempt, as in {@linkcode Lease.attempt}. */
  readonly attempt?: number;
  /** In a group: aborts when the lease of the event is lost, or its handler has timed out, as in {@linkcode Lease.signal}. */
  readonly signal?: AbortSignal;
}

/** Options of `publish`. */
export interface PublishOptions {
  /** Headers that are sent with the event: at most 8 KiB of names and values. */
  readonly headers?: MessageHeaders;
}

/** The names of the options of `publish`. */
export const PUBLISH = optionNames<PublishOptions>({ headers: true });

/** Handles one event. If it throws or rejects, the bus emits an `"error"` event and continues. In a group, the event is retried. */
export type Handler<T> = (event: T, message: Message) => unknown;

/** Options of `subscribe`. */
export interface SubscribeOptions<S extends StandardSchemaV1 | undefined = StandardSchemaV1 | undefined> {
  /** Whether the target is a glob, as in Redis: `*` (also matches `/`), `?`, `[…]`, `\`. Default false. */
  readonly pattern?: boolean;
  /** A schema that validates each event. The handler receives its output. */
  readonly schema?: S;
  /** The number of handlers of this subscription that may run at the same time. They start in order. Default 1. */
  readonly concurrency?: number;
  /** A signal that ends the subscription when it aborts. If it has aborted already, `subscribe` throws its reason. */
  readonly signal?: AbortSignal;
  /**
   * The name of a group, which makes the subscription durable. The members of a group share its events: each event is handled at least
   * once, even if the group had no member when it was published. The events are items of the queue `<target>@<group>`. A group stores the
   * events that tsmq publishes after `ready` of its first member has resolved, until {@linkcode Subscription.free}.
   */
  readonly group?: string;
  /** With `group`: milliseconds after which an event is redelivered if this process dies, as for {@linkcode Queue.receive}. Default 30,000. */
  readonly lease?: number;
  /** With `group`: the number of attempts after which a failing event goes to the dead-letter queue. Default: unlimited. */
  readonly maxAttempts?: number;
  /**
   * With `group`: milliseconds before the next attempt, as for {@linkcode Queue.consume}. A function that returns `Infinity` prevents the next
   * attempt.
   */
  readonly backoff?: number | ((attempt: number, error: unknown) => number);
  /** With `group`: the name of the dead-letter queue. Default: `<target>@<group>.dead`. */
  readonly deadLetter?: string;
  /** With `group`: milliseconds that a handler may take, as for {@linkcode Queue.consume}. Default: no limit. */
  readonly handlerTimeout?: number;
}

/** The names of the options of {@linkcode Topic.subscribe}. */
const OWN = {
  concurrency: true,
  signal: true,
  group: true,
  lease: true,
  maxAttempts: true,
  backoff: true,
  deadLetter: true,
  handlerTimeout: true,
} as const;
const TOPIC_SUBSCRIBE = optionNames<Omit<SubscribeOptions, "pattern" | "schema">>(OWN);
/** The names of the options of `subscribe`. */
export const SUBSCRIBE = optionNames<SubscribeOptions>({ ...OWN, pattern: true, schema: true });

/** A running subscription. `await using` ends it. */
export interface Subscription extends AsyncDisposable {
  /** The topic or glob. */
  readonly topic: string;
  /** Whether the target is a glob. */
  readonly pattern: boolean;
  /**
   * Resolves when the transport has the subscription; rejects if the transport refuses it, with the signal's reason, or when it ends. In an
   * outage it waits for the transport, without a time limit. A later `publish` of the same bus waits for it, at most `sendTimeout`.
   */
  readonly ready: Promise<void>;
  /** Resolves when the subscription has ended: by `unsubscribe`, by its signal, or with the bus. */
  readonly closed: Promise<void>;
  /** Ends the subscription. No handler starts after the call; running handlers finish. A group stays, and stores the events. */
  unsubscribe(): Promise<void>;
  /**
   * Ends the subscription and its group for good: the transport stores no more events for it, and its stored events and dead letters are
   * removed. End the other members first. While the transport is unreachable, it tries again for `sendTimeout` of the bus, by default 10 s.
   *
   * @throws {ValidationError} when the subscription has no group
   */
  free(): Promise<void>;
}

/** Options of `topic`. */
export interface TopicOptions<S extends StandardSchemaV1 | undefined = StandardSchemaV1 | undefined> {
  /** Whether the name is a glob, so that the topic can be subscribed to, but not published to. Default false. */
  readonly pattern?: boolean;
  /** A schema that validates events at both ends: `publish` sends its input, handlers receive its output. */
  readonly schema?: S;
}

const TOPIC = optionNames<TopicOptions>({ pattern: true, schema: true });

/** The parts of a bus that a topic uses. */
export interface TopicVerbs {
  /** Publishes an event. */
  publish(event: unknown, target: string | Topic, options?: PublishOptions): Promise<number | undefined>;
  /** Subscribes a handler. */
  subscribe(target: string, handler: Handler<never>, options: SubscribeOptions): Subscription;
}

/**
 * A topic whose events have a type.
 *
 * @example
 * ```ts ignore
 * const prices = bus.topic("prices", { schema: v.object({ symbol: v.string(), price: v.number() }) });
 * await prices.publish({ symbol: "ACME", price: 12 });
 * for await (const { price } of prices) console.log(price);
 * ```
 */
export class Topic<T = unknown, I = T> implements AsyncIterable<T> {
  /** The name or glob. */
  readonly name: string;
  /** Whether the name is a glob. */
  readonly pattern: boolean;
  /** The schema of the topic's events, if any. */
  readonly schema: StandardSchemaV1 | undefined;
  #verbs: TopicVerbs;

  /** Created by `topic` of a bus. */
  constructor(name: string, options: TopicOptions, verbs: TopicVerbs) {
    this.name = checkName("a topic", name);
    const check = refuseUnknown(options, TOPIC, "use topic", "", name);
    this.pattern = options.pattern ?? false;
    this.schema = checkSchema(check, options.schema);
    this.#verbs = verbs;
  }

  /**
   * Publishes an event. Resolves with the number of transport subscriptions it reached, if the transport knows.
   *
   * @throws {ValidationError} when the topic is a pattern, the headers are invalid, or the schema rejects the event
   */
  publish(event: I, options?: PublishOptions): Promise<number | undefined> {
    return this.#verbs.publish(event, this as unknown as Topic, options);
  }

  /** Subscribes a handler to this topic. */
  subscribe(handler: Handler<T>, options: Omit<SubscribeOptions, "pattern" | "schema"> = {}): Subscription {
    refuseUnknown(options, TOPIC_SUBSCRIBE, "subscribe", " to", this.name);
    const { pattern, schema } = this;
    return this.#verbs.subscribe(this.name, handler as Handler<never>, { ...options, pattern, schema });
  }

  /** Iterates over the events from the first `next()` on. The subscription ends with the loop or with the bus. */
  [Symbol.asyncIterator](): AsyncIterator<T, undefined> {
    let ended = false;
    let subscription: Subscription | undefined;
    const events = new Fifo<{ event: T; taken: () => void }>();
    const reads = new Fifo<PromiseWithResolvers<IteratorResult<T, undefined>>>();
    // the handler ends when the loop takes its event, so later events wait for the loop
    const handler = (event: T): Promise<void> | void => {
      const read = reads.shift();
      if (read) return read.resolve({ done: false, value: event });
      return new Promise((taken) => events.push({ event, taken }));
    };
    const subscribe = () => {
      const made = this.subscribe(handler);
      made.closed.then(() => {
        ended = true;
        events.peek()?.taken(); // the loop may still read this event, but its handler need not wait
        for (const read of reads.drain()) read.resolve({ done: true, value: undefined });
      });
      made.ready.catch((error) => reads.drain().forEach((read) => read.reject(error)));
      return made;
    };
    return {
      next: async () => {
        const next = events.shift();
        next?.taken();
        if (next) return { done: false, value: next.event };
        if (ended) return { done: true, value: undefined };
        subscription ??= subscribe();
        const read = Promise.withResolvers<IteratorResult<T, undefined>>();
        reads.push(read);
        return await read.promise;
      },
      return: async () => {
        ended = true;
        for (const { taken } of events.drain()) taken();
        await subscription?.unsubscribe();
        return { done: true, value: undefined };
      },
    };
  }
}

mark("Topic", Topic);

/** Throws a `ValidationError` if a value is a topic of another copy of the package, whose bus this copy does not know. */
export function checkCopy(target: unknown): void {
  if (!isForeign("Topic", Topic, target)) return;
  throw new ValidationError(
    "Cannot use a topic that another copy of tsmq created: create it with this copy, or pass its name",
  );
}

/** Throws a `ValidationError` if the arguments of `subscribe` are swapped. */
export function checkOrder(target: unknown, handler: unknown): void {
  if (typeof target !== "function" || !(typeof handler === "string" || handler instanceof Topic)) return;
  throw new ValidationError('Cannot subscribe: the topic comes first, as in subscribe("orders", handler)');
}

/** A target of `subscribe` and `unsubscribe`: a name, a glob, a topic or an event class. */
export type Target<T = unknown> = string | Topic<T> | EventClass<T>;

/**
 * The type of the events that a handler receives: the output of the schema, or the type of the topic or the class. For a target that is
 * only a name, it is `E`.
 */
export type EventOf<E, T, S> = S extends StandardSchemaV1 ? StandardSchemaV1.InferOutput<S>
  : [T] extends [string] ? E
  : [T] extends [Topic<infer Event, infer _>] ? Event
  : [T] extends [EventClass<infer Event>] ? Event
  : unknown;

/** Returns the topic or glob of a target, and its schema and class. */
export function resolveTarget(
  target: unknown,
): { topic: string; pattern?: boolean; schema?: StandardSchemaV1; type?: EventClass } {
  if (target instanceof Topic) return { topic: target.name, pattern: target.pattern, schema: target.schema };
  if (typeof target === "function") {
    const type = target as EventClass;
    return { topic: checkName("a topic", nameOf(type)), type };
  }
  if (typeof target === "string") return { topic: checkName("a topic", target) };
  checkCopy(target);
  throw new ValidationError(`Cannot use ${kindOf(target)} as a topic: pass its name, a topic or an event class`);
}
