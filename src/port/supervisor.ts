/**
 * The supervisor of a worker: it starts the worker, checks its heartbeats, and replaces it when it dies.
 *
 * @module
 */
import { BusError, fromPlain, ProviderError, toPlain } from "../errors.ts";
import type { Provider } from "../provider/provider.ts";
import { textOf } from "../internal/thrown.ts";
import { backoff, RETRY } from "../internal/time.ts";
import type { FromReceiver, Hello, ToMain, ToWorker } from "./protocol.ts";
import { spawn, type Spawned } from "./spawn.ts";

/** Milliseconds between two heartbeats that main asks the worker for. */
const BEAT = 2_000;
/**
 * The number of consecutive heartbeats that may be missing before the worker counts as dead. A missing heartbeat counts only if main was on
 * time.
 */
const MISSED = 2;

/** The data that a worker needs to open its receiver. */
export type Opening = Pick<Hello, "namespace" | "connectTimeout">;

/** The callbacks of a supervisor to its link. */
export interface Supervised {
  /** Called when the receiver of a worker is ready. Resolves when all subscriptions of its predecessor are restored. */
  ready(inbox: string): Promise<void>;
  /** Called with a frame from the receiver. `reply` posts to that receiver, never to its successor. */
  frame(frame: FromReceiver, reply: (frame: ToWorker) => void): void;
  /** Called when the worker has died and a new worker is being started. */
  died(error: BusError): void;
  /** Called when the new worker is ready. */
  replaced(): void;
  /** Called with a fault that belongs to no request. */
  fault(error: BusError): void;
  /** Called when a batch of frames was posted to the worker. */
  posted(): void;
}

interface Start {
  resolve(resumed: Promise<void>): void;
  reject(error: unknown): void;
}

/** Starts a worker, watches its heartbeats, and replaces it when it dies. */
export class Supervisor {
  /** The number of times that the worker was replaced. */
  restarts = 0;
  /** The time of the last message from the worker, in milliseconds of `Date.now()`. */
  lastHeard: number = Date.now();
  /** Whether a receiver is ready. */
  up = false;
  #provider: Provider;
  #opening: Opening;
  #events: Supervised;
  #port: MessagePort | undefined;
  #spawned: Spawned | undefined;
  #spawning: Promise<Spawned> | undefined;
  /** The number of heartbeats that main has requested since the last message from the worker. */
  #missed = 0;
  #closed = false;
  #watch: ReturnType<typeof setInterval> | undefined;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #late: ReturnType<typeof setTimeout> | undefined;

  /** Creates the supervisor of a provider's worker, which {@linkcode start} starts. */
  constructor(provider: Provider, opening: Opening, events: Supervised) {
    this.#provider = provider;
    this.#opening = opening;
    this.#events = events;
  }

  /** Starts the worker. Rejects with the error of its receiver, and then terminates the worker. */
  async start(): Promise<void> {
    await this.#start();
    let last = performance.now();
    this.#watch = setInterval(() => {
      const now = performance.now();
      // if main was late (a busy main, a debugger, a suspended laptop), a missing heartbeat does not mean that the worker is dead
      if (now - last > 2 * BEAT) this.#missed = 0;
      last = now;
      if (!this.up) return;
      if (this.#missed === MISSED) return this.#died(new Error("it does not answer"));
      this.#missed++;
      this.post([{ kind: "beat" }]);
    }, BEAT);
  }

  /** Sends frames to the worker that is ready. */
  post(frames: ToWorker[]): void {
    if (this.#port) this.#postTo(this.#port, frames);
  }

  /** Posts a batch, and wakes the receiver if it sleeps outside its event loop. */
  #postTo(port: MessagePort, frames: ToWorker[]): void {
    port.postMessage(frames);
    this.#events.posted();
  }

  /**
   * Ends the worker, unless other buses use it: their own supervisors detect that it is dead. A worker that is still starting ends when it
   * listens, or when `over` resolves.
   */
  async close(over: Promise<unknown>): Promise<void> {
    this.#closed = true;
    clearInterval(this.#watch);
    clearTimeout(this.#retry);
    clearTimeout(this.#late);
    this.#drop(false);
    await Promise.race([this.#spawning?.catch(() => {}), over]);
  }

  /** Starts a worker. Resolves with true when its receiver is ready, or with false if the supervisor was closed or the worker died meanwhile. */
  async #start(): Promise<boolean> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    promise.catch(() => {});
    const { connectTimeout, namespace } = this.#opening;
    const late = this.#late = setTimeout(
      () =>
        reject(
          new ProviderError(
            "unavailable",
            `Cannot open "${this.#provider.name}": its worker did not open the receiver in time`,
          ),
        ),
      connectTimeout + 1_000, // the receiver's own deadline has a more precise message, so it ends first
    );
    try {
      this.#spawning = spawn(this.#provider, connectTimeout, (error) => {
        reject(error);
        if (this.#spawned === spawned) this.#died(error);
      });
      const spawned = this.#spawned = await this.#spawning;
      if (this.#closed) {
        this.#drop(false);
        return false;
      }
      const { port1, port2 } = new MessageChannel();
      this.#port = port1;
      port1.onmessage = (event) => {
        if (this.#port !== port1) return;
        this.lastHeard = Date.now();
        this.#missed = 0;
        this.#receive(event.data as ToMain[], port1, { resolve, reject });
      };
      const { options } = this.#provider;
      spawned.greet({ kind: "tsmq:hello", port: port2, namespace, options, connectTimeout });
      await promise;
      return this.#spawned === spawned;
    } catch (error) {
      this.#drop(false);
      throw error;
    } finally {
      clearTimeout(late);
    }
  }

  #receive(frames: ToMain[], port: MessagePort, start: Start): void {
    const reply = (frame: ToWorker) => this.#postTo(port, [frame]);
    for (const frame of frames) {
      try {
        switch (frame.kind) {
          case "ready":
            this.up = true;
            start.resolve(this.#events.ready(frame.inbox));
            break;
          case "fatal":
            start.reject(fromPlain(frame.error));
            break;
          case "beat":
            break;
          default:
            this.#events.frame(frame, reply);
        }
      } catch (error) { // the other frames are still handled
        this.#events.fault(fromPlain(toPlain(error)));
      }
    }
  }

  #drop(dead: boolean): void {
    this.up = false;
    this.#port?.close();
    this.#port = undefined;
    const spawned = this.#spawned;
    this.#spawned = undefined;
    spawned?.release(dead);
  }

  #died(cause: unknown): void {
    if (!this.up) return;
    this.#drop(true);
    const text = `Cannot complete the operation: the worker of "${this.#provider.name}" died: ${textOf(cause)}`;
    this.#events.died(new BusError("worker_died", text, { cause }));
    this.#restart(0);
  }

  /** Starts a worker in place of the dead one: immediately, or with a pause after failed attempts. */
  #restart(failures: number): void {
    this.#retry = setTimeout(async () => {
      try {
        if (!await this.#start()) return;
        this.restarts++;
        this.#events.replaced();
      } catch (error) {
        if (this.#closed) return;
        this.#events.fault(fromPlain(toPlain(error)));
        this.#restart(failures + 1);
      }
    }, failures === 0 ? 0 : backoff(RETRY.restore, failures));
  }
}
