/**
 * Files for bodies that are larger than a message: each is a file beside its queue, and the message holds its name.
 *
 * @module
 */
import { isUnavailable, ProviderError } from "../../errors.ts";
import { type Access, GROUP_READS, trusted, usable } from "./access.ts";
import type { Directories } from "./directories.ts";
import { check, notOwned, notShared, systemError } from "./errors.ts";
import { Errno } from "./errno.ts";
import { LINK_BYTES } from "./files.ts";
import { readItem } from "./frames.ts";
import type { Posix, Stat } from "./posix.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** Matches the name of a body file: a UUID. */
const NAME = /^[0-9a-f-]{36}$/;

/** The first byte of the target of a link that holds a message. */
const LINK = 4;
/** The largest number of bytes of a message in a link. */
export const LINK_MESSAGE: number = LINK_BYTES - 1;

/** Writes and reads whole files of one namespace. */
export class BodyFiles {
  #posix: Posix;
  #directories: Directories;
  #access: Access;
  #limit: number;
  /** The target of the last written link, with the byte 0 at its end. */
  #target = new Uint8Array(LINK_BYTES + 1);

  /** Creates the body files of a namespace. All paths are relative to `directories`. Files of more than `limit` bytes are not read. */
  constructor(posix: Posix, directories: Directories, access: Access, limit: number) {
    this.#posix = posix;
    this.#directories = directories;
    this.#access = access;
    this.#limit = limit;
  }

  /** Writes a body into a new file of a directory; returns its name. With `make`, a missing directory is created. */
  write(directory: string, body: string, make: boolean, doing?: string): string {
    const name = crypto.randomUUID();
    this.writeFile(directory, name, encoder.encode(body), make, doing);
    return name;
  }

  /** Creates a file with this content. `doing` is the purpose of the file, for the message of an error. */
  writeFile(directory: string, name: string, bytes: Uint8Array, make: boolean, doing?: string): void {
    const path = `${directory}/${name}`;
    const does = doing === undefined ? "write" : `${doing} by`;
    const what = `Cannot ${does} a file of ${bytes.length} bytes in ${this.#directories.root}`;
    const create = () => this.#directories.createFile(path);
    const file = check(make ? this.#directories.within(directory, create) : create(), what);
    try {
      for (let at = 0; at < bytes.length;) {
        const written = this.#posix.write(file, bytes.subarray(at));
        if (written < 0 && written !== -Errno.EINTR) {
          this.#directories.unlink(path);
          if (make) this.#directories.prune(directory);
          throw systemError(written, what);
        }
        at += Math.max(0, written);
      }
    } finally {
      this.#posix.close(file);
    }
  }

  /** Reads the body whose file a message names. */
  read(directory: string, name: string): string {
    checkName(name);
    return decoder.decode(this.readFile(directory, name));
  }

  /** Removes the file that a message names, and returns its body. One that cannot be removed is not read: many small messages could name it. */
  take(directory: string, name: string): string {
    checkName(name);
    const path = `${directory}/${name}`;
    return this.#opened(path, (file, what) => {
      this.#state(file, what);
      check(this.#directories.unlink(path), what);
      return decoder.decode(this.readOpen(file, what, this.#limit, 0));
    });
  }

  /** Returns the size of the body file that a message names, or undefined if that file does not exist. */
  size(directory: string, name: string): number | undefined {
    const stat = NAME.test(name) && this.#directories.stat(`${directory}/${name}`);
    return typeof stat === "object" ? stat.size : undefined;
  }

  /** Returns whether a name in a tree of this user alone is a stranger's, who created it before a bus closed the tree. */
  strange(path: string, tree: Directories = this.#directories): boolean {
    const stat = tree.shared && this.#access.group === undefined && tree.stat(path);
    return typeof stat === "object" && !trusted(stat, this.#posix.user, this.#access);
  }

  /** Reads a whole file, of at most `limit` bytes. */
  readFile(directory: string, name: string, limit: number = this.#limit): Uint8Array {
    return this.#opened(`${directory}/${name}`, (file, what) => this.readOpen(file, what, limit));
  }

  /** Returns whether a link can hold a message. */
  fitsLink(message: Uint8Array): boolean {
    return message.length < LINK_BYTES && !message.includes(0);
  }

  /**
   * Writes a message of at most {@linkcode LINK_MESSAGE} bytes, without a byte 0, into a new link. The link is created in one step, so no
   * other bus sees a part of the message. A missing directory is created. Returns an errno if it fails.
   */
  writeLink(directory: string, name: string, message: Uint8Array): number {
    const target = this.#target;
    target[0] = LINK;
    target.set(message, 1);
    target[message.length + 1] = 0;
    return this.#directories.within(directory, () => this.#directories.symlink(target, `${directory}/${name}`));
  }

  /** Reads an item: a file of at most `limit` bytes, or a link of {@linkcode writeLink}. Other links are refused. */
  readItem(directory: string, name: string, limit?: number): Uint8Array {
    const path = `${directory}/${name}`;
    const message = this.readLink(path);
    if (message === -Errno.EINVAL) return this.readFile(directory, name, limit);
    if (typeof message === "number") throw systemError(message, `Cannot read ${this.#directories.path(path)}`);
    return message.slice();
  }

  /**
   * Returns the message in a link of {@linkcode writeLink}, or an errno: EINVAL for a file. Other links are refused. The next call overwrites
   * the bytes.
   */
  readLink(path: string): Uint8Array | number {
    const target = this.#directories.readLink(path);
    if (typeof target === "number") return target;
    const what = `Cannot read ${this.#directories.path(path)}`;
    const stat = this.#directories.shared && this.#directories.stat(path);
    if (typeof stat === "object" && !trusted(stat, this.#posix.user, this.#access)) throw notOwned(what, stat.uid);
    if (target[0] !== LINK) throw systemError(-Errno.ELOOP, what);
    return target.subarray(1);
  }

  /** Returns the text of an item if a link holds all of it. */
  linkedText(path: string): string | undefined {
    try {
      const message = this.readLink(path);
      if (typeof message === "number") return undefined;
      const { text, file } = readItem(message);
      return file ? undefined : text;
    } catch {
      return undefined; // it is refused when the item is held
    }
  }

  /**
   * Reads a whole file that is open and has at most this number of `names`. `what` begins the message of an error. A file that needs less
   * memory than its size is refused: a small message could name many of them.
   *
   * @throws {ProviderError} "too_large" when the file is larger than the limit
   */
  readOpen(file: number, what: string, limit: number = this.#limit, names = 1): Uint8Array {
    const stat = this.#state(file, what);
    if (stat.size > limit) {
      const text = `${what}: it has ${stat.size} bytes, and this bus reads files of up to ${limit} (maxReceive)`;
      throw new ProviderError("too_large", text);
    }
    if (stat.links > names || this.#posix.sparse(file, stat.size)) {
      throw new ProviderError("internal", `${what}: it has holes or several names, so tsmq has not written it`);
    }
    return this.#read(file, stat.size, what);
  }

  /** Reads the first bytes of a file, however large it is. */
  readStart(directory: string, name: string, size: number): Uint8Array {
    return this.#opened(`${directory}/${name}`, (file, what) => {
      this.#state(file, what);
      return this.#read(file, size, what);
    });
  }

  /** Opens a file while `read` runs. `what` begins the message of an error. */
  #opened<T>(path: string, read: (file: number, what: string) => T): T {
    const what = `Cannot read ${this.#directories.path(path)}`;
    const file = check(this.#directories.openFile(path), what);
    try {
      return read(file, what);
    } finally {
      this.#posix.close(file);
    }
  }

  /** Returns the state of an open file of the namespace. */
  #state(file: number, what: string): Stat {
    const stat = this.#posix.stat(file);
    if (typeof stat === "number") throw systemError(stat, what);
    if (!stat.regular) throw new ProviderError("internal", `${what}: it is not a file`);
    // no bus leaves an access list on a file that it shares
    const listed = this.#access.group !== undefined && this.#posix.hasAccessList(file);
    if (!listed && usable(stat, this.#posix.user, this.#access, GROUP_READS)) return stat;
    throw trusted(stat, this.#posix.user, this.#access) ? notShared(what) : notOwned(what, stat.uid);
  }

  #read(file: number, size: number, what: string): Uint8Array {
    const bytes = new Uint8Array(size);
    let at = 0;
    while (at < bytes.length) {
      const read = check(this.#posix.read(file, bytes.subarray(at)), what, Errno.EINTR);
      if (read === 0) break;
      at += Math.max(0, read);
    }
    return bytes.subarray(0, at);
  }

  /** Returns whether a later read may succeed: the file exists, and the error is temporary, such as a lack of descriptors. */
  later(error: unknown, directory: string, name: string): boolean {
    return isUnavailable(error) && this.#directories.stat(`${directory}/${name}`) !== -Errno.ENOENT;
  }

  /** Removes the file of a body, if it exists. */
  remove(directory: string, name: string): void {
    if (NAME.test(name)) this.#directories.unlink(`${directory}/${name}`);
  }
}

function checkName(name: string): void {
  if (NAME.test(name)) return;
  throw new ProviderError("internal", "Cannot read a body: the message does not hold the name of a body file");
}
