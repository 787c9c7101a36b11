/**
 * The router of a receiver: it finds the subscriptions whose filters match a topic. It is for transports that deliver events only by topic.
 *
 * @module
 */
import { ProviderError } from "../errors.ts";
import { ExpiringMap } from "../internal/caches.ts";
import { ownShortText } from "../internal/own_text.ts";
import { TextMap } from "../internal/text_map.ts";
import { MAX_STEPS } from "./bindings.ts";
import { glob, type Steps } from "./glob.ts";
import type { Emit, Filter } from "./provider.ts";

/** Milliseconds for which requests may arrive after their server's subscription has ended, for example because a queue was full. */
const LATE = 10_000;
/**
 * The largest number of steps in which the topic of a received event is compared with all patterns. A publisher of IPC compares it with more
 * patterns in at most half as many, but does not count the conversion of a topic that follows itself.
 */
export const MOST_STEPS: number = 2 * MAX_STEPS;

interface Subscription {
  readonly filter: Filter;
  readonly emit: Emit;
}

/** The subscriptions to one topic or pattern. A change makes a new list, because an emit may add and remove subscriptions. */
interface Route {
  subscriptions: readonly Subscription[];
  /** The matcher of a pattern. It is created when it is first needed, because some transports match patterns themselves. */
  matches?: (topic: string, steps: Steps) => boolean;
}

/** Options of a {@linkcode Router}. */
export interface RouterOptions {
  /**
   * Whether the subscription of a server continues to emit for ten seconds after its end, so that the core can refuse the requests that
   * were sent before. Default: true. It is false on a transport where no request can arrive after the end.
   */
  readonly late?: boolean;
  /**
   * Reports an event whose topic would take too long to compare with the patterns (8 Mi steps). The subscriptions to patterns do not get it.
   * Default: there is no limit, for a transport whose publishers are this program.
   */
  readonly refuse?: (error: ProviderError) => void;
}

/** Passes each event to the subscriptions whose filters match its topic. */
export class Router {
  /** No `Map`: on Deno, a search for a topic that a peer chose can add it to the table of the engine, whose hash is public. */
  #topics = new TextMap<Route>();
  #patterns = new Map<string, Route>();
  /** The subscriptions of servers that have just ended, by topic. Requests for them may still arrive. Undefined if none can. */
  #ended: ExpiringMap<Subscription> | undefined;
  /**
   * The last topic that was compared with the patterns, and the keys of those that match, or undefined if that takes too long. A message may
   * contain many events of one long topic, and only once the topic.
   */
  #last: { readonly topic: string; readonly keys: readonly string[] | undefined } | undefined;
  #late: boolean;
  #refuse: ((error: ProviderError) => void) | undefined;

  /** Creates a router without subscriptions. */
  constructor({ late = true, refuse }: RouterOptions = {}) {
    this.#late = late;
    this.#refuse = refuse;
  }

  /**
   * Adds a subscription.
   *
   * @param key the transport's name of the topic or pattern, by which events are routed
   * @returns a function that ends the subscription, and returns true if it was the last one with this topic or pattern
   */
  add(filter: Filter, emit: Emit, key: string = filter.topic): () => boolean {
    const routes = filter.pattern ? this.#patterns : this.#topics;
    const subscription = { filter, emit };
    this.#last = undefined;
    const route = routes.get(key);
    if (route) route.subscriptions = [...route.subscriptions, subscription];
    else routes.set(key, { subscriptions: [subscription] });
    if (filter.serves) this.#ended?.delete(key); // the new server takes the requests
    return () => {
      const route = routes.get(key);
      if (!route?.subscriptions.includes(subscription)) return false;
      route.subscriptions = route.subscriptions.filter((each) => each !== subscription);
      if (this.#late && filter.serves && !route.subscriptions.some(({ filter }) => filter.serves)) {
        this.#ended ??= new ExpiringMap(LATE);
        this.#ended.set(key, subscription);
      }
      this.#last = undefined;
      return route.subscriptions.length === 0 && routes.delete(key);
    };
  }

  /** Returns the filters of the subscriptions to topics, or to patterns, by their keys. */
  filters(kind: "topics" | "patterns"): [key: string, filters: Filter[]][] {
    const routes = kind === "topics" ? this.#topics : this.#patterns;
    return [...routes].map(([key, { subscriptions }]) => [key, subscriptions.map(({ filter }) => filter)]);
  }

  /** Returns whether there are subscriptions to the topic with this key. */
  has(key: string): boolean {
    return this.#topics.has(key);
  }

  /** Passes an event to all subscriptions that match its topic. Returns their number. */
  emit(topic: string, body: string): number {
    return this.emitExact(topic, body) + this.emitPatterns(topic, body);
  }

  /** Passes an event to the subscriptions to the topic with this key. Returns their number. */
  emitExact(key: string, body: string): number {
    const ended = this.#ended?.get(key);
    if (ended) ended.emit(ended.filter.topic, body);
    const subscriptions = this.#topics.get(key)?.subscriptions;
    if (!subscriptions) return 0;
    for (const { filter, emit } of subscriptions) emit(filter.topic, body);
    return subscriptions.length;
  }

  /** Passes an event to the subscriptions whose pattern matches its topic. Returns their number. */
  emitPatterns(topic: string, body: string): number {
    if (this.#patterns.size === 0) return 0;
    if (this.#last?.topic !== topic) this.#last = this.#compare(ownShortText(topic));
    const { keys } = this.#last!;
    if (!keys) {
      const limit = `comparing its topic of ${topic.length} characters with them takes more than ${MOST_STEPS} steps`;
      this.#refuse!(new ProviderError("too_large", `Cannot pass an event to subscriptions to patterns: ${limit}`));
      return 0;
    }
    let count = 0;
    for (const key of keys) count += this.emitPattern(key, topic, body);
    return count;
  }

  #compare(topic: string): { topic: string; keys: string[] | undefined } {
    const steps = { left: this.#refuse ? MOST_STEPS : Infinity };
    const keys: string[] = [];
    for (const [key, route] of this.#patterns) {
      route.matches ??= glob(route.subscriptions[0]?.filter.topic ?? key);
      if (route.matches(topic, steps)) keys.push(key);
    }
    return { topic, keys: steps.left < 0 ? undefined : keys };
  }

  /** Passes an event to the subscriptions to the pattern with this key, which the transport has matched. Returns their number. */
  emitPattern(key: string, topic: string, body: string): number {
    const subscriptions = this.#patterns.get(key)?.subscriptions;
    if (!subscriptions) return 0;
    for (const { emit } of subscriptions) emit(topic, body);
    return subscriptions.length;
  }
}

/** Returns the key of a filter in a map. Equal filters have the same key. */
export function filterKey({ topic, pattern, serves }: Filter): string {
  return `${pattern ? "*" : "="}${serves ? "!" : "."}${topic}`;
}
