/**
 * Starts a provider's worker, or joins the worker that its buses share. This is the only file that knows how the workers of the
 * runtimes differ.
 *
 * @module
 */
import { lacksPermission, ProviderError } from "../errors.ts";
import type { Provider } from "../provider/provider.ts";
import type { Hello, Listening } from "./protocol.ts";

/** A running worker that listens. */
export interface Spawned {
  /** Posts the first message to the worker, with its end of a port. */
  greet(hello: Hello): void;
  /** Terminates the worker. A shared worker is terminated with its last user, or for all users when it is dead. */
  release(dead: boolean): void;
}

interface Running {
  worker: Worker;
  users: Set<(error: unknown) => void>;
}

const shared = new WeakMap<Provider, Promise<Running>>();

/**
 * Starts a worker. Resolves when it listens. `died` is called when the worker has ended by itself.
 *
 * @throws {ProviderError} "unavailable" when it does not listen within `timeout` ms, or fails to load
 */
export async function spawn(provider: Provider, timeout: number, died: (error: unknown) => void): Promise<Spawned> {
  let starting = provider.sharedWorker ? shared.get(provider) : undefined;
  if (!starting) {
    starting = start(provider, timeout);
    if (provider.sharedWorker) shared.set(provider, starting);
    starting.catch(() => shared.delete(provider));
  }
  const running = await starting;
  running.users.add(died);
  return {
    greet: (hello) => running.worker.postMessage(hello, [hello.port]),
    release: (dead) => {
      if (!running.users.delete(died)) return;
      if (running.users.size > 0 && !dead) return;
      if (shared.get(provider) === starting) shared.delete(provider);
      running.worker.terminate();
      if (dead) { for (const died of [...running.users]) died(gone(provider, "it died")); }
    },
  };
}

function start(provider: Provider, timeout: number): Promise<Running> {
  const { promise, resolve, reject } = Promise.withResolvers<Running>();
  const worker = new Worker(provider.worker, { type: "module", name: `tsmq-${provider.name}` });
  const running: Running = { worker, users: new Set() };
  const fail = (error: unknown) => {
    clearTimeout(timer);
    reject(error);
    for (const died of [...running.users]) died(error);
  };
  const timer = setTimeout(() => {
    worker.terminate();
    fail(gone(provider, `it did not start within ${timeout} ms`));
  }, timeout);
  worker.onmessage = (event) => {
    if ((event.data as Listening).kind !== "tsmq:listening") return;
    clearTimeout(timer);
    resolve(running);
  };
  worker.onerror = (event) => {
    // Deno ends the whole program when an uncaught error of a worker is not prevented
    event.preventDefault();
    fail(gone(provider, event.message, event.error ?? new Error(event.message)));
  };
  // only Bun emits "close" when a worker has ended; on Deno missing heartbeats show it
  worker.addEventListener("close", () => fail(gone(provider, "it died")));
  return promise;
}

function gone(provider: Provider, why: string, cause?: unknown): ProviderError {
  const code = lacksPermission(cause) ? "denied" : "unavailable";
  return new ProviderError(code, `Cannot use the worker of "${provider.name}": ${why}`, { cause });
}
