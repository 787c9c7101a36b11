/**
 * The system calls of the IPC provider. `ffi.ts` loads the C library, and `files.ts` contains the system calls for files.
 *
 * All of them return immediately, except {@linkcode Posix.poll}. A result below 0 is a negated errno.
 *
 * @module
 */
import { Errno } from "./errno.ts";
import { type Library, type Long, openLibrary, readLong } from "./ffi.ts";
import { Files, O_CLOEXEC, O_CREAT, O_EXCL, O_NONBLOCK, O_RDWR } from "./files.ts";
import { encodePath } from "./paths.ts";

export type { Mapping, Stat } from "./files.ts";

const CLOCK_MONOTONIC = 1;
/** The value of a limit that is not set: RLIM_INFINITY. */
const UNLIMITED = 2n ** 64n - 1n;

/** Events of {@linkcode Posix.poll}. */
export const POLLIN = 1;
export const POLLOUT = 4;

/** The size of a queue, and the number of messages that wait in it. */
export interface Attributes {
  readonly messages: number;
  readonly size: number;
  readonly current: number;
}

let loaded: Promise<Posix> | undefined;

/**
 * Loads the system calls, once for each thread.
 *
 * @throws {UnsupportedError} if the platform has no POSIX message queues
 * @throws {ProviderError} "denied" if FFI is not allowed
 */
export function loadPosix(): Promise<Posix> {
  return loaded ??= openLibrary().then((library) => new Posix(library));
}

/** The system calls for queues, eventfds, processes, and those for files. */
export class Posix extends Files {
  /** The id of this process's user. */
  readonly user: number;
  /** The id of this process's primary group. */
  readonly group: number;
  /** The id of this process. */
  readonly pid: number;
  #native: Library["native"];
  #errno: Library["errno"];
  #long: Library["long"];
  #cpu: Library["cpu"];
  #thread: number;
  #attributes = new Uint8Array(64);
  #attributesView = new DataView(this.#attributes.buffer);
  #time = new Uint8Array(16);
  #timeView = new DataView(this.#time.buffer);
  #word = new Uint8Array(8);
  #priority = new Uint8Array(4);
  #priorityView = new DataView(this.#priority.buffer);
  #wordView = new DataView(this.#word.buffer);
  #wordBytes: Long;

  /** Created by {@linkcode loadPosix}. */
  constructor(library: Library) {
    super(library);
    this.#native = library.native;
    this.#errno = library.errno;
    this.#long = library.long;
    this.#wordBytes = library.long(this.#word.length);
    this.#cpu = library.cpu;
    this.user = this.#native.geteuid();
    this.group = this.#native.getegid();
    this.pid = this.#native.getpid();
    this.#thread = this.thread();
  }

  /** Returns whether a process has this id, even if `/proc` does not show it. */
  lives(pid: number): boolean {
    // Deno refuses other numbers, Bun takes their lowest 32 bits; 0 and less are groups of processes
    if (pid <= 0 || pid !== (pid | 0)) return false;
    return this.result(this.#native.kill(pid, 0)) !== -Errno.ESRCH;
  }

  /** Returns the id of this thread, as `/proc/self/task` lists it. */
  thread(): number {
    return this.#native.syscall(this.#cpu.gettid, 0, null, 0, 0, null);
  }

  /**
   * Opens a queue in non-blocking mode. With `create`, a missing queue is created. The position of the descriptor, which queues do not use, is
   * the id of this thread: see {@linkcode Posix.openedBy}.
   */
  openQueue(
    name: string,
    create?: { readonly messages: number; readonly size: number; readonly mode: number; readonly exclusive?: boolean },
  ): number {
    const descriptor = this.#openQueue(name, create);
    if (descriptor >= 0) this.#native.lseek(descriptor, this.#thread, 0);
    return descriptor;
  }

  /** Returns the descriptors of those queues that a thread of this process has opened. */
  openedBy(thread: number, queues: (name: string) => boolean): number[] {
    const listed = this.list("/proc/self/fd");
    return (typeof listed === "number" ? [] : listed).map(Number).filter((descriptor) => {
      if (!queues(String(this.readLink(`/proc/self/fd/${descriptor}`)))) return false;
      return this.readText(`/proc/self/fdinfo/${descriptor}`, 64)?.startsWith(`pos:\t${thread}\n`);
    });
  }

  #openQueue(
    name: string,
    create?: { readonly messages: number; readonly size: number; readonly mode: number; readonly exclusive?: boolean },
  ): number {
    const flags = O_RDWR | O_NONBLOCK | O_CLOEXEC;
    if (!create) return this.result(this.#native.mq_open(encodePath(name), flags, 0, null));
    this.#attributesView.setBigInt64(8, BigInt(create.messages), true);
    this.#attributesView.setBigInt64(16, BigInt(create.size), true);
    const creating = flags | O_CREAT | (create.exclusive ? O_EXCL : 0);
    return this.result(this.#native.mq_open(encodePath(name), creating, create.mode, this.#attributes));
  }

  /** Sends the first `length` bytes of a message. It follows the messages of the same priority and precedes those of lower priorities. */
  send(queue: number, message: Uint8Array, length: number, priority = 0): number {
    return this.#native.mq_send(queue, message, this.#long(length), priority) === 0 ? 0 : -this.#errno();
  }

  /** Takes a message; returns the number of its bytes. The buffer must hold the largest message of the queue. */
  receive(queue: number, buffer: Uint8Array): number {
    const length = this.#native.mq_receive(queue, buffer, this.#long(buffer.length), this.#priority);
    return length >= 0 ? length : -this.#errno();
  }

  /** The priority of the message that was taken last. */
  get priority(): number {
    return this.#priorityView.getUint32(0, true);
  }

  /** Returns the attributes of a queue; undefined if the descriptor is not a queue. */
  attributes(queue: number): Attributes | undefined {
    if (this.#native.mq_getattr(queue, this.#attributes) !== 0) return undefined;
    const field = (offset: number) => readLong(this.#attributesView, offset);
    return { messages: field(8), size: field(16), current: field(24) };
  }

  /** Removes a queue by its name. */
  unlinkQueue(name: string): number {
    return this.result(this.#native.mq_unlink(encodePath(name)));
  }

  /**
   * Blocks until one of `count` descriptors is ready, at most `ms` milliseconds. Each descriptor has 8 bytes of the array (`struct
   * pollfd`).
   */
  poll(descriptors: Uint8Array, count: number, ms: number): number {
    const seconds = Math.floor(ms / 1_000);
    this.#timeView.setBigInt64(0, BigInt(seconds), true);
    this.#timeView.setBigInt64(8, BigInt(Math.floor((ms - seconds * 1_000) * 1e6)), true);
    const ready = this.#native.ppoll(descriptors, this.#long(count), this.#time, null);
    return ready >= 0 ? ready : -this.#errno();
  }

  /** Returns the milliseconds since the boot, by a clock that all processes share and that cannot be set. */
  now(): number {
    this.#native.clock_gettime(CLOCK_MONOTONIC, this.#time);
    return readLong(this.#timeView, 0) * 1_000 + readLong(this.#timeView, 8) / 1e6;
  }

  /** Returns the soft and the hard limit of this process for a resource, or an errno. */
  limit(resource: number): { readonly soft: number; readonly hard: number } | number {
    const result = this.result(this.#native.prlimit(0, resource, null, this.#time));
    if (result < 0) return result;
    const value = (offset: number) => {
      const limit = this.#timeView.getBigUint64(offset, true);
      return limit === UNLIMITED ? Infinity : Number(limit);
    };
    return { soft: value(0), hard: value(8) };
  }

  /** Sets the soft and the hard limit of this process for a resource. */
  setLimit(resource: number, soft: number, hard: number): number {
    [soft, hard].forEach((limit, i) =>
      this.#timeView.setBigUint64(8 * i, limit === Infinity ? UNLIMITED : BigInt(limit), true)
    );
    return this.result(this.#native.prlimit(0, resource, this.#time, null));
  }

  /** Creates an eventfd: a counter that can be polled. */
  eventfd(): number {
    return this.result(this.#native.eventfd(0, O_NONBLOCK | O_CLOEXEC));
  }

  /** Adds 1 to an eventfd. */
  writeEventfd(eventfd: number): void {
    this.#wordView.setBigUint64(0, 1n, true);
    this.#native.write(eventfd, this.#word, this.#wordBytes);
  }

  /** Reads an eventfd and sets it to 0. */
  readEventfd(eventfd: number): number {
    return this.#native.read(eventfd, this.#word, this.#wordBytes) === 8
      ? Number(this.#wordView.getBigUint64(0, true))
      : 0;
  }
}
