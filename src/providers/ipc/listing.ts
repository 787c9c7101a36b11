/**
 * The names in a directory that is read often.
 *
 * @module
 */
import { Errno } from "./errno.ts";
import { check } from "./errors.ts";
import type { Stat } from "./posix.ts";

/** Milliseconds within which two changes of a directory may set the same time: two ticks (10 ms each) of the kernel's coarse clock. */
export const TICK = 20;

/** The number of names in a part. */
const PART = 256;

/** The errors of a directory that does not exist, or that this user may not read. */
const NO_DIRECTORY: number[] = [Errno.ENOENT, Errno.ENOTDIR, Errno.ELOOP, Errno.EACCES];

/** The empty listing of a directory that does not exist. */
const NO_NAMES: readonly string[] = [];

/** The tree that a directory is in. */
export interface Tree {
  /** Returns the absolute path for a path in the tree, for messages. */
  path(path: string): string;
  /** Returns the state of a directory, or an errno. */
  stat(path: string): Stat | number;
  /** Returns the names in a directory, or an errno. */
  read(path: string): readonly string[] | number;
}

/** The names in a directory, read again only when the directory has changed. */
export class Listing {
  #tree: Tree;
  #path: string;
  #arrange: ((names: readonly string[]) => readonly string[]) | undefined;
  #names = NO_NAMES;
  /** The directory's state when its names were read. Undefined if the next change might not change the state. */
  #read: Stat | undefined;
  /** The index of the first name of the next part. */
  #next = 0;

  /**
   * Creates a listing of the directory at this path of the tree, which need not exist. `arrange` chooses and sorts names when they are read,
   * not whenever they are used: others can create any number.
   */
  constructor(tree: Tree, path: string, arrange?: (names: readonly string[]) => readonly string[]) {
    this.#arrange = arrange;
    this.#tree = tree;
    this.#path = path;
  }

  /** Returns the names in the directory. It is the same array until the directory changes. */
  names(): readonly string[] {
    const now = Date.now(); // before it is read: a busy machine may pause this thread at any time
    const stat = this.#tree.stat(this.#path);
    // a lack of descriptors must not look like an empty directory
    if (typeof stat === "number") return this.#none(stat);
    const read = this.#read;
    const same = read?.inode === stat.inode && read.modified === stat.modified && read.size === stat.size;
    if (same && this.#names !== NO_NAMES) return this.#names;
    const names = this.#tree.read(this.#path);
    // members of a group can set a time in the future
    this.#read = Math.abs(now - stat.modified) > TICK ? stat : undefined;
    return typeof names === "number" ? this.#none(names) : this.#names = this.#arrange?.(names) ?? names;
  }

  /** Returns a part of the names, and at the next call those that follow: members of a group can create any number. */
  part(): readonly string[] {
    const names = this.names();
    const start = this.#next < names.length ? this.#next : 0;
    this.#next = start + PART;
    return names.slice(start, this.#next);
  }

  #none(result: number): readonly string[] {
    check(result, `Cannot list ${this.#tree.path(this.#path)}`, ...NO_DIRECTORY);
    return this.#names = NO_NAMES;
  }
}
