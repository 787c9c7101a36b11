/**
 * The thread of a bus's worker. It outlives the worker for a moment after the worker was terminated.
 *
 * A terminated worker does not close its queues, and open queues count towards the limits. Another thread may close their descriptors only
 * after the worker's thread has ended: until then the worker may close a descriptor itself, and its number may then belong to another file.
 *
 * @module
 */
import { BusError } from "../../errors.ts";
import { LimitedMap } from "../../internal/caches.ts";
import { pause } from "../../internal/time.ts";
import type { AskHandler, ReceiverContext } from "../../provider/provider.ts";
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

/** The thread of a worker, and its descriptors of the namespace's directory and of the queues of its bus. */
interface WorkerParts {
  readonly thread: number;
  readonly directory: number;
  readonly queues: readonly number[];
}

/** The verb with which a worker tells its parts to the main thread. */
const TELL = "worker";
/** The largest number of workers whose parts wait until their buses are open. */
const OPENING = 1_024;

/** The workers whose buses are opening. Members of a group can write into the directory of a bus, so the worker uses its port. */
export class TellingWorkers implements AskHandler {
  #told = new LimitedMap<WorkerParts>(OPENING);

  /** Stores what a worker tells. */
  answer(verb: string, argument: unknown): void {
    if (verb !== TELL) throw new BusError("internal", `Cannot answer "${verb}": the IPC provider does not know it`);
    const [bus, parts] = argument as [string, WorkerParts];
    this.#told.set(bus, parts);
  }

  /** Returns the worker of a bus that is open now. */
  take(namespace: Namespace, bus: string): WorkerThread {
    const parts = this.#told.get(bus);
    this.#told.delete(bus);
    return new WorkerThread(namespace, bus, parts);
  }
}

/** Tells the main thread the calling thread and its descriptors, and creates the link that shows when the bus was opened. */
export function tellThread(
  { posix, directories, busDirectory }: Namespace,
  bus: string,
  queues: readonly number[],
  context: ReceiverContext,
): void {
  const link = `${busDirectory(bus)}/${THREAD}`;
  const thread = posix.thread();
  check(directories.symlink(String(thread), link), `Cannot create ${directories.path(link)}`);
  context.ask(TELL, [bus, { thread, directory: directories.descriptor!, queues } satisfies WorkerParts]).catch(
    () => {},
  ); // it is closing
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

  /** Creates the worker of a bus from what it has told. */
  constructor(namespace: Namespace, bus: string, parts: WorkerParts = { thread: NaN, directory: NaN, queues: [] }) {
    this.bus = bus;
    this.#eventfd = namespace.names.parseBus(bus)?.eventfd;
    this.#namespace = namespace;
    this.#thread = parts.thread;
    this.#directory = parts.directory;
    this.#queues = parts.queues;
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

  /** Returns whether the descriptor that it has told is that of the directory of the namespace. */
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
