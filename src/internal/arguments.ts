/**
 * What arguments may be: names, amounts, functions, schemas, signals.
 *
 * @module
 */
import { UnsupportedError, ValidationError } from "../errors.ts";
import type { StandardSchemaV1 } from "../codec/schema.ts";

/** Returns the name of a topic, queue, function or namespace if it is one: any non-empty string of well-formed Unicode. */
export function checkName(what: string, name: unknown): string {
  if (typeof name !== "string") throw new ValidationError(`Cannot use ${show(name)} as ${what}: it is not a string`);
  const fault = nameFault(name);
  if (fault === undefined) return name;
  const shown = name.isWellFormed() && !name.includes("\0") ? JSON.stringify(name) : "a name";
  throw new ValidationError(`Cannot use ${shown} as ${what}: it ${fault}`);
}

/** What keeps a string from being a name; undefined: it is one. */
export function nameFault(name: string): string | undefined {
  if (name === "") return "is empty";
  if (!name.isWellFormed()) return "holds a lone surrogate";
  if (name.includes("\0")) return "holds a NUL character";
  return name.startsWith(RESERVED) ? `begins with "${RESERVED}", which is reserved` : undefined;
}

/** Where providers keep what is theirs beside what is the user's. */
const RESERVED = "__tsmq:";

/** Returns a number of milliseconds (or another amount) if it is one, at least `least`; `Infinity` counts. */
export function checkNumber(what: string, value: unknown, least = 0): number {
  if (typeof value === "number" && value >= least) return value;
  throw new ValidationError(`Cannot use ${show(value)} as ${what}: it is not a number of at least ${least}`);
}

/** The longest time in milliseconds, 31 years: every transport can keep it as a time, and nothing waits for longer. */
export const LONGEST = 1e12;

/** Returns a number of milliseconds, at most {@linkcode LONGEST}, if it is one, at least `least`. */
export function checkTime(what: string, value: unknown, least = 0): number {
  return Math.min(checkNumber(what, value, least), LONGEST);
}

/**
 * Returns the delay of an item that goes back to its queue.
 *
 * @throws {UnsupportedError} when the transport cannot keep an item away for so long
 */
export function checkDelay(what: string, value: unknown, longest: number): number {
  const delay = checkTime(what, value);
  if (delay <= longest) return delay;
  throw new UnsupportedError(
    `Cannot use ${delay} ms as ${what}: the transport keeps an item away for ${longest} at most`,
  );
}

/** Returns how many of something there may be, if it is a number of that: whole, at least 1; `Infinity` counts. */
export function checkCount(what: string, value: unknown): number {
  const count = checkNumber(what, value, 1);
  if (count === Infinity || Number.isInteger(count)) return count;
  throw new ValidationError(`Cannot use ${count} as ${what}: it is not a whole number`);
}

/** Returns a function if it is one. */
export function checkFunction<F>(what: string, value: F): F {
  if (typeof value === "function") return value;
  throw new ValidationError(`Cannot use ${show(value)} as ${what}: it is not a function`);
}

/** Returns a Standard Schema if it is one; none is fine. */
export function checkSchema<S extends StandardSchemaV1 | undefined>(schema: S): S {
  if (schema === undefined || typeof schema?.["~standard"]?.validate === "function") return schema;
  throw new ValidationError(`Cannot use ${show(schema)} as a schema: it is no Standard Schema`);
}

/** Returns an `AbortSignal` if it is one; none is fine. Throws its reason if it has aborted already. */
export function checkSignal(signal: AbortSignal | undefined): AbortSignal | undefined {
  if (signal === undefined) return undefined;
  if (!(signal instanceof AbortSignal)) {
    throw new ValidationError(`Cannot use ${show(signal)} as a signal: it is no AbortSignal`);
  }
  signal.throwIfAborted();
  return signal;
}

function show(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "function") return "a function";
  if (typeof value === "object" && value !== null) return Array.isArray(value) ? "an array" : "an object";
  return String(value);
}
