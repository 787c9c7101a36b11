/**
 * The answers that are on their way to their callers. Their total size is limited for each caller, so that a caller that does not read its
 * answers does not affect the others.
 *
 * @module
 */
import type { Core } from "../core.ts";
import { BusError, ClosedError, isInterruption } from "../errors.ts";
import { backoff, CLOCK_SKEW, pause, RETRY } from "../internal/time.ts";
import type { Request } from "./wire.ts";

/** Milliseconds for which an answer is retried while its caller is not connected. A caller that reconnects later sends its request again. */
const AWAY = 10_000;
/** Milliseconds for which an answer is retried while the transport is unreachable. */
const MAX_RETRY = 600_000;
/** The number of characters that are counted for each answer in addition to its text. */
const EACH = 1_024;
/** The largest number of characters on their way to one caller, and to all. Many calls that end at once may have large answers. */
const MAX_SENT = 512 * 1024 * 1024;
const MAX_SENT_TOTAL = 1024 * 1024 * 1024;
/** The largest number of characters that are retried for one caller, and for all. A caller sends its request again for further answers. */
const MAX_RETRIED = 16 * 1024 * 1024;
const MAX_RETRIED_TOTAL = 256 * 1024 * 1024;

/** Sends the answers of a server. */
export class Undelivered {
  #core: Core;
  #sent = new Sizes(MAX_SENT, MAX_SENT_TOTAL);
  #retried = new Sizes(MAX_RETRIED, MAX_RETRIED_TOTAL);
  /** The number of answers that were not sent, because too much is on its way to their callers. */
  #unsent = 0;
  #stopped = false;

  /** Creates the sender of a server's answers. */
  constructor(core: Core) {
    this.#core = core;
  }

  /** Stops retrying answers. */
  stop(): void {
    this.#stopped = true;
  }

  /** Posts an answer once. */
  async post(request: Request, text: string): Promise<void> {
    if (!this.#begin(request, text)) return;
    try {
      await this.#core.post(request.call!.inbox, text);
    } finally {
      this.#end(request, text);
    }
  }

  /**
   * Posts an answer or a refusal. Retries until the deadline of the call while the transport is unreachable, and retries an answer also
   * while the caller is not connected. Resolves with the error if the transport refuses the message.
   */
  async send(request: Request, text: string, refusal: boolean): Promise<unknown> {
    if (!this.#begin(request, text)) return;
    const { channel } = request;
    const { inbox, deadline } = request.call!;
    // a caller that posted its request, and receives no refusal, posts it again; it does not publish it again
    const repeated = refusal && channel === "";
    const since = performance.now();
    let retried = false;
    try {
      for (let attempt = 1;; attempt++) {
        const age = performance.now() - since;
        try {
          if (await this.#core.post(inbox, text) !== false || refusal || age > AWAY) return;
        } catch (error) {
          if (error instanceof ClosedError) return; // the bus has closed, and the caller detects that this server is gone
          // the sender of a transport may ask the worker, which may die
          if (!isInterruption(error)) return error;
        }
        if (repeated || this.#stopped || age > MAX_RETRY || Date.now() > deadline + CLOCK_SKEW) return;
        retried ||= this.#retried.add(inbox, text);
        if (!retried) return;
        await pause(backoff(RETRY.send, attempt));
      }
    } finally {
      if (retried) this.#retried.remove(inbox, text);
      this.#end(request, text);
    }
  }

  /** Counts an answer that is about to be sent. Returns false if it must not be sent, because too much is on its way to its caller. */
  #begin({ fn, call }: Request, text: string): boolean {
    if (this.#sent.add(call!.inbox, text)) return true;
    if (this.#unsent++ > 0) return false;
    const why = `Cannot answer calls of "${fn}": their caller does not read its answers`;
    this.#core.report(new BusError("busy", why), fn);
    return false;
  }

  #end({ call }: Request, text: string): void {
    this.#sent.remove(call!.inbox, text);
    if (this.#sent.empty) this.#unsent = 0;
  }
}

/** Counts the characters of answers, by caller, up to limits. One answer may be larger than the limits. */
class Sizes {
  readonly #max: number;
  readonly #maxTotal: number;
  #sizes = new Map<string, number>();
  #total = 0;

  /** Creates an empty count of at most `max` characters for one caller, and `maxTotal` for all. */
  constructor(max: number, maxTotal: number) {
    this.#max = max;
    this.#maxTotal = maxTotal;
  }

  /** Whether no answer is counted. */
  get empty(): boolean {
    return this.#sizes.size === 0;
  }

  /** Adds an answer. Returns false, and adds nothing, if its caller or all callers have reached their limit. */
  add(caller: string, answer: string): boolean {
    const size = this.#sizes.get(caller) ?? 0;
    if (size > this.#max || this.#total > this.#maxTotal) return false;
    this.#sizes.set(caller, size + cost(answer));
    this.#total += cost(answer);
    return true;
  }

  /** Removes an answer that was added. */
  remove(caller: string, answer: string): void {
    const size = this.#sizes.get(caller)! - cost(answer);
    if (size > 0) this.#sizes.set(caller, size);
    else this.#sizes.delete(caller);
    this.#total -= cost(answer);
  }
}

function cost(answer: string): number {
  return answer.length + EACH;
}
