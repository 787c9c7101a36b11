/**
 * The directory tree of one namespace. All files of the namespace are opened, created and removed by this module. A directory is created
 * when a file is put into it, and removed when it is empty.
 *
 * Any user can create names in `/dev/shm`, and the members of a group can rename each other's directories. So the root of the tree is
 * opened once, but not through a link, and its owner is checked by its descriptor. All other paths start at that descriptor:
 *
 * - If only this user can enter the root, no other user can have put anything below it, and the kernel follows the whole path.
 * - If other users can enter it, each directory of the path is opened, but not through a link, its owner is checked, and the call is made
 *   in the last one. That directory can be renamed meanwhile, but the call still affects the opened directory, which belongs to this tree.
 *
 * With a group, a bus enters only directories that the group may change, and that have no access list, which could hide that it may not: a
 * member can have moved a private one of this user there, and could affect its contents through the bus. PyMQ's, for topics, are for one user.
 *
 * PyMQ's directories have the mode that the umask of its process leaves, and may be open to everybody. A directory to which users without
 * access can write is closed to them before it is used, and then keeps the sticky bit if it is the root: others may have been there. One that
 * is for another group is not used: a member can have moved it there.
 *
 * @module
 */
import {
  type Access,
  FOREIGN,
  GROUP_CHANGES,
  GROUP_READS,
  mayClose,
  modes,
  OWNER,
  refusal,
  SETGID,
  STICKY,
  strangers,
  trusted,
  usable,
} from "./access.ts";
import { Errno } from "./errno.ts";
import { Listings } from "./listing.ts";
import { mayBePymqs } from "./names.ts";
import { createDirectory, createRoot } from "./new_directory.ts";
import type { Posix, Stat } from "./posix.ts";
import { clear, type Enter, type Steps, type Visitor, walk } from "./walk.ts";

/** The number of attempts to create something in a directory that other processes remove because it is empty. */
const ATTEMPTS = 100;

/** Milliseconds for which `exists` does not check again whether the root was removed: while a bus is open, no other bus removes its root. */
const ROOT_CHECK = 100;

/** The mode bits that let other users write. */
const OTHERS_WRITE = 0o022;

/** The largest number of characters of a path, as in the kernel. */
const PATH_LENGTH = 4_096;

/** A system call relative to the open directory `at`, in which `name` is. `root` is the descriptor of the root. */
type Call<T> = (at: number, name: string, root: number) => T | number;

/** The directories of one namespace. All paths are relative to its root. */
export class Directories {
  /** The path of the namespace's own directory. */
  readonly root: string;
  /** The names in directories that are read often. */
  readonly listings: Listings = new Listings(this);
  #posix: Posix;
  #access: Access;
  /** The descriptor of the root while it is open. */
  #descriptor: number | undefined;
  /** Whether the open root was removed. */
  #removed = false;
  #checked = -Infinity; // when that was found out, by `performance.now()`
  #shared = false;
  /** The groups of the directories that this user's processes make: that of this process, and that of the root, from which they may get it. */
  #groups: readonly number[] = [];

  /** Creates an object for the tree below `root`, which need not exist. */
  constructor(posix: Posix, root: string, access: Access) {
    this.#posix = posix;
    this.root = root;
    this.#access = access;
  }

  /**
   * Throws if a directory exists, by default the root, and it or one above belongs neither to this user nor to the group, or is open to
   * others and cannot be closed.
   *
   * @throws {ProviderError} "denied"
   */
  trust(path = ""): void {
    const refuse = (result: number, path: string, stat: Stat | number) =>
      refusal(result, `Cannot use ${path}`, stat, this.#posix.user, this.#access);
    const opened = this.#open();
    if (opened < 0 && opened !== -Errno.ENOENT) throw refuse(opened, this.root, this.#posix.stat(this.root));
    const names = path.split("/");
    for (let i = 1; opened >= 0 && path !== "" && i <= names.length; i++) {
      const each = names.slice(0, i).join("/");
      const result = this.openDirectory(each);
      if (FOREIGN.includes(-result)) throw refuse(result, this.path(each), this.stat(each));
      if (result < 0) return;
      this.#posix.close(result);
    }
  }

  /** Returns the descriptor of the root, if it is open. The number stays the same until {@linkcode close}. */
  get descriptor(): number | undefined {
    return this.#descriptor;
  }

  /** Whether other users may enter the open root, or may have entered it, so that files in it may be theirs. */
  get shared(): boolean {
    return this.#shared;
  }

  /** Closes the root. The next call opens it again. */
  close(): void {
    if (this.#descriptor !== undefined) this.#posix.close(this.#descriptor);
    this.#descriptor = undefined;
    this.#removed = false;
  }

  /** Returns the absolute path for a path in this tree, for messages. */
  path(path: string): string {
    return `${this.root}/${path}`;
  }

  /** Runs `create`, which needs a directory. If the directory is missing, it is created, and removed again if `create` fails. */
  within(directory: string, create: () => number): number {
    let [result, attempt] = [create(), 0];
    while (result === -Errno.ENOENT && attempt++ < ATTEMPTS) {
      const made = this.make(directory);
      result = made < 0 && made !== -Errno.EEXIST ? made : create();
    }
    if (FOREIGN.includes(-result)) this.trust(directory);
    if (result < 0 && attempt > 0) this.prune(directory);
    return result;
  }

  /** Creates a directory and its parents. */
  make(path: string): number {
    if (path === "") return this.#makeRoot();
    const make = () => this.#at(path, (at, name, root) => createDirectory(this.#posix, name, at, root, this.#access));
    const made = make();
    if (made !== -Errno.ENOENT) return made;
    const parent = this.make(path.includes("/") ? path.slice(0, path.lastIndexOf("/")) : "");
    return parent < 0 && parent !== -Errno.EEXIST ? parent : make();
  }

  #makeRoot(): number {
    const made = createRoot(this.#posix, this.root, this.#access);
    this.trust();
    return made;
  }

  /** Removes a directory and its parents, up to the first one that is not empty. */
  prune(path: string): void {
    for (let at = path; at !== ""; at = at.slice(0, Math.max(0, at.lastIndexOf("/")))) {
      const removed = this.#at(at, (directory, name) => this.#posix.removeDirectory(name, directory));
      if (removed < 0 && removed !== -Errno.ENOENT) return;
    }
    this.#posix.removeDirectory(this.root);
  }

  /** Removes a directory with everything in it, in steps. Of a link, only the link is removed, not its target. */
  *remove(path: string): Steps {
    yield* clear(this.#posix, this.openDirectory(path), this.#entering(path));
    this.#at(path, (at, name) => this.#posix.removeDirectory(name, at));
  }

  /** Walks over a directory and those below it, in steps, up to the limits of {@linkcode walk}. */
  *walk(path: string, visitor: Visitor): Steps {
    if (yield* walk(this.#posix, this.openDirectory(path), visitor, this.#entering(path))) this.prune(path);
  }

  /** Returns the names in a directory; none if it does not exist. */
  list(path: string): readonly string[] {
    const names = this.read(path);
    return typeof names === "number" ? [] : names;
  }

  /** Returns the names in a directory, or an errno. */
  read(path: string): readonly string[] | number {
    const directory = this.openDirectory(path);
    if (directory < 0) return directory;
    try {
      return this.#posix.listOpen(directory);
    } finally {
      this.#posix.close(directory);
    }
  }

  /** Returns the state of a file or directory, or an errno. A link is not followed. */
  stat(path: string): Stat | number {
    return this.#at<Stat>(path, (at, name) => this.#posix.stat(name, false, at));
  }

  /** Returns whether a path exists: for a missing one, by one system call in place of two. */
  exists(path: string): boolean {
    return this.#at<Stat>(path, (at, name) => this.#posix.stat(name, false, at), ROOT_CHECK) !== -Errno.ENOENT;
  }

  /** Opens a file for reading, but not through a link. */
  openFile(path: string): number {
    return this.#at(path, (at, name) => this.#posix.openFile(name, false, at));
  }

  /** Opens a directory to be listed or locked. The root, `""`, was checked when it was opened, and may be sticky. */
  openDirectory(path: string): number {
    if (path === "") return this.#at(".", (at, name) => this.#posix.openDirectory(name, at, true));
    return this.#at(path, (at, name) => this.#enter(name, at, mayBePymqs(path), true));
  }

  /** Creates a file that its owner can write and, with `written`, the group too. Returns its descriptor. */
  createFile(path: string, written = true): number {
    const { group } = this.#access;
    const mode = modes(this.#access).file & (written ? ~0 : ~OTHERS_WRITE);
    const file = this.#at(path, (at, name) => this.#posix.createFile(name, mode & OWNER, at));
    if (file >= 0 && group !== undefined) this.#posix.share(file, mode, group);
    return file;
  }

  /** Creates a symbolic link. */
  symlink(target: string | Uint8Array, path: string): number {
    return this.#at(path, (at, name) => this.#posix.symlink(target, name, at));
  }

  /** Returns the target of a symbolic link, whose bytes the next call overwrites, or an errno. */
  readLink(path: string): Uint8Array | number {
    return this.#at<Uint8Array>(path, (at, name) => this.#posix.readLinkBytes(name, at));
  }

  /** Removes a file or link. */
  unlink(path: string): number {
    return this.#at(path, (at, name) => this.#posix.unlink(name, at));
  }

  /** Renames a file or directory. */
  rename(from: string, to: string): number {
    return this.#at(
      from,
      (at, name, root) => this.#in(root, to, (toAt, toName) => this.#posix.rename(name, toName, at, toAt)),
    );
  }

  /** Sets times of a file or directory by `set`. A private one, which a member of the group has moved there, counts as missing. */
  setTimes(path: string, set: (name: string, at: number) => number): number {
    return this.#at(path, (at, name) => {
      const stat = this.#access.group === undefined ? undefined : this.#posix.stat(name, false, at);
      if (typeof stat === "number") return stat;
      return !stat || usable(stat, this.#posix.user, this.#access, GROUP_READS) ? set(name, at) : -Errno.ENOENT;
    });
  }

  /** Makes a system call for a path. Repeats it if the root was removed and created again, which was checked at most `age` ms ago. */
  #at<T = number>(path: string, call: Call<T>, age = 0): T | number {
    while (true) {
      const root = this.#open();
      if (root < 0) return root;
      const result = this.#in(root, path, call);
      if (result !== -Errno.ENOENT || !this.#wasRemoved(age)) return result;
    }
  }

  /**
   * Makes a system call for a path below an open root. If other users may have put links into the path, it first opens each directory of
   * it.
   */
  #in<T>(root: number, path: string, call: Call<T>): T | number {
    if (!this.#shared) return call(root, path, root);
    if (path.length > PATH_LENGTH) return -Errno.ENAMETOOLONG;
    const names = path.split("/");
    const last = names.pop()!;
    let at = root;
    try {
      for (const name of names) {
        const next = this.#enter(name, at, mayBePymqs(path));
        if (next < 0) return next;
        if (at !== root) this.#posix.close(at);
        at = next;
      }
      return call(at, last, root);
    } finally {
      if (at !== root) this.#posix.close(at);
    }
  }

  /** Opens a directory below the root. `pymqs` means that PyMQ may have created it, which gives it to no group. */
  #enter(name: string, at: number, pymqs: boolean, read = false): number {
    const forGroup = this.#access.group !== undefined && !pymqs;
    const directory = this.#posix.openDirectory(name, at, read || forGroup); // one for paths only does not tell its access list
    if (!this.#shared || directory < 0) return directory;
    const listed = forGroup && this.#posix.hasAccessList(directory);
    const refused = listed ? -Errno.EACCES : this.#protect(directory, this.#posix.stat(directory), pymqs);
    if (refused === 0) return directory;
    this.#posix.close(directory);
    return refused;
  }

  /** Returns a function that opens a directory below this path to be listed, with the same checks. */
  #entering(path: string): Enter {
    const pymqs = mayBePymqs(path);
    return (name, at) => this.#enter(name, at, pymqs, true);
  }

  /**
   * Keeps users without access from changing an open directory. Returns an errno if it is another user's, or cannot be closed to them, or if
   * the group cannot change it and it is not `pymqs`. `mark` is a mode bit that then tells later buses that it was open to others.
   */
  #protect(directory: number, stat: Stat | number, pymqs: boolean, mark = 0): number {
    if (typeof stat === "number") return stat;
    const own = pymqs && trusted(stat, this.#posix.user, this.#access);
    if (!own && !usable(stat, this.#posix.user, this.#access, GROUP_CHANGES)) return -Errno.EACCES;
    const strange = strangers(stat, this.#access);
    if ((stat.mode & strange & OTHERS_WRITE) === 0) return 0;
    if (!mayClose(stat, this.#posix.user, this.#access, this.#groups)) return -Errno.EACCES;
    const open = this.#posix.openDirectory(".", directory, true); // with a descriptor for paths only, the mode cannot be set
    if (open < 0) return open;
    const closed = this.#posix.setMode(open, stat.mode & ~strange | mark);
    this.#posix.close(open);
    return closed;
  }

  /** Returns the descriptor of the root, or an errno: EACCES if the root belongs to another user, or is open to others. */
  #open(): number {
    const before = this.#descriptor;
    if (before !== undefined && !this.#removed) return before;
    const root = this.#posix.openDirectory(this.root);
    if (root < 0) return root;
    const stat = this.#posix.stat(root);
    if (typeof stat === "object") this.#groups = [this.#posix.group, stat.gid];
    const refused = this.#protect(root, stat, true, STICKY);
    if (typeof stat === "object" && refused === 0) {
      const open = strangers(stat, this.#access) | STICKY | SETGID; // the last two tell that it was open once
      this.#shared = this.#access.group !== undefined || (stat.mode & open) !== 0;
      const descriptor = before === undefined ? root : this.#posix.replace(before, root);
      if (descriptor < 0) return descriptor;
      this.#removed = false;
      return this.#descriptor = descriptor;
    }
    this.#posix.close(root);
    return refused;
  }

  /** Returns whether the open root was removed, so that another directory may have its name. If so, the next call opens that one. */
  #wasRemoved(age: number): boolean {
    const now = performance.now();
    if (now - this.#checked < age) return false;
    this.#checked = now;
    const stat = this.#posix.stat(this.#descriptor!);
    return this.#removed = typeof stat === "number" || stat.links === 0;
  }
}
