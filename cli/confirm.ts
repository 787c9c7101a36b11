/**
 * Asks the user for confirmation before a command removes something.
 *
 * @module
 */
import process from "node:process";
import { ValidationError } from "../src/errors.ts";
import { printable } from "../src/internal/printable.ts";
import { lines } from "./io.ts";

/** The flag that skips the confirmation. */
export const YES_FLAG = {
  kind: "boolean",
  brief: "Do not ask",
  default: false,
  withNegated: false,
} as const;

/**
 * Asks a question on the terminal. Resolves with false unless the answer is yes.
 *
 * @throws {ValidationError} when standard input is not a terminal
 */
export async function confirm(question: string, yes: boolean, signal: AbortSignal): Promise<boolean> {
  if (yes) return true;
  if (!process.stdin.isTTY) {
    throw new ValidationError("Cannot ask, because standard input is not a terminal: use --yes");
  }
  process.stderr.write(`${printable(question)} [y/N] `);
  for await (const answer of lines(signal)) return /^y(es)?$/i.test(answer.trim());
  return false;
}
