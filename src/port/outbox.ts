/**
 * The frames of main that are not posted yet. The frames of one turn are posted as one array. Some frames are not urgent: they wait for the
 * next frame, or for a timer.
 *
 * @module
 */
import { type TextMap, textSet } from "../internal/text_map.ts";
import type { ToWorker } from "./protocol.ts";

/**
 * The number of receipts at which a request is sent immediately. A consumer may have 64 unconfirmed acknowledgements: while the worker and
 * the transport settle the first half of them, main runs the handlers of the second half.
 */
const FULL = 32;

/** A request for several leases. */
interface Merged {
  readonly receipts: string[];
  readonly done: Promise<boolean[]>;
}

/** Collects frames. */
export class Outbox {
  #post: (frames: ToWorker[]) => boolean;
  #record: (queue: string, receipts: string[]) => void;
  #frames: ToWorker[] = [];
  /** The frames that later requests of the same kind may join. */
  #merged = new Map<string, Merged>();
  /** Queue → receipts of the handlers whose start is not recorded yet. */
  #starting = new Map<string, TextMap<true>>();
  #flushing = false;
  #later: ReturnType<typeof setTimeout> | undefined;

  /** Creates an empty outbox. `post` posts frames, or returns false while it cannot; `record` asks the worker to record starts. */
  constructor(post: (frames: ToWorker[]) => boolean, record: (queue: string, receipts: string[]) => void) {
    this.#post = post;
    this.#record = record;
  }

  /** Adds a frame. It is posted in this turn or, with `soon`, together with the next frame. */
  add(frame: ToWorker, soon: boolean): void {
    this.#frames.push(frame);
    this.#flushIn(soon);
  }

  /**
   * Adds receipts to an unposted request that differs only in its receipts. Without such a request, creates one. Resolves with the
   * results of these receipts.
   */
  async merge(
    key: string,
    receipts: readonly string[],
    soon: boolean,
    request: (receipts: string[]) => Promise<boolean[]>,
  ): Promise<boolean[]> {
    let merged = this.#merged.get(key);
    if (merged) this.#flushIn(soon);
    else {
      const all: string[] = [];
      this.#merged.set(key, merged = { receipts: all, done: request(all) });
    }
    const from = merged.receipts.length;
    for (const receipt of receipts) merged.receipts.push(receipt); // there may be too many for the arguments of a call
    if (soon && merged.receipts.length >= FULL) this.flush();
    return (await merged.done).slice(from, from + receipts.length);
  }

  /** Records soon that the handler of a lease has started. */
  start(queue: string, receipt: string): void {
    const receipts = this.#starting.get(queue);
    if (receipts) receipts.set(receipt, true);
    else this.#starting.set(queue, textSet([receipt]));
    this.#flushIn(true);
  }

  /** Drops the starts of these leases that are not recorded yet, because the leases are settled now. */
  settled(queue: string, receipts: readonly string[]): void {
    const starting = this.#starting.get(queue);
    if (starting) { for (const receipt of receipts) starting.delete(receipt); }
  }

  /**
   * Posts the frames. If they cannot be posted now, they stay in the outbox. The starts that are not recorded yet wait for their timer,
   * because handlers often settle their items in the same turn.
   */
  flush(): void {
    this.#flushing = false;
    if (this.#merged.size > 0) this.#merged = new Map();
    if (this.#frames.length > 0 && this.#post(this.#frames)) this.#frames = [];
  }

  /** Records all starts, and posts the frames. */
  flushStarts(): void {
    this.#flushing = true; // the records that follow leave with the others
    for (const [queue, receipts] of this.#starting) if (receipts.size > 0) this.#record(queue, [...receipts.keys()]);
    this.#starting = new Map();
    this.flush();
  }

  /** Removes and returns all frames. */
  take(): ToWorker[] {
    const frames = this.#frames;
    this.#frames = [];
    return frames;
  }

  /** Drops everything. */
  clear(): void {
    clearTimeout(this.#later);
    this.#later = undefined;
    this.#frames = [];
    this.#merged.clear();
    this.#starting.clear();
  }

  #flushIn(soon: boolean): void {
    if (soon) {
      this.#later ??= setTimeout(() => {
        this.#later = undefined;
        this.flushStarts();
      }, 0);
    } else if (!this.#flushing) {
      queueMicrotask(() => this.flush()); // first: it throws if the stack is full
      this.#flushing = true;
    }
  }
}
