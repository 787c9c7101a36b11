/**
 * The directories of a namespace, which appear when something is put there and go when nothing is left.
 *
 * @module
 */
import { check, failure, foreign } from "./errors.ts";
import { encodePath, Errno, type Posix, type Stat } from "./posix.ts";

/** Attempts to make something in a directory that others remove because it is empty. */
const ATTEMPTS = 100;

/** Milliseconds within which a directory may change twice and look the same: a tick of the kernel's clock (10), doubled. */
const TICK = 20;

/** Why a directory cannot be listed that is none for us. */
const NO_DIRECTORY = [Errno.ENOENT, Errno.ENOTDIR, Errno.ELOOP, Errno.EACCES];

/** What a directory holds that is not there. */
const NOTHING: readonly string[] = [];

/** Who may use what we make. */
export interface Access {
  /** The id of a group whose members may; default: only this user. */
  readonly group?: number;
}

/** Modes of files and queues, and of directories. */
export function modes({ group }: Access): { readonly file: number; readonly directory: number } {
  return group === undefined ? { file: 0o600, directory: 0o700 } : { file: 0o660, directory: 0o2770 };
}

/** One namespace's directory. */
export class Place {
  /** Its path. */
  readonly path: string;
  #posix: Posix;
  #access: Access;

  /** The directory of a namespace at this path. */
  constructor(posix: Posix, path: string, access: Access) {
    this.#posix = posix;
    this.path = path;
    this.#access = access;
  }

  /**
   * Throws where the directory is somebody else's; one that is not there is fine.
   *
   * @throws {ProviderError} "denied"
   */
  trust(): void {
    const what = `Cannot use ${this.path}`;
    const stat = this.#posix.stat(this.path);
    if (typeof stat === "number") return void check(stat, what, Errno.ENOENT);
    if (!stat.directory) throw failure(-Errno.ENOTDIR, `${what}: it is no directory`);
    if (!trusted(stat, this.#posix.user, this.#access)) throw foreign(what, stat.uid);
  }

  /** The path of what is called so in this directory. */
  of(path: string): string {
    return `${this.path}/${path}`;
  }

  /** Does something that needs the directory of this path: it is made if it is missing, and removed if nothing gets into it. */
  within(directory: string, make: () => number): number {
    let result = make();
    let attempt = 0;
    while (result === -Errno.ENOENT && attempt++ < ATTEMPTS) {
      const made = this.make(directory);
      result = made < 0 && made !== -Errno.EEXIST ? made : make();
    }
    if (result < 0 && attempt > 0) this.prune(directory);
    return result;
  }

  /** Makes a directory and those above it. */
  make(path: string): number {
    const full = path === "" ? this.path : this.of(path);
    const { directory } = modes(this.#access);
    let made = this.#posix.makeDirectory(full, directory);
    if (made === -Errno.ENOENT && path !== "") {
      const above = this.make(path.includes("/") ? path.slice(0, path.lastIndexOf("/")) : "");
      if (above < 0 && above !== -Errno.EEXIST) return above;
      made = this.#posix.makeDirectory(full, directory);
    }
    if (made === 0 && this.#access.group !== undefined) this.#share(full, directory, this.#access.group);
    if (path === "") this.trust();
    return made;
  }

  #share(directory: string, mode: number, group: number): void {
    const shared = this.#posix.share(directory, mode, group);
    if (shared < 0) this.#posix.removeDirectory(directory);
    // others may have removed it already, because it is empty
    check(shared, `Cannot give ${directory} to the group ${group}`, Errno.ENOENT);
  }

  /** Removes a directory and those above it, as far as they are empty. */
  prune(path: string): void {
    for (let at = path; at !== ""; at = at.slice(0, Math.max(0, at.lastIndexOf("/")))) {
      const removed = this.#posix.removeDirectory(this.of(at));
      if (removed < 0 && removed !== -Errno.ENOENT) return;
    }
    this.#posix.removeDirectory(this.path);
  }

  /** Removes a directory with all that is in it. */
  remove(path: string): void {
    for (const name of this.list(path)) {
      const inside = `${path}/${name}`;
      if (this.#posix.unlink(this.of(inside)) < 0) this.remove(inside);
    }
    this.#posix.removeDirectory(this.of(path));
  }

  /** A directory in this one that is to be looked at often. */
  directory(path: string): Directory {
    return new Directory(this.#posix, this, path);
  }

  /** The names in a directory; none where there is no such directory. */
  list(path: string): readonly string[] {
    const names = this.#posix.list(this.of(path));
    return typeof names === "number" ? NOTHING : names;
  }
}

/** A directory whose names are read again only when it has changed. */
export class Directory {
  #posix: Posix;
  #place: Place;
  #path: string;
  #encoded: Uint8Array;
  #names = NOTHING;
  /** What it looked like when its names were read; undefined where it may change without looking different. */
  #seen: Stat | undefined;

  /** The directory at this path of a place, which need not be there. */
  constructor(posix: Posix, place: Place, path: string) {
    this.#posix = posix;
    this.#place = place;
    this.#path = path;
    this.#encoded = encodePath(place.of(path));
  }

  /** What it holds: the same array as long as that has not changed. */
  look(): readonly string[] {
    const stat = this.#posix.stat(this.#encoded);
    if (typeof stat === "number") return this.#names = NOTHING;
    const seen = this.#seen;
    const same = seen?.inode === stat.inode && seen.modified === stat.modified && seen.size === stat.size;
    if (same && this.#names !== NOTHING) return this.#names;
    const path = this.#place.of(this.#path);
    const names = this.#posix.list(path);
    // that it cannot be listed for want of a descriptor does not say that it holds nothing
    if (typeof names === "number") check(names, `Cannot list ${path}`, ...NO_DIRECTORY);
    this.#seen = Date.now() - stat.modified > TICK ? stat : undefined;
    return this.#names = typeof names === "number" ? NOTHING : names;
  }
}

/** Whether something that others could have made is ours, or our group's. */
export function trusted(
  stat: { readonly uid: number; readonly gid: number },
  user: number,
  { group }: Access,
): boolean {
  return stat.uid === user || (group !== undefined && stat.gid === group);
}
