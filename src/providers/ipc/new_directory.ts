/**
 * Creates the directories of a namespace.
 *
 * @module
 */
import { type Access, modes, OWNER, SETGID, STICKY } from "./access.ts";
import { Errno } from "./errno.ts";
import { check } from "./errors.ts";
import type { Posix } from "./posix.ts";

/** The name of a directory that has no group yet. */
const ASIDE = /^~[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/;

/** The errors of a directory that cannot get a name because something else has it. */
const TAKEN: number[] = [Errno.EEXIST, Errno.ENOTEMPTY, Errno.ENOTDIR, Errno.EPERM];

/** Returns whether {@linkcode createDirectory} has given a directory this name until its group has it. */
export function isAside(name: string): boolean {
  return ASIDE.test(name);
}

/** Creates the root of a namespace, for this user only, then sets its group and mode. Returns an errno if it fails. */
export function createRoot(posix: Posix, path: string, access: Access): number {
  const made = posix.makeDirectory(path, modes(access).directory & OWNER);
  return made < 0 ? made : share(posix, path, undefined, access, STICKY);
}

/**
 * Creates a directory in the open directory `at`. One of a group is first created in the root, for this user only, and gets its name when the
 * group has it: before that it looks like a private one of this user, which no bus may use. Returns an errno if it fails.
 */
export function createDirectory(posix: Posix, name: string, at: number, root: number, access: Access): number {
  const mode = modes(access).directory & OWNER;
  if (access.group === undefined) return posix.makeDirectory(name, mode, at);
  const aside = `~${crypto.randomUUID()}`;
  const made = posix.makeDirectory(aside, mode, root);
  if (made < 0) return made;
  const shared = share(posix, aside, root, access);
  if (shared < 0) return shared;
  const renamed = posix.rename(aside, name, root, at); // it replaces an empty directory, as if that had been removed
  if (renamed < 0) posix.removeDirectory(aside, root);
  return TAKEN.includes(-renamed) ? -Errno.EEXIST : renamed;
}

/** Sets the group and the mode of a new directory, with further mode bits, by its descriptor. */
function share(posix: Posix, name: string, at: number | undefined, access: Access, bits = 0): number {
  const { group } = access;
  if (group === undefined) return 0;
  const directory = posix.openDirectory(name, at, true);
  if (directory === -Errno.ENOENT) return directory; // another process has removed it already, because it is empty
  check(directory, `Cannot open ${name}`);
  try {
    const stat = posix.stat(directory);
    // another member may have put another directory in its place
    const own = typeof stat === "object" && stat.uid === posix.user && (stat.mode & ~SETGID) === OWNER;
    const names = own && posix.listOpen(directory);
    if (typeof names !== "object" || names.length > 0) return -Errno.EEXIST;
    const shared = posix.share(directory, modes(access).directory | bits, group);
    if (shared < 0) posix.removeDirectory(name, at);
    return check(shared, `Cannot give ${name} to the group ${group}`);
  } finally {
    posix.close(directory);
  }
}
