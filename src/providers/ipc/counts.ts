/**
 * Counts the items of a queue by their states.
 *
 * Items are in the kernel's queue and in several directories, which cannot be read at one moment. So a count is used only if no item has
 * changed its place meanwhile, because such an item would count twice, or not at all.
 *
 * @module
 */
import { pause } from "../../internal/time.ts";
import type { Leases } from "./leases.ts";
import { TICK } from "./listing.ts";
import type { Namespace } from "./namespace.ts";

/**
 * Milliseconds between two counts while items move. The last count is used anyway after so many counts and `least` milliseconds, or after
 * `most` milliseconds.
 */
const MOVING = { interval: 2, counts: 20, least: 250, most: 1_000 };

/** The numbers of waiting, leased and delayed items of a queue. */
export interface Counts {
  readonly waiting: number;
  readonly leased: number;
  readonly delayed: number;
}

/** The names of the files of items, by their directories. */
type Files = readonly (readonly string[])[];

/** Returns the number of items that wait. */
export function countWaiting(namespace: Namespace, leases: Leases, queue: string): Promise<number> {
  return unmoved(namespace, queue, () => [], async () => {
    const now = namespace.posix.now();
    const { due } = await namespace.delayed.counts(queue, now, false);
    return due + await waiting(namespace, queue, leases.counts(queue, now).due);
  });
}

/** Returns the numbers of all items. */
export function countItems(namespace: Namespace, leases: Leases, queue: string): Promise<Counts> {
  return unmoved(namespace, queue, () => leases.files(queue), async () => {
    const now = namespace.posix.now(); // one time for all: an item whose time comes meanwhile would count twice
    const put = await namespace.delayed.counts(queue, now, true);
    const { held, due, delayed } = leases.counts(queue, now);
    return { waiting: put.due + await waiting(namespace, queue, due), leased: held, delayed: delayed + put.later };
  });
}

/** Counts again if meanwhile `files` have changed, or a bus has moved an item into the kernel's queue. */
async function unmoved<T>(
  namespace: Namespace,
  queue: string,
  files: () => Files,
  count: () => Promise<T>,
): Promise<T> {
  const { delayed, overflow } = namespace;
  const places = (): Files | undefined => {
    const now = Date.now();
    const moved = overflow.lastMove(queue);
    if (moved === undefined) return undefined;
    // a further move within a tick sets the same time
    const unclear = Math.abs(now - moved) <= TICK; // members of a group can set a time in the future
    return [[`${moved}`], ...files(), ...unclear ? [...overflow.files(queue), ...delayed.files(queue)] : []];
  };
  const start = performance.now();
  for (let counts = 1;; counts++) {
    const before = places();
    const counted = await count();
    if (before && same(before, places())) return counted;
    if (performance.now() - start > (counts < MOVING.counts ? MOVING.most : MOVING.least)) return counted;
    await pause(MOVING.interval);
  }
}

/** Returns the number of items that wait and were put without a delay. Of these, `returned` were given back. */
async function waiting({ overflow, posix, queues }: Namespace, queue: string, returned: number): Promise<number> {
  const open = queues.use(queue);
  const current = open ? posix.attributes(open.descriptor)?.current ?? 0 : 0;
  return current + await overflow.count(queue) + overflow.moving(queue) + returned;
}

function same(before: Files, after: Files | undefined): boolean {
  return before.length === after?.length && before.every((names, i) => {
    const others = after[i]!;
    return names === others || (names.length === others.length && names.every((name, j) => name === others[j]));
  });
}
