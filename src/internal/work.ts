/**
 * The work that code belongs to: a handler or a served call.
 *
 * @module
 */
import type * as hooks from "node:async_hooks";
import type { PendingWork } from "./pending_work.ts";

let storage: hooks.AsyncLocalStorage<Work> | undefined;

/**
 * One piece of work, such as one run of a handler. Its code finds it in {@linkcode Work.current}, so that a `close` that is called by a
 * handler does not wait for that handler.
 */
export class Work {
  /** The number of runs that have begun and not ended. Several runs of a handler can share one `Work`. */
  running = 0;
  readonly #trackers: readonly PendingWork[];
  readonly #parent: Work | undefined;

  /** Creates work that these trackers count. `parent` is the work that waits for it, if known. */
  constructor(trackers: readonly PendingWork[], parent?: Work) {
    this.#trackers = trackers;
    this.#parent = parent;
  }

  /**
   * Loads `AsyncLocalStorage`, which `enter` needs. A bus loads it while its worker starts, because on Deno an import at the start of a
   * program takes 4 ms, and loading it through the global `process` takes 10 ms.
   */
  static async load(): Promise<void> {
    const { AsyncLocalStorage } = await import("node:async_hooks");
    storage ??= new AsyncLocalStorage();
  }

  /** The work that the calling code belongs to, if any. */
  static get current(): Work | undefined {
    return storage?.getStore();
  }

  /** Yields the work of the calling code, and all work that waits for it, if the tracker counts it. */
  static *ofCaller(tracker: PendingWork): Iterable<Work> {
    for (let work = Work.current; work; work = work.#parent) if (work.#trackers.includes(tracker)) yield work;
  }

  /** Runs code that belongs to this work. `load` must have resolved before. */
  enter<T>(act: () => T): T {
    return storage!.run(this, act);
  }

  /** Runs code that belongs to no work. It is for code that starts something that outlives the work of the caller, such as a connection. */
  static leave<T>(act: () => T): T {
    return storage ? storage.run(undefined as unknown as Work, act) : act();
  }

  /** Begins a run of this work, runs the code, and ends the run when the promise of the code settles. */
  run<T>(act: () => Promise<T>): Promise<T> {
    this.begin();
    const result = this.enter(act);
    const end = () => this.end();
    result.then(end, end);
    return result;
  }

  /** Begins a run. */
  begin(): void {
    this.running++;
    for (const tracker of this.#trackers) tracker.begin();
  }

  /** Ends a run, successful or not. */
  end(): void {
    this.running--;
    for (const tracker of this.#trackers) tracker.end();
  }
}
