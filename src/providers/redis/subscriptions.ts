/**
 * The subscriptions of a bus. Redis matches channels and patterns; this module finds the subscribers of each match.
 *
 * @module
 */
import { BusError } from "../../errors.ts";
import type { Emit, Filter } from "../../provider/provider.ts";
import type { Client } from "./client.ts";
import type { Names } from "./names.ts";
import { count, type ReplyReader } from "./replies.ts";

interface Entry {
  readonly filter?: Filter;
  readonly emit: Emit;
  /** The subscription was removed, but the server has not confirmed it yet. */
  ending?: true;
}

interface Route {
  readonly topic: string;
  readonly emits: Entry[];
}

/** The subscriptions of one connection, which is replaced when it breaks. */
export class Subscriptions {
  #names: Names;
  #channels = new Map<string, Route>();
  #patterns = new Map<string, Route>();

  /** Creates an empty list of subscriptions of a namespace. */
  constructor(names: Names) {
    this.#names = names;
  }

  /** Adds a channel that the provider itself needs. {@linkcode subscribeAll} subscribes to it. */
  addInternal(channel: string, emit: (body: string) => void): void {
    this.#channels.set(channel, { topic: "", emits: [{ emit: (_, body) => emit(body) }] });
  }

  /** Adds a subscription, and subscribes to its channel or pattern. */
  async add(client: Client, filter: Filter, emit: Emit): Promise<void> {
    const [routes, name] = this.#routesOf(filter);
    const known = routes.get(name);
    const entry: Entry = { filter, emit };
    if (known) known.emits.push(entry);
    else routes.set(name, { topic: filter.topic, emits: [entry] });
    try {
      await client.call(count, filter.pattern ? "psubscribe" : "subscribe", name);
    } catch (error) {
      this.#removeEntry(filter, entry);
      throw error;
    }
  }

  /** Removes a subscription. It emits nothing after the call; but a server emits until Redis has confirmed the end, because it is counted until then. */
  async remove(client: Client, filter: Filter): Promise<void> {
    const [routes, name] = this.#routesOf(filter);
    const emits = routes.get(name)?.emits ?? [];
    const entry = emits.find((each) => each.filter?.serves === filter.serves && !each.ending);
    if (!entry) return;
    entry.ending = true;
    if (!filter.serves) this.#removeEntry(filter, entry);
    try {
      if (emits.some(({ ending }) => !ending)) return;
      await client.call(count, filter.pattern ? "punsubscribe" : "unsubscribe", name);
    } finally {
      this.#removeEntry(filter, entry);
    }
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
    const subscribe = (verb: string, [name, { emits }]: [string, Route]) => {
      // a reader runs in order with the events; a promise would resolve after later events
      const subscribed: ReplyReader<number> = (reply) => {
        const subscriptions = count(reply);
        for (const { filter } of emits) if (filter) onSubscribed(filter);
        return subscriptions;
      };
      return call(subscribed, verb, name).catch((error) => {
        // the connection broke again: the server refused nothing
        if (error instanceof BusError && error.code === "unavailable") throw error;
        onRefused(name, error);
      });
    };
    await Promise.all([
      ...[...this.#channels].map((channel) => subscribe("subscribe", channel)),
      ...[...this.#patterns].map((pattern) => subscribe("psubscribe", pattern)),
    ]);
  }

  /** Emits an event of a channel to its subscribers. */
  message(channel: string, body: string): void {
    const route = this.#channels.get(channel);
    if (route) { for (const { emit } of route.emits) emit(route.topic, body); }
  }

  /** Emits an event that a pattern matched to the subscribers of that pattern. */
  patternMessage(pattern: string, channel: string, body: string): void {
    const route = this.#patterns.get(pattern);
    if (!route) return;
    const topic = this.#names.topic(channel);
    for (const { emit } of route.emits) emit(topic, body);
  }

  #routesOf({ topic, pattern }: Filter): [Map<string, Route>, string] {
    return pattern ? [this.#patterns, this.#names.pattern(topic)] : [this.#channels, this.#names.channel(topic)];
  }

  /** Removes an entry from its route, and the route with its last entry. */
  #removeEntry(filter: Filter, entry: Entry): void {
    const [routes, name] = this.#routesOf(filter);
    const emits = routes.get(name)?.emits ?? [];
    const index = emits.indexOf(entry);
    if (index < 0) return;
    emits.splice(index, 1);
    if (emits.length === 0) routes.delete(name);
  }
}
