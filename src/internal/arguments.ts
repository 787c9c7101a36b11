/**
 * Checks of arguments and options: names, numbers, functions and signals. Each returns the value, or throws a `ValidationError`.
 *
 * @module
 */
import { type InvalidPart, type Issue, UnsupportedError, ValidationError } from "../errors.ts";

/** Checks the name of a topic, queue, function or namespace: any non-empty string of well-formed Unicode. */
export function checkName(what: string, name: unknown): string {
  if (typeof name !== "string") throw new ValidationError(`Cannot use ${quote(name)} as ${what}: it is not a string`);
  const fault = nameFault(name);
  if (fault === undefined) return name;
  const shown = name.isWellFormed() && !name.includes("\0") ? JSON.stringify(name) : "a name";
  throw new ValidationError(`Cannot use ${shown} as ${what}: it ${fault}`);
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

/** The longest time in milliseconds, 31 years. Every transport can store it. */
export const LONGEST = 1e12;

/** Returns whether a value from the wire is a count: a whole number of at least 0. */
export function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** Checks a function. */
export function checkFunction<F>(what: string, value: F): F {
  if (typeof value === "function") return value;
  throw new ValidationError(`Cannot use ${quote(value)} as ${what}: it is not a function`);
}

/** The names of the options of a verb. */
export type OptionNames = ReadonlySet<string>;

/** Returns the names of options. The compiler checks that they are those of the type `T`. */
export function optionNames<T>(names: Record<keyof T, true>): OptionNames {
  return new Set(Object.keys(names));
}

/**
 * Checks that a value is an object of options without an unknown one, which would be ignored. Returns the checks of their values. All errors
 * begin with the verb and its target.
 */
export function refuseUnknown(
  options: unknown,
  names: OptionNames,
  verb: string,
  preposition: string,
  target: unknown,
): OptionChecks {
  const check = new OptionChecks(verb, preposition, target);
  if (Object(options)["~standard"] !== undefined && (names.has("schema") || names.has("args"))) {
    throw check.invalid(
      `pass ${names.has("schema") ? "the schema as { schema }" : "the schemas as { args, returns }"}`,
    );
  }
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    throw check.invalid(`options must be an object, not ${kindOf(options)}`);
  }
  for (const name in options) if (!names.has(name)) throw check.fault(name, notAnOption(name, names));
  return check;
}

/** The checks of the values of a verb's options. Each returns the value; its error begins with the verb and its target, and names the option. */
export class OptionChecks {
  readonly #verb: string;
  readonly #preposition: string;
  readonly #target: unknown;

  /** Creates the checks of a verb. The target is a name, or a value that has one. */
  constructor(verb: string, preposition: string, target: unknown) {
    this.#verb = verb;
    this.#preposition = preposition;
    this.#target = target;
  }

  /** Returns the beginning of an error: the verb and its target. */
  get #doing(): string {
    return `Cannot ${verbOn(this.#verb, this.#preposition, this.#target)}`;
  }

  /** Returns the error of options. */
  invalid(why: string, issues: readonly Issue[] = [], part: InvalidPart = "options"): ValidationError {
    return new ValidationError(`${this.#doing}: ${why}`, issues, { part });
  }

  /** Returns the error of one option. */
  fault(name: string, message: string, part?: InvalidPart): ValidationError {
    return this.invalid(`${name} ${message}`, [{ message, path: [name] }], part);
  }

  /** Checks a number: it must be at least `least`. `Infinity` is allowed, and `unlimited` says that it means no limit. */
  number(name: string, value: unknown, least = 0, unlimited = true): number {
    if (typeof value === "number" && value >= least) return value;
    const hint = unlimited && value === 0 ? "; Infinity means no limit" : "";
    throw this.fault(name, `must be a number of at least ${least}, not ${quote(value)}${hint}`);
  }

  /** Checks a number of milliseconds: at least `least`, and at most {@linkcode LONGEST}. */
  time(name: string, value: unknown, least: number): number {
    return Math.min(this.number(name, value, least, false), LONGEST);
  }

  /**
   * Checks the delay of an item. `part` is that of the error.
   *
   * @throws {UnsupportedError} when the delay is longer than the transport supports
   * @throws {ValidationError} when it is no number, or longer than {@linkcode LONGEST}: its item would stay forever
   */
  delay(name: string, value: unknown, longest: number, part?: InvalidPart): number {
    if (typeof value !== "number" || !(value >= 0)) {
      throw this.fault(name, `must be a number of at least 0, not ${quote(value)}`, part);
    }
    if (value > LONGEST) throw this.fault(name, `must be at most ${Math.min(longest, LONGEST)} ms, not ${value}`, part);
    if (value <= longest) return value;
    throw new UnsupportedError(
      `${this.#doing}: the transport delays an item by ${longest} ms at most, not by ${value}`,
    );
  }

  /** Checks a count: a whole number of at least 1, or `Infinity`. */
  count(name: string, value: unknown): number {
    const count = this.number(name, value, 1);
    if (count === Infinity || Number.isInteger(count)) return count;
    throw this.fault(name, `must be a whole number, not ${count}`);
  }

  /** Checks a whole number from 1 to `most`. */
  upTo(name: string, value: unknown, most: number): void {
    if (Number.isInteger(value) && (value as number) >= 1 && (value as number) <= most) return;
    throw this.fault(name, `must be a whole number from 1 to ${most}, not ${quote(value)}`);
  }

  /** Checks a function; `undefined` is allowed. */
  callable<F>(name: string, value: F): F {
    if (value === undefined || typeof value === "function") return value;
    throw this.fault(name, `must be a function, not ${quote(value)}`);
  }

  /** Checks an `AbortSignal`; `undefined` is allowed. */
  signal(value: AbortSignal | undefined): AbortSignal | undefined {
    if (value === undefined || value instanceof AbortSignal) return value;
    throw this.fault("signal", `must be an AbortSignal, not ${quote(value)}`);
  }

  /** Checks a name, as {@linkcode checkName} does. */
  name(name: string, value: unknown): string {
    if (typeof value !== "string") throw this.fault(name, `must be a string, not ${quote(value)}`);
    const fault = nameFault(value);
    if (fault === undefined) return value;
    throw this.fault(name, fault);
  }

  /** Checks the name of the dead-letter queue of a queue. Its own name would make a letter of each failed letter, without an end. */
  deadLetter(queue: string, value: unknown): string {
    if (value !== queue) return this.name("deadLetter", value);
    throw this.fault("deadLetter", "is the queue itself: pass another name");
  }
}

/** Returns the reason why a name is not an option: with the option whose name is similar, or with a list of all options. */
export function notAnOption(name: string, names: Iterable<string>): string {
  const all = [...names];
  const nearest = similar(name.slice(0, 64), all, letters);
  if (nearest !== undefined) return `is not an option (did you mean ${nearest}?)`;
  return `is not an option (the options: ${all.join(", ")})`;
}

/** Returns the name that is most similar to a given one, if one differs by two characters at most. */
export function similar(name: string, names: readonly string[], read = (name: string) => name): string | undefined {
  const given = read(name);
  const [nearest] = names.filter((known) => Math.abs(read(known).length - given.length) <= 2)
    .map((known) => ({ known, changes: changes(given, read(known)) }))
    .filter(({ known, changes }) => changes <= 2 && changes <= known.length / 2)
    .sort((a, b) => a.changes - b.changes);
  return nearest?.known;
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
