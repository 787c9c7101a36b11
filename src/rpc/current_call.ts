/**
 * The call that code runs for: its headers, its deadline, and a signal that aborts when the answer is no longer needed.
 *
 * @module
 */
import { type MessageHeaders, userHeaders } from "../codec/headers.ts";
import type { Core } from "../core.ts";
import { ClosedError, TimeoutError } from "../errors.ts";
import { causesOf, isA, isAbort } from "../internal/thrown.ts";
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
   * Aborts when the answer is no longer needed. Its `reason` says why: an `AbortError` (a `DOMException`) when the caller has cancelled the
   * call or its reader has left, a {@linkcode TimeoutError} ("timeout") at the deadline, and a {@linkcode ClosedError} ("closed") when
   * `close` of this bus has waited for the function as long as it may, as for the signal of a lease. The caller then gets "unavailable". A
   * function that should end as soon as the bus begins to close listens to the `"state"` event "closing".
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
 *   const { headers: { traceparent = "" }, signal } = currentCall()!; // pass on no other header: the caller chose them
 *   return await (await fetch(`${reports}/${encodeURIComponent(id)}`, { headers: { traceparent }, signal })).json();
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
  readonly #abandoned: AbortSignal;
  /** The result of {@linkcode currentCall}, which is created when it is first used. */
  #current: CurrentCall | undefined;
  #controller: AbortController | undefined;
  #cancelled = false;
  #stop: (() => void) | undefined;

  /**
   * Creates the work of a request. `abandoned` aborts when `close` waits no longer. `caller` is the handler of this bus that waits for the
   * answer, if any.
   */
  constructor(core: Core, request: Request, abandoned: AbortSignal, caller: Work | undefined) {
    super([core.handlers], caller);
    this.#request = request;
    this.server = core.link.inbox;
    const deadline = request.call?.deadline ?? Infinity;
    // a call whose deadline has passed already comes from a machine with another clock
    this.#end = Date.now() < deadline ? deadline : deadline + CLOCK_SKEW;
    this.#closing = core.closing;
    this.#abandoned = abandoned;
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

  /**
   * Returns whether the function ended with this error because this bus closes: with the reason of its signal, or because it used the bus.
   * Its outcome is then unknown to the caller, as that of any call whose server goes away.
   */
  wasClosed(error: unknown): boolean {
    if (!this.#closing.aborted) return false;
    const aborted = this.isAbort(error) && isA(this.#controller!.signal.reason, ClosedError);
    return aborted || causesOf(error).some((each) => isA(each, ClosedError));
  }

  /** The call, as the served function sees it. */
  get current(): CurrentCall {
    return this.#current ??= this.#view();
  }

  /** Cancels the call. */
  cancel(): void {
    this.#cancelled = true;
    this.#controller?.abort(this.#cancellation());
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
    const abandoned = this.#abandoned;
    const close = () => controller.abort(new ClosedError(`Cannot finish the call of "${fn}": its bus is closing`));
    if (this.#cancelled) controller.abort(this.#cancellation());
    else if (abandoned.aborted) close();
    else if (this.running > 0) {
      const end = this.request.call?.stream ? Infinity : this.#end;
      const stop = after(end - Date.now(), () => {
        controller.abort(this.#timeout());
      });
      abandoned.addEventListener("abort", close, { once: true });
      this.#stop = () => {
        stop();
        abandoned.removeEventListener("abort", close);
      };
    }
    return controller.signal;
  }

  #timeout(): TimeoutError {
    return new TimeoutError(`Cannot finish the call of "${this.request.fn}": its deadline has passed`);
  }

  /** Returns the reason of a cancellation. A caller that has timed out cancels too. */
  #cancellation(): Error {
    if (this.late && !this.request.call?.stream) return this.#timeout();
    return new DOMException(`The caller of "${this.request.fn}" has cancelled the call`, "AbortError");
  }
}

/** Returns what it takes to answer a request. An answer on its way must not keep the arguments, because no limit counts them then. */
export function withoutArguments(request: Request): Request {
  return { ...request, args: [], kwargs: {} };
}
