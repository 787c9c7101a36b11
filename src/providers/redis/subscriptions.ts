/**
 * The subscriptions of a bus. Redis matches channels and patterns; this module finds the subscribers of each match.
 *
 * @module
 */
import { isUnavailable } from "../../errors.ts";
import type { Emit, Filter } from "../../provider/provider.ts";
import { filterKey, Router } from "../../provider/router.ts";
import type { Client } from "./client.ts";
import type { Names } from "./names.ts";
import { count, type ReplyReader } from "./replies.ts";

/** The filter of the channels that the provider itself needs. */
const INTERNAL: Filter = { topic: "", pattern: false, serves: false };

/** The subscriptions of one connection, which is replaced when it breaks. */
export class Subscriptions {
  #names: Names;
  /** Finds the subscriptions to a channel or a pattern of Redis. */
  #router = new Router();
  /** The functions that end the subscriptions, by the keys of the filters. */
  #ends = new Map<string, () => boolean>();

  /** Creates an empty list of subscriptions of a namespace. */
  constructor(names: Names) {
    this.#names = names;
  }

  /** Adds a channel that the provider itself needs. {@linkcode subscribeAll} subscribes to it. */
  addInternal(channel: string, emit: (body: string) => void): void {
    this.#router.add(INTERNAL, (_, body) => emit(body), channel);
  }

  /** Adds a subscription, and subscribes to its channel or pattern. */
  async add(client: Client, filter: Filter, emit: Emit): Promise<void> {
    const name = this.#nameOf(filter);
    const end = this.#router.add(filter, emit, name);
    this.#ends.set(filterKey(filter), end);
    try {
      await client.call(count, filter.pattern ? "psubscribe" : "subscribe", name);
    } catch (error) {
      if (this.#ends.get(filterKey(filter)) === end) this.#ends.delete(filterKey(filter));
      end();
      throw error;
    }
  }

  /** Removes a subscription. The server receives the command after `before` has settled, if nobody has subscribed again by then. */
  async remove(client: Client, filter: Filter, before?: Promise<void>): Promise<void> {
    const name = this.#nameOf(filter);
    const last = this.#ends.get(filterKey(filter))?.();
    this.#ends.delete(filterKey(filter));
    if (!last) return;
    if (before) {
      await before.catch(() => {}); // `unsubscribe` of the receiver rejects with it
      if (this.#router.has(name)) return;
    }
    await client.call(count, filter.pattern ? "punsubscribe" : "unsubscribe", name);
  }

  /**
   * Subscribes to all channels and patterns on a new connection.
   *
   * @param onSubscribed is called with each filter between the server's confirmation and the first event
   * @param onRefused is called for each channel or pattern that the server refused; it may throw
   */
  async subscribeAll(
    call: Client["call"],
    onSubscribed: (filter: Filter) => void,
    onRefused: (name: string, error: unknown) => void,
  ): Promise<void> {
    const subscribe = (verb: string, [name, filters]: [string, Filter[]]) => {
      // a reader runs in order with the events; a promise would resolve after later events
      const subscribed: ReplyReader<number> = (reply) => {
        const subscriptions = count(reply);
        for (const filter of filters) if (filter !== INTERNAL) onSubscribed(filter);
        return subscriptions;
      };
      return call(subscribed, verb, name).catch((error) => {
        // the connection broke again: the server refused nothing
        if (isUnavailable(error)) throw error;
        onRefused(name, error);
      });
    };
    await Promise.all([
      ...this.#router.filters("topics").map((channel) => subscribe("subscribe", channel)),
      ...this.#router.filters("patterns").map((pattern) => subscribe("psubscribe", pattern)),
    ]);
  }

  /** Emits an event of a channel to its subscribers. */
  message(channel: string, body: string): void {
    this.#router.emitExact(channel, body);
  }

  /** Emits an event that a pattern matched to the subscribers of that pattern. */
  patternMessage(pattern: string, channel: string, body: string): void {
    this.#router.emitPattern(pattern, this.#names.topic(channel), body);
  }

  #nameOf({ topic, pattern }: Filter): string {
    return pattern ? this.#names.pattern(topic) : this.#names.channel(topic);
  }
}
