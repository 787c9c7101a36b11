/**
 * Workers of the IPC provider that serve one bus after another, where a test is not about workers: a start takes 50 ms of CPU, most of what a
 * case of the kit does.
 *
 * @module
 */

import { type Case, conformance } from "../../src/conformance/mod.ts";
import type { Provider } from "../../src/provider/provider.ts";
import { ALL } from "../support/share.ts";

/** The message of a worker whose bus has closed. */
export const FREE = "test:free";

/** The module of these workers, for the option `worker`. */
export const KEPT = new URL("kept_worker.ts", import.meta.url);

/** The names of cases of the kit that open and close buses as their subject. */
const OWN = /^closing: |^life: .*\b(open|close|closed)\b/;

/** Keeps the workers of {@linkcode KEPT} whose bus has closed. A worker whose bus was cut off ends. The returned function ends them all. */
export function keepWorkers(): () => void {
  const Real = globalThis.Worker;
  const free = new Set<Worker>();
  const idle: Worker[] = [];
  globalThis.Worker = class extends Real {
    constructor(url: string | URL, options?: WorkerOptions) {
      const kept = String(url) === KEPT.href ? idle.pop() : undefined;
      if (kept) {
        queueMicrotask(() => kept.onmessage?.(new MessageEvent("message", { data: { kind: "tsmq:listening" } })));
        return kept;
      }
      super(url, options);
      this.addEventListener("message", ({ data }) => {
        if (data.kind === FREE) free.add(this);
      });
    }

    override terminate(): void {
      if (free.delete(this)) idle.push(this);
      else super.terminate();
    }
  };
  return () => {
    globalThis.Worker = Real;
    for (const worker of idle.splice(0)) worker.terminate();
  };
}

/**
 * Returns the cases of the kit. Their buses use the workers of {@linkcode KEPT}, except in cases about the opening and the closing of buses,
 * where a worker ends with its bus. `TSMQ_TEST_ALL=1`: no bus uses them.
 */
export function keptKit(provider: (worker?: URL) => Provider): Case[] {
  const kept = conformance({ provider: () => provider(KEPT) });
  return conformance({ provider: () => provider() })
    .map((own, n) => ALL || OWN.test(own.name) ? own : kept[n]!);
}
