/**
 * Work that is under way: handlers, jobs, served calls. A bus waits for it when it closes.
 *
 * @module
 */
import { AsyncLocalStorage } from "node:async_hooks";

const inside = new AsyncLocalStorage<Work>();

/**
 * One thing that runs. The code that it runs finds it, however deep and however late: a close that is called in there must not wait
 * for its own caller.
 */
export class Work {
  /** Starts that have not ended; more than one only where it is not to be told which of them called. */
  running = 0;
  readonly #of: readonly Works[];
  readonly #parent: Work | undefined;

  /** Work of all of these; `parent` waits for it to end, where that is known. */
  constructor(of: readonly Works[], parent?: Work) {
    this.#of = of;
    this.#parent = parent;
  }

  /** The work that the calling code belongs to, if any. */
  static get current(): Work | undefined {
    return inside.getStore();
  }

  /** Itself and all that waits for it, as far as they are work of these. */
  *waiting(works: Works): Iterable<Work> {
    if (this.#of.includes(works)) yield this;
    if (this.#parent) yield* this.#parent.waiting(works);
  }

  /** Runs code that belongs to it. */
  enter<T>(act: () => T): T {
    return inside.run(this, act);
  }

  /** Runs what counts from its first synchronous part until its promise is settled. */
  run<T>(act: () => Promise<T>): Promise<T> {
    this.begin();
    const result = this.enter(act);
    const end = () => this.end();
    result.then(end, end);
    return result;
  }

  /** It starts. */
  begin(): void {
    this.running++;
    for (const works of this.#of) works.began();
  }

  /** It has ended, well or not. */
  end(): void {
    this.running--;
    for (const works of this.#of) works.ended();
  }
}

/** All that is under way of one kind. */
export class Works {
  /** How many are under way. */
  running = 0;
  /** How many have ended, well or not. */
  finished = 0;
  /** Those that wait for the end of the others themselves. */
  #leaving = new Set<Work>();
  #looks = new Set<() => void>();

  /** Watches work that has begun; whoever gave it hears of its failure. */
  watch<T>(work: Promise<T>): Promise<T> {
    this.began();
    const end = () => this.ended();
    work.then(end, end);
    return work;
  }

  /** One has begun. */
  began(): void {
    this.running++;
  }

  /** One has ended. */
  ended(): void {
    this.running--;
    this.finished++;
    for (const look of this.#looks) look();
  }

  /** The calling code is about to wait for the end of the others; false if it is no work of these. */
  leave(): boolean {
    const own = [...Work.current?.waiting(this) ?? []];
    for (const work of own) this.#leaving.add(work);
    for (const look of this.#looks) look();
    return own.length > 0;
  }

  /** Resolves when nothing is under way, nor what was begun meanwhile. */
  idle(): Promise<void> {
    return this.#until(() => this.running === 0);
  }

  /** How many are under way but those that wait for the end of the others themselves. */
  get others(): number {
    let own = 0;
    for (const work of this.#leaving) own += work.running;
    return this.running - own;
  }

  /** Resolves when nothing is under way but what waits for that itself. */
  alone(): Promise<void> {
    return this.#until(() => this.others === 0);
  }

  #until(over: () => boolean): Promise<void> {
    if (over()) return Promise.resolve();
    return new Promise((resolve) => {
      const look = () => {
        if (!over()) return;
        this.#looks.delete(look);
        resolve();
      };
      this.#looks.add(look);
    });
  }
}
