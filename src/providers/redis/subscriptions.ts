/**
 * Which channel goes to whom. Redis matches; we look up what it matched.
 *
 * @module
 */
import { BusError } from "../../errors.ts";
import type { Emit, Filter } from "../../provider/provider.ts";
import type { Client } from "./client.ts";
import type { Names } from "./names.ts";
import { count, type Reads } from "./replies.ts";

interface Route {
  readonly topic: string;
  readonly emits: { readonly filter?: Filter; readonly emit: Emit }[];
}

/** The subscriptions of one connection, which is replaced when it breaks. */
export class Subscriptions {
  #names: Names;
  #channels = new Map<string, Route>();
  #patterns = new Map<string, Route>();

  /** The subscriptions of a namespace. */
  constructor(names: Names) {
    this.#names = names;
  }

  /** Listens to a channel that is none of the user's; subscribed by {@linkcode all}. */
  listen(channel: string, emit: (body: string) => void): void {
    this.#channels.set(channel, { topic: "", emits: [{ emit: (_, body) => emit(body) }] });
  }

  /** Subscribes. */
  async add(client: Client, filter: Filter, emit: Emit): Promise<void> {
    const [routes, name] = this.#place(filter);
    const known = routes.get(name);
    if (known) known.emits.push({ filter, emit });
    else routes.set(name, { topic: filter.topic, emits: [{ filter, emit }] });
    try {
      await client.call(count, filter.pattern ? "psubscribe" : "subscribe", name);
    } catch (error) {
      this.#forget(filter);
      throw error;
    }
  }

  /** Ends a subscription: nothing is emitted from now on. */
  async remove(client: Client, filter: Filter): Promise<void> {
    if (!this.#forget(filter)) return;
    await client.call(count, filter.pattern ? "punsubscribe" : "unsubscribe", this.#place(filter)[1]);
  }

  /**
   * Subscribes to all on a new connection.
   *
   * @param live is called with the filters of a channel or pattern between the server's confirmation and the first event
   * @param refused is told of each channel or pattern that the server did not allow; it may throw
   */
  async all(
    call: Client["call"],
    live: (filter: Filter) => void,
    refused: (name: string, error: unknown) => void,
  ): Promise<void> {
    const ask = (verb: string, [name, { emits }]: [string, Route]) => {
      // the reply is read in its place among the events; a promise would come behind some
      const subscribed: Reads<number> = (reply) => {
        const subscriptions = count(reply);
        for (const { filter } of emits) if (filter) live(filter);
        return subscriptions;
      };
      return call(subscribed, verb, name).catch((error) => {
        // broken again: no refusal
        if (error instanceof BusError && error.code === "unavailable") throw error;
        refused(name, error);
      });
    };
    await Promise.all([
      ...[...this.#channels].map((channel) => ask("subscribe", channel)),
      ...[...this.#patterns].map((pattern) => ask("psubscribe", pattern)),
    ]);
  }

  /** Passes on what came on a channel. */
  message(channel: string, body: string): void {
    const route = this.#channels.get(channel);
    if (route) { for (const { emit } of route.emits) emit(route.topic, body); }
  }

  /** Passes on what a pattern matched. */
  patternMessage(pattern: string, channel: string, body: string): void {
    const route = this.#patterns.get(pattern);
    if (!route) return;
    const topic = this.#names.topic(channel);
    for (const { emit } of route.emits) emit(topic, body);
  }

  #place({ topic, pattern }: Filter): [Map<string, Route>, string] {
    return pattern ? [this.#patterns, this.#names.pattern(topic)] : [this.#channels, this.#names.channel(topic)];
  }

  /** True: nobody is left on the channel. */
  #forget(filter: Filter): boolean {
    const [routes, name] = this.#place(filter);
    const emits = routes.get(name)?.emits;
    const index = emits?.findIndex((each) => each.filter?.serves === filter.serves) ?? -1;
    if (!emits || index < 0) return false;
    emits.splice(index, 1);
    return emits.length === 0 && routes.delete(name);
  }
}
