/**
 * Checks of arguments: names, numbers, functions, schemas and signals. Each returns the argument, or throws a `ValidationError`.
 *
 * @module
 */
import { type InvalidPart, UnsupportedError, ValidationError } from "../errors.ts";

/** Checks the name of a topic, queue, function or namespace: any non-empty string of well-formed Unicode. */
export function checkName(what: string, name: unknown): string {
  if (typeof name !== "string") throw new ValidationError(`Cannot use ${quote(name)} as ${what}: it is not a string`);
  const fault = nameFault(name);
  if (fault === undefined) return name;
  const shown = name.isWellFormed() && !name.includes("\0") ? JSON.stringify(name) : "a name";
  throw new ValidationError(`Cannot use ${shown} as ${what}: it ${fault}`);
}

/** Returns the name of the dead-letter queue of a queue. Its own name would make a letter of each failed letter, without an end. */
export function checkDeadLetter(queue: string, name: unknown): string {
  if (name !== queue) return checkName("a dead-letter queue", name);
  throw new ValidationError(`Cannot use "${queue}" as its own dead-letter queue: pass another name`);
}

/** Returns the reason why a string is not a valid name, or undefined if it is valid. */
export function nameFault(name: string): string | undefined {
  if (name === "") return "is empty; pass a name";
  if (!name.isWellFormed()) return "contains a lone surrogate";
  if (name.includes("\0")) return "contains a NUL character";
  return name.startsWith(RESERVED) ? `begins with "${RESERVED}", which is reserved` : undefined;
}

/** The prefix that providers use for their own names. */
const RESERVED = "__tsmq:";

/** Checks a number, such as milliseconds: it must be at least `least`. `Infinity` is allowed, and `unlimited` says that it means no limit. */
export function checkNumber(what: string, value: unknown, least = 0, unlimited = true): number {
  if (typeof value === "number" && value >= least) return value;
  const hint = unlimited && value === 0 ? "; Infinity means no limit" : "";
  throw new ValidationError(`Cannot use ${quote(value)} as ${what}: it is not a number of at least ${least}${hint}`);
}

/** The longest time in milliseconds, 31 years. Every transport can store it. */
export const LONGEST = 1e12;

/** Checks a number of milliseconds: at least `least`, and at most {@linkcode LONGEST}. */
export function checkTime(what: string, value: unknown, least = 0): number {
  return Math.min(checkNumber(what, value, least, false), LONGEST);
}

/**
 * Checks the delay of an item. `part` is that of the error.
 *
 * @throws {UnsupportedError} when the delay is longer than the transport supports
 * @throws {ValidationError} when it is no number, or longer than {@linkcode LONGEST}: its item would stay forever
 */
export function checkDelay(what: string, value: unknown, longest: number, part: InvalidPart = "options"): number {
  const invalid = (why: string) => new ValidationError(`Cannot use ${quote(value)} as ${what}: ${why}`, [], { part });
  if (typeof value !== "number" || !(value >= 0)) throw invalid("it is not a number of at least 0");
  if (value > LONGEST) throw invalid(`the largest delay is ${Math.min(longest, LONGEST)} ms`);
  if (value <= longest) return value;
  throw new UnsupportedError(
    `Cannot use ${value} ms as ${what}: the transport delays an item by ${longest} at most`,
  );
}

/** Checks a count: a whole number of at least 1, or `Infinity`. */
export function checkCount(what: string, value: unknown): number {
  const count = checkNumber(what, value, 1);
  if (count === Infinity || Number.isInteger(count)) return count;
  throw new ValidationError(`Cannot use ${count} as ${what}: it is not a whole number`);
}

/** Returns whether a value from the wire is a count: a whole number of at least 0. */
export function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** Checks a function. */
export function checkFunction<F>(what: string, value: F): F {
  if (typeof value === "function") return value;
  throw new ValidationError(`Cannot use ${quote(value)} as ${what}: it is not a function`);
}

/** Checks an `AbortSignal`; `undefined` is allowed. */
export function checkSignal(signal: AbortSignal | undefined): AbortSignal | undefined {
  if (signal === undefined || signal instanceof AbortSignal) return signal;
  throw new ValidationError(`Cannot use ${quote(signal)} as a signal: it is not an AbortSignal`);
}

/** The names of the options of a verb. */
export type OptionNames = ReadonlySet<string>;

/** Returns the names of options. The compiler checks that they are those of the type `T`. */
export function optionNames<T>(names: Record<keyof T, true>): OptionNames {
  return new Set(Object.keys(names));
}

/** Checks that a value is an object of options without an unknown one, which would be ignored. The error begins with the verb and its target. */
export function refuseUnknown(
  options: unknown,
  names: OptionNames,
  verb: string,
  preposition: string,
  target: unknown,
): void {
  let fault: { readonly name?: string; readonly message: string } | undefined;
  if (Object(options)["~standard"] !== undefined && (names.has("schema") || names.has("args"))) {
    const text = `pass ${names.has("schema") ? "the schema as { schema }" : "the schemas as { args, returns }"}`;
    throw new ValidationError(`Cannot ${verbOn(verb, preposition, target)}: ${text}`, [], { part: "options" });
  }
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    fault = { message: `must be an object, not ${kindOf(options)}` };
  } else {
    for (const name in options) if (!names.has(name)) fault ??= { name, message: notAnOption(name, names) };
  }
  if (!fault) return;
  const { name, message } = fault;
  const text = `Cannot ${verbOn(verb, preposition, target)}: ${name ?? "options"} ${message}`;
  throw new ValidationError(text, [{ message, path: name === undefined ? [] : [name] }], { part: "options" });
}

/** Returns the reason why a name is not an option: with the option whose name is similar, or with a list of all options. */
export function notAnOption(name: string, names: Iterable<string>): string {
  const all = [...names];
  const given = letters(name.slice(0, 64));
  const [nearest] = all.map((known) => ({ known, changes: changes(given, letters(known)) }))
    .filter(({ known, changes }) => changes <= 2 && changes <= known.length / 2)
    .sort((a, b) => a.changes - b.changes);
  if (nearest) return `is not an option (did you mean ${nearest.known}?)`;
  return `is not an option (the options: ${all.join(", ")})`;
}

function letters(name: string): string {
  return name.toLowerCase().replace(/[^a-z]/g, "");
}

/** Returns the smallest number of characters to insert, remove or replace so that one text becomes the other. */
function changes(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, i) => i);
  for (const [i, char] of [...from].entries()) {
    const next = [i + 1];
    for (let j = 0; j < to.length; j++) {
      next.push(Math.min(row[j]! + (char === to[j] ? 0 : 1), row[j + 1]! + 1, next[j]! + 1));
    }
    row = next;
  }
  return row.at(-1)!;
}

/** Returns a verb with the name of its target, if that has one: `publish to "news"`. The target is a name, or a value that has one. */
export function verbOn(verb: string, preposition: string, target: unknown): string {
  const name: unknown = typeof target === "string" ? target : Object(target).name;
  return typeof name === "string" && name ? `${verb}${preposition} "${name}"` : verb;
}

/** Returns the kind of a value, for a message that must not quote it: `"a string"`. */
export function kindOf(value: unknown): string {
  if (typeof value === "boolean" || value === undefined || value === null) return String(value);
  if (typeof value !== "object") return `a ${typeof value}`;
  return Array.isArray(value) ? "an array" : "an object";
}

/** Returns the text by which a message quotes a value: of an object or a function, only its kind. */
function quote(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value);
  return typeof value === "function" || typeof value === "object" ? kindOf(value) : String(value);
}
