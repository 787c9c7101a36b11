/**
 * The call that code runs for: its headers, its deadline, and a signal that aborts when the answer is no longer needed.
 *
 * @module
 */
import { type MessageHeaders, userHeaders } from "../codec/headers.ts";
import type { Core } from "../core.ts";
import { TimeoutError } from "../errors.ts";
import { isAbort } from "../internal/thrown.ts";
import { after, CLOCK_SKEW } from "../internal/time.ts";
import { Work } from "../internal/work.ts";
import type { Request } from "./wire.ts";

/** The call that a served function runs for: the result of {@linkcode currentCall}. */
export interface CurrentCall {
  /** The name of the function. */
  readonly fn: string;
  /** The headers of the request; empty if it has none, such as PyMQ's requests. */
  readonly headers: MessageHeaders;
  /**
   * Aborts when the answer is no longer needed: the caller has cancelled the call, the deadline has passed, or this bus begins to close.
   * A function that ignores the signal may continue until the bus is closed.
   */
  readonly signal: AbortSignal;
  /**
   * The time when the call times out, in milliseconds of `Date.now()` on the caller's machine. `Infinity` for a stream and for a caller of
   * PyMQ.
   */
  readonly deadline: number;
}

/**
 * Returns the call that the calling code runs for, or undefined outside a served function.
 *
 * @example
 * ```ts ignore
 * await bus.expose("report", async (id: string) => {
 *   const { headers, signal } = currentCall()!;
 *   return await (await fetch(`${reports}/${id}`, { headers, signal })).json();
 * });
 * ```
 */
export function currentCall(): CurrentCall | undefined {
  const work = Work.current;
  return work instanceof ServedCall ? work.current : undefined;
}

/** A call that this bus serves. */
export class ServedCall extends Work {
  #request: Request;
  /** The inbox that received the request. The caller keeps using this address, even if the worker is replaced. */
  readonly server: string;
  /** Whether the call has opened a stream. Its caller then has its answer. */
  streaming = false;
  /** The time when the caller gives up, by the clock of this machine. */
  readonly #end: number;
  readonly #closing: AbortSignal;
  /** The result of {@linkcode currentCall}, which is created when it is first used. */
  #current: CurrentCall | undefined;
  #controller: AbortController | undefined;
  #cancelled = false;
  #stop: (() => void) | undefined;

  /** Creates the work of a request. `caller` is the handler of this bus that waits for the answer, if any. */
  constructor(core: Core, request: Request, caller: Work | undefined) {
    super([core.handlers], caller);
    this.#request = request;
    this.server = core.link.inbox;
    const deadline = request.call?.deadline ?? Infinity;
    // a call whose deadline has passed already comes from a machine with another clock
    this.#end = Date.now() < deadline ? deadline : deadline + CLOCK_SKEW;
    this.#closing = core.closing;
  }

  /** The request. It has no arguments any more when the call has ended. */
  get request(): Request {
    return this.#request;
  }

  /** Releases the memory of the arguments, because an answer may be held for long. */
  forgetArguments(): void {
    this.#request = withoutArguments(this.#request);
  }

  /** Whether the caller has cancelled the call, so that it needs no answer. */
  get cancelled(): boolean {
    return this.#cancelled;
  }

  /** Whether the deadline of the call has passed, so that it needs no answer. */
  get late(): boolean {
    return Date.now() >= this.#end;
  }

  /** Returns whether the function ended with this error because its signal aborted: nobody needs its answer. */
  isAbort(error: unknown): boolean {
    const signal = this.#controller?.signal;
    return signal?.aborted === true && isAbort(error, signal.reason);
  }

  /** The call, as the served function sees it. */
  get current(): CurrentCall {
    return this.#current ??= this.#view();
  }

  /** Cancels the call. */
  cancel(): void {
    this.#cancelled = true;
    this.#controller?.abort(cancellation(this.request.fn));
  }

  override end(): void {
    super.end();
    this.#stop?.();
  }

  #view(): CurrentCall {
    const { fn, call } = this.request;
    const signal = () => this.#signal();
    return {
      fn,
      headers: userHeaders(call?.headers),
      deadline: call?.stream ? Infinity : call?.deadline ?? Infinity,
      get signal() {
        return signal();
      },
    };
  }

  #signal(): AbortSignal {
    if (this.#controller) return this.#controller.signal;
    const { fn } = this.request;
    const controller = this.#controller = new AbortController();
    const closing = this.#closing;
    if (this.#cancelled) controller.abort(cancellation(fn));
    else if (closing.aborted) controller.abort(closing.reason);
    else if (this.running > 0) {
      const end = this.request.call?.stream ? Infinity : this.#end;
      const stop = after(end - Date.now(), () => {
        controller.abort(new TimeoutError(`Cannot finish the call of "${fn}": its deadline has passed`));
      });
      const close = () => controller.abort(closing.reason);
      closing.addEventListener("abort", close, { once: true });
      this.#stop = () => {
        stop();
        closing.removeEventListener("abort", close);
      };
    }
    return controller.signal;
  }
}

function cancellation(fn: string): DOMException {
  return new DOMException(`The caller of "${fn}" has cancelled the call`, "AbortError");
}

/** Returns what it takes to answer a request. An answer on its way must not keep the arguments, because no limit counts them then. */
export function withoutArguments(request: Request): Request {
  return { ...request, args: [], kwargs: {} };
}
