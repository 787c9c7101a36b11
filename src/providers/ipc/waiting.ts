/**
 * The buses that wait for items of a queue. Items in files wake no bus by themselves, so the bus that puts one sends a message without frames to
 * the inbox of each of these buses.
 *
 *     waiting/<queue>/<bus>
 *
 * @module
 */
import { TextMap } from "../../internal/text_map.ts";
import type { Directories } from "./directories.ts";
import { Errno } from "./errno.ts";
import { BATCH_BYTES, writeBatch } from "./frames.ts";
import type { MessageQueues } from "./mqueues.ts";
import { inboxOf, MAX_BUSES, type Names } from "./names.ts";
import type { Posix } from "./posix.ts";

/** The directory of all queues. */
export const WAITING = "waiting";
/**
 * Milliseconds for which a bus stays registered after its last check in a wait, so that repeated gets need no system call. A wait checks
 * once a second.
 */
const LINGER = 2_000;

/** A message without frames. */
const EMPTY = new Uint8Array(BATCH_BYTES);
writeBatch([], EMPTY);

/** The parts of a namespace that {@linkcode Waiting} uses. */
export interface WaitingContext {
  readonly directories: Directories;
  readonly names: Names;
  readonly posix: Posix;
  readonly queues: MessageQueues;
}

/** The buses that wait, for one half of a bus. */
export class Waiting {
  #context: WaitingContext;
  /** Queue → the time of the last wait of this bus, by `performance.now()`. */
  #registered = new Map<string, number>();

  /** Creates the list of a namespace. */
  constructor(context: WaitingContext) {
    this.#context = context;
  }

  /** Registers a bus. It has to check the queue once more before it waits. */
  add(queue: string, bus: string): void {
    const before = this.#registered.has(queue);
    this.#registered.set(queue, performance.now());
    if (before) return;
    const { directories } = this.#context;
    const path = directoryOf(queue);
    const made = directories.within(path, () => directories.symlink("bus", `${path}/${bus}`));
    if (made < 0 && made !== -Errno.EEXIST) this.#registered.delete(queue); // without room for the entry, it polls
  }

  /** Removes a bus from the queues for which it has not waited for `ms`. */
  removeIdle(bus: string, ms = LINGER): void {
    for (const [queue, used] of this.#registered) {
      if (performance.now() - used >= ms) this.#remove(queue, bus);
    }
  }

  /** Wakes the buses that wait for items of this queue. */
  wake(queue: string): void {
    this.wakeAll(this.#names(queue));
  }

  /** Wakes the buses that wait for items of these queues, each once. An event can go to hundreds of queues. */
  wakeEach(queues: TextMap<unknown>): void {
    if (queues.size === 1) return this.wake(queues.oldest!);
    const buses = new TextMap<true>();
    for (const queue of queues.keys()) {
      for (const bus of this.#names(queue)) {
        if (buses.size >= MAX_BUSES) break;
        buses.set(bus, true);
      }
    }
    this.wakeAll([...buses.keys()]);
  }

  #names(queue: string): readonly string[] {
    try {
      return this.#context.directories.listings.names(directoryOf(queue));
    } catch {
      return []; // no descriptor is left: they find the item when they check
    }
  }

  /** Wakes these buses, so that they check the queues. If there are too many names, the others find out when they check by themselves. */
  wakeAll(buses: readonly string[]): void {
    const { names, posix, queues } = this.#context;
    for (const bus of buses.slice(0, MAX_BUSES)) {
      if (!names.parseBus(bus)) continue;
      try {
        const inbox = queues.use(inboxOf(bus));
        if (inbox) posix.send(inbox.descriptor, EMPTY, EMPTY.length); // a full inbox has the same effect when the bus has read it
      } catch {
        // no descriptor is left, or the inbox is another user's
      }
    }
  }

  #remove(queue: string, bus: string): void {
    const { directories } = this.#context;
    this.#registered.delete(queue);
    directories.unlink(`${directoryOf(queue)}/${bus}`);
    directories.prune(directoryOf(queue));
  }
}

function directoryOf(queue: string): string {
  return `${WAITING}${queue}`;
}
