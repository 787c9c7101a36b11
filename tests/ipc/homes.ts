/**
 * The runtime and the home directory of a program that runs as another user. Both are made once in a test file, because a copy of the
 * runtime and a first start with an empty cache take a second of CPU. They are removed when the process of the test file ends.
 */
import { chmodSync, chownSync, copyFileSync } from "node:fs";
import process from "node:process";
import { makeDir } from "../support/child.ts";
import { here } from "../support/peer.ts";

let copy: string | undefined;
const homes = new Map<number, string>();

/** Returns the path of a copy of this runtime, which all users can run and only this one can change. */
export function runtimeForAll(): string {
  if (copy !== undefined) return copy;
  const directory = makeDir("runtime");
  const path = `${directory}/${here}`;
  copyFileSync(process.execPath, path); // its own directory may be one that only root can enter
  for (const each of [directory, path]) chmodSync(each, 0o755);
  return copy = path;
}

/** Returns the home directory of a user, which no other user can enter. The cache of the runtime is there. */
export function homeOf(user: number): string {
  let home = homes.get(user);
  if (home === undefined) {
    home = makeDir("home");
    chownSync(home, user, user);
    homes.set(user, home);
  }
  return home;
}
