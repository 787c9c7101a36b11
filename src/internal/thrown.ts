/**
 * The name, text and stack of a thrown value. A program can throw anything: an object whose `toString` is not a function, an error whose
 * `message` throws, a revoked proxy. The functions of this module never throw.
 *
 * @module
 */
import { ownShortText } from "./own_text.ts";

/** The largest number of characters that a message quotes of a value. */
const QUOTED = 1_000;

const UNREADABLE = "a value that cannot be read";

/** Returns whether a value is an instance of a class. `instanceof` itself throws for a revoked proxy. */
export function isA<T>(value: unknown, type: abstract new (...args: never[]) => T): value is T {
  try {
    return value instanceof type;
  } catch {
    return false;
  }
}

/** Returns why the transport is unreachable, in brackets, for the end of a message; an empty text without an outage. */
export function because(outage: unknown): string {
  return outage === undefined ? "" : ` (${textOf(outage)})`;
}

/** Returns the message of a thrown error, or any other value as text: an object by its own `toString`, or else as JSON. */
export function textOf(thrown: unknown): string {
  try {
    const value: unknown = thrown instanceof Error ? thrown.message : thrown;
    if (typeof value === "string") return value;
    if (typeof value === "function") return `function ${value.name}`;
    if (typeof value !== "object" || value === null) return String(value);
    return cut(spoken(value) ?? json(value));
  } catch {
    return UNREADABLE;
  }
}

/** Returns the texts of values, up to {@linkcode QUOTED} characters and the rest of the last one: there can be very many values. */
export function textsOf(values: readonly unknown[]): string {
  let text = "";
  for (const [i, value] of values.entries()) {
    if (text.length > QUOTED) return `${text}, …`;
    text += i === 0 ? textOf(value) : `, ${textOf(value)}`;
  }
  return text;
}

/**
 * Returns the name of the class of a thrown error: its `name`, or the name of its class if `name` is only inherited from a class of the
 * platform (`class OutOfStock extends Error {}` inherits "Error"). Returns "Error" for any other value.
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

/** The classes of the platform. An error that inherits its `name` from one of them gets the name of its own class instead. */
const PLATFORM = new Set<object>(
  [Error, TypeError, RangeError, SyntaxError, ReferenceError, EvalError, URIError, AggregateError]
    .map(({ prototype }) => prototype),
);

function inherited(error: Error): boolean {
  let owner: object | null = error;
  while (owner && !Object.hasOwn(owner, "name")) owner = Object.getPrototypeOf(owner);
  return owner !== null && PLATFORM.has(owner);
}

/** Returns the stack of a thrown error, if it has one. */
export function stackOf(thrown: unknown): string | undefined {
  try {
    const stack = thrown instanceof Error ? thrown.stack : undefined;
    return typeof stack === "string" ? stack : undefined;
  } catch {
    return undefined;
  }
}

/** Code of a socket's error → its meaning, after the address of the server. */
const CONNECTION: Readonly<Record<string, string>> = {
  ECONNREFUSED: "refused the connection",
  ECONNRESET: "broke the connection",
  EPIPE: "closed the connection",
  ETIMEDOUT: "did not answer",
  EHOSTUNREACH: "cannot be reached from this machine",
  ENETUNREACH: "cannot be reached from this machine",
};

/**
 * Returns the text of a socket's error, such as `Redis at 127.0.0.1:6379 refused the connection (ECONNREFUSED)`; undefined for any other
 * error. `address` is that of the server, for an error that does not contain it.
 */
export function connectionFault(error: unknown, service: string, address?: string): string | undefined {
  // a host name with several addresses fails with one error for each
  if (isA(error, AggregateError) && error.errors.length > 0) {
    return error.errors.map((one) => connectionFault(one, service, address) ?? textOf(one)).join(", ");
  }
  const { code, port, hostname, ...own } = fieldsOf(error);
  if (typeof code !== "string") return undefined;
  const denied = deniedHost(error);
  if (denied !== undefined) {
    const host = address?.startsWith(`${denied}:`) ? address : denied;
    return `Requires net access to ${JSON.stringify(host)}, run again with the --allow-net=${host} flag`;
  }
  if (code === "ENOTFOUND" && hostname) return `the host name ${hostname} cannot be resolved (${code})`;
  if (code === "ENOENT" && own.address) return `there is no socket ${own.address} (${code})`;
  if (!Object.hasOwn(CONNECTION, code)) return undefined;
  const at = own.address ? `${own.address}${port ? `:${port}` : ""}` : address;
  return `${service}${at === undefined ? "" : ` at ${at}`} ${CONNECTION[code]} (${code})`;
}

/**
 * Returns the host name that Deno may not resolve, if that is the error. Deno names the missing permission only for IP addresses; for a
 * host name it reports EPERM.
 */
export function deniedHost(error: unknown): string | undefined {
  const { code, syscall, hostname } = fieldsOf(error);
  return code === "EPERM" && syscall === "getaddrinfo" && typeof hostname === "string" ? hostname : undefined;
}

/** The largest number of causes that {@linkcode causesOf} follows. */
const CAUSES = 4;

/** Returns an error, the errors that it joins, and its causes. Returns an empty list for any other value. */
export function causesOf(error: unknown, left = CAUSES): Error[] {
  try {
    if (!(error instanceof Error) || left === 0) return [];
    const joined = error instanceof AggregateError ? error.errors : [];
    return [error, ...[error.cause, ...joined].flatMap((each) => causesOf(each, left - 1))];
  } catch {
    return []; // a value that cannot be read
  }
}

/** Returns whether code ended because a signal aborted: with the signal's reason, an error that it caused, or an `AbortError`. */
export function isAbort(error: unknown, reason: unknown): boolean {
  return error === reason || causesOf(error).some((each) => each === reason || nameOf(each) === "AbortError");
}

/** Returns the fields of an error: an empty object for any other value, or if they cannot be read. */
function fieldsOf(error: unknown): Readonly<Record<string, unknown>> {
  try {
    return error instanceof Error ? { ...error } : {};
  } catch {
    return {};
  }
}

/** Returns the result of an object's own `toString`, unless that text only names its kind, such as "[object Object]". */
function spoken(value: object): string | undefined {
  if (Array.isArray(value)) return undefined;
  try {
    const text = String(ArrayBuffer.isView(value) ? beginningOf(value) : value);
    return text.startsWith("[object ") ? undefined : text;
  } catch {
    return undefined; // `toString` is no function, or throws
  }
}

/** Returns the JSON of a value, complete up to {@linkcode QUOTED} characters: on Bun, all of a value 100,000 levels deep takes a second. */
function json(value: object): string {
  let parts = 0; // each has a character at least
  return JSON.stringify(value, (_, part) => {
    if (parts++ > QUOTED) return undefined;
    if (typeof part === "bigint") return String(part);
    if (typeof part === "string") return part.slice(0, QUOTED);
    return typeof part === "object" && part !== null ? beginningOf(part) : part;
  });
}

/** Returns a copy of the beginning of a list, of bytes or of an object that has more parts than are quoted; any other object itself. */
function beginningOf(value: object): object {
  const count = QUOTED + 1;
  if (Array.isArray(value)) return value.length > count ? value.slice(0, count) : value;
  if (ArrayBuffer.isView(value)) return (value as Partial<Uint8Array>).subarray?.(0, count) ?? value;
  const keys = Object.keys(value);
  if (keys.length <= count) return value;
  return Object.fromEntries(keys.slice(0, count).map((key) => [key, Reflect.get(value, key)]));
}

function cut(text: string): string {
  return text.length > QUOTED ? ownShortText(`${text.slice(0, QUOTED)}…`) : text;
}
