/**
 * Bindings of queues to topics, for groups, in transports whose publishers put events into the bound queues.
 *
 * @module
 */
import { ProviderError } from "../errors.ts";
import { glob } from "./glob.ts";
import type { GroupInfo } from "./admin.ts";
import type { TopicFilter } from "./parts.ts";
import { groupQueue } from "./queue_names.ts";

/** Separates the topic from the queue. No topic contains it. */
const SEPARATOR = "\0";

/** Returns the text of a binding. */
export function writeBinding({ topic, pattern }: TopicFilter, queue: string): string {
  return `${pattern ? "*" : "="}${topic}${SEPARATOR}${queue}`;
}

/**
 * Returns the bytes of a binding or a pattern that is to be stored. `doing` is the purpose, for the message of an error.
 *
 * @throws {ProviderError} "too_large" when it has more than `limit` bytes
 */
export function checkBytes(text: string, limit: number, doing: string): Uint8Array {
  const bytes = new TextEncoder().encode(text);
  if (bytes.length <= limit) return bytes;
  throw new ProviderError(
    "too_large",
    `Cannot ${doing}: the topic, with the name of its group if it has one, has ${bytes.length} bytes, and the limit is ${limit}`,
  );
}

/** Reads the text of a binding. Returns undefined for any other text. */
function readBinding(binding: string): (TopicFilter & { readonly queue: string }) | undefined {
  const at = binding.indexOf(SEPARATOR);
  const [topic, queue] = [binding.slice(1, at), binding.slice(at + 1)];
  if (at < 2 || queue === "" || !/^[=*]/.test(binding)) return undefined;
  return { topic, pattern: binding[0] === "*", queue };
}

/** Describes the groups to which the texts of bindings belong. Other texts are ignored. */
export function groupsOf(bindings: Iterable<string>): GroupInfo[] {
  return [...bindings].flatMap((binding) => {
    const { topic: target, pattern, queue } = readBinding(binding) ?? { topic: "", pattern: false, queue: "" };
    const group = queue.slice(target.length + 1);
    return target === "" || queue !== groupQueue(target, group) ? [] : [{ target, pattern, group, queue }];
  });
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
      const read = readBinding(binding);
      if (!read) continue;
      const { topic, pattern, queue } = read;
      if (pattern) this.#patterns.set(binding, compiled.get(binding) ?? { matches: glob(topic), queue });
      else if (this.#topics.has(topic)) this.#topics.get(topic)!.push(queue); // a copy for each would take quadratic time
      else this.#topics.set(topic, [queue]);
    }
  }

  /** Whether no queue is bound. */
  get empty(): boolean {
    return this.#topics.size + this.#patterns.size === 0;
  }

  /** Returns the queues that are bound to a topic. The value is true if their items must contain the topic, because a pattern matched. */
  queuesOf(topic: string): Map<string, boolean> {
    const queues = new Map<string, boolean>();
    for (const { matches, queue } of this.#patterns.values()) if (matches(topic)) queues.set(queue, true);
    for (const queue of this.#topics.get(topic) ?? []) queues.set(queue, false);
    return queues;
  }
}
