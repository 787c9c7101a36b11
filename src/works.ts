/**
 * Work that is under way, and is waited for when a bus closes.
 *
 * @module
 */

/** See the module. */
export class Works {
  /** How many have ended, well or not. */
  finished = 0;
  #running = new Set<Promise<unknown>>();

  /** How many are under way. */
  get running(): number {
    return this.#running.size;
  }

  /** Watches work until it ends; whoever gave it hears of its failure. */
  watch<T>(work: Promise<T>): Promise<T> {
    this.#running.add(work);
    const done = () => {
      this.#running.delete(work);
      this.finished++;
    };
    work.then(done, done);
    return work;
  }

  /** Resolves when nothing is under way, nor what was begun meanwhile. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.allSettled(this.#running);
  }
}
