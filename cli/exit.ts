/**
 * Exit codes: one for each outcome that a script may want to distinguish.
 *
 * @module
 */
import { BusError, type ErrorCode, lacksPermission } from "../src/errors.ts";
import { isA } from "../src/internal/thrown.ts";

/** Each code, its meaning in `--help`, and the error codes that map to it. */
export const EXITS: readonly (readonly [code: number, meaning: string, errors: readonly ErrorCode[]])[] = [
  [0, "done", []],
  [1, "any other error; doctor: something is broken", []],
  [2, "wrong usage: a URL, an argument, or a value that is not JSON", ["invalid"]],
  [3, "the queue is empty", ["queue_empty"]],
  [4, "timed out", ["timeout", "queue_full"]],
  [5, "the transport, or the server of a function, is unreachable", ["unavailable", "worker_died", "busy"]],
  [6, "the transport or the runtime denied access: password, permission", ["denied"]],
  [7, "no server serves the function", ["no_such_remote"]],
  [8, "the function threw", ["remote_failed"]],
  [9, "the transport does not support this, or the message is too large", ["unsupported", "too_large"]],
];

/** Returns the exit code for an error that a command threw. */
export function exitCode(error: unknown): number {
  if (lacksPermission(error)) return 6;
  const found = isA(error, BusError) && EXITS.find(([, , errors]) => errors.includes(error.code));
  return found ? found[0] : 1;
}
