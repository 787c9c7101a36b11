/**
 * The thread of a bus's worker. It outlives the worker for a moment after the worker was terminated.
 *
 * A terminated worker closes nothing, and its queues count towards the limits as long as they are open. Another thread may close
 * their descriptors only after the worker's thread has ended: until then the worker may close them itself, and their numbers may
 * belong to anything else.
 *
 * @module
 */
import { pause } from "../../internal/time.ts";
import { removeBus } from "./cleanup.ts";
import { check } from "./errors.ts";
import { eventsOf, inboxOf } from "./names.ts";
import type { Namespace } from "./namespace.ts";

/** The link in a bus's directory whose target holds the numbers. */
const LINK = "thread";
/**
 * Milliseconds within which the thread of a terminated worker ends: it takes up to 100. One that hangs never ends on Deno, and
 * closes nothing either.
 */
const ENDING = 2_000;
/** Milliseconds between two checks. */
const CHECK_INTERVAL = 5;

/** Records the calling thread as that of a bus, and the descriptors of the bus's queues. */
export function recordThread({ posix, directories, busDirectory }: Namespace, bus: string, queues: number[]): void {
  const link = `${busDirectory(bus)}/${LINK}`;
  const numbers = [posix.thread(), ...queues].join(" ");
  check(directories.symlink(numbers, link), `Cannot create ${directories.path(link)}`);
}

/** The worker of one bus of this process. */
export class WorkerThread {
  /** The name of the bus. */
  readonly bus: string;
  readonly #namespace: Namespace;
  /** The descriptor that wakes it, until it has ended. */
  #eventfd: number | undefined;
  readonly #thread: number;
  readonly #queues: readonly number[];

  /** Reads what the worker has recorded. Even if another member of the group has changed it, only queues of this bus are closed. */
  constructor(namespace: Namespace, bus: string) {
    const { posix, names, directories, busDirectory } = namespace;
    this.bus = bus;
    this.#eventfd = names.parseBus(bus)?.eventfd;
    this.#namespace = namespace;
    const recorded = String(posix.readLink(directories.path(`${busDirectory(bus)}/${LINK}`)));
    const [thread = NaN, ...queues] = recorded.split(" ").map(Number);
    this.#thread = thread;
    this.#queues = queues;
  }

  /** Wakes it. */
  wake(): void {
    if (this.#eventfd !== undefined) this.#namespace.posix.writeEventfd(this.#eventfd);
  }

  /** Removes the queues and files of its bus, after its thread has ended. A worker that has closed its bus has removed them itself. */
  async remove(): Promise<void> {
    const { bus } = this;
    const { posix, queues } = this.#namespace;
    const closed = !this.#queues.some((descriptor) => this.#open(descriptor));
    if (!closed) {
      for (const queue of [eventsOf(bus), inboxOf(bus)]) {
        queues.removed(queue);
        posix.unlinkQueue(queue); // so that nobody waits for it to read them
      }
      this.wake(); // it ends when it returns from `poll`
      for (const end = performance.now() + ENDING; this.#lives && performance.now() < end;) await pause(CHECK_INTERVAL);
      removeBus(this.#namespace, bus);
      for (const descriptor of this.#queues) if (this.#open(descriptor)) posix.close(descriptor);
    }
    if (this.#eventfd !== undefined) posix.close(this.#eventfd);
    this.#eventfd = undefined;
  }

  get #lives(): boolean {
    return typeof this.#namespace.posix.stat(`/proc/self/task/${this.#thread}`) === "object";
  }

  /** Whether a descriptor is one of its queues. */
  #open(descriptor: number): boolean {
    return String(this.#namespace.posix.readLink(`/proc/self/fd/${descriptor}`)).startsWith(`/${this.bus}`);
  }
}
