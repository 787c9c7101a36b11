/**
 * Bindings of queues to topics, for groups, in transports whose publishers put events into the bound queues.
 *
 * @module
 */
import { BusError, ProviderError } from "../errors.ts";
import { nameFault } from "../internal/arguments.ts";
import { TextMap } from "../internal/text_map.ts";
import { glob, type Steps } from "./glob.ts";
import type { GroupInfo } from "./admin.ts";
import type { TopicFilter } from "./parts.ts";
import { groupQueue } from "./queue_names.ts";

/** The largest number of bindings of a namespace. With more, publishers reject, because leaving some out would lose events. */
export const MAX_BINDINGS = 10_000;
/** The largest number of bytes of all bindings of a namespace. */
export const MAX_TOTAL: number = 2 ** 20;
/** The largest number of queues that an event is put into. */
export const MAX_QUEUES = 256;
/** The largest number of characters of all copies of an event. Its publisher makes them at once, which takes several times as many bytes. */
const MAX_COPIED = 2 ** 27;
/** The largest number of steps in which an event's topic is compared with all patterns: about 20 ms. */
export const MAX_STEPS: number = 2 ** 22;

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

/** Returns the error for more bindings than the limits allow. `where` has them. */
export function tooMany(doing: string, where: string, total: number): BusError {
  return new BusError(
    "busy",
    `Cannot ${doing}: ${where} has ${total} bindings of groups, and the limits are ${MAX_BINDINGS} and ${MAX_TOTAL} bytes. ${REMEDY}`,
  );
}
const REMEDY =
  "Free the groups that are no longer needed (tsmq groups free <url> <target> <group>), and remove bindings " +
  "and patterns that tsmq has not written";

/**
 * Throws if an event would be put into too many queues: everyone who may write to the transport can bind queues. On a transport where a bus
 * makes a copy for each other bus, `buses` is their number.
 *
 * @throws {BusError} "busy", or "too_large" if a smaller event could be put into them
 */
export function checkCopies(queues: number, body: string, buses = 0): void {
  const doing = "Cannot publish an event";
  if (queues > MAX_QUEUES) {
    throw new BusError(
      "busy",
      `${doing}: ${queues} queues of groups are bound to its topic, and the limit is ${MAX_QUEUES}. ${REMEDY}`,
    );
  }
  const copies = queues + buses;
  if (copies < 2 || copies * body.length <= MAX_COPIED) return;
  const receivers = buses > 0 ? `${queues} groups and ${buses} buses` : `${queues} groups`;
  const sizes =
    `it has ${body.length} characters and ${receivers}, and the limit for all copies is ${MAX_COPIED} characters`;
  throw new ProviderError("too_large", `${doing}: ${sizes}`);
}

/** Reads the text of a binding. Returns undefined for any other text. */
function readBinding(binding: string): (TopicFilter & { readonly queue: string }) | undefined {
  const at = binding.indexOf(SEPARATOR);
  const [topic, queue] = [binding.slice(1, at), binding.slice(at + 1)];
  if (at < 2 || nameFault(queue) !== undefined || !/^[=*]/.test(binding)) return undefined;
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
  readonly matches: (topic: string, steps: Steps) => boolean;
  readonly queue: string;
}

/** The queues of most topics. Nothing is added. */
const NO_QUEUES = new TextMap<boolean>();

/** The bound queues of a namespace at one moment. */
export class BoundQueues {
  #topics = new TextMap<string[]>();
  #patterns = new TextMap<BoundPattern>();

  /** Reads the texts of bindings. Other texts are ignored. The patterns of `before` are not compiled again. */
  constructor(bindings: Iterable<string>, before?: BoundQueues) {
    const compiled = before ? before.#patterns : new TextMap<BoundPattern>();
    for (const binding of bindings) {
      const read = readBinding(binding);
      if (!read) continue;
      const { topic, pattern, queue } = read;
      if (pattern) this.#patterns.set(binding, compiled.get(binding) ?? { matches: glob(topic), queue });
      else {
        const queues = this.#topics.get(topic);
        if (queues) queues.push(queue); // a copy for each would take quadratic time
        else this.#topics.set(topic, [queue]);
      }
    }
  }

  /** Whether no queue is bound. */
  get empty(): boolean {
    return this.#topics.size + this.#patterns.size === 0;
  }

  /**
   * Returns the queues that are bound to a topic. The value is true if their items must contain the topic, because a pattern matched.
   *
   * @throws {BusError} "busy" if the comparison with all patterns takes more steps than are left, or they are too many queues
   */
  queuesOf(topic: string, steps: Steps = { left: MAX_STEPS }): TextMap<boolean> {
    const exact = this.#topics.get(topic);
    if (!exact && this.#patterns.size === 0 && steps.left >= 0) return NO_QUEUES;
    const queues = new TextMap<boolean>();
    for (const { matches, queue } of this.#patterns.values()) if (matches(topic, steps)) queues.set(queue, true);
    if (steps.left < 0) {
      throw new BusError(
        "busy",
        `Cannot publish an event: comparing its topic with all patterns takes too long. ${REMEDY}`,
      );
    }
    for (const queue of exact ?? []) queues.set(queue, false);
    checkCopies(queues.size, "");
    return queues;
  }
}
