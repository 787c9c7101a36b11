/**
 * Files with secrets. Others must not be able to read or change them.
 *
 * @module
 */
import { closeSync, fstatSync, openSync, readFileSync } from "node:fs";
import process from "node:process";

/** The mode bits that a secret file must not have: read and write for others, and write for its group. */
const TOO_OPEN = 0o026;

/** A file that was read. */
export interface SecretFile {
  readonly text: string;
  /** The reason why other users may read or change it; undefined if they may not. */
  readonly open: string | undefined;
}

/** Reads a file. Throws if that fails. */
export function readSecret(path: string): SecretFile {
  const file = openSync(path, "r");
  try {
    const { mode, uid: owner } = fstatSync(file); // of the open file, because another one may take its place
    let open: string | undefined;
    if (isForeign(owner)) open = "it belongs to another user, who may read and change it";
    else if (process.platform !== "win32" && (mode & TOO_OPEN) !== 0) {
      open = `other users may read or change it; run: chmod 600 ${path}`;
    }
    return { text: readFileSync(file, "utf8"), open };
  } finally {
    closeSync(file);
  }
}

/**
 * Returns whether the owner of a file, who may change its permissions at any time, is neither this user nor root. Returns false if Deno lacks
 * the permission to read the id of this user (`--allow-sys=uid`).
 */
function isForeign(owner: number): boolean {
  try {
    const own = process.getuid?.(); // Windows has no such ids
    return own !== undefined && owner !== own && owner !== 0;
  } catch {
    return false;
  }
}
