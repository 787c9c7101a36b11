/**
 * Removes everything that a bus has created: its queues, links and files. An item that it was taking goes back into its queue.
 *
 * @module
 */
import { isUnavailable } from "../../errors.ts";
import { textSet } from "../../internal/text_map.ts";
import { emptySlot } from "./crash_slot.ts";
import { Errno } from "./errno.ts";
import { readItem } from "./frames.ts";
import { nameOfItem, queueDirectory } from "./items.ts";
import { Leases } from "./leases.ts";
import { eventsOf, inboxOf } from "./names.ts";
import { BUSES, type Namespace, THREAD } from "./namespace.ts";
import { isAside } from "./new_directory.ts";
import { PART, progress, type Steps, TURN } from "./walk.ts";

/** Milliseconds between two parts of a cleanup, and between the cleanups of two other namespaces. */
const PAUSE = 20;
/** The largest number of steps of a cleanup while a bus opens or closes, and of the cleanup of another namespace. */
export const STEPS = 4_096;
/** The milliseconds after which such a cleanup ends: a step may give an item back. */
export const BRIEF = 100;
/**
 * The number of steps in which a bus removes what it has created itself, in any time, because a busy machine may pause it. Without hostile
 * neighbours it needs fewer.
 */
const LEAST = 256;
/** Milliseconds between two checks for dead buses, times the number of buses. */
const INTERVAL = 2_000;
/** The largest number of buses that counts for that: as many as Linux allows by default. Members of a group can create any number of names. */
const MAX_COUNTED = 128;

/** Milliseconds after which a directory without its name was left by a process that was killed. */
const ASIDE_AGE = 60_000;

/**
 * Removes what a bus has created for itself, in a limited number of steps. Its crash slot stays until the item in it was given back. Senders
 * wait for the removal of its directory, so that comes before the names of the bus, which members of a group can hide among others.
 */
export function removeBus(namespace: Namespace, bus: string): void {
  namespace.waiting.removeIdle(bus, 0); // it may have waited for items of any number of queues
  briefly(
    function* () {
      yield* removeDirectories(namespace, yield* removeQueues(namespace, [bus], true));
      yield* namespace.subscriptions.remove((name) => name === bus);
    }(),
    LEAST,
  );
}

/** Removes everything that several buses have created, in steps: first the queues, last the directories, by which a cleanup finds buses. */
export function* removeBuses(namespace: Namespace, buses: readonly string[]): Steps {
  if (buses.length === 0) return;
  const removable = yield* removeQueues(namespace, buses);
  const removed = textSet(buses); // members of a group can have created any number
  yield* namespace.subscriptions.remove((bus) => removed.has(bus));
  yield* removeDirectories(namespace, removable);
}

/**
 * Removes the queues of buses, which count towards the limits, and empties their crash slots. Returns those whose directory can go. Any user
 * can create a queue that has the name of a dead bus; those of `own` buses are not checked, which needs a descriptor.
 */
function* removeQueues(namespace: Namespace, buses: readonly string[], own = false): Steps<string[]> {
  const { posix, queues } = namespace;
  const unlink = (queue: string) => !own && queues.strange(queue) ? -Errno.EACCES : posix.unlinkQueue(queue);
  const removable: string[] = [];
  for (const bus of buses) {
    const recovered = recoverItem(namespace, bus);
    const unlinked = [eventsOf(bus), inboxOf(bus)].map(unlink);
    // the queues of another user's bus can be removed only by that user, whose cleanup needs the directory to find the bus
    if (recovered && !unlinked.includes(-Errno.EACCES)) removable.push(bus);
    yield;
  }
  return removable;
}

function* removeDirectories(namespace: Namespace, buses: readonly string[]): Steps {
  const { directories } = namespace;
  for (const bus of buses) {
    const directory = namespace.busDirectory(bus);
    directories.unlink(`${directory}/${THREAD}`); // an empty directory is removed even if no descriptor is left
    yield* directories.walk(directory, { leaf: () => true, remove: () => true, prune: true }); // it holds only files
  }
}

/** Removes the dead buses that have a directory, and directories that processes left when they were killed, in steps. */
function* removeDead(namespace: Namespace): Steps {
  let listed: readonly string[] = [];
  yield* namespace.directories.walk(BUSES, { visit: (_, names) => void (listed = names), leaf: () => true });
  yield* removeBuses(namespace, yield* namespace.dead(listed));
  if (namespace.directories.shared) yield* removeAside(namespace);
}

/** Removes this user's old directories that never got their name, if they are empty. A process that is slow makes its directory again. */
function* removeAside({ directories, posix }: Namespace): Steps {
  let listed: readonly string[] = [];
  yield* directories.walk("", { visit: (_, names) => void (listed = names.filter(isAside)), leaf: () => true });
  for (const name of listed) {
    const stat = directories.stat(name);
    const own = typeof stat === "object" && stat.directory && stat.uid === posix.user;
    if (own && Date.now() - stat.modified > ASIDE_AGE) directories.prune(name);
    yield;
  }
}

/** Removes all dead buses of a namespace, also those of PyMQ, in steps. */
function* clean(namespace: Namespace): Steps {
  yield* removeDead(namespace);
  yield* removeBuses(namespace, yield* namespace.subscriptions.deadPymq());
}

/** Removes the dead buses of a namespace, and the names of dead buses of which nothing else is left, in steps. */
function* sweep(namespace: Namespace): Steps {
  yield* clean(namespace);
  yield* namespace.subscriptions.remove((bus) => namespace.gone(bus, "dead"));
}

/** The cleanup of the namespace of a bus, next to the work of the bus. */
export class Cleanup {
  #namespace: Namespace;
  #steps: Steps | undefined;
  #asked = false;
  /** The time of the next part, by `performance.now()`. */
  #next = 0;

  /** Creates the cleanup of a namespace, which first removes all dead buses. */
  constructor(namespace: Namespace) {
    this.#namespace = namespace;
    this.#steps = clean(namespace);
  }

  /** Asks for a cleanup that also removes the names of dead buses of which nothing else is left. */
  ask(): void {
    this.#asked = true;
    if (!this.#steps) this.#next = 0;
  }

  /** The milliseconds until the next part: more than 0. */
  get wait(): number {
    return Math.max(1, this.#next - performance.now());
  }

  /** Makes the next part, if it is time for it. */
  run(count: number = PART, ms: number = TURN): void {
    if (performance.now() < this.#next) return;
    if (!this.#steps) {
      this.#steps = this.#asked ? sweep(this.#namespace) : removeDead(this.#namespace);
      this.#asked = false;
    }
    let [done, buses] = [true, 0];
    try {
      done = progress(this.#steps, count, ms);
      if (done) buses = this.#namespace.buses().length;
    } finally {
      if (done) this.#steps = undefined;
      const now = performance.now();
      const every = INTERVAL * Math.min(Math.max(1, buses), MAX_COUNTED);
      // at the same moments as other probes, so that the thread wakes once
      this.#next = now + (done && !this.#asked ? every - now % every : PAUSE);
    }
  }

  /** Ends it. */
  end(): void {
    this.#steps?.return();
  }
}

/** Makes steps within the limits of a cleanup that has no parts, `least` of them in any time. The next bus that opens or closes does the rest. */
function briefly(steps: Steps, least?: number): void {
  if (!progress(steps, STEPS, BRIEF, least)) steps.return();
}

/** Removes the dead buses of a namespace within limits, and ignores errors: the next bus that opens there reports them. */
export function cleanBriefly(namespace: Namespace): void {
  try {
    briefly(clean(namespace));
  } catch {
    // as the description says
  }
}

/**
 * The cleanup of the other namespaces of this user, which others may have filled, next to the work of a bus. No descriptor stays open
 * between two namespaces, because the worker may be terminated then.
 */
export class OthersCleanup {
  #others: Generator<Namespace | undefined>;
  /** The time at which it continues, by `performance.now()`. */
  #next = 0;

  /** Creates the cleanup for a bus of this namespace. */
  constructor(namespace: Namespace) {
    this.#others = namespace.others();
  }

  /** Cleans one namespace. Returns the milliseconds until the next one: Infinity when all are done. */
  run(): number {
    const now = performance.now();
    if (now >= this.#next) this.#next = this.#clean() ? performance.now() + PAUSE : Infinity;
    return this.#next - now;
  }

  /** Cleans those that are left. */
  finish(): void {
    for (let i = 0; i < STEPS && this.#clean(); i++);
  }

  /** Cleans the next namespace. Returns false after the last one. */
  #clean(): boolean {
    const { done, value: other } = this.#others.next();
    if (done) return false;
    if (other) cleanBriefly(other);
    other?.close();
    return true;
  }
}

/** Gives back the item in a bus's crash slot. Returns false if another process is doing so, or if its queue has no room now. */
function recoverItem(namespace: Namespace, bus: string): boolean {
  try {
    return emptySlot(namespace, bus, ({ queue, key, message }) => {
      if (!namespace.names.ownsNamed(queue)) return;
      const { deliveries } = readItem(message);
      const partial = nameOfItem({ key, starts: deliveries, lease: 0, unconfirmed: false, bus });
      // the bus may have died while it wrote this file
      namespace.directories.unlink(`${queueDirectory(queue)}/held/${partial}`);
      new Leases(namespace, bus).restore(queue, key, message, deliveries);
    });
  } catch (error) {
    return !isUnavailable(error);
  }
}
