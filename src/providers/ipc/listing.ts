/**
 * The names in directories that are read often.
 *
 * @module
 */
import { Budget, WeighedTextMap } from "../../internal/caches.ts";
import { FOREIGN } from "./access.ts";
import { Errno } from "./errno.ts";
import { check } from "./errors.ts";
import type { Stat } from "./posix.ts";

/** Milliseconds within which two changes of a directory may set the same time: two ticks (10 ms each) of the kernel's coarse clock. */
export const TICK = 20;

/** The number of names in a part. */
const PART = 256;

/**
 * The number of names that the caches of one half of a bus keep. Members of a group can create any number of directories, and give those that
 * a bus has read other names, so a number of directories limits nothing.
 */
export const MAX_NAMES: number = 2 ** 18;
/** The number of names that need as much memory as an entry without any, and as many characters of a path as one name needs. */
const WEIGHT = { entry: 16, characters: 64 };

/** The errors of a directory that does not exist, or that this user may not read. */
const NO_DIRECTORY: readonly number[] = [Errno.ENOENT, ...FOREIGN];

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

/** Chooses and sorts names. */
export type Arrange = (names: readonly string[]) => readonly string[];

/** The names in a directory, read again only when the directory has changed. */
export class Listing {
  #tree: Tree;
  #path: string;
  #arrange: Arrange | undefined;
  #names = NO_NAMES;
  /** The directory's state when its names were read. Undefined if the next change might not change the state. */
  #read: Stat | undefined;
  /** The index of the first name of the next part. */
  #next = 0;

  /**
   * Creates a listing of the directory at this path of the tree, which need not exist. `arrange` chooses and sorts names when they are read,
   * not whenever they are used: others can create any number.
   */
  constructor(tree: Tree, path: string, arrange?: Arrange) {
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

  /** Returns a part of the names that were read last, and at the next call those that follow: members of a group can create any number. */
  part(): readonly string[] {
    const names = this.#names;
    const start = this.#next < names.length ? this.#next : 0;
    this.#next = start + PART;
    return names.slice(start, this.#next);
  }

  #none(result: number): readonly string[] {
    check(result, `Cannot list ${this.#tree.path(this.#path)}`, ...NO_DIRECTORY);
    return this.#names = NO_NAMES;
  }
}

/** The names in a directory, as they were read. */
export interface Listed {
  readonly names: readonly string[];
  /** A number that no other names have. To compare it, one need not keep them. */
  readonly version: number;
}

/** The names of a directory that does not exist. They are not kept. */
const MISSING: Listed = { names: NO_NAMES, version: -1 };

/** The listings of many directories of a tree. They keep at most {@linkcode MAX_NAMES} names, together with the values of {@linkcode map}. */
export class Listings {
  #tree: Tree;
  #budget = new Budget(MAX_NAMES);
  #kept = this.map<Listed & { readonly listing: Listing }>(({ names }) => names.length);
  #versions = 0;

  /** Creates listings that keep nothing yet. */
  constructor(tree: Tree) {
    this.#tree = tree;
  }

  /** Returns the names in a directory. It is the same object until the directory changes, or its names were dropped. `arrange` depends only on the path. */
  read(path: string, arrange?: Arrange): Listed {
    const known = this.#kept.get(path);
    const listing = known?.listing ?? new Listing(this.#tree, path, arrange);
    const names = listing.names();
    if (known?.names === names) return known;
    if (names === NO_NAMES) {
      this.#kept.delete(path);
      return MISSING;
    }
    const listed = { listing, names, version: this.#versions++ };
    this.#kept.set(path, listed);
    return listed;
  }

  /** Returns the names in a directory, as {@linkcode read} does. */
  names(path: string, arrange?: Arrange): readonly string[] {
    return this.read(path, arrange).names;
  }

  /** Returns an empty map of values that contain names, or something else that takes as much memory. `count` returns their number. */
  map<V>(count: (value: V) => number): WeighedTextMap<V> {
    return new WeighedTextMap(this.#budget, (value, key) => {
      return WEIGHT.entry + key.length / WEIGHT.characters + count(value);
    });
  }
}
