/** Returns the number of errors that these reports are about: one each, or the number of those that were left out. */
export function reported(texts: readonly string[]): number {
  const counts = texts.map((text) => Number(/Cannot report (\d+) more/.exec(text)?.[1] ?? 1));
  return counts.reduce((sum, count) => sum + count, 0);
}
