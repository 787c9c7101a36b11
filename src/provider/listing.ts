/**
 * Limits of an admin's lists: anybody who may write to the transport can create any number of names.
 *
 * @module
 */
import { warnOnce } from "../internal/complain.ts";

/** The largest number of names of a list. The dashboard shows about as many rows of a table. */
export const MAX_LISTED = 10_000;
/** The largest number of servers of all functions of a list. */
export const MAX_SERVERS = 100_000;
/** The largest number of characters, or of UTF-8 bytes, of all names of a list. */
export const MAX_LISTED_SIZE: number = 2 ** 24;

/** A name of a list, or several that belong together. */
type Name = string | readonly string[];

/**
 * Returns the names up to a limit of their number, and {@linkcode MAX_LISTED_SIZE}. If there are more, it writes a warning once, and reads no
 * further ones. `of` says what they are: "queues in the namespace shop".
 */
export function limited<T extends Name>(of: string, names: Iterable<T>, max: number = MAX_LISTED): T[] {
  const found: T[] = [];
  const add = adderTo(found, of, max);
  for (const name of names) if (!add(name)) break;
  return found;
}

/** Does the same as {@linkcode limited} with names that arrive one after the other. */
export async function limitedAsync<T extends Name>(of: string, names: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  const add = adderTo(found, of, MAX_LISTED);
  for await (const name of names) if (!add(name)) break;
  return found;
}

/** Returns a function that adds a name to a list within the same limits, or returns false after it has written the warning. */
export function adderTo<T extends Name>(found: T[], of: string, max: number): (name: T) => boolean {
  let size = 0;
  return (name) => {
    size += String(name).length;
    if (found.length < max && size <= MAX_LISTED_SIZE) return found.push(name) > 0;
    warnOfMore(of, found.length);
    return false;
  };
}

/** Writes a warning once that a list has only `count` of these things. */
export function warnOfMore(of: string, count: number): void {
  warnOnce(`listed ${of}`, `There are more than ${count} ${of}: the others are not listed or counted`);
}
