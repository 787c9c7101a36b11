/**
 * The options of a put, and the limit of its time.
 *
 * @module
 */
import type { MessageHeaders } from "../codec/headers.ts";
import type { Core } from "../core.ts";
import { ProviderError } from "../errors.ts";
import { optionNames } from "../internal/arguments.ts";
import { after } from "../internal/time.ts";
import { because } from "../internal/thrown.ts";

/**
 * Milliseconds after the timeout in which a transport whose queues can be full reports that there was no room. Only the transport knows
 * whether the item waits for room or was sent.
 */
const REPORT = 1_000;

/** Options of {@linkcode Queue.putNowait}. */
export interface ItemOptions {
  /** Headers that are sent with the item: at most 8 KiB of names and values. */
  readonly headers?: MessageHeaders;
  /**
   * Milliseconds before the item can be taken: at most 10¹² (31 years), on AWS 15 minutes. It is then taken before the items that wait. The
   * transport stores the time, so the item arrives even if this process ends. Until then, only `free` of the queue removes it. Default 0.
   */
  readonly delay?: number;
}

/** Options of {@linkcode Queue.put}. */
export interface PutOptions extends ItemOptions {
  /** Whether to wait for room in a full queue. Default true. */
  readonly block?: boolean;
  /**
   * Milliseconds that the put may take. After that it rejects: with `QueueFullError` if the queue is full, otherwise with `ProviderError`
   * "unavailable", and the item may still arrive. With 0 it does not wait for room, and `sendTimeout` of the bus limits the send. Default:
   * `sendTimeout` limits the send, nothing the wait for room.
   */
  readonly timeout?: number;
  /**
   * A signal that ends the put. The promise rejects with the signal's reason. An item that waited for room is not put; one that was being
   * sent may still arrive, for example after an outage.
   */
  readonly signal?: AbortSignal;
}

/** The names of the options of `putNowait`. */
export const ITEM = optionNames<ItemOptions>({ headers: true, delay: true });
/** The names of the options of `put`. */
export const PUT = optionNames<PutOptions>({ headers: true, delay: true, block: true, timeout: true, signal: true });

/** The limits of a put. */
export interface PutLimit {
  /** Milliseconds; 0 and `Infinity` limit only the wait for room. */
  readonly wait: number;
  /** The signal of the caller. */
  readonly signal: AbortSignal | undefined;
}

/**
 * Runs a put, and rejects when its time is over or its signal aborts. The put itself continues, because an item that was sent cannot be
 * taken back. Before it sends, it calls `check`, which throws after the end.
 */
export function withinLimit(
  core: Core,
  queue: string,
  limit: PutLimit,
  put: (check: () => void) => Promise<void>,
): Promise<void> {
  const timed = limit.wait > 0 && limit.wait < Infinity;
  return timed || limit.signal ? limited(core, queue, limit, put) : put(() => {});
}

async function limited(
  core: Core,
  queue: string,
  { wait, signal }: PutLimit,
  put: (check: () => void) => Promise<void>,
): Promise<void> {
  const { promise, reject } = Promise.withResolvers<never>();
  let ended: { readonly error: unknown } | undefined;
  const end = (error: unknown) => {
    ended = { error };
    reject(error);
  };
  const check = () => {
    if (ended) throw ended.error;
  };
  const ms = wait === 0 ? Infinity : wait + (core.features.capacity === Infinity ? 0 : REPORT);
  const stop = after(ms, () => end(unconfirmed(queue, wait, core.outage())));
  const abort = () => end(signal!.reason);
  signal?.addEventListener("abort", abort, { once: true });
  try {
    await Promise.race([promise, put(check)]);
  } finally {
    stop();
    signal?.removeEventListener("abort", abort);
  }
}

function unconfirmed(queue: string, wait: number, cause: unknown): ProviderError {
  const text = `the transport did not confirm the item within ${wait} ms, and it may still arrive${because(cause)}`;
  return new ProviderError("unavailable", `Cannot put into queue "${queue}": ${text}`, { cause });
}
