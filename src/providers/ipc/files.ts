/**
 * The system calls for files and directories. Deno's own functions refuse paths in `/dev` and `/proc` unless all permissions are granted.
 *
 * A path that is not absolute starts at the directory whose descriptor is `at`. A result below 0 is a negated errno.
 *
 * @module
 */
import { Errno } from "./errno.ts";
import { type Library, type Long, readLong } from "./ffi.ts";
import { decodeName, encodePath, PATH_BYTES, writePath } from "./paths.ts";

/** Flags for opening files and queues. */
export const O_RDWR = 2;
export const O_CREAT = 0o100;
export const O_EXCL = 0o200;
export const O_NONBLOCK = 0o4000;
export const O_CLOEXEC = 0o2000000;
const O_RDONLY = 0;
const O_PATH = 0o10000000;
const AT_FDCWD = -100;
const AT_EMPTY_PATH = 0x1000;
const AT_SYMLINK_NOFOLLOW = 0x100;
const AT_REMOVEDIR = 0x200;
const STATX_BASIC = 0x7ff;
const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_SHARED = 1;
const LOCK_EX = 2;
const LOCK_NB = 4;
const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const SEEK_SET = 0;
const SEEK_HOLE = 4;
const UTIME_OMIT = (1 << 30) - 2;
const UTIME_NOW = (1 << 30) - 1;
/** Bytes of the buffer for directory entries, as in the C library. */
const LISTING_BYTES = 32 * 1024;
/**
 * The number of parts that are listed of a directory in which strangers may create names: 4 MiB of entries. While they do, Linux 6.6 to 6.10
 * lists `/dev/shm` without an end.
 */
export const STRANGE_PARTS = 128;

/** The largest number of bytes of the target of a symbolic link, as in the kernel. */
export const LINK_BYTES: number = PATH_BYTES - 1;

/** The state of a file, directory or queue. */
export interface Stat {
  readonly uid: number;
  readonly gid: number;
  readonly mode: number;
  readonly directory: boolean;
  /** True for a regular file, false for a directory, link, pipe or device. */
  readonly regular: boolean;
  readonly links: number;
  /** The number of the file system: the major number, then 20 bits of the minor number. */
  readonly device: number;
  readonly inode: number;
  readonly size: number;
  /** The time of the last modification, in milliseconds with a fraction. */
  readonly modified: number;
  /** The time of the last access, in milliseconds with a fraction. */
  readonly read: number;
}

/** A file that is mapped into memory. */
export interface Mapping {
  readonly bytes: Uint8Array;
  /** Unmaps the file. After that, the bytes must not be used. */
  unmap(): void;
}

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** The empty path, for a system call on the descriptor itself. */
const NO_PATH = encodePath("");

/** The access list of a file or directory, and that of what is created in a directory. */
const ACCESS_LISTS = ["system.posix_acl_access", "system.posix_acl_default"].map(encodePath);

/** The system calls for files and directories. */
export class Files {
  readonly #library: Library;
  #statx = new Uint8Array(256);
  #statxView = new DataView(this.#statx.buffer);
  /** Two `timespec`: the access time and the modification time. */
  #times = new Uint8Array(32);
  #timesView = new DataView(this.#times.buffer);
  #listing: Uint8Array | undefined;
  #link = new Uint8Array(PATH_BYTES);
  #path = new Uint8Array(PATH_BYTES);
  #toPath = new Uint8Array(PATH_BYTES);
  #statxNumber: Long;
  #statxMask: Long;
  #linkBytes: Long;

  /** Creates the system calls of this C library. */
  constructor(library: Library) {
    this.#library = library;
    const { cpu, long } = library;
    this.#statxNumber = long(cpu.statx);
    this.#statxMask = long(STATX_BASIC);
    this.#linkBytes = long(this.#link.length);
  }

  /** Opens a file for reading, without waiting for a pipe. A symbolic link is followed only with `follow`. */
  openFile(path: string, follow = false, at = AT_FDCWD): number {
    const { cpu, native } = this.#library;
    const flags = O_RDONLY | O_NONBLOCK | O_CLOEXEC | (follow ? 0 : cpu.noFollow);
    return this.result(native.openat(at, writePath(path, this.#path), flags, 0));
  }

  /** Opens a directory, but not through a link. Paths can start at it; with `read`, it can also be listed and changed. */
  openDirectory(path: string, at = AT_FDCWD, read = false): number {
    const { cpu, native } = this.#library;
    const flags = (read ? O_RDONLY : O_PATH) | O_CLOEXEC | cpu.directory | cpu.noFollow;
    return this.result(native.openat(at, writePath(path, this.#path), flags, 0));
  }

  /** Creates a file. Fails if the file exists. */
  createFile(path: string, mode: number, at = AT_FDCWD): number {
    const flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC;
    return this.result(this.#library.native.openat(at, writePath(path, this.#path), flags, mode));
  }

  /** Sets the length of an open file and maps it into memory. Written bytes outlive this process. Returns an errno if it fails. */
  map(file: number, length: number): Mapping | number {
    const { memory, native } = this.#library;
    const sized = this.result(native.ftruncate(file, length));
    if (sized < 0) return sized;
    // without this write a lack of space would raise SIGBUS later
    const written = this.write(file, new Uint8Array(length));
    if (written < length) return written < 0 ? written : -Errno.ENOSPC;
    const pointer = native.mmap(null, length, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    const buffer = memory(pointer, length);
    if (!buffer) return -this.#library.errno();
    return { bytes: new Uint8Array(buffer), unmap: () => void native.munmap(pointer, length) };
  }

  /** Reads into a buffer. Returns the number of bytes. */
  read(file: number, buffer: Uint8Array): number {
    const { long, native } = this.#library;
    return this.result(native.read(file, buffer, long(buffer.length)));
  }

  /** Returns the text in the first `length` bytes of a file; undefined if it cannot be opened or read. */
  readText(path: string, length: number): string | undefined {
    const [file, buffer] = [this.openFile(path), new Uint8Array(length)];
    if (file < 0) return undefined;
    const read = this.read(file, buffer);
    this.close(file);
    return read < 0 ? undefined : decoder.decode(buffer.subarray(0, read));
  }

  /** Writes bytes. Returns the number of written bytes. */
  write(file: number, bytes: Uint8Array): number {
    const { long, native } = this.#library;
    return this.result(native.write(file, bytes, long(bytes.length)));
  }

  /** Returns whether a file has parts that were never written, which need no memory. Its position must be 0, and stays 0. */
  sparse(file: number, size: number): boolean {
    const { native } = this.#library;
    const hole = native.lseek(file, 0, SEEK_HOLE);
    native.lseek(file, 0, SEEK_SET);
    return hole >= 0 && hole < size;
  }

  /** Locks an open file until it is closed or this process ends; EAGAIN if another process or thread has locked it. */
  lock(file: number): number {
    return this.result(this.#library.native.flock(file, LOCK_EX | LOCK_NB));
  }

  /** Closes a file. */
  close(descriptor: number): void {
    this.#library.native.close(descriptor);
  }

  /** Closes `descriptor`, and gives its number to the open file `to`. Returns the number. */
  replace(descriptor: number, to: number): number {
    const replaced = this.result(this.#library.native.dup3(to, descriptor, O_CLOEXEC));
    this.close(to);
    return replaced;
  }

  /** Returns the state of a path or a descriptor, or an errno. A symbolic link is followed only with `follow`. */
  stat(target: string | number, follow = false, at = AT_FDCWD): Stat | number {
    const { long, native } = this.#library;
    const [from, path, flags] = typeof target === "number"
      ? [target, NO_PATH, AT_EMPTY_PATH]
      : [at, writePath(target, this.#path), follow ? 0 : AT_SYMLINK_NOFOLLOW];
    const call = native.syscall(this.#statxNumber, long(from), path, long(flags), this.#statxMask, this.#statx);
    const result = this.result(call);
    if (result < 0) return result;
    const view = this.#statxView;
    const mode = view.getUint16(28, true);
    return {
      links: view.getUint32(16, true),
      uid: view.getUint32(20, true),
      gid: view.getUint32(24, true),
      mode: mode & 0o7777,
      directory: (mode & S_IFMT) === S_IFDIR,
      regular: (mode & S_IFMT) === S_IFREG,
      device: view.getUint32(136, true) * 2 ** 20 + view.getUint32(140, true),
      inode: readLong(view, 32),
      size: readLong(view, 40),
      read: readLong(view, 64) * 1_000 + view.getUint32(72, true) / 1e6,
      modified: readLong(view, 112) * 1_000 + view.getUint32(120, true) / 1e6,
    };
  }

  /** Returns the names in a directory, as {@linkcode listOpen} does. A symbolic link is followed only with `follow`. */
  list(path: string, follow = false, parts = Infinity): string[] | number {
    const directory = this.openFile(path, follow);
    if (directory < 0) return directory;
    try {
      return this.listOpen(directory, parts);
    } finally {
      this.close(directory);
    }
  }

  /** Returns the names in a directory that was opened to be read, or an errno. It reads at most so many parts, of about 1,000 names each. */
  listOpen(directory: number, parts = Infinity): string[] | number {
    const names: string[] = [];
    for (let left = parts, length = 1; left > 0 && length > 0; left--) {
      length = this.listPart(directory, names);
      if (length < 0) return length;
    }
    return names;
  }

  /**
   * Appends the next names in a directory that was opened to be read, about 1,000. Returns 0 after the last ones, or an errno. Names that are
   * not UTF-8 are left out: no path that is made of such a name would exist.
   */
  listPart(directory: number, names: string[]): number {
    const { cpu, long, native } = this.#library;
    const buffer = this.#listing ??= new Uint8Array(LISTING_BYTES);
    const view = new DataView(buffer.buffer);
    const call = native.syscall(long(cpu.getdents64), long(directory), buffer, long(buffer.length), long(0), null);
    const length = this.result(call);
    for (let at = 0; at < length; at += view.getUint16(at + 16, true)) {
      const bytes = buffer.subarray(at + 19, buffer.indexOf(0, at + 19));
      const name = decodeName(bytes);
      if (name !== undefined && name !== "." && name !== "..") names.push(name);
    }
    return length;
  }

  /** Creates a directory. */
  makeDirectory(path: string, mode: number, at = AT_FDCWD): number {
    return this.result(this.#library.native.mkdirat(at, writePath(path, this.#path), mode));
  }

  /** Removes an empty directory. */
  removeDirectory(path: string, at = AT_FDCWD): number {
    return this.result(this.#library.native.unlinkat(at, writePath(path, this.#path), AT_REMOVEDIR));
  }

  /** Removes a file or link. */
  unlink(path: string, at = AT_FDCWD): number {
    return this.result(this.#library.native.unlinkat(at, writePath(path, this.#path), 0));
  }

  /**
   * Renames a file or directory. It replaces an older file of the new name: the names are unique, so only a member of the group can have put
   * one there, and it gains nothing. So `RENAME_NOREPLACE`, which some file systems lack, is not needed.
   */
  rename(from: string, to: string, fromAt = AT_FDCWD, toAt = AT_FDCWD): number {
    const [source, target] = [writePath(from, this.#path), writePath(to, this.#toPath)];
    return this.result(this.#library.native.renameat(fromAt, source, toAt, target));
  }

  /** Creates a symbolic link. Its target has at most {@linkcode LINK_BYTES} bytes; in an array, a byte 0 ends it. */
  symlink(target: string | Uint8Array, path: string, at = AT_FDCWD): number {
    const bytes = typeof target === "string" ? writePath(target, this.#toPath) : target;
    return this.result(this.#library.native.symlinkat(bytes, at, writePath(path, this.#path)));
  }

  /** Returns the target of a symbolic link, or an errno. */
  readLink(path: string): string | number {
    const target = this.readLinkBytes(path);
    return typeof target === "number" ? target : decoder.decode(target);
  }

  /** Returns the bytes of the target of a symbolic link, which the next call overwrites, or an errno. */
  readLinkBytes(path: string, at = AT_FDCWD): Uint8Array | number {
    const { native } = this.#library;
    const length = this.result(native.readlinkat(at, writePath(path, this.#path), this.#link, this.#linkBytes));
    return length < 0 ? length : this.#link.subarray(0, length);
  }

  /**
   * Sets the group and the mode of a descriptor, and removes the access lists that it has from its directory: a user who has left the group may
   * have set them there, to keep its access.
   */
  share(descriptor: number, mode: number, group: number): number {
    const { native } = this.#library;
    for (const list of ACCESS_LISTS) native.fremovexattr(descriptor, list);
    const keep = 0xffffffff;
    const changed = this.result(native.fchown(descriptor, keep, group));
    return changed < 0 ? changed : this.setMode(descriptor, mode);
  }

  /** Returns whether an open file has an access list. Its mode then shows the mask of the list, and not what its group may do. */
  hasAccessList(descriptor: number): boolean {
    return this.#library.native.fgetxattr(descriptor, ACCESS_LISTS[0]!, NO_PATH, 0) >= 0;
  }

  /** Sets the mode of a descriptor. */
  setMode(descriptor: number, mode: number): number {
    return this.result(this.#library.native.fchmod(descriptor, mode));
  }

  /** Sets the modification time to `ms` milliseconds. With `read`, it also sets the access time to now. */
  setModified(path: string, ms: number, read = false, at = AT_FDCWD): number {
    this.#timesView.setBigInt64(8, BigInt(read ? UTIME_NOW : UTIME_OMIT), true);
    this.#setTime(16, ms);
    return this.#utimensat(at, path, this.#times);
  }

  /** Sets the access time to `ms` milliseconds. */
  setRead(path: string, ms: number, at = AT_FDCWD): number {
    this.#setTime(0, ms);
    this.#timesView.setBigInt64(24, BigInt(UTIME_OMIT), true);
    return this.#utimensat(at, path, this.#times);
  }

  /** Sets the times of a file to now, by the wall clock. To set other times, a user must own the file; for this, write access is enough. */
  touch(path: string, at = AT_FDCWD): number {
    return this.#utimensat(at, path, null);
  }

  #setTime(offset: number, ms: number): void {
    const seconds = Math.floor(ms / 1_000);
    this.#timesView.setBigInt64(offset, BigInt(seconds), true);
    this.#timesView.setBigInt64(offset + 8, BigInt(Math.floor((ms - seconds * 1_000) * 1e6)), true);
  }

  #utimensat(at: number, path: string, times: Uint8Array | null): number {
    return this.result(this.#library.native.utimensat(at, writePath(path, this.#path), times, AT_SYMLINK_NOFOLLOW));
  }

  /** Returns the result of a system call, or its negated errno if it failed. */
  protected result(result: number): number {
    return result >= 0 ? result : -this.#library.errno();
  }
}
