/**
 * Files with secrets. Others must not be able to read or change them.
 *
 * @module
 */
import { closeSync, fstatSync, openSync, readFileSync } from "node:fs";
import process from "node:process";

/** The permissions that such a file must not give: others may read or write it, its group may write it. */
const TOO_OPEN = 0o026;

/** A file that was read. */
export interface SecretFile {
  readonly text: string;
  /** Why other users may read or change it, or undefined if they may not. */
  readonly open: string | undefined;
  /** The id of the user that owns the file, and may change its permissions at any time. */
  readonly owner: number;
}

/** Reads a file. Throws if that fails. */
export function readSecret(path: string): SecretFile {
  const file = openSync(path, "r");
  try {
    const { mode, uid: owner } = fstatSync(file); // of the open file, because another one may take its place
    const tooOpen = process.platform !== "win32" && (mode & TOO_OPEN) !== 0;
    const open = tooOpen ? `other users may read or change it; run: chmod 600 ${path}` : undefined;
    return { text: readFileSync(file, "utf8"), open, owner };
  } finally {
    closeSync(file);
  }
}

/** Returns whether the owner is neither this user nor root. False if Deno may not know its user: that takes `--allow-sys=uid`. */
export function isForeign(owner: number): boolean {
  try {
    const own = process.getuid?.(); // Windows has no such ids
    return own !== undefined && owner !== own && owner !== 0;
  } catch {
    return false;
  }
}
