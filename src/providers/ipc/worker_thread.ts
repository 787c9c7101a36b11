/**
 * The thread of a bus's worker. It outlives the worker for a moment after the worker was terminated.
 *
 * A terminated worker does not close its queues, and open queues count towards the limits. Another thread may close their descriptors only
 * after the worker's thread has ended: until then the worker may close a descriptor itself, and its number may then belong to another file.
 *
 * @module
 */
import { pause } from "../../internal/time.ts";
import { removeBus } from "./cleanup.ts";
import { check } from "./errors.ts";
import { eventsOf, inboxOf } from "./names.ts";
import { type Namespace, THREAD } from "./namespace.ts";

/**
 * Milliseconds within which the thread of a terminated worker ends: it takes up to 100 ms. On Deno, a thread that hangs never ends, and
 * never closes a descriptor.
 */
const ENDING = 2_000;
/** Milliseconds between two checks whether the thread has ended. */
const CHECK_INTERVAL = 5;

/** Records the calling thread as that of a bus, and its descriptors of the namespace's directory and of the bus's queues. */
export function recordThread({ posix, directories, busDirectory }: Namespace, bus: string, queues: number[]): void {
  const link = `${busDirectory(bus)}/${THREAD}`;
  const numbers = [posix.thread(), directories.descriptor, ...queues].join(" ");
  check(directories.symlink(numbers, link), `Cannot create ${directories.path(link)}`);
}

/** The worker of one bus of this process. */
export class WorkerThread {
  /** The name of the bus. */
  readonly bus: string;
  readonly #namespace: Namespace;
  /** The descriptor that wakes the worker; undefined once the worker has ended. */
  #eventfd: number | undefined;
  readonly #thread: number;
  readonly #directory: number;
  readonly #queues: readonly number[];

  /**
   * Reads the record of the worker. Even if another member of the group has changed the record, no descriptor of another namespace is
   * closed.
   */
  constructor(namespace: Namespace, bus: string) {
    const { names, directories, busDirectory } = namespace;
    this.bus = bus;
    this.#eventfd = names.parseBus(bus)?.eventfd;
    this.#namespace = namespace;
    const link = directories.readLink(`${busDirectory(bus)}/${THREAD}`);
    const recorded = typeof link === "number" ? "" : new TextDecoder().decode(link);
    const [thread = NaN, directory = NaN, ...queues] = recorded.split(" ").map(Number);
    this.#thread = thread;
    this.#directory = directory;
    this.#queues = queues;
  }

  /** Wakes the worker. */
  wake(): void {
    if (this.#eventfd !== undefined) this.#namespace.posix.writeEventfd(this.#eventfd);
  }

  /** Waits until the worker's thread has ended, then removes the queues and files of its bus, unless the worker has removed them. */
  async remove(): Promise<void> {
    const { bus } = this;
    const { directories, posix, queues, busDirectory } = this.#namespace;
    const closed = !this.#queues.some((descriptor) => this.#open(descriptor));
    // it closes its queues first: it may have been terminated before it removed its files
    if (!closed || typeof directories.stat(busDirectory(bus)) === "object") {
      for (const queue of [eventsOf(bus), inboxOf(bus)]) {
        queues.removed(queue);
        posix.unlinkQueue(queue); // so that nobody waits for it to read them
      }
      this.wake(); // it ends when it returns from `poll`
      for (const end = performance.now() + ENDING; this.#lives && performance.now() < end;) await pause(CHECK_INTERVAL);
      removeBus(this.#namespace, bus);
      const open = this.#queues.filter((descriptor) => this.#open(descriptor));
      // a worker that closes its bus closes its queues first; after that, the number of the directory may belong to another bus
      if (open.length === this.#queues.length && this.#opensDirectory) posix.close(this.#directory);
      for (const descriptor of open) posix.close(descriptor);
      // the named queues that the worker had open
      const { names } = this.#namespace;
      const opened = posix.openedBy(this.#thread, (queue) => names.owns(queue));
      for (const descriptor of opened) if (queues.owns(this.#target(descriptor), descriptor)) posix.close(descriptor);
    }
    if (this.#eventfd !== undefined) posix.close(this.#eventfd);
    this.#eventfd = undefined;
  }

  get #lives(): boolean {
    return typeof this.#namespace.posix.stat(`/proc/self/task/${this.#thread}`) === "object";
  }

  /** Returns whether the recorded descriptor is that of the directory of the namespace. */
  get #opensDirectory(): boolean {
    const { root } = this.#namespace.directories;
    const name = root.slice(root.lastIndexOf("/"));
    return this.#target(this.#directory).replace(/ \(deleted\)$/, "").endsWith(name);
  }

  /** Returns whether a descriptor is an open queue of this worker. */
  #open(descriptor: number): boolean {
    return this.#target(descriptor).startsWith(`/${this.bus}`);
  }

  #target(descriptor: number): string {
    return String(this.#namespace.posix.readLink(`/proc/self/fd/${descriptor}`));
  }
}
