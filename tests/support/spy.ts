/** Records the first argument of each call of a method. Returns a function that ends it. */
export function spy<Name extends string>(
  owner: { [name in Name]: (...args: never[]) => unknown },
  name: Name,
  uses: unknown[],
): () => void {
  const method = owner[name];
  owner[name] = function (this: unknown, ...args: never[]) {
    uses.push(args[0]);
    return method.apply(this, args);
  };
  return () => void (owner[name] = method);
}

/** Runs a reader of a text. Returns what it has parsed or made a key, of which the engine may keep a copy in a table. */
export function kept(read: () => void): unknown[] {
  const uses: unknown[] = [];
  const restore = [
    spy(JSON, "parse", uses),
    spy(Object, "fromEntries", uses),
    spy(Map.prototype, "set", uses),
    spy(Map.prototype, "get", uses),
    spy(Set.prototype, "add", uses),
    spy(Set.prototype, "has", uses),
  ];
  try {
    read();
  } finally {
    for (const end of restore) end();
  }
  return uses;
}

/**
 * Counts calls in each stretch of work of this thread. Work that pauses ends its stretch: its pause ends after the timer that
 * the first call of the stretch has set. (An immediate would not do: two pauses may end before it on a busy machine.)
 */
export class Stretches {
  /** The largest number of calls in one stretch. */
  most = 0;
  #calls = 0;

  /** Counts a call. */
  count(): void {
    if (this.#calls === 0) setTimeout(() => this.#calls = 0, 0);
    this.most = Math.max(this.most, ++this.#calls);
  }
}
