/**
 * The users that may use the files, directories and queues of a namespace.
 *
 * @module
 */
import { Errno } from "./errno.ts";
import { notDirectory, notOwned, notShared, systemError } from "./errors.ts";
import type { Stat } from "./files.ts";

/**
 * The mode bits of this user. Directories, files and queues are created with these only, because they first belong to the primary group of
 * the process, which other users may share.
 */
export const OWNER = 0o700;
/** The mode bit that lets the group read a file. */
export const GROUP_READS = 0o040;
/** The mode bits that let the group list, change and enter a directory. */
export const GROUP_CHANGES = 0o070;
/** The mode bit of a directory that keeps users from renaming and removing the files of other users. */
export const STICKY = 0o1000;
/** The mode bit of a directory that a bus with the option `group` has made. */
export const SETGID = 0o2000;

/** The users that may access the files and queues of a namespace. */
export interface Access {
  /** The id of a group whose members have access. Default: only this user has access. */
  readonly group?: number;
}

/** The owner, the group and the mode of something. */
interface Owned {
  readonly uid: number;
  readonly gid: number;
  readonly mode: number;
}

/** Returns the modes of files and queues, and of directories. */
export function modes({ group }: Access): { readonly file: number; readonly directory: number } {
  return group === undefined ? { file: 0o600, directory: 0o700 } : { file: 0o660, directory: 0o2770 };
}

/** Returns whether a file or queue belongs to this user or to the group. */
export function trusted({ uid, gid }: Omit<Owned, "mode">, user: number, { group }: Access): boolean {
  return uid === user || (group !== undefined && gid === group);
}

/**
 * Returns whether this user may use a file or a directory: with a group, only one for the group, with these mode bits and without the sticky
 * bit. A member can have moved a private one of this user there.
 */
export function usable({ uid, gid, mode }: Owned, user: number, { group }: Access, bits: number): boolean {
  return group === undefined ? uid === user : gid === group && (mode & (bits | STICKY)) === bits;
}

/** Returns the mode bits of a directory that are for users without access. */
export function strangers({ gid }: Owned, { group }: Access): number {
  return gid === group ? 0o007 : 0o077;
}

/**
 * Returns whether this user may change the mode of a directory. It must be one for a group in `groups`, and not one that a bus of its own has
 * made for another group.
 */
export function mayClose(
  { uid, gid, mode }: Owned,
  user: number,
  { group }: Access,
  groups: readonly number[],
): boolean {
  if (uid !== user) return false;
  return gid === group || (groups.includes(gid) && ((mode & SETGID) === 0 || (mode & 0o002) !== 0));
}

/** The errors of a directory that this user may not use, and of a link or a file in its place. */
export const FOREIGN: readonly number[] = [Errno.EACCES, Errno.ENOTDIR, Errno.ELOOP];

/** Returns the error of a directory that cannot be used, from the result of opening it and from its state. */
export function refusal(result: number, what: string, stat: Stat | number, user: number, access: Access): Error {
  if (typeof stat === "object" && !stat.directory) return notDirectory(what);
  if (typeof stat === "number" || result !== -Errno.EACCES) return systemError(result, what);
  return trusted(stat, user, access) ? notShared(what) : notOwned(what, stat.uid);
}
