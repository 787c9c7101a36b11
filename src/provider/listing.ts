/**
 * Limits of an admin's lists: anybody who may write to the transport can create any number of names.
 *
 * @module
 */
import { warnOnce } from "../internal/complain.ts";
import { inParallel } from "../internal/in_parallel.ts";

/** The largest number of queues or functions that an admin lists. The dashboard shows about as many rows of a table. */
export const MAX_LISTED = 10_000;

/**
 * Maps names by requests, of which at most `parallel` run at once. Beyond {@linkcode MAX_LISTED} names, it leaves out the others, and writes
 * a warning once. `of` says what they are: "queues in the namespace shop".
 */
export async function listEach<T, O>(
  of: string,
  names: readonly T[],
  parallel: number,
  read: (name: T) => Promise<O>,
): Promise<O[]> {
  if (names.length > MAX_LISTED) {
    warnOnce(`listed ${of}`, `There are more than ${MAX_LISTED} ${of}: the others are not listed or counted`);
  }
  return await inParallel(names.slice(0, MAX_LISTED), parallel, read);
}
