/**
 * The system calls that this provider lives on; `ffi.ts` is the way to them.
 *
 * Everything is synchronous and never waits, but for {@linkcode Posix.poll}. A result below 0 is a negated `errno`. Files
 * go this way too, because Deno lets nobody into `/dev` and `/proc` by its own functions unless everything is allowed.
 *
 * @module
 */
import { Errno } from "./errno.ts";
import { type Cpu, type Library, openLibrary } from "./ffi.ts";

/** Flags of `open` and `mq_open`. */
const O_RDONLY = 0;
const O_RDWR = 2;
const O_CREAT = 0o100;
const O_EXCL = 0o200;
const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;
const AT_FDCWD = -100;
const AT_EMPTY_PATH = 0x1000;
const AT_SYMLINK_NOFOLLOW = 0x100;
const STATX_BASIC = 0x7ff;
const CLOCK_MONOTONIC = 1;
const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_SHARED = 1;
const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
const UTIME_OMIT = (1 << 30) - 2;
const UTIME_NOW = (1 << 30) - 1;
/** Nothing but names ends a buffer of directory entries. */
const LISTING = 32 * 1024;

export const POLLIN = 1;
export const POLLOUT = 4;

/** What `stat` says. */
export interface Stat {
  readonly uid: number;
  readonly gid: number;
  readonly mode: number;
  readonly directory: boolean;
  readonly links: number;
  /** Of which file system, the major number above the minor one's 20 bits. */
  readonly device: number;
  readonly inode: number;
  readonly size: number;
  /** Milliseconds, with what is below them behind the point. */
  readonly modified: number;
  readonly read: number;
}

/** Of a queue: how many messages of which size it can hold, and how many it does. */
export interface Attributes {
  readonly messages: number;
  readonly size: number;
  readonly current: number;
}

/** A file as memory. */
export interface Mapping {
  readonly bytes: Uint8Array;
  /** Ends it; the bytes must not be touched any more. */
  unmap(): void;
}

let loaded: Promise<Posix> | undefined;

/**
 * The system calls, loaded once a thread.
 *
 * @throws {UnsupportedError} where there are no POSIX message queues
 * @throws {ProviderError} "denied" where FFI is not allowed
 */
export function loadPosix(): Promise<Posix> {
  return loaded ??= openLibrary().then((library) => new Posix(library));
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** A path, or the name of a queue, as the system calls take it: made once for one that is used often. */
export function encodePath(path: string): Uint8Array {
  return encoder.encode(`${path}\0`);
}

/** What is a descriptor's, not a path's. */
const NO_PATH = encodePath("");

/** The queues that are open in this thread. */
const opened = new Set<number>();

/** See the module. */
export class Posix {
  /** The user whom files and queues belong to. */
  readonly user: number;
  #native: Library["native"];
  #errno: Library["errno"];
  #memory: Library["memory"];
  #cpu: Cpu;
  #statx = new Uint8Array(256);
  #statxView = new DataView(this.#statx.buffer);
  #attributes = new Uint8Array(64);
  #attributesView = new DataView(this.#attributes.buffer);
  #time = new Uint8Array(32);
  #timeView = new DataView(this.#time.buffer);
  #word = new Uint8Array(8);
  #wordView = new DataView(this.#word.buffer);
  #listing: Uint8Array | undefined;

  /** Made by {@linkcode loadPosix}. */
  constructor({ native, errno, memory, cpu }: Library) {
    this.#native = native;
    this.#errno = errno;
    this.#memory = memory;
    this.#cpu = cpu;
    this.user = native.geteuid();
  }

  /** Whether there is a process of this id, also one that `/proc` does not show. */
  lives(pid: number): boolean {
    return this.#result(this.#native.kill(pid, 0)) !== -Errno.ESRCH;
  }

  /** Opens a queue that never blocks; with `create` one that is not there is made. */
  openQueue(
    name: string,
    create?: { readonly messages: number; readonly size: number; readonly mode: number; readonly exclusive?: boolean },
  ): number {
    const flags = O_RDWR | O_NONBLOCK | O_CLOEXEC;
    if (!create) return this.#opened(this.#native.mq_open(encodePath(name), flags, 0, null));
    this.#attributesView.setBigInt64(8, BigInt(create.messages), true);
    this.#attributesView.setBigInt64(16, BigInt(create.size), true);
    const made = flags | O_CREAT | (create.exclusive ? O_EXCL : 0);
    return this.#opened(this.#native.mq_open(encodePath(name), made, create.mode, this.#attributes));
  }

  /** Whether a descriptor is a queue that was opened in this thread. */
  holds(descriptor: number): boolean {
    return opened.has(descriptor);
  }

  #opened(result: number): number {
    const descriptor = this.#result(result);
    if (descriptor >= 0) opened.add(descriptor);
    return descriptor;
  }

  /** Sends the first `length` bytes: to the end of the queue, or behind all of this priority before those of lower ones. */
  send(queue: number, message: Uint8Array, length: number, priority = 0): number {
    return this.#native.mq_send(queue, message, length, priority) === 0 ? 0 : -this.#errno();
  }

  /** Takes a message; the number of its bytes. The buffer must hold the largest that the queue allows. */
  receive(queue: number, buffer: Uint8Array): number {
    const length = this.#native.mq_receive(queue, buffer, buffer.length, null);
    return length >= 0 ? length : -this.#errno();
  }

  /** How large a queue is; undefined for what is none. */
  attributes(queue: number): Attributes | undefined {
    if (this.#native.mq_getattr(queue, this.#attributes) !== 0) return undefined;
    const field = (offset: number) => Number(this.#attributesView.getBigInt64(offset, true));
    return { messages: field(8), size: field(16), current: field(24) };
  }

  /** Removes a queue by its name. */
  unlinkQueue(name: string): number {
    return this.#result(this.#native.mq_unlink(encodePath(name)));
  }

  /** Waits at most `ms` milliseconds until one of the descriptors (8 bytes each: fd, events, what came) is ready. */
  poll(descriptors: Uint8Array, count: number, ms: number): number {
    const whole = Math.floor(ms / 1_000);
    this.#timeView.setBigInt64(0, BigInt(whole), true);
    this.#timeView.setBigInt64(8, BigInt(Math.floor((ms - whole * 1_000) * 1e6)), true);
    const ready = this.#native.ppoll(descriptors, count, this.#time, null);
    return ready >= 0 ? ready : -this.#errno();
  }

  /** Milliseconds since the boot, by the clock that nobody sets: the same for all processes. */
  now(): number {
    this.#native.clock_gettime(CLOCK_MONOTONIC, this.#time);
    return Number(this.#timeView.getBigInt64(0, true)) * 1_000 + Number(this.#timeView.getBigInt64(8, true)) / 1e6;
  }

  /** A bell: a counter that can be polled. */
  eventfd(): number {
    return this.#result(this.#native.eventfd(0, O_NONBLOCK | O_CLOEXEC));
  }

  /** Rings a bell. */
  writeEventfd(eventfd: number): void {
    this.#wordView.setBigUint64(0, 1n, true);
    this.#native.write(eventfd, this.#word, 8);
  }

  /** How often a bell was rung since it was heard last. */
  readEventfd(eventfd: number): number {
    return this.#native.read(eventfd, this.#word, 8) === 8 ? Number(this.#wordView.getBigUint64(0, true)) : 0;
  }

  /** Opens a file for reading; a link is not followed unless `follow` says so, and a pipe is not waited for. */
  openFile(path: string, follow = false): number {
    const flags = O_RDONLY | O_NONBLOCK | O_CLOEXEC | (follow ? 0 : this.#cpu.noFollow);
    return this.#result(this.#native.open(encodePath(path), flags, 0));
  }

  /** Makes a file that is not there yet. */
  createFile(path: string, mode: number): number {
    return this.#result(this.#native.open(encodePath(path), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode));
  }

  /** Makes an open file so long, and memory of it. What is written there outlives this process. The errno as a number else. */
  map(file: number, length: number): Mapping | number {
    const sized = this.#result(this.#native.ftruncate(file, length));
    if (sized < 0) return sized;
    // without a write beforehand, a lack of space would show as SIGBUS
    const written = this.write(file, new Uint8Array(length));
    if (written < length) return written < 0 ? written : -Errno.ENOSPC;
    const pointer = this.#native.mmap(null, length, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    const memory = this.#memory(pointer, length);
    if (!memory) return -this.#errno();
    return { bytes: new Uint8Array(memory), unmap: () => void this.#native.munmap(pointer, length) };
  }

  /** Reads at most the buffer's length. */
  read(file: number, buffer: Uint8Array): number {
    return this.#result(this.#native.read(file, buffer, buffer.length));
  }

  /** Writes what it can. */
  write(file: number, bytes: Uint8Array): number {
    return this.#result(this.#native.write(file, bytes, bytes.length));
  }

  /** Closes a file, queue or bell. */
  close(descriptor: number): void {
    opened.delete(descriptor);
    this.#native.close(descriptor);
  }

  /** What a path names, or a descriptor is; a link is not followed unless `follow` says so. The errno as a number else. */
  stat(target: string | Uint8Array | number, follow = false): Stat | number {
    const [at, path, flags] = typeof target === "number"
      ? [target, NO_PATH, AT_EMPTY_PATH]
      : [AT_FDCWD, typeof target === "string" ? encodePath(target) : target, follow ? 0 : AT_SYMLINK_NOFOLLOW];
    const result = this.#result(this.#native.syscall(this.#cpu.statx, at, path, flags, STATX_BASIC, this.#statx));
    if (result < 0) return result;
    const view = this.#statxView;
    const mode = view.getUint16(28, true);
    return {
      links: view.getUint32(16, true),
      uid: view.getUint32(20, true),
      gid: view.getUint32(24, true),
      mode: mode & 0o7777,
      directory: (mode & S_IFMT) === S_IFDIR,
      device: view.getUint32(136, true) * 2 ** 20 + view.getUint32(140, true),
      inode: Number(view.getBigUint64(32, true)),
      size: Number(view.getBigUint64(40, true)),
      read: Number(view.getBigInt64(64, true)) * 1_000 + view.getUint32(72, true) / 1e6,
      modified: Number(view.getBigInt64(112, true)) * 1_000 + view.getUint32(120, true) / 1e6,
    };
  }

  /** The names in a directory; a link is not followed unless `follow` says so. The errno as a number else. */
  list(path: string, follow = false): string[] | number {
    const directory = this.openFile(path, follow);
    if (directory < 0) return directory;
    const buffer = this.#listing ??= new Uint8Array(LISTING);
    const view = new DataView(buffer.buffer);
    const names: string[] = [];
    try {
      while (true) {
        const length = this.#result(
          this.#native.syscall(this.#cpu.getdents64, directory, buffer, buffer.length, 0, null),
        );
        if (length < 0) return length;
        if (length === 0) return names;
        for (let at = 0; at < length; at += view.getUint16(at + 16, true)) {
          const name = decoder.decode(buffer.subarray(at + 19, buffer.indexOf(0, at + 19)));
          if (name !== "." && name !== "..") names.push(name);
        }
      }
    } finally {
      this.close(directory);
    }
  }

  /** Makes a directory. */
  makeDirectory(path: string, mode: number): number {
    return this.#result(this.#native.mkdir(encodePath(path), mode));
  }

  /** Removes a directory that is empty. */
  removeDirectory(path: string): number {
    return this.#result(this.#native.rmdir(encodePath(path)));
  }

  /** Removes a file or link. */
  unlink(path: string): number {
    return this.#result(this.#native.unlink(encodePath(path)));
  }

  /** Moves a file. */
  rename(from: string, to: string): number {
    return this.#result(this.#native.rename(encodePath(from), encodePath(to)));
  }

  /** Gives a file another name. */
  link(existing: string, path: string): number {
    return this.#result(this.#native.link(encodePath(existing), encodePath(path)));
  }

  /** Makes a symbolic link. */
  symlink(target: string, path: string): number {
    return this.#result(this.#native.symlink(encodePath(target), encodePath(path)));
  }

  /** Where a symbolic link points. */
  readLink(path: string): string | number {
    const buffer = new Uint8Array(4_096);
    const length = this.#result(this.#native.readlink(encodePath(path), buffer, buffer.length));
    return length < 0 ? length : decoder.decode(buffer.subarray(0, length));
  }

  /** Sets the mode and group of a path, or of what a descriptor is; `undefined` leaves the group. */
  share(target: string | number, mode: number, group: number | undefined): number {
    const keep = 0xffffffff;
    if (typeof target === "number") {
      const changed = group === undefined ? 0 : this.#result(this.#native.fchown(target, keep, group));
      return changed < 0 ? changed : this.#result(this.#native.fchmod(target, mode));
    }
    const changed = group === undefined ? 0 : this.#result(this.#native.chown(encodePath(target), keep, group));
    return changed < 0 ? changed : this.#result(this.#native.chmod(encodePath(target), mode));
  }

  /** Sets when a file was modified, in milliseconds, and with `read` that it was read now. */
  setModified(path: string, ms: number, read = false): number {
    this.#timeView.setBigInt64(8, BigInt(read ? UTIME_NOW : UTIME_OMIT), true);
    this.#setTime(16, ms);
    return this.#utimensat(path);
  }

  /** Sets when a file was read, in milliseconds. */
  setRead(path: string, ms: number): number {
    this.#setTime(0, ms);
    this.#timeView.setBigInt64(24, BigInt(UTIME_OMIT), true);
    return this.#utimensat(path);
  }

  #setTime(offset: number, ms: number): void {
    const seconds = Math.floor(ms / 1_000);
    this.#timeView.setBigInt64(offset, BigInt(seconds), true);
    this.#timeView.setBigInt64(offset + 8, BigInt(Math.floor((ms - seconds * 1_000) * 1e6)), true);
  }

  #utimensat(path: string): number {
    return this.#result(this.#native.utimensat(AT_FDCWD, encodePath(path), this.#time, AT_SYMLINK_NOFOLLOW));
  }

  /** Says that a file was modified now, by the wall clock: all that one may say who can write to it, and does not own it. */
  touch(path: string): number {
    return this.#result(this.#native.utimensat(AT_FDCWD, encodePath(path), null, AT_SYMLINK_NOFOLLOW));
  }

  #result(result: number): number {
    return result >= 0 ? result : -this.#errno();
  }
}
