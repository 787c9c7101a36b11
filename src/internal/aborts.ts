/**
 * Listeners of an abort signal that many operations share. With 64 listeners, adding one to the signal itself and removing it takes 4 µs on
 * Deno and 1.6 µs on Bun, because the signal searches its list.
 *
 * @module
 */
import { NumberMap } from "./text_map.ts";

const LISTENERS = new WeakMap<AbortSignal, NumberMap<() => void>>();
let count = 0;

/** Calls `listener` when a signal aborts. Returns a function that removes the listener. */
export function onAbort(signal: AbortSignal, listener: () => void): () => void {
  let listeners = LISTENERS.get(signal);
  if (!listeners) {
    const all = listeners = new NumberMap<() => void>();
    LISTENERS.set(signal, all);
    signal.addEventListener("abort", () => {
      for (const each of all.values()) each();
    }, { once: true });
  }
  const id = ++count;
  listeners.set(id, listener);
  return () => listeners.delete(id);
}
