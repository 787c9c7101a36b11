/**
 * The names of the queues that belong to another queue or to a topic.
 *
 * @module
 */

/** The suffix of the name of a dead-letter queue. */
export const DEAD = ".dead";

/** Returns the name of the queue that stores the events of a group. `target` is a topic or a glob. */
export function groupQueue(target: string, group: string): string {
  return `${target}@${group}`;
}

/** Splits the name of a group's queue. Returns undefined for any other name. The name of a group contains no "@". */
export function parseGroupQueue(queue: string): { readonly target: string; readonly group: string } | undefined {
  const at = queue.lastIndexOf("@");
  return at < 0 ? undefined : { target: queue.slice(0, at), group: queue.slice(at + 1) };
}
