/**
 * Running work: handlers and served calls. A bus waits for it when it closes.
 *
 * @module
 */
import { AsyncLocalStorage } from "node:async_hooks";

const current = new AsyncLocalStorage<Work>();

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

  /** The work that the calling code belongs to, if any. */
  static get current(): Work | undefined {
    return current.getStore();
  }

  /** Returns this work and all work that waits for it, if the tracker counts it. */
  *chain(tracker: PendingWork): Iterable<Work> {
    if (this.#trackers.includes(tracker)) yield this;
    if (this.#parent) yield* this.#parent.chain(tracker);
  }

  /** Runs code that belongs to this work. */
  enter<T>(act: () => T): T {
    return current.run(this, act);
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

/** Counts work of one kind, and waits for it. */
export class PendingWork {
  /** The number of pieces of work that are running. */
  running = 0;
  /** The number of pieces of work that have ended, successfully or not. */
  finished = 0;
  /** The work that itself waits for all other work. */
  #waiting = new Set<Work>();
  #checks = new Set<() => void>();

  /** Counts a promise until it settles, and returns it. The caller must handle its rejection. */
  track<T>(promise: Promise<T>): Promise<T> {
    this.begin();
    const end = () => this.end();
    promise.then(end, end);
    return promise;
  }

  /** Counts work that begins. */
  begin(): void {
    this.running++;
  }

  /** Counts work that ends. */
  end(): void {
    this.running--;
    this.finished++;
    for (const check of this.#checks) check();
  }

  /** Excludes the work of the calling code from {@linkcode others}. Returns false if the caller is not part of any work. */
  excludeCaller(): boolean {
    const own = [...Work.current?.chain(this) ?? []];
    for (const work of own) this.#waiting.add(work);
    for (const check of this.#checks) check();
    return own.length > 0;
  }

  /** The number of pieces of work that are running and do not themselves wait for all others. */
  get others(): number {
    let own = 0;
    for (const work of this.#waiting) own += work.running;
    return this.running - own;
  }

  /** Resolves when nothing is running, including work that begins during the wait. */
  idle(): Promise<void> {
    return this.#until(() => this.running === 0);
  }

  /** Resolves when the only running work is work that itself waits for all others. */
  othersIdle(): Promise<void> {
    return this.#until(() => this.others === 0);
  }

  #until(condition: () => boolean): Promise<void> {
    if (condition()) return Promise.resolve();
    return new Promise((resolve) => {
      const check = () => {
        if (!condition()) return;
        this.#checks.delete(check);
        resolve();
      };
      this.#checks.add(check);
    });
  }
}
