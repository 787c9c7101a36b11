/**
 * The directory tree of one namespace. Directories are made when a file is put into them and removed when they are empty.
 *
 * @module
 */
import { check, notOwned, systemError } from "./errors.ts";
import { Errno } from "./errno.ts";
import { encodePath, type Posix, type Stat } from "./posix.ts";

/** Attempts to create something in a directory that other processes remove because it is empty. */
const ATTEMPTS = 100;

/** Milliseconds within which a directory may change twice and look the same: twice a tick (10 ms) of the kernel's coarse clock. */
const TICK = 20;

/** The errors of listing a directory that does not exist, or that this user may not read. */
const NO_DIRECTORY = [Errno.ENOENT, Errno.ENOTDIR, Errno.ELOOP, Errno.EACCES];

/** The names in a directory that does not exist. */
const NO_NAMES: readonly string[] = [];

/** Who may use the files and queues of a namespace. */
export interface Access {
  /** The id of a group whose members may. Default: only this user. */
  readonly group?: number;
}

/** The modes of files and queues, and of directories. */
export function modes({ group }: Access): { readonly file: number; readonly directory: number } {
  return group === undefined ? { file: 0o600, directory: 0o700 } : { file: 0o660, directory: 0o2770 };
}

/** The directories of one namespace. All paths are relative to its root. */
export class Directories {
  /** The path of the namespace's own directory. */
  readonly root: string;
  #posix: Posix;
  #access: Access;

  /** Works below `root`, which need not exist. */
  constructor(posix: Posix, root: string, access: Access) {
    this.#posix = posix;
    this.root = root;
    this.#access = access;
  }

  /**
   * Throws where the root exists and belongs to another user.
   *
   * @throws {ProviderError} "denied"
   */
  trust(): void {
    const what = `Cannot use ${this.root}`;
    const stat = this.#posix.stat(this.root);
    if (typeof stat === "number") return void check(stat, what, Errno.ENOENT);
    if (!stat.directory) throw systemError(-Errno.ENOTDIR, `${what}: it is not a directory`);
    if (!trusted(stat, this.#posix.user, this.#access)) throw notOwned(what, stat.uid);
  }

  /** The absolute path of a relative one. */
  path(path: string): string {
    return `${this.root}/${path}`;
  }

  /** Runs `create`, which needs a directory: makes that directory if it is missing, and removes it again if `create` fails. */
  within(directory: string, create: () => number): number {
    let result = create();
    let attempt = 0;
    while (result === -Errno.ENOENT && attempt++ < ATTEMPTS) {
      const made = this.make(directory);
      result = made < 0 && made !== -Errno.EEXIST ? made : create();
    }
    if (result < 0 && attempt > 0) this.prune(directory);
    return result;
  }

  /** Makes a directory and its parents. */
  make(path: string): number {
    const full = path === "" ? this.root : this.path(path);
    const { directory } = modes(this.#access);
    let made = this.#posix.makeDirectory(full, directory);
    if (made === -Errno.ENOENT && path !== "") {
      const parent = this.make(path.includes("/") ? path.slice(0, path.lastIndexOf("/")) : "");
      if (parent < 0 && parent !== -Errno.EEXIST) return parent;
      made = this.#posix.makeDirectory(full, directory);
    }
    if (made === 0 && this.#access.group !== undefined) this.#share(full, directory, this.#access.group);
    if (path === "") this.trust();
    return made;
  }

  #share(directory: string, mode: number, group: number): void {
    const shared = this.#posix.share(directory, mode, group);
    if (shared < 0) this.#posix.removeDirectory(directory);
    // another process may have removed it already, because it is empty
    check(shared, `Cannot give ${directory} to the group ${group}`, Errno.ENOENT);
  }

  /** Removes a directory and its parents as far as they are empty. */
  prune(path: string): void {
    for (let at = path; at !== ""; at = at.slice(0, Math.max(0, at.lastIndexOf("/")))) {
      const removed = this.#posix.removeDirectory(this.path(at));
      if (removed < 0 && removed !== -Errno.ENOENT) return;
    }
    this.#posix.removeDirectory(this.root);
  }

  /** Removes a directory with everything in it. */
  remove(path: string): void {
    for (const name of this.list(path)) {
      const inside = `${path}/${name}`;
      if (this.#posix.unlink(this.path(inside)) < 0) this.remove(inside);
    }
    this.#posix.removeDirectory(this.path(path));
  }

  /** The names in a directory; none where it does not exist. */
  list(path: string): readonly string[] {
    const names = this.#posix.list(this.path(path));
    return typeof names === "number" ? NO_NAMES : names;
  }

  /** The cached listing of a directory that is read often. */
  listing(path: string): Listing {
    return new Listing(this.#posix, this.path(path));
  }
}

/** The names in a directory, read again only when the directory has changed. */
export class Listing {
  #posix: Posix;
  #path: string;
  #encoded: Uint8Array;
  #names = NO_NAMES;
  /** The directory's state when its names were read; undefined where it may change without a visible difference. */
  #read: Stat | undefined;

  /** Lists the directory at this absolute path, which need not exist. */
  constructor(posix: Posix, path: string) {
    this.#posix = posix;
    this.#path = path;
    this.#encoded = encodePath(path);
  }

  /** The names in the directory: the same array as long as it has not changed. */
  names(): readonly string[] {
    const stat = this.#posix.stat(this.#encoded);
    if (typeof stat === "number") return this.#names = NO_NAMES;
    const read = this.#read;
    const same = read?.inode === stat.inode && read.modified === stat.modified && read.size === stat.size;
    if (same && this.#names !== NO_NAMES) return this.#names;
    const names = this.#posix.list(this.#path);
    // a lack of descriptors must not look like an empty directory
    if (typeof names === "number") check(names, `Cannot list ${this.#path}`, ...NO_DIRECTORY);
    this.#read = Date.now() - stat.modified > TICK ? stat : undefined;
    return this.#names = typeof names === "number" ? NO_NAMES : names;
  }
}

/** Whether a file or queue belongs to this user or to the group. */
export function trusted(
  stat: { readonly uid: number; readonly gid: number },
  user: number,
  { group }: Access,
): boolean {
  return stat.uid === user || (group !== undefined && stat.gid === group);
}
