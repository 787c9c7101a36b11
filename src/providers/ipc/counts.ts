/**
 * Counts the items of a queue by their states.
 *
 * @module
 */
import type { Leases } from "./leases.ts";
import type { Namespace } from "./namespace.ts";

/** Returns the number of items that can be received now. */
export function countWaiting(namespace: Namespace, leases: Leases, queue: string): number {
  const { delayed, overflow, posix, queues } = namespace;
  const open = queues.use(queue);
  const current = open ? posix.attributes(open.descriptor)?.current ?? 0 : 0;
  const due = leases.due(queue).length + delayed.due(queue).length;
  return current + overflow.size(queue) + overflow.moving(queue) + due;
}

/** Returns the numbers of items that wait, are leased and are delayed. */
export function countItems(
  namespace: Namespace,
  leases: Leases,
  queue: string,
): { readonly waiting: number; readonly leased: number; readonly delayed: number } {
  const { held, delayed } = leases.counts(queue);
  const waiting = countWaiting(namespace, leases, queue);
  return { waiting, leased: held, delayed: delayed + namespace.delayed.count(queue) };
}
