/**
 * Durable subscriptions: a group's queue stores the events of a topic, and the members of the group consume it.
 *
 * @module
 */
import type { Decoded } from "../codec/codec.ts";
import type { Core } from "../core.ts";
import { isUnavailable, UnsupportedError } from "../errors.ts";
import { OptionChecks } from "../internal/arguments.ts";
import { backoff, pause, RETRY } from "../internal/time.ts";
import type { Stream } from "../port/streams.ts";
import { glob } from "../provider/glob.ts";
import type { Filter } from "../provider/provider.ts";
import { DEAD, groupQueue } from "../provider/queue_names.ts";
import { consume, type Consumer } from "../queue/consumer.ts";
import { Deliveries } from "../queue/deliveries.ts";
import type { Held } from "../queue/lease.ts";
import { acceptEvent } from "./accept.ts";
import type { Subscriber } from "./handler_queue.ts";
import type { Message, SubscribeOptions } from "./topic.ts";

/** An item of a group's queue: an accepted event, and the type tag of its body. */
interface Item {
  readonly event: unknown;
  readonly type: string | undefined;
}

/** A member of a group. It consumes the stored events from the moment when it is created. */
export class GroupMember {
  /** Resolves when the transport stores the events of the topic for the group. */
  readonly ready: Promise<void>;
  /** Resolves when the member has ended. */
  readonly closed: Promise<void>;
  #core: Core;
  #filter: Filter;
  #queue: string;
  #deadLetter: string | undefined;
  #binding: Stream;
  #consumer: Consumer;

  /**
   * Joins a group.
   *
   * @throws {ValidationError} when an option is invalid
   * @throws {UnsupportedError} when the transport has no groups
   */
  constructor(core: Core, group: string, subscriber: Subscriber, options: SubscribeOptions) {
    const { topic, pattern, concurrency } = subscriber;
    if (!core.features.groups) {
      throw new UnsupportedError(`Cannot subscribe to "${topic}" with a group: the transport stores no events`);
    }
    this.#core = core;
    this.#filter = { topic, pattern, serves: false };
    this.#queue = groupQueue(topic, group);
    const { lease, maxAttempts, backoff, handlerTimeout, signal } = options;
    this.#deadLetter = options.deadLetter;
    const matches = pattern ? glob(topic) : (name: string) => name === topic;
    const deliveries = new Deliveries(this.#queue, undefined, core, this.#deadLetter, {
      accept: async ({ value, type }: Decoded): Promise<Item> => ({
        event: await acceptEvent(core, subscriber, value),
        type,
      }),
      eventOf: (item) => (item as Item).event,
      skips: (topic) => topic !== undefined && !matches(topic),
    });
    const handle = ({ event, type }: Item, held: Held<Item>) => subscriber.handler(event as never, message(held, type));
    const message = (held: Held<Item>, type: string | undefined): Message => ({
      topic: held.topic ?? topic,
      ...type !== undefined && { type },
      headers: held.headers,
      attempt: held.attempt,
      get signal() {
        return held.signal;
      },
    });
    this.#consumer = consume<Item>(deliveries, core.closing, handle, {
      concurrency,
      lease,
      maxAttempts,
      backoff,
      handlerTimeout,
      signal,
    }, new OptionChecks("subscribe", " to", topic));
    this.#binding = core.link.bind(this.#filter, this.#queue, (reason, lost) => core.gap({ topic, reason, lost }));
    this.ready = this.#binding.ready;
    this.ready.catch(() => this.close()); // the subscription has failed
    this.closed = this.#consumer.closed.then(() => this.#binding.close()).then(() => {
      subscriber.ended?.();
    });
  }

  /** Leaves the group. The group stays, and stores events for its other members, and for those that come later. */
  async close(): Promise<void> {
    await this.#consumer.close();
    await this.#binding.close();
  }

  /** Ends the group: its binding, the events that it has stored, and its dead letters, unless they are in a queue that the user named. */
  async free(): Promise<void> {
    const { link, sender } = this.#core;
    await this.close();
    await this.#persist(() => link.unbind(this.#filter, this.#queue));
    await this.#persist(() => sender.drop(this.#queue));
    if (this.#deadLetter === undefined) await this.#persist(() => sender.drop(this.#queue + DEAD));
  }

  /** Runs an operation that is safe to repeat, and repeats it while the transport is unreachable, at most for `sendTimeout`. */
  async #persist(act: () => Promise<void>): Promise<void> {
    const { closing, sendTimeout } = this.#core;
    const end = performance.now() + sendTimeout;
    for (let failures = 1;; failures++) {
      try {
        return await act();
      } catch (error) {
        if (!isUnavailable(error)) throw error;
        const wait = backoff(RETRY.restore, failures);
        if (closing.aborted || performance.now() + wait >= end) throw error;
        await pause(wait, closing);
      }
    }
  }
}
