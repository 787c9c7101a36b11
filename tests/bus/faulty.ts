import { memory } from "../../mod.ts";
import type { Provider } from "../../src/provider/provider.ts";
import type { Fault } from "../support/workers/faulty.ts";

/** A provider whose worker the test can break. */
export interface Faulty {
  readonly provider: Provider;
  /** Breaks the worker of a bus, which other buses may share. */
  fault(how: Fault | "terminate", bus?: number): void;
}

/** Makes one of a provider; `opening` breaks it before it is open. */
export function faulty(opening?: "hang" | "throw", base: Provider = memory()): Faulty {
  const asks: ((verb: string, argument: unknown) => Promise<unknown>)[] = [];
  const workers: Worker[] = [];
  const provider: Provider = {
    ...base,
    options: { ...base.options as object, opening, of: base.name },
    // a URL of its own, so that only the buses of this provider share the worker
    worker: new URL(`../support/workers/faulty.ts?${crypto.randomUUID()}`, import.meta.url),
    open: (context) => {
      asks.push(context.ask);
      return base.open(context);
    },
  };
  const unwatch = watchWorkers((worker, url) => {
    if (String(url) === provider.worker.href) workers.push(worker);
  });
  return {
    provider,
    fault: (how, bus = 0) => {
      if (how !== "terminate") return void asks[bus]!("fault", how).catch(() => {}); // it never answers
      unwatch();
      workers.at(-1)!.terminate();
    },
  };
}

/** Reports each started worker, until the returned function is called. */
export function watchWorkers(started: (worker: Worker, url: string | URL) => void): () => void {
  const original = globalThis.Worker;
  globalThis.Worker = class extends original {
    constructor(url: string | URL, options?: WorkerOptions) {
      super(url, options);
      started(this, url);
    }
  };
  return () => void (globalThis.Worker = original);
}
