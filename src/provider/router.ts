/**
 * The router of a receiver: it finds the subscriptions whose filters match a topic. For transports that only deliver events by topic.
 *
 * @module
 */
import { glob } from "./glob.ts";
import type { Emit, Filter } from "./provider.ts";

interface Pattern {
  readonly matches: (topic: string) => boolean;
  readonly emits: Set<Emit>;
}

/** Passes each event to the subscriptions whose filters match its topic. */
export class Router {
  #topics = new Map<string, Set<Emit>>();
  #patterns = new Map<string, Pattern>();

  /**
   * Adds a subscription.
   *
   * @returns a function that removes the subscription, and returns true if it was the last one with this topic or pattern
   */
  add({ topic, pattern }: Filter, emit: Emit): () => boolean {
    // a new function, so that the same `emit` can be added twice
    const one: Emit = (topic, body) => emit(topic, body);
    const emits = pattern ? this.#pattern(topic).emits : this.#exact(topic);
    emits.add(one);
    return () => {
      if (!emits.delete(one) || emits.size > 0) return false;
      return pattern ? this.#patterns.delete(topic) : this.#topics.delete(topic);
    };
  }

  /** Passes an event to all subscriptions that match its topic. Returns their number. */
  emit(topic: string, body: string): number {
    return this.emitExact(topic, body) + this.emitPatterns(topic, body);
  }

  /** Passes an event to the subscriptions to exactly this topic. Returns their number. */
  emitExact(topic: string, body: string): number {
    const emits = this.#topics.get(topic);
    if (!emits) return 0;
    for (const emit of emits) emit(topic, body);
    return emits.size;
  }

  /** Passes an event to the subscriptions whose pattern matches its topic. Returns their number. */
  emitPatterns(topic: string, body: string): number {
    let count = 0;
    for (const { matches, emits } of this.#patterns.values()) {
      if (!matches(topic)) continue;
      for (const emit of emits) emit(topic, body);
      count += emits.size;
    }
    return count;
  }

  #exact(topic: string): Set<Emit> {
    let emits = this.#topics.get(topic);
    if (!emits) this.#topics.set(topic, emits = new Set());
    return emits;
  }

  #pattern(topic: string): Pattern {
    let pattern = this.#patterns.get(topic);
    if (!pattern) this.#patterns.set(topic, pattern = { matches: glob(topic), emits: new Set() });
    return pattern;
  }
}

/** Returns the key of a filter in a map. Equal filters have the same key. */
export function filterKey({ topic, pattern, serves }: Filter): string {
  return `${pattern ? "*" : "="}${serves ? "!" : "."}${topic}`;
}
