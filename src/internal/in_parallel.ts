/**
 * Work on many things at a time.
 *
 * @module
 */

/** Maps items by requests, of which a limited number runs at once. */
export async function inParallel<T, O>(
  items: readonly T[],
  parallel: number,
  run: (item: T) => Promise<O>,
): Promise<O[]> {
  const results: O[] = [];
  let next = 0;
  const work = async () => {
    for (let i = next++; i < items.length; i = next++) results[i] = await run(items[i]!);
  };
  await Promise.all(Array.from({ length: Math.min(parallel, items.length) }, work));
  return results;
}
