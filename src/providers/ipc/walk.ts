/**
 * Walks over directories that others may have filled. A walk is linear, has limits, and can be stopped.
 *
 * @module
 */
import { pause } from "../../internal/time.ts";
import { Errno } from "./errno.ts";
import { TOPIC_LEVELS } from "./names.ts";
import type { Posix } from "./posix.ts";

/** The number of names after which a walk reads no more, and visits no further directories. */
const NAMES = 2 ** 17;

/** The largest number of levels of directories that are removed. tsmq creates three. */
const LEVELS = 8;

/** The largest number of steps of a part. A step makes a few system calls, and members of a group can create any number of names. */
export const PART = 512;
/** The milliseconds after which a part ends. */
export const TURN = 10;

/** Work in steps: the code that runs it may stop at each `yield`. */
export type Steps<T = void> = Generator<void, T, void>;

/** The parts of a walk that differ. */
export interface Visitor {
  /** Called for each directory, with its path below the first one (empty for that one) and the names in it. */
  visit?(path: string, names: readonly string[]): void;
  /** Returns whether a name is not to be opened as a directory. */
  leaf(name: string): boolean;
  /** Returns whether to remove a file. A directory that is empty after that is removed too. */
  remove?(name: string): boolean;
  /** Whether to remove each directory that is empty: a process may have died before it created the file, or after it removed it. */
  readonly prune?: boolean;
}

/** Opens a directory to be listed, in the open directory `at`, if it may be entered. Returns an errno if not. */
export type Enter = (name: string, at: number) => number;

/** A directory that is being visited. */
interface Visit {
  readonly descriptor: number;
  /** Its name in the directory above. */
  readonly name: string;
  readonly path: string;
  /** The names that are still to be visited. */
  readonly names: string[];
  /** Whether something in it was removed. */
  removed: boolean;
}

/**
 * Walks over an open directory, which it closes, and those below it, but not through links. Each directory is opened in the one above,
 * so that the time does not grow with the depth. Returns whether the first directory may be empty or missing now.
 */
export function* walk(posix: Posix, first: number, visitor: Visitor, enter: Enter): Steps<boolean> {
  const visits: Visit[] = [];
  let left = NAMES;
  const begin = function* (descriptor: number, name: string, path: string): Steps {
    const names: string[] = [];
    visits.push({ descriptor, name, path, names, removed: false });
    while (names.length < left && posix.listPart(descriptor, names) > 0) yield;
    left -= names.length;
    visitor.visit?.(path, [...names]);
  };
  try {
    if (first < 0) return visitor.prune === true;
    yield* begin(first, "", "");
    while (true) {
      yield;
      const visit = visits.at(-1)!;
      const name = visit.names.pop();
      if (name === undefined) {
        visits.pop();
        posix.close(visit.descriptor);
        const above = visits.at(-1);
        const changed = visit.removed || visitor.prune === true;
        if (!above) return changed;
        if (changed && posix.removeDirectory(visit.name, above.descriptor) === 0) above.removed = true;
      } else if (visitor.remove?.(name) && posix.unlink(name, visit.descriptor) === 0) {
        visit.removed = true;
      } else if (!visitor.leaf(name) && visits.length <= TOPIC_LEVELS && left > 0) {
        const descriptor = enter(name, visit.descriptor);
        if (descriptor >= 0) yield* begin(descriptor, name, visit.path === "" ? name : `${visit.path}/${name}`);
      }
    }
  } finally {
    for (const { descriptor } of visits) posix.close(descriptor);
  }
}

/** Removes everything in an open directory, which it closes, in steps. Of a link, only the link is removed, not its target. */
export function* clear(posix: Posix, directory: number, enter: Enter, levels: number = LEVELS): Steps {
  if (directory < 0) return;
  try {
    const names: string[] = [];
    while (posix.listPart(directory, names) > 0) {
      for (const name of names.splice(0)) {
        yield;
        if (posix.unlink(name, directory) !== -Errno.EISDIR || levels === 0) continue;
        yield* clear(posix, enter(name, directory), enter, levels - 1);
        posix.removeDirectory(name, directory);
      }
    }
  } finally {
    posix.close(directory);
  }
}

/** Makes all steps. Returns their result. */
export function finish<T>(steps: Steps<T>): T {
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}

/** Makes at most `count` steps, and after `ms` no more than `least` in all. Returns whether the work is done. */
export function progress(steps: Steps, count: number, ms = Infinity, least = 1): boolean {
  const end = performance.now() + ms;
  for (let made = 0; made < count && (made < least || performance.now() < end); made++) {
    if (steps.next().done) return true;
  }
  return false;
}

/** Makes all steps, a part at a time, so that other work is done in between. Resolves with their result. */
export async function inParts<T>(steps: Steps<T>): Promise<T> {
  let result: T;
  const kept = function* (): Steps {
    result = yield* steps;
  }();
  while (!progress(kept, PART, TURN)) await pause(0);
  return result!;
}
