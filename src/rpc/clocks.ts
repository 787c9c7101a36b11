/**
 * Checks of the times in messages, which are by the clock of another machine.
 *
 * @module
 */
import type { Signed } from "../codec/envelope.ts";
import { CLOCK_SKEW } from "../internal/time.ts";
import { CREDIT, VALUES } from "./stream_messages.ts";

/**
 * Returns the text of the error of a request whose deadline has passed, or that was signed in the future. Once a server has forgotten a signed request,
 * it refuses all that were signed before it: one of the future would end its work.
 */
export function lateRequest(fn: string, deadline: number, signed?: Signed): string | undefined {
  const late = Date.now() - deadline;
  const early = signed ? signed.time - Date.now() : 0;
  if (late <= CLOCK_SKEW && early <= CLOCK_SKEW) return undefined;
  const why = late > CLOCK_SKEW ? `its deadline was ${late} ms ago` : `it will be signed in ${early} ms`;
  return `Cannot serve a call of "${fn}": by this machine's clock ${why}`;
}

/**
 * Returns the text of the error of a signed message of a stream that is too old, or was signed in the future. Otherwise an attacker could send the last
 * message of a dead peer again, and so keep a stream open that is no longer read or served.
 */
export function untimely(type: string | undefined, signed: Signed): string | undefined {
  const age = Date.now() - signed.time;
  if (Math.abs(age) <= CLOCK_SKEW || (type !== VALUES && type !== CREDIT)) return undefined;
  return `Cannot accept a message of a stream: by this machine's clock it was sent ${age} ms ago`;
}
