/**
 * The hook `authorize`: whether a server runs a call.
 *
 * @module
 */
import type { Authorize, CallToAuthorize } from "../hooks.ts";
import { type Answer, UNADDRESSED } from "./wire.ts";

/** Returns whether all hooks allow a call. A hook that throws denies it. */
export async function allowed(
  hooks: readonly (Authorize | undefined)[],
  call: CallToAuthorize,
  report: (error: unknown, fn: string) => void,
): Promise<boolean> {
  try {
    for (const hook of hooks) if (hook && await hook(call) !== true) return false;
    return true;
  } catch (error) {
    report(error, call.fn);
    return false;
  }
}

/** Creates the answer to a call that is not allowed. Callers that do not know the mark, such as PyMQ's, receive an error of the function. */
export function deniedAnswer(fn: string): Answer<string> {
  const result = JSON.stringify(["the server does not allow this call"]);
  return { fn, isError: true, result, resultType: "RpcError", call: { ...UNADDRESSED, denied: true } };
}
