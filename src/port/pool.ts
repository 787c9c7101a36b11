/**
 * The workers of this thread. Buses whose providers have the same worker URL share one worker: the first bus starts it, and it is terminated
 * when the last bus leaves or when it is dead. The shared worker has one heartbeat for all its buses.
 *
 * @module
 */
import type { ProviderError } from "../errors.ts";
import type { Provider } from "../provider/provider.ts";
import type { Hello } from "./protocol.ts";
import { checkRuntime, spawn, type Spawned, WorkerError } from "./spawn.ts";

/** Milliseconds between two heartbeats that main asks a worker for. */
const BEAT = 2_000;
/**
 * The number of consecutive heartbeats that may be missing before a worker counts as dead. A missing heartbeat counts only if main was on
 * time.
 */
const MISSED = 2;
/**
 * The number of consecutive heartbeats that may be missing while no receiver of the worker is ready: a worker starts slowly on a busy machine.
 * Tests may lower it.
 */
export const STARTING: { missed: number } = { missed: 30 };

/** The shared worker of each URL, which the next bus joins. */
const shared = new Map<string, PooledWorker>();

/** A bus that uses a worker. */
export interface WorkerUser {
  /** Asks the worker for a heartbeat, if it has a port. Returns false if the receiver of this bus is not ready. */
  beat(): boolean;
  /**
   * Called when the worker could not be loaded or has died. It has no users any more. `joined` is true if the worker was listening when this
   * bus joined it.
   */
  died(error: ProviderError, joined: boolean): void;
}

/**
 * A place in a worker, for a bus that is not loaded yet: the worker and the bus load at the same time. A bus that joins takes the
 * place.
 */
export class Place implements WorkerUser, Disposable {
  #worker: PooledWorker;
  /** The arguments of `died`, if the worker died before a bus took the place. */
  #death: Parameters<WorkerUser["died"]> | undefined;

  /**
   * Takes a place in the worker of a provider.
   *
   * @throws {UnsupportedError} on a runtime without workers
   */
  constructor(provider: Provider) {
    checkRuntime();
    this.#worker = PooledWorker.join(provider, this);
  }

  beat(): boolean {
    return false;
  }

  died(...death: Parameters<WorkerUser["died"]>): void {
    this.#death = death;
  }

  /** Gives the place to a user. Returns the worker, or undefined if the place was taken or given up before. */
  give(user: WorkerUser): PooledWorker | undefined {
    if (this.#worker.replace(this, user)) return this.#worker;
    if (!this.#death) return undefined;
    user.died(...this.#death);
    this.#death = undefined;
    return this.#worker;
  }

  /** Gives the place up, unless a user has taken it. Without users, the worker ends. */
  [Symbol.dispose](): void {
    this.#worker.leave(this);
  }
}

/** A worker and the buses that use it. */
export class PooledWorker {
  /** Resolves when the worker listens. If it dies before, `died` is called instead. */
  readonly listening: Promise<void>;
  /** The time of the last message from the worker, in milliseconds of `Date.now()`. */
  lastHeard: number = Date.now();
  #key: string;
  #name: string;
  #spawned: Spawned;
  #listens = false;
  /** User → whether the worker was listening when the user joined. */
  #users = new Map<WorkerUser, boolean>();
  /**
   * The number of heartbeats that main has requested since the last message from the worker. `#asked` is the user with a ready receiver that
   * it asked last.
   */
  #missed = 0;
  #asked: WorkerUser | undefined;
  #watch: ReturnType<typeof setInterval>;
  #ended = false;

  private constructor(provider: Provider) {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.listening = promise;
    this.#key = provider.worker.href;
    this.#name = provider.name;
    this.#spawned = spawn(provider, {
      listening: () => {
        this.#listens = true;
        this.heard();
        resolve();
      },
      died: (error) => this.#die(error),
    });
    this.#watch = this.#startWatch();
  }

  /** Returns the worker of a provider with a new user: that of its place, if it has one. If none can be shared, it starts one. */
  static join(provider: Provider, user: WorkerUser, place?: Place): PooledWorker {
    const reserved = place?.give(user);
    if (reserved) return reserved;
    const sharing = provider.sharedWorker ?? true;
    const worker = (sharing ? shared.get(provider.worker.href) : undefined) ?? new PooledWorker(provider);
    if (sharing) shared.set(worker.#key, worker);
    worker.#users.set(user, worker.#listens);
    return worker;
  }

  /** Gives the place of a user to another one. Returns false if the user has left, or the worker has died. */
  replace(user: WorkerUser, successor: WorkerUser): boolean {
    const joined = this.#users.get(user);
    if (joined === undefined) return false;
    this.#users.delete(user);
    this.#users.set(successor, joined);
    return true;
  }

  /** Opens a receiver in the worker that listens. */
  greet(hello: Hello): void {
    this.#spawned.greet(hello);
  }

  /** Records that a message from the worker has arrived. */
  heard(): void {
    this.lastHeard = Date.now();
    this.#missed = 0;
  }

  /** Removes a user. Terminates the worker after the last one. Returns true if others still use it. */
  leave(user: WorkerUser): boolean {
    if (!this.#users.delete(user)) return false;
    if (this.#users.size === 0) this.#end();
    // the answer to its heartbeat does not arrive any more
    else if (this.#asked === user) this.#missed = 0;
    return this.#users.size > 0;
  }

  #startWatch(): ReturnType<typeof setInterval> {
    let last = performance.now();
    return setInterval(() => {
      const now = performance.now();
      // if main was late (a busy main, a debugger, a suspended laptop), a missing heartbeat does not mean that the worker is dead
      if (now - last > 2 * BEAT) this.#missed = 0;
      last = now;
      this.#asked = [...this.#users.keys()].find((user) => user.beat());
      if (++this.#missed <= (this.#asked ? MISSED : STARTING.missed)) return;
      this.#die(new WorkerError("unavailable", `Cannot use the worker of "${this.#name}": it does not answer`));
    }, BEAT);
  }

  #die(error: ProviderError): void {
    if (this.#ended) return;
    this.#end();
    const users = [...this.#users];
    this.#users.clear();
    for (const [user, joined] of users) user.died(error, joined);
  }

  #end(): void {
    this.#ended = true;
    if (shared.get(this.#key) === this) shared.delete(this.#key);
    clearInterval(this.#watch);
    this.#spawned.terminate();
  }
}
