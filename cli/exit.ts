/**
 * Exit codes: one for each kind of outcome that a script may want to tell apart.
 *
 * @module
 */
import { BusError, type ErrorCode, lacksPermission } from "../src/errors.ts";
import { isA } from "../src/internal/thrown.ts";

/** Code, its meaning as `--help` tells it, and the errors that lead to it. */
export const EXITS: readonly (readonly [code: number, meaning: string, errors: readonly ErrorCode[]])[] = [
  [0, "done", []],
  [1, "failed in a way that no other code names; doctor: something is broken", []],
  [2, "not called as it must be: a URL, an argument, a value that is no JSON", ["invalid"]],
  [3, "the queue is empty", ["queue_empty"]],
  [4, "not in time", ["timeout", "queue_full"]],
  [5, "the transport, or the server of a function, is out of reach", ["unavailable", "worker_died", "busy"]],
  [6, "the transport, or the runtime, refuses us: password, permission", ["denied"]],
  [7, "nobody serves the function", ["no_such_remote"]],
  [8, "the function threw", ["remote_failed"]],
  [9, "the transport cannot do this, or not with so many bytes", ["unsupported", "too_large"]],
];

/** The exit code for what a command threw. */
export function exitCode(error: unknown): number {
  if (lacksPermission(error)) return 6;
  const found = isA(error, BusError) && EXITS.find(([, , errors]) => errors.includes(error.code));
  return found ? found[0] : 1;
}
