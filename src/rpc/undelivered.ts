/**
 * The answers that are on their way to their callers. Their size counts as held for their callers.
 *
 * @module
 */
import type { Core } from "../core.ts";
import { BusError, ClosedError, isInterruption } from "../errors.ts";
import { backoff, CLOCK_SKEW, pause, RETRY } from "../internal/time.ts";
import { answerPymq } from "./pymq.ts";
import { sizeOf, Sizes } from "./sizes.ts";
import type { Answer, Request } from "./wire.ts";

/** Milliseconds for which an answer is retried while its caller is not connected. A caller that reconnects later sends its request again. */
const AWAY = 10_000;
/** Milliseconds for which an answer is retried while the transport is unreachable. */
const MAX_RETRY = 600_000;
/** The number of characters that are counted for each answer in addition to its text. */
const EACH = 1_024;
/** The caller as which all callers of PyMQ count. It is no address. */
const PYMQ = "";
/** The largest number of characters that are retried for one caller, and for all. A caller sends its request again for further answers. */
const MAX_RETRIED = 16 * 1024 * 1024;
const MAX_RETRIED_TOTAL = 256 * 1024 * 1024;

/** Sends the answers of a server. */
export class Undelivered {
  #core: Core;
  #held: Sizes;
  #retried = new Sizes(MAX_RETRIED, MAX_RETRIED_TOTAL);
  /** The number of answers that were not sent, because too much is on its way to their callers. */
  #unsent = 0;
  #sending = 0;
  #stopped = false;

  /** Creates the sender of a server's answers. `held` is what the server holds for its callers. */
  constructor(core: Core, held: Sizes) {
    this.#core = core;
    this.#held = held;
  }

  /** Stops retrying answers. */
  stop(): void {
    this.#stopped = true;
  }

  /** Returns whether the answer of a request may be written. */
  accepts({ call }: Request): boolean {
    return this.#held.accepts(call?.inbox ?? PYMQ);
  }

  /** Posts an answer once. */
  async post(request: Request, text: string): Promise<void> {
    if (!this.#begin(request, text.length)) return;
    try {
      await this.#core.post(request.call!.inbox, text);
    } finally {
      this.#end(request, text.length);
    }
  }

  /**
   * Posts an answer or a refusal. Retries until the deadline of the call while the transport is unreachable, and retries an answer also
   * while the caller is not connected. Resolves with the error if the transport refuses the message. A text that is `counted` counts as held
   * already.
   */
  async send(request: Request, text: string, refusal: boolean, counted = false): Promise<unknown> {
    if (!counted && !this.#begin(request, text.length)) return;
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
        if (!retried) {
          if (!this.#retried.accepts(inbox)) return;
          this.#retried.add(inbox, text.length + EACH);
          retried = true;
        }
        await pause(backoff(RETRY.send, attempt));
      }
    } finally {
      if (retried) this.#retried.add(inbox, -text.length - EACH);
      if (!counted) this.#end(request, text.length);
    }
  }

  /** Puts the answer of a call of PyMQ into its caller's queue. All callers of PyMQ count as one. */
  async answerPymq(request: Request, answer: Answer<string>): Promise<void> {
    const size = sizeOf({ json: answer.result, mark: answer.mark });
    if (!this.#begin(request, size)) return;
    try {
      await answerPymq(request, answer, this.#core);
    } finally {
      this.#end(request, size);
    }
  }

  /** Counts an answer that is about to be sent. Returns false if it must not be sent, because too much is held for its caller. */
  #begin({ fn, call }: Request, size: number): boolean {
    const caller = call?.inbox ?? PYMQ;
    if (this.#held.accepts(caller)) {
      this.#held.add(caller, size + EACH);
      this.#sending++;
      return true;
    }
    if (this.#unsent++ > 0) return false;
    const why = `Cannot answer calls of "${fn}": their caller does not read its answers`;
    this.#core.report(new BusError("busy", why), fn);
    return false;
  }

  #end({ call }: Request, size: number): void {
    this.#held.add(call?.inbox ?? PYMQ, -size - EACH);
    if (--this.#sending === 0) this.#unsent = 0;
  }
}
