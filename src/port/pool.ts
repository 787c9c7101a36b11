/**
 * The workers of this thread. Buses whose providers have the same worker URL share one worker: the first bus starts it, and it is terminated
 * when the last bus leaves or when it is dead. The shared worker has one heartbeat for all its buses.
 *
 * @module
 */
import type { ProviderError } from "../errors.ts";
import type { Provider } from "../provider/provider.ts";
import type { Hello } from "./protocol.ts";
import { spawn, type Spawned } from "./spawn.ts";

/** Milliseconds between two heartbeats that main asks a worker for. */
const BEAT = 2_000;
/**
 * The number of consecutive heartbeats that may be missing before a worker counts as dead. A missing heartbeat counts only if main was on
 * time.
 */
const MISSED = 2;

/** The worker of each URL, for the next bus. */
const shared = new Map<string, PooledWorker>();

/** A bus that uses a worker. */
export interface WorkerUser {
  /** Asks the worker for a heartbeat. Returns false if the receiver of this bus is not ready. */
  beat(): boolean;
  /**
   * Called when the worker could not be loaded or has died. It has no users any more. `joined` is true if the worker was listening when this
   * bus joined it.
   */
  died(error: Error, joined: boolean): void;
}

/** A worker and the buses that use it. */
export class PooledWorker {
  /** Resolves when the worker listens. If it dies before, `died` is called instead. */
  readonly listening: Promise<void>;
  /** The time of the last message from the worker, in milliseconds of `Date.now()`. */
  lastHeard: number = Date.now();
  #key: string;
  #spawned: Spawned;
  /** User → whether the worker was listening when the user joined. */
  #users = new Map<WorkerUser, boolean>();
  /** The number of heartbeats that main has requested since the last message from the worker. `#asked` is the last user it asked. */
  #missed = 0;
  #asked: WorkerUser | undefined;
  #watch: ReturnType<typeof setInterval> | undefined;
  #ended = false;

  private constructor(provider: Provider) {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.listening = promise;
    this.#key = provider.worker.href;
    this.#spawned = spawn(provider, {
      listening: () => {
        if (this.#ended) return;
        this.#startWatch();
        resolve();
      },
      died: (error: ProviderError) => this.#die(error),
    });
  }

  /** Returns the worker of a provider with a new user. If none can be shared, it starts one. */
  static join(provider: Provider, user: WorkerUser): PooledWorker {
    const sharing = provider.sharedWorker ?? true;
    const worker = (sharing ? shared.get(provider.worker.href) : undefined) ?? new PooledWorker(provider);
    if (sharing) shared.set(worker.#key, worker);
    worker.#users.set(user, worker.#watch !== undefined);
    return worker;
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

  /** Keeps other buses from joining this worker. */
  retire(): void {
    if (shared.get(this.#key) === this) shared.delete(this.#key);
  }

  /** Removes a user. Terminates the worker after the last one. Returns true if others still use it. */
  leave(user: WorkerUser): boolean {
    if (!this.#users.delete(user)) return false;
    if (this.#users.size === 0) this.#end();
    // the answer to its heartbeat does not arrive any more
    else if (this.#asked === user) this.#missed = 0;
    return this.#users.size > 0;
  }

  #startWatch(): void {
    let last = performance.now();
    this.#watch = setInterval(() => {
      const now = performance.now();
      // if main was late (a busy main, a debugger, a suspended laptop), a missing heartbeat does not mean that the worker is dead
      if (now - last > 2 * BEAT) this.#missed = 0;
      last = now;
      if (this.#missed === MISSED) return this.#die(new Error("it does not answer"));
      this.#asked = [...this.#users.keys()].find((user) => user.beat());
      if (this.#asked) this.#missed++;
    }, BEAT);
  }

  #die(error: Error): void {
    if (this.#ended) return;
    this.#end();
    const users = [...this.#users];
    this.#users.clear();
    for (const [user, joined] of users) user.died(error, joined);
  }

  #end(): void {
    this.#ended = true;
    this.retire();
    clearInterval(this.#watch);
    this.#spawned.terminate();
  }
}
