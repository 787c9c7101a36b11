/**
 * The supervisor of a bus's receiver: it opens the receiver in a worker, and again in a new worker when that worker dies.
 *
 * @module
 */
import { BusError, ClosedError, fromPlain, type PlainError, toPlain } from "../errors.ts";
import type { Provider } from "../provider/provider.ts";
import { originOfBus } from "../internal/origin.ts";
import { textOf } from "../internal/thrown.ts";
import { backoff, RETRY } from "../internal/time.ts";
import type { FromReceiver, Hello, ToMain, ToWorker } from "./protocol.ts";
import { type Place, PooledWorker, type WorkerUser } from "./pool.ts";
import { WorkerError } from "./spawn.ts";

/** Advice for a worker that starts slowly. */
const SLOW =
  "on a busy machine, pass a longer connectTimeout; `deno test` first checks the types of each worker of a local copy of tsmq, " +
  "unless it has --no-check";

/** The data that a worker needs to open its receiver. */
export type Opening = Pick<Hello, "namespace" | "connectTimeout" | "maxReceive">;

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
  fault(error: PlainError): void;
  /** Called when a batch of frames was posted to the worker. */
  posted(): void;
}

interface Start {
  resolve(resumed: Promise<void>): void;
  reject(error: unknown): void;
}

/** Opens a receiver in a worker, and again in a new worker when the worker dies. */
export class Supervisor {
  /** The number of times that the worker was replaced. */
  restarts = 0;
  /** Whether a receiver is ready. */
  up = false;
  #provider: Provider;
  #opening: Opening;
  #origin = originOfBus();
  #events: Supervised;
  #worker: PooledWorker | undefined;
  #user: WorkerUser;
  #port: MessagePort | undefined;
  /** Whether the running start failed because a worker died that other buses had started. */
  #again = false;
  /** Rejects the running start. */
  #fail: (error: unknown) => void = () => {};
  #lastHeard = Date.now();
  #retry: ReturnType<typeof setTimeout> | undefined;
  /** The number of consecutive workers that died soon after they were ready, and the time at which the last one was ready. */
  #shortLives = 0;
  #upSince = -Infinity;
  #closed = false;

  /** Creates the supervisor of a receiver, which {@linkcode start} opens. */
  constructor(provider: Provider, opening: Opening, events: Supervised) {
    this.#provider = provider;
    this.#opening = opening;
    this.#events = events;
    this.#user = {
      beat: () => {
        this.post([{ kind: "beat" }]);
        return this.up;
      },
      died: (error, joined) => {
        this.#again = joined && !this.up;
        this.#fail(error);
        this.#died(error);
      },
    };
  }

  /** The time of the last message from the worker, in milliseconds of `Date.now()`. */
  get lastHeard(): number {
    return this.#worker?.lastHeard ?? this.#lastHeard;
  }

  /**
   * Opens the receiver, in the worker of this place if there is one. Rejects with its error, and then leaves the worker. If the signal aborts
   * meanwhile, it closes.
   */
  async start(place?: Place, signal?: AbortSignal): Promise<void> {
    const close = () => this.close();
    signal?.addEventListener("abort", close);
    try {
      await this.#start(place);
    } catch (error) {
      if (!this.#again || this.#closed) throw error;
      await this.#start();
    } finally {
      signal?.removeEventListener("abort", close);
    }
  }

  /** Sends frames to the receiver. */
  post(frames: ToWorker[]): void {
    if (this.#port) this.#postTo(this.#port, frames);
  }

  /** Posts a batch, and wakes the receiver if it sleeps outside its event loop. */
  #postTo(port: MessagePort, frames: ToWorker[]): void {
    port.postMessage(frames);
    this.#events.posted();
  }

  /** Leaves the worker, which ends unless other buses use it. A receiver that has not closed is aborted. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#retry);
    this.#drop();
    this.#fail(new ClosedError());
  }

  /** Opens the receiver. Resolves with true when it is ready, or with false if the supervisor was closed or the worker died meanwhile. */
  async #start(place?: Place): Promise<boolean> {
    const started = Promise.withResolvers<void>();
    started.promise.catch(() => {});
    this.#fail = started.reject;
    const { connectTimeout } = this.#opening;
    const worker = this.#worker = PooledWorker.join(this.#provider, this.#user, place);
    const { port1, port2 } = new MessageChannel(); // while the worker loads
    let listening = false;
    const late = setTimeout(() => {
      const what = listening ? "did not open the receiver" : "did not start";
      const text = `Cannot open "${this.#provider.name}": its worker ${what} in time; ${SLOW}`;
      started.reject(new WorkerError("unavailable", text));
    }, connectTimeout + 1_000); // the receiver's own deadline has a more precise message, so it ends first
    try {
      await Promise.race([worker.listening, started.promise]);
      if (this.#worker !== worker) return false;
      listening = true;
      this.#port = port1;
      port1.onmessage = (event) => {
        if (this.#port !== port1) return;
        worker.heard();
        this.#receive(event.data as ToMain[], port1, started);
      };
      const { options } = this.#provider;
      const origin = this.#origin;
      worker.greet({ kind: "tsmq:hello", port: port2, options, origin, ...this.#opening });
      await started.promise;
      return this.#worker === worker;
    } catch (error) {
      if (this.#worker === worker) this.#drop();
      port1.close();
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
            this.#upSince = performance.now();
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
        this.#events.fault(toPlain(error));
      }
    }
  }

  #drop(): void {
    const [worker, port] = [this.#worker, this.#port];
    this.up = false;
    this.#lastHeard = this.lastHeard;
    this.#worker = this.#port = undefined;
    // if this bus was the last one, the worker is terminated, and its receiver with it
    if (worker?.leave(this.#user)) port?.postMessage([{ kind: "abort" }] satisfies ToWorker[]);
    port?.close();
  }

  #died(cause: Error): void {
    if (!this.up) return;
    this.#drop();
    const text = `Cannot complete the operation: the worker of "${this.#provider.name}" died: ${textOf(cause)}`;
    this.#events.died(new BusError("worker_died", text, { cause }));
    const short = performance.now() - this.#upSince < RETRY.restore.max;
    this.#restart(short ? this.#shortLives++ : this.#shortLives = 0);
  }

  /** Opens the receiver in a new worker: immediately, or with a pause after failed attempts and short lives. */
  #restart(failures: number): void {
    this.#retry = setTimeout(async () => {
      try {
        if (!await this.#start()) return;
        this.restarts++;
        this.#events.replaced();
      } catch (error) {
        if (this.#closed) return;
        this.#events.fault(toPlain(error));
        this.#restart(failures + 1);
      }
    }, failures === 0 ? 0 : backoff(RETRY.restore, failures));
  }
}
