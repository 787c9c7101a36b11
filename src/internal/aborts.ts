/**
 * Listeners of an abort signal that many operations share. With 64 listeners, adding one to the signal itself and removing it takes 4 µs on
 * Deno and 1.6 µs on Bun, because the signal searches its list.
 *
 * @module
 */
import { NumberMap } from "./text_map.ts";

interface Listeners {
  readonly all: NumberMap<() => void>;
  /** The listener of the signal itself, which calls all others. */
  readonly own: () => void;
}

const LISTENERS = new WeakMap<AbortSignal, Listeners>();
let count = 0;

/** Calls `listener` when a signal aborts. Returns a function that removes the listener. */
export function onAbort(signal: AbortSignal, listener: () => void): () => void {
  const listeners = LISTENERS.get(signal) ?? listenTo(signal);
  const { all, own } = listeners;
  const id = ++count;
  all.set(id, listener);
  return () => {
    all.delete(id);
    if (all.size > 0 || LISTENERS.get(signal) !== listeners) return;
    LISTENERS.delete(signal); // a signal with a listener would stay in memory as long as those that it depends on
    signal.removeEventListener("abort", own);
  };
}

function listenTo(signal: AbortSignal): Listeners {
  const all = new NumberMap<() => void>();
  const own = () => {
    for (const each of all.values()) each();
  };
  const listeners = { all, own };
  LISTENERS.set(signal, listeners);
  signal.addEventListener("abort", own, { once: true });
  return listeners;
}
