/**
 * The errors of tsmq: a class for each kind of error that callers catch, and a `code` for each reason that they distinguish.
 *
 * @module
 */
import { recognise } from "./internal/copies.ts";
import { cut } from "./internal/printable.ts";
import { causesOf, deniedHost, isA, nameOf, stackOf, textOf, textsOf } from "./internal/thrown.ts";

/** The codes of errors: {@linkcode BusError.code}. */
export type ErrorCode =
  /** `init` was called while the default bus was open. */
  | "already_open"
  /** A verb that needs a bus was called before `init`. */
  | "not_initialized"
  /** The bus, queue or subscription was closed. */
  | "closed"
  /** A deadline passed. */
  | "timeout"
  /** `get` found no item within its timeout. */
  | "queue_empty"
  /** `put` found no room within its timeout. */
  | "queue_full"
  /** A name, option, argument, value or body is invalid. */
  | "invalid"
  /** The transport or the platform does not support the operation. */
  | "unsupported"
  /** The transport is unreachable. A message that was being sent may or may not have arrived. */
  | "unavailable"
  /** The transport refused the credentials, or they lack a permission. */
  | "denied"
  /** A message, or the answers to a multi-call, are larger than the transport or tsmq allows. */
  | "too_large"
  /** The transport or tsmq failed for a reason that has no other code. */
  | "internal"
  /** No server serves the function. */
  | "no_such_remote"
  /** The remote function threw. */
  | "remote_failed"
  /** A limit was reached, such as a server's limit of concurrent calls: the message was refused or dropped. */
  | "busy"
  /** The lease expired before it was settled, so the item went back to its queue; or that happened to its last attempt. */
  | "lease_lost"
  /** The worker of the bus died. A new worker replaces it. */
  | "worker_died"
  /** A handler has been running for a long time while events wait for it. */
  | "stalled";

/** Options of {@linkcode BusError}. */
export interface BusErrorOptions {
  /** The error that caused this one, if any. */
  cause?: unknown;
  /** Whether the same operation may succeed later, unchanged. The default depends on the code. */
  retryable?: boolean;
}

const RETRYABLE: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "timeout",
  "queue_empty",
  "queue_full",
  "unavailable",
  "no_such_remote",
  "busy",
  "worker_died",
]);

/** The base class of all errors of tsmq. */
export class BusError extends Error {
  /** The name of the class, also after minifying. */
  override name = "BusError";
  /**
   * The reason, for programs: several reasons can share a class, and only the code distinguishes them. `docs/errors.md` has a table of the
   * codes: when each occurs, its class, and whether a retry may succeed.
   */
  readonly code: ErrorCode;
  /** Whether the same operation may succeed later, unchanged. It does not say whether a retry is safe. */
  readonly retryable: boolean;

  /** Creates an error. `message` reads "Cannot <do> <what>: <why>". */
  constructor(code: ErrorCode, message: string, options: BusErrorOptions = {}) {
    super(cut(message), options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retryable = options.retryable ?? RETRYABLE.has(code);
  }

  /** Returns the fields for JSON, which would otherwise omit the message. */
  toJSON(): { name: string; code: ErrorCode; message: string; retryable: boolean } {
    const { name, code, message, retryable } = this;
    return { name, code, message, retryable };
  }
}

/** Thrown when a verb of the default bus is called before `init` has opened it, or after `shutdown` has closed it. */
export class NotInitializedError extends BusError {
  /** The name of the class, also after minifying. */
  override name = "NotInitializedError";
  /** Creates an error for the verb that was called. */
  constructor(message = "Cannot use the default bus: init() has not been called") {
    super("not_initialized", message);
  }
}

/** Thrown when the bus, queue or subscription is closed. */
export class ClosedError extends BusError {
  /** The name of the class, also after minifying. */
  override name = "ClosedError";
  /** Creates an error. */
  constructor(message = "Cannot use the bus: it is closed", options?: BusErrorOptions) {
    super("closed", message, options);
  }
}

/** Matches the operation that a message begins with: `Cannot put into queue "a": `. An unknown outcome is no operation. */
const OPERATION = /^Cannot (?!tell whether )(?:"[^"]*"|[^":])*: /;

/**
 * Returns an error of the transport in the user's words: `doing` replaces the operation that its message begins with, which may be a part of
 * several operations, or have a name of the transport. Returns any other error as it is.
 */
export function inWords<E>(doing: string, error: E): E | BusError {
  if (!isA(error, BusError) || (error.code !== "busy" && !isA(error, ProviderError))) return closedWhile(doing, error);
  const { code, retryable, cause, name } = error;
  const message = error.message.replace(OPERATION, () => `Cannot ${doing}: `);
  if (message === error.message) return error;
  const worded = new BusError(code, message, { cause, retryable });
  return Object.assign(Object.setPrototypeOf(worded, Object.getPrototypeOf(error)), { name });
}

/** Returns the error of an operation that a closed bus has ended: a `ClosedError` that says what the user did, any other error as it is. */
export function closedWhile<E>(doing: string, error: E): E | ClosedError {
  return isA(error, ClosedError) ? new ClosedError(`Cannot ${doing}: the bus is closed`) : error;
}

/** Thrown when a deadline has passed. */
export class TimeoutError extends BusError {
  /** The name of the class, also after minifying. */
  override name = "TimeoutError";
  /** Creates an error. */
  constructor(message: string, options?: BusErrorOptions) {
    super("timeout", message, options);
  }
}

/** Thrown by `get` when there was no item within its timeout. */
export class QueueEmptyError extends BusError {
  /** The name of the class, also after minifying. */
  override name = "QueueEmptyError";
  /** Creates an error for the queue of this name. */
  constructor(queue: string, verb: "get" | "receive" = "get") {
    super("queue_empty", `Cannot ${verb} from queue "${queue}": it is empty`);
  }
}

/** Thrown by `put` when there was no room within its timeout. */
export class QueueFullError extends BusError {
  /** The name of the class, also after minifying. */
  override name = "QueueFullError";
  /** Creates an error for the queue of this name. */
  constructor(queue: string) {
    super("queue_full", `Cannot put into queue "${queue}": it is full`);
  }
}

/** One reason why a value is invalid. It has the shape of a Standard Schema issue. */
export interface Issue {
  /** The reason. */
  readonly message: string;
  /** The keys that lead from the whole value to the invalid part. */
  readonly path?: readonly PropertyKey[];
}

/** The part of an operation that is invalid: {@linkcode ValidationError.part}. */
export type InvalidPart = "arguments" | "result" | "event" | "item" | "options";

/** Thrown when a name, option, argument, value or body is invalid. */
export class ValidationError extends BusError {
  /** The name of the class, also after minifying. */
  override name = "ValidationError";
  /** The reasons, each with the path of the invalid part; at most 100 of those that a schema has found. */
  readonly issues: readonly Issue[];
  /**
   * The invalid part: the `"arguments"` of a call, which its caller can correct; the `"result"` of a function or a value of its stream, which
   * its server can correct; an `"event"` or an `"item"`; each with its headers and its delay; or other `"options"`. Absent for anything else.
   */
  readonly part?: InvalidPart;
  /** The received body, if it could not be read. */
  readonly body?: string;

  /** Creates an error from its issues. */
  constructor(
    message: string,
    issues: readonly Issue[] = [],
    options?: BusErrorOptions & { body?: string; part?: InvalidPart },
  ) {
    super("invalid", message, options);
    this.issues = issues;
    if (options?.part !== undefined) this.part = options.part;
    if (options?.body !== undefined) this.body = options.body;
  }
}

/** The error for a message that a bus with keys does not accept. To users it is a `ValidationError`. */
export class UntrustedError extends ValidationError {}

/** Thrown when the transport or the platform does not support an operation. */
export class UnsupportedError extends BusError {
  /** The name of the class, also after minifying. */
  override name = "UnsupportedError";
  /** Creates an error. */
  constructor(message: string, options?: BusErrorOptions) {
    super("unsupported", message, options);
  }
}

/** Thrown when the transport fails; the code is `unavailable`, `denied`, `too_large` or `internal`. */
export class ProviderError extends BusError {
  /** The name of the class, also after minifying. */
  override name = "ProviderError";
  /** Creates an error with one of the four codes of a transport. */
  constructor(
    code: "unavailable" | "denied" | "too_large" | "internal",
    message: string,
    options?: BusErrorOptions,
  ) {
    super(code, message, options);
  }
}

/** The base class of errors of a call that are not errors of the transport. */
export class RpcError extends BusError {
  /** The name of the class, also after minifying. */
  override name = "RpcError";
}

/** Thrown by a call when no server serves the function. */
export class NoSuchRemoteError extends RpcError {
  /** The name of the class, also after minifying. */
  override name = "NoSuchRemoteError";
  /** Creates an error for the function of this name, and the namespace of the caller. */
  constructor(fn: string, namespace?: string) {
    const where = namespace === undefined ? "" : ` in namespace "${namespace}"`;
    super("no_such_remote", `Cannot call "${fn}": no server${where} serves it`);
  }
}

/** Thrown by a call when the remote function threw. With the code `"invalid"`, its server refused the arguments and did not run it. */
export class RemoteInvocationError extends RpcError {
  /** The name of the class, also after minifying. */
  override name = "RemoteInvocationError";
  /** The name of the remote error's class, as the server sent it: `"TypeError"`, or `"module.Class"` of a Python server. */
  readonly remoteType: string;
  /** The arguments of the remote error. For an error of JavaScript, this is its message. */
  readonly remoteArgs: readonly unknown[];
  /** The remote stack, if the server's option `exposeErrors` is true. */
  readonly remoteStack?: string;

  /** Creates an error from the answer of the server. */
  constructor(
    fn: string,
    remoteType: string,
    remoteArgs: readonly unknown[] = [],
    remoteStack?: string,
    reason = `${remoteType}(${textsOf(remoteArgs)})`,
  ) {
    super("remote_failed", `Cannot call "${fn}": ${reason}`);
    this.remoteType = remoteType;
    this.remoteArgs = remoteArgs;
    if (remoteStack !== undefined) this.remoteStack = remoteStack;
  }
}

recognise({
  BusError,
  NotInitializedError,
  ClosedError,
  TimeoutError,
  QueueEmptyError,
  QueueFullError,
  ValidationError,
  UnsupportedError,
  ProviderError,
  RpcError,
  NoSuchRemoteError,
  RemoteInvocationError,
});

/** An error as plain data. A structured clone of an `Error` loses its name, code and cause. */
export interface PlainError {
  /** The name of the class. */
  name: string;
  /** The code of a `BusError`. */
  code: ErrorCode;
  /** The message of the error. */
  message: string;
  /** The property `retryable` of a `BusError`. */
  retryable: boolean;
  /** The stack of the error, if any. */
  stack?: string;
}

/** Converts a thrown value to plain data that can cross a port. */
export function toPlain(error: unknown): PlainError {
  const known = isA(error, BusError);
  return {
    name: known ? error.name : "ProviderError",
    code: known ? error.code : "internal",
    message: textOf(error),
    retryable: known && error.retryable,
    stack: stackOf(error),
  };
}

const BY_NAME = {
  ClosedError,
  TimeoutError,
  QueueEmptyError,
  QueueFullError,
  ValidationError,
  UnsupportedError,
  ProviderError,
};

/** Restores an error that {@linkcode toPlain} converted, with its class and its code. */
export function fromPlain(plain: PlainError): BusError {
  const error = new BusError(plain.code, plain.message, { retryable: plain.retryable });
  const type = BY_NAME[plain.name as keyof typeof BY_NAME];
  if (type) Object.setPrototypeOf(error, type.prototype);
  error.name = plain.name;
  if (plain.stack) error.stack = plain.stack;
  return error;
}

/** Returns whether an error has the code "unavailable": the operation may have been done nevertheless. */
export function isUnavailable(error: unknown): error is BusError {
  return isA(error, BusError) && error.code === "unavailable";
}

/** Returns whether the error means an interruption that ends by itself: a dead worker is replaced, and a lost connection is restored. */
export function isInterruption(error: unknown): boolean {
  return isUnavailable(error) || (isA(error, BusError) && error.code === "worker_died");
}

/**
 * Returns whether the error, or one that caused it, means that Deno lacks a permission. An error from a worker has only its message.
 */
export function lacksPermission(error: unknown): boolean {
  return causesOf(error).some((each) =>
    nameOf(each) === "NotCapable" || /^Requires \w+ access/.test(textOf(each)) || deniedHost(each) !== undefined
  );
}
