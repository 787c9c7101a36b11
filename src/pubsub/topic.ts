/**
 * Pub/sub as users hold it: topics, subscriptions, and what handlers are given.
 *
 * @module
 */
import { Codec, type EventClass } from "../codec/codec.ts";
import { ValidationError } from "../errors.ts";
import { Fifo } from "../internal/fifo.ts";
import { checkName, checkSchema } from "../internal/arguments.ts";
import type { StandardSchemaV1 } from "../codec/schema.ts";

/** Properties of an event, the second argument of its handler. */
export interface Message {
  /** The concrete topic, also under a pattern. */
  readonly topic: string;
  /** The type tag of the body, if any: the name of the publisher's class. */
  readonly type?: string;
}

/** Handles one event. What it throws, or rejects with, becomes an `"error"` event of the bus and stops nothing. */
export type Handler<T> = (event: T, message: Message) => unknown;

/** Options of `subscribe`. */
export interface SubscribeOptions<S extends StandardSchemaV1 | undefined = StandardSchemaV1 | undefined> {
  /** The target is a glob, as Redis matches it: `*` (crosses `/`), `?`, `[…]`, `\`. Default false. */
  readonly pattern?: boolean;
  /** Validates each event; its output is what the handler gets. */
  readonly schema?: S;
  /** Handlers that may run at once for this subscription; they start in order. Default 1. */
  readonly concurrency?: number;
  /** Unsubscribes when it aborts. */
  readonly signal?: AbortSignal;
}

/** A subscription; `await using` ends it. */
export interface Subscription extends AsyncDisposable {
  /** The topic or glob. */
  readonly topic: string;
  /** Whether it is a glob. */
  readonly pattern: boolean;
  /** Resolves when the transport has it; rejects when it cannot. A publish of the same process waits for it anyway. */
  readonly ready: Promise<void>;
  /** Resolves when it has ended, by whomever: `unsubscribe`, its signal, the bus. */
  readonly closed: Promise<void>;
  /** Ends it. Nothing is handled after the call, handlers that run go on. */
  unsubscribe(): Promise<void>;
}

/** Options of `topic`. */
export interface TopicOptions<S extends StandardSchemaV1 | undefined = StandardSchemaV1 | undefined> {
  /** The name is a glob: it can be subscribed, not published to. Default false. */
  readonly pattern?: boolean;
  /** Validates at the publisher (its input is what is sent) and at the subscriber (its output is what is handled). */
  readonly schema?: S;
}

/** What a topic needs of its bus. */
export interface TopicVerbs {
  /** Publishes. */
  publish(event: unknown, target: string | Topic): Promise<number | undefined>;
  /** Subscribes. */
  subscribe(target: string, handler: Handler<never>, options: SubscribeOptions): Subscription;
}

/**
 * A topic with its type: what one publishes, what the others handle.
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
  /** The schema of its events, if any. */
  readonly schema: StandardSchemaV1 | undefined;
  #verbs: TopicVerbs;

  /** Made by `topic` of a bus. */
  constructor(name: string, options: TopicOptions, verbs: TopicVerbs) {
    this.name = checkName("a topic", name);
    this.pattern = options.pattern ?? false;
    this.schema = checkSchema(options.schema);
    this.#verbs = verbs;
  }

  /**
   * Publishes an event; resolves with how many transport subscriptions it reached, where the transport knows.
   *
   * @throws {ValidationError} when the topic is a pattern, or the event is not what the schema says
   */
  publish(event: I): Promise<number | undefined> {
    return this.#verbs.publish(event, this as unknown as Topic);
  }

  /** Subscribes a handler. */
  subscribe(handler: Handler<T>, options: Omit<SubscribeOptions, "pattern" | "schema"> = {}): Subscription {
    const { pattern, schema } = this;
    return this.#verbs.subscribe(this.name, handler as Handler<never>, { ...options, pattern, schema });
  }

  /** Iterates over the events from the first `next()` on; leaving the loop, or closing the bus, ends its subscription. */
  [Symbol.asyncIterator](): AsyncIterator<T, undefined> {
    let ended = false;
    let subscription: Subscription | undefined;
    const offers = new Fifo<{ event: T; taken: () => void }>();
    const asks = new Fifo<PromiseWithResolvers<IteratorResult<T, undefined>>>();
    // the handler ends when its event is taken, so that the events behind it wait for the loop
    const handler = (event: T): Promise<void> | void => {
      const ask = asks.shift();
      if (ask) return ask.resolve({ done: false, value: event });
      return new Promise((taken) => offers.push({ event, taken }));
    };
    const subscribe = () => {
      const made = this.subscribe(handler);
      made.closed.then(() => {
        ended = true;
        offers.peek()?.taken(); // the loop may still take it, but nobody waits for that
        for (const ask of asks.drain()) ask.resolve({ done: true, value: undefined });
      });
      made.ready.catch((error) => asks.drain().forEach((ask) => ask.reject(error)));
      return made;
    };
    return {
      next: async () => {
        const offer = offers.shift();
        offer?.taken();
        if (offer) return { done: false, value: offer.event };
        if (ended) return { done: true, value: undefined };
        subscription ??= subscribe();
        const ask = Promise.withResolvers<IteratorResult<T, undefined>>();
        asks.push(ask);
        return await ask.promise;
      },
      return: async () => {
        ended = true;
        for (const { taken } of offers.drain()) taken();
        await subscription?.unsubscribe();
        return { done: true, value: undefined };
      },
    };
  }
}

/** What `subscribe` and `unsubscribe` accept: a name or glob, a topic, an event class. */
export type Target<T = unknown> = string | Topic<T> | EventClass<T>;

/** The topic or glob that a target names, and what the target says about its events. */
export function resolveTarget(
  target: unknown,
): { topic: string; pattern?: boolean; schema?: StandardSchemaV1; type?: EventClass } {
  if (target instanceof Topic) return { topic: target.name, pattern: target.pattern, schema: target.schema };
  if (typeof target === "function") {
    const type = target as EventClass;
    return { topic: checkName("a topic", Codec.nameOf(type)), type };
  }
  if (typeof target === "string") return { topic: checkName("a topic", target) };
  throw new ValidationError("Cannot use a target: it is not a name, a topic or an event class");
}
