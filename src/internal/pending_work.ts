/**
 * Work that has begun and not ended: handlers and served calls. A bus waits for it when it closes.
 *
 * @module
 */
import { AsyncLocalStorage } from "node:async_hooks";

const current = new AsyncLocalStorage<Work>();

/**
 * One piece of work, such as a run of a handler. The code that it runs finds it in {@linkcode Work.current}, so that a `close` called
 * from there does not wait for its own caller.
 */
export class Work {
  /** How many times it has begun and not ended: more than once where several runs of a handler share one `Work`. */
  running = 0;
  readonly #trackers: readonly PendingWork[];
  readonly #parent: Work | undefined;

  /** Creates work that these trackers count. `parent` is the work that waits for this one, if known. */
  constructor(trackers: readonly PendingWork[], parent?: Work) {
    this.#trackers = trackers;
    this.#parent = parent;
  }

  /** The work that the calling code belongs to, if any. */
  static get current(): Work | undefined {
    return current.getStore();
  }

  /** This work and the work that waits for it, as far as the tracker counts it. */
  *chain(tracker: PendingWork): Iterable<Work> {
    if (this.#trackers.includes(tracker)) yield this;
    if (this.#parent) yield* this.#parent.chain(tracker);
  }

  /** Runs code that belongs to this work. */
  enter<T>(act: () => T): T {
    return current.run(this, act);
  }

  /** Begins, runs the code, and ends when its promise settles. */
  run<T>(act: () => Promise<T>): Promise<T> {
    this.begin();
    const result = this.enter(act);
    const end = () => this.end();
    result.then(end, end);
    return result;
  }

  /** Counts one more run. */
  begin(): void {
    this.running++;
    for (const tracker of this.#trackers) tracker.begin();
  }

  /** Counts the end of a run, successful or not. */
  end(): void {
    this.running--;
    for (const tracker of this.#trackers) tracker.end();
  }
}

/** Counts work of one kind and waits for it. */
export class PendingWork {
  /** How much work has begun and not ended. */
  running = 0;
  /** How much work has ended, successfully or not. */
  finished = 0;
  /** Work that itself waits for the rest. */
  #waiting = new Set<Work>();
  #checks = new Set<() => void>();

  /** Counts a promise until it settles, and returns it. Its rejection is the caller's to handle. */
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

  /** Excludes the work that the calling code belongs to from {@linkcode others}; false if there is none. */
  excludeCaller(): boolean {
    const own = [...Work.current?.chain(this) ?? []];
    for (const work of own) this.#waiting.add(work);
    for (const check of this.#checks) check();
    return own.length > 0;
  }

  /** How much work is running, without work that itself waits for the rest. */
  get others(): number {
    let own = 0;
    for (const work of this.#waiting) own += work.running;
    return this.running - own;
  }

  /** Resolves when nothing is running, work that began meanwhile included. */
  idle(): Promise<void> {
    return this.#until(() => this.running === 0);
  }

  /** Resolves when nothing is running but work that itself waits for the rest. */
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
