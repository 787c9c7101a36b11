/**
 * Bindings of queues to topics, for groups, in transports whose publishers put events into the bound queues.
 *
 * @module
 */
import { glob } from "./glob.ts";
import type { TopicFilter } from "./parts.ts";

/** Separates the topic from the queue. No topic contains it. */
const SEPARATOR = "\0";

/** Returns the text of a binding. */
export function writeBinding({ topic, pattern }: TopicFilter, queue: string): string {
  return `${pattern ? "*" : "="}${topic}${SEPARATOR}${queue}`;
}

/** A queue that is bound to a pattern. */
interface BoundPattern {
  readonly matches: (topic: string) => boolean;
  readonly queue: string;
}

/** The bound queues of a namespace at one moment. */
export class BoundQueues {
  #topics = new Map<string, string[]>();
  #patterns = new Map<string, BoundPattern>();

  /** Reads the texts of bindings. Other texts are ignored. The patterns of `before` are not compiled again. */
  constructor(bindings: Iterable<string>, before?: BoundQueues) {
    const compiled = before ? before.#patterns : new Map<string, BoundPattern>();
    for (const binding of bindings) {
      const at = binding.indexOf(SEPARATOR);
      const [topic, queue] = [binding.slice(1, at), binding.slice(at + 1)];
      if (at < 2 || queue === "") continue;
      if (binding[0] === "=") this.#topics.set(topic, [...this.#topics.get(topic) ?? [], queue]);
      if (binding[0] !== "*") continue;
      this.#patterns.set(binding, compiled.get(binding) ?? { matches: glob(topic), queue });
    }
  }

  /** Whether no queue is bound. */
  get empty(): boolean {
    return this.#topics.size + this.#patterns.size === 0;
  }

  /** Returns the queues of a topic, and whether their items need the topic because a pattern matched. */
  queuesOf(topic: string): Map<string, boolean> {
    const queues = new Map<string, boolean>();
    for (const { matches, queue } of this.#patterns.values()) if (matches(topic)) queues.set(queue, true);
    for (const queue of this.#topics.get(topic) ?? []) queues.set(queue, false);
    return queues;
  }
}
