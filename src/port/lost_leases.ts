/**
 * Lost leases, on the main thread: it aborts the signals of leases that the worker can no longer extend.
 *
 * @module
 */
import { BusError, ClosedError } from "../errors.ts";
import { LimitedTextMap } from "../internal/caches.ts";
import { TextMap } from "../internal/text_map.ts";

/** The largest number of remembered leases that were lost before anything watched them. */
const MAX_LOST = 1_024;

/** A watched lease: the name of its queue, and the function that is called when it is lost. */
type Watch = readonly [queue: string, lose: (error: BusError) => void];

/** The leases that handlers watch, and those that were lost lately. */
export class LostLeases {
  /** Whether the bus closes its receiver, which gives back every item that is still leased. */
  closing = false;
  /** The number of workers that have died. A lease of an earlier worker is lost. */
  #deaths = 0;
  #watched = new TextMap<Watch>();
  #lost = new LimitedTextMap<true>(MAX_LOST);

  /** The worker that extends leases now. */
  get worker(): number {
    return this.#deaths;
  }

  /**
   * Calls `lose` once when the lease is lost, or immediately if it is lost already. `worker` is the worker that received the item. Returns
   * a function that stops watching.
   */
  watch(worker: number, queue: string, receipt: string, lose: (error: BusError) => void): () => void {
    const key = keyOf(queue, receipt);
    if (worker !== this.#deaths || this.#lost.has(key)) lose(this.reason(queue));
    else this.#watched.set(key, [queue, lose]);
    return () => void this.#watched.delete(key);
  }

  /** Handles the loss of leases. */
  lose(queue: string, receipts: readonly string[]): void {
    for (const receipt of receipts) {
      const key = keyOf(queue, receipt);
      const watch = this.#watched.get(key);
      this.#watched.delete(key);
      if (watch) watch[1](this.reason(queue));
      else this.#lost.set(key, true);
    }
  }

  /** Handles the loss of all leases, because the worker that extended them has died (with an error) or the bus has closed. */
  loseAll(error?: BusError): void {
    this.#deaths++;
    const all = [...this.#watched.values()];
    this.#watched.clear();
    for (const [queue, lose] of all) lose(error ?? this.reason(queue));
  }

  /** Returns the error of an item whose lease has ended. `cause` is the reason why it ended, if it is known. */
  reason(queue: string, cause?: unknown): BusError {
    const doing = `Cannot settle an item of queue "${queue}"`;
    if (this.closing) return new ClosedError(`${doing}: the bus was closed, so its lease has ended`);
    return new BusError("lease_lost", `${doing}: its lease has ended`, { cause });
  }
}

/** The lease of one item, until it is settled. Its signal is made when it is first read. */
export class LeaseWatch {
  readonly #leases: LostLeases;
  readonly #worker: number;
  readonly #queue: string;
  readonly #receipt: string;
  #controller: AbortController | undefined;
  #ended = false;
  #unwatch: (() => void) | undefined;

  /** Creates it for a lease of this worker. */
  constructor(leases: LostLeases, queue: string, receipt: string, worker: number = leases.worker) {
    this.#leases = leases;
    this.#worker = worker;
    this.#queue = queue;
    this.#receipt = receipt;
  }

  /** Aborts when the lease is lost before the watch ends. */
  get signal(): AbortSignal {
    if (!this.#controller) {
      const made = this.#controller = new AbortController();
      const lose = (error: BusError) => made.abort(error);
      if (!this.#ended) this.#unwatch = this.#leases.watch(this.#worker, this.#queue, this.#receipt, lose);
    }
    return this.#controller.signal;
  }

  /** Whether the worker that received the item has died. */
  get orphaned(): boolean {
    return this.#worker !== this.#leases.worker && !this.#leases.closing;
  }

  /** Ends the watch. The signal aborts with the reason, if there is one. */
  end(reason?: unknown): void {
    this.#ended = true;
    this.#unwatch?.();
    if (reason !== undefined) (this.#controller ??= new AbortController()).abort(reason);
  }

  /** Ends the watch of the holder, whose signal aborts with the reason. Returns a watch for the bus, which still has to settle the item. */
  take(reason: unknown): LeaseWatch {
    this.end(reason);
    return new LeaseWatch(this.#leases, this.#queue, this.#receipt, this.#worker);
  }
}

function keyOf(queue: string, receipt: string): string {
  return JSON.stringify([queue, receipt]);
}
