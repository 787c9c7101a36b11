/**
 * Counts the items of a queue by their states.
 *
 * @module
 */
import { pause } from "../../internal/time.ts";
import type { Leases } from "./leases.ts";
import type { Namespace } from "./namespace.ts";

/** Milliseconds between two counts while a bus moves items, and the milliseconds after which the last count is used anyway. */
const MOVING = { interval: 2, max: 250 };

/** The numbers of waiting, leased and delayed items of a queue. */
export interface Counts {
  readonly waiting: number;
  readonly leased: number;
  readonly delayed: number;
}

/** Returns the number of items that wait. */
export function countWaiting(namespace: Namespace, leases: Leases, queue: string): Promise<number> {
  return unmoved(namespace, queue, () => waiting(namespace, leases, queue));
}

/** Returns the numbers of all items. */
export function countItems(namespace: Namespace, leases: Leases, queue: string): Promise<Counts> {
  return unmoved(namespace, queue, () => {
    const { held, delayed } = leases.counts(queue);
    const later = namespace.delayed.count(queue);
    return { waiting: waiting(namespace, leases, queue), leased: held, delayed: delayed + later };
  });
}

/** Counts again if a bus has moved an item into the kernel's queue meanwhile: that item would count twice, or not at all. */
async function unmoved<T>({ overflow }: Namespace, queue: string, count: () => T): Promise<T> {
  const end = performance.now() + MOVING.max;
  while (true) {
    const before = overflow.lastMove(queue);
    const counted = count();
    const settled = before !== undefined && overflow.lastMove(queue) === before;
    if (settled || performance.now() > end) return counted;
    await pause(MOVING.interval);
  }
}

function waiting({ delayed, overflow, posix, queues }: Namespace, leases: Leases, queue: string): number {
  const open = queues.use(queue);
  const current = open ? posix.attributes(open.descriptor)?.current ?? 0 : 0;
  const due = leases.due(queue).length + delayed.countDue(queue);
  return current + overflow.size(queue) + overflow.moving(queue) + due;
}
