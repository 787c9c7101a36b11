/**
 * Workers of the IPC provider that serve one bus after another, where a test is not about workers: a start takes 50 ms of CPU, most of what a
 * case of the kit does.
 *
 * @module
 */

/** The message of a worker whose bus has closed. */
export const FREE = "test:free";

/** The module of these workers, for the option `worker`. */
export const KEPT = new URL("kept_worker.ts", import.meta.url);

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
