/**
 * The functions of a user that decide about calls: which of them run, and the part of an error that callers receive.
 *
 * @module
 */
import type { MessageHeaders } from "./codec/headers.ts";

/** A call that has not run yet. */
export interface CallToAuthorize {
  /** The name of the function. */
  readonly fn: string;
  /** The headers of the call. Its sender chooses them, so they prove nothing by themselves. */
  readonly headers: MessageHeaders;
  /** The id of the key that the call is signed with. Every bus that has this key can make such calls. Absent without `keys`. */
  readonly key?: string;
}

/**
 * Decides whether a call runs. Only `true` lets it run. For any other result, the caller receives an `RpcError` with the code "denied"; an
 * error that the function throws is reported as an `"error"` event too.
 */
export type Authorize = (call: CallToAuthorize) => boolean | Promise<boolean>;

/** The part of an error that callers receive. */
export interface ExposedError {
  /** The name of the error's class: `remoteType` of the caller's `RemoteInvocationError`. */
  readonly name: string;
  /** The text of the error: the only element of `remoteArgs`. */
  readonly message: string;
}

/** The part of a served function's error that callers receive: the option `exposeErrors` of a bus. */
export type ExposeErrors = boolean | ((error: unknown) => ExposedError);
