/**
 * Counting work that runs, such as handlers and served calls, so that a bus can wait for it when it closes.
 *
 * @module
 */

/** Counts work of one kind, and waits for it. */
export class PendingWork {
  /** The number of pieces of work that are running. */
  running = 0;
  /** The number of pieces of work that have ended, successfully or not. */
  finished = 0;
  /** The work that itself waits for all other work. */
  #waiting = new Set<{ readonly running: number }>();
  #checks = new Set<() => void>();
  #end = () => this.end();

  /** Counts a promise until it settles, and returns it. The caller must handle its rejection. */
  track<T>(promise: Promise<T>): Promise<T> {
    this.begin();
    promise.then(this.#end, this.#end);
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

  /** Excludes work that itself waits for all other work from {@linkcode others}. Returns false if `waiting` is empty. */
  exclude(waiting: Iterable<{ readonly running: number }>): boolean {
    const excluded = [...waiting];
    for (const work of excluded) this.#waiting.add(work);
    for (const check of this.#checks) check();
    return excluded.length > 0;
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
