/**
 * Starts a provider's worker. This is the only file that knows how the workers of the runtimes differ.
 *
 * @module
 */
import { lacksPermission, ProviderError, UnsupportedError } from "../errors.ts";
import type { Provider } from "../provider/provider.ts";
import type { Hello, Listening } from "./protocol.ts";

/** The error of a worker that could not be used, so that its transport was not asked. */
export class WorkerError extends ProviderError {}

/** The callbacks of a worker. */
export interface WorkerEvents {
  /** Called when the worker listens. */
  listening(): void;
  /** Called when the worker could not be loaded or has ended by itself. It may be called again, also after `terminate`. */
  died(error: ProviderError): void;
}

/** A worker that was started. */
export interface Spawned {
  /** Posts the first message of a receiver to the worker that listens, with its end of a port. */
  greet(hello: Hello): void;
  /** Terminates the worker. */
  terminate(): void;
}

/** Throws an `UnsupportedError` on a runtime without workers, such as Node. */
export function checkRuntime(): void {
  if (typeof globalThis.Worker === "function") return;
  throw new UnsupportedError(
    "Cannot open a bus: this runtime has no global Worker; tsmq runs on Deno and Bun, not on Node",
  );
}

/** Matches the error of a runtime that cannot find the module of a worker, or a module that it imports. */
const NOT_FOUND = /module ?not ?found|cannot find (module|package)|could not resolve|not a dependency/i;

const BUNDLED = '; in a bundle, pass the option worker: new URL("./worker.js", import.meta.url), see docs/deploying.md';

/** Starts a worker of a provider. */
export function spawn(provider: Provider, events: WorkerEvents): Spawned {
  const worker = new Worker(provider.worker, { type: "module", name: `tsmq-${provider.name}` });
  let loaded = false;
  const died = (why: string, cause?: unknown) => {
    const code = lacksPermission(cause) ? "denied" : "unavailable";
    const broken = !loaded && cause !== undefined; // its module, or one that it imports, has an error
    const remedy = broken && NOT_FOUND.test(why) ? BUNDLED : "";
    const text = `Cannot ${broken ? "load" : "use"} the worker of "${provider.name}": ${why}${remedy}`;
    events.died(new WorkerError(code, text, { cause, retryable: broken ? false : undefined }));
  };
  worker.onmessage = (event) => {
    const { kind, loading } = event.data as Listening;
    if (kind !== "tsmq:listening") return;
    loaded = !loading;
    events.listening();
  };
  worker.onerror = (event) => {
    // Deno ends the whole program when an uncaught error of a worker is not prevented
    event.preventDefault();
    died(event.message, event.error ?? new Error(event.message));
  };
  // only Bun emits "close" when a worker has ended; on Deno missing heartbeats show it
  worker.addEventListener("close", () => died("it died"));
  return {
    greet: (hello) => worker.postMessage(hello, [hello.port]),
    terminate: () => worker.terminate(),
  };
}
