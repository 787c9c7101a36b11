/**
 * What a thrown value says. Anything can be thrown: an object whose `toString` is no function, an error whose message throws when
 * it is read, a revoked proxy. Nothing in this module throws, whatever it is given.
 *
 * @module
 */

/** Characters of a value other than a string that a text quotes. */
const QUOTED = 1_000;

const UNREADABLE = "a value that cannot be read";

/** Whether a value is an instance of a class. `instanceof` itself throws for a revoked proxy. */
export function isA<T>(value: unknown, type: abstract new (...args: never[]) => T): value is T {
  try {
    return value instanceof type;
  } catch {
    return false;
  }
}

/** The text of a thrown value: an error's message; else the value, as {@linkcode show} writes it. */
export function textOf(thrown: unknown): string {
  try {
    return show(thrown instanceof Error ? thrown.message : thrown);
  } catch {
    return UNREADABLE;
  }
}

/**
 * The name of the class of a thrown value: an error's `name`. Where that is only what a class of the platform hands down
 * (`class OutOfStock extends Error {}` has the name "Error"), it is the name of the error's own class. No error: "Error".
 */
export function nameOf(thrown: unknown): string {
  try {
    if (!(thrown instanceof Error)) return "Error";
    const { name, constructor } = thrown;
    const own = inherited(thrown) && constructor.name;
    return (typeof own === "string" && own) || (typeof name === "string" && name) || "Error";
  } catch {
    return "Error";
  }
}

/** The classes whose prototypes have a `name` that says nothing about a class that extends them. */
const PLATFORM = new Set<object>(
  [Error, TypeError, RangeError, SyntaxError, ReferenceError, EvalError, URIError, AggregateError]
    .map(({ prototype }) => prototype),
);

function inherited(error: Error): boolean {
  let owner: object | null = error;
  while (owner && !Object.hasOwn(owner, "name")) owner = Object.getPrototypeOf(owner);
  return owner !== null && PLATFORM.has(owner);
}

/** The stack of a thrown error, if it has one. */
export function stackOf(thrown: unknown): string | undefined {
  try {
    const stack = thrown instanceof Error ? thrown.stack : undefined;
    return typeof stack === "string" ? stack : undefined;
  } catch {
    return undefined;
  }
}

/** A value as text: a string as it is; an object by its own `toString`, else as JSON. */
export function show(value: unknown): string {
  try {
    if (typeof value === "string") return value;
    if (typeof value === "function") return `function ${value.name}`;
    if (typeof value !== "object" || value === null) return String(value);
    return cut(spoken(value) ?? JSON.stringify(value, (_, part) => typeof part === "bigint" ? String(part) : part));
  } catch {
    return UNREADABLE;
  }
}

/** What an object says of itself, unless that is only its kind. */
function spoken(value: object): string | undefined {
  if (Array.isArray(value)) return undefined;
  try {
    const text = String(value);
    return text.startsWith("[object ") ? undefined : text;
  } catch {
    return undefined; // `toString` is no function, or throws
  }
}

function cut(text: string): string {
  return text.length > QUOTED ? `${text.slice(0, QUOTED)}…` : text;
}

/** Writes a thrown value to the console, with its stack where the console can read it. */
export function complain(text: string, thrown: unknown): void {
  try {
    console.error(`tsmq: ${text}`, thrown);
  } catch {
    console.error(`tsmq: ${text}`, textOf(thrown)); // formatting the value threw
  }
}

/** Calls a function of the user's that has no business failing; what it throws, or rejects with, goes to the console. */
export function guard(what: string, work: () => unknown): void {
  const failed = (thrown: unknown) => complain(`${what} threw:`, thrown);
  try {
    const result = work();
    if (result instanceof Promise) result.catch(failed);
  } catch (thrown) {
    failed(thrown);
  }
}
