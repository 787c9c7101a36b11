/**
 * The arguments of a call: their name in errors, and their number.
 *
 * @module
 */
import { ValidationError } from "../errors.ts";

/** The largest number of arguments. They are on the stack of the function, so its caller would choose how much is left to it. */
const MAX = 1_000;

/** Returns the words by which a `ValidationError` names the arguments of a call. */
export function argumentsOf(fn: string): string {
  return `the arguments of "${fn}"`;
}

/** Refuses more arguments than a function may have. */
export function checkNumber(fn: string, { length }: readonly unknown[]): void {
  if (length <= MAX) return;
  const text = `Cannot accept ${argumentsOf(fn)}: there are ${length}, and at most ${MAX} are allowed`;
  throw new ValidationError(text, [], { part: "arguments" });
}
