/**
 * Every error of the bus. One class where somebody catches it, one `code` where somebody switches on it.
 *
 * @module
 */
import { isA, nameOf, show, stackOf, textOf } from "./internal/thrown.ts";

/** What went wrong, as a finite set: {@linkcode BusError.code}. */
export type ErrorCode =
  /** `init` while the default bus is open. */
  | "already_open"
  /** A verb that needs a bus was called before `init`. */
  | "not_initialized"
  /** The bus, queue or subscription was closed. */
  | "closed"
  /** A deadline passed. */
  | "timeout"
  /** `get` found nothing in its time. */
  | "queue_empty"
  /** `put` found no room in its time. */
  | "queue_full"
  /** A name, option, argument, value or body that is not what it must be. */
  | "invalid"
  /** The transport or the platform cannot do this. */
  | "unsupported"
  /** The transport is out of reach. What was being sent may or may not have arrived. */
  | "unavailable"
  /** The transport refused us: credentials, permissions. */
  | "denied"
  /** Larger than the transport, or a limit of ours, allows. */
  | "too_large"
  /** The transport failed in a way that none of the other codes names. */
  | "internal"
  /** Nobody serves the function. */
  | "no_such_remote"
  /** The remote function threw. */
  | "remote_failed"
  /** The server refused the call because it is at its limit of concurrent calls. */
  | "busy"
  /** The lease ended before it was settled; the item went back. */
  | "lease_lost"
  /** The worker of the bus ended; a fresh one takes over. */
  | "worker_died"
  /** A handler has been running for long while events wait behind it. */
  | "stalled";

/** Options of {@linkcode BusError}. */
export interface BusErrorOptions {
  /** The error underneath, if any. */
  cause?: unknown;
  /** Whether trying the same again may succeed. Default: by code. */
  retryable?: boolean;
}

const RETRYABLE: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "timeout",
  "queue_empty",
  "queue_full",
  "unavailable",
  "busy",
  "worker_died",
]);

/** The base of every error that the bus rejects with. */
export class BusError extends Error {
  /** The name of the class, also after minifying. */
  override name = "BusError";
  /** What went wrong. */
  readonly code: ErrorCode;
  /** Whether trying the same again may succeed. It says nothing about whether that is harmless. */
  readonly retryable: boolean;

  /** Makes an error; `message` reads "Cannot <do> <what>: <state>". */
  constructor(code: ErrorCode, message: string, options: BusErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retryable = options.retryable ?? RETRYABLE.has(code);
  }
}

/** A verb that needs a bus was called before `init`. */
export class NotInitializedError extends BusError {
  /** The name of the class, also after minifying. */
  override name = "NotInitializedError";
  /** Makes an error for the verb that was called. */
  constructor(message = "Cannot use the default bus: init() has not been called") {
    super("not_initialized", message);
  }
}

/** The bus, queue or subscription was closed. */
export class ClosedError extends BusError {
  /** The name of the class, also after minifying. */
  override name = "ClosedError";
  /** Makes an error. */
  constructor(message = "Cannot use the bus: it is closed", options?: BusErrorOptions) {
    super("closed", message, options);
  }
}

/** A deadline passed. */
export class TimeoutError extends BusError {
  /** The name of the class, also after minifying. */
  override name = "TimeoutError";
  /** Makes an error. */
  constructor(message: string, options?: BusErrorOptions) {
    super("timeout", message, options);
  }
}

/** `get` found nothing in its time. */
export class QueueEmptyError extends BusError {
  /** The name of the class, also after minifying. */
  override name = "QueueEmptyError";
  /** Makes an error for the queue of that name. */
  constructor(queue: string) {
    super("queue_empty", `Cannot get from queue "${queue}": it is empty`);
  }
}

/** `put` found no room in its time. */
export class QueueFullError extends BusError {
  /** The name of the class, also after minifying. */
  override name = "QueueFullError";
  /** Makes an error for the queue of that name. */
  constructor(queue: string) {
    super("queue_full", `Cannot put into queue "${queue}": it is full`);
  }
}

/** One fault that a schema or the codec found; the shape of a Standard Schema issue. */
export interface Issue {
  /** What is wrong. */
  readonly message: string;
  /** Where: the keys from the value's root. */
  readonly path?: readonly PropertyKey[];
}

/** A name, option, argument, value or body that is not what it must be. */
export class ValidationError extends BusError {
  /** The name of the class, also after minifying. */
  override name = "ValidationError";
  /** What is wrong and where. */
  readonly issues: readonly Issue[];
  /** The body as it came from the wire, where one could not be read: nothing is lost. */
  readonly body?: string;

  /** Makes an error from its issues. */
  constructor(
    message: string,
    issues: readonly Issue[] = [],
    options?: BusErrorOptions & { body?: string },
  ) {
    super("invalid", message, options);
    this.issues = issues;
    if (options?.body !== undefined) this.body = options.body;
  }
}

/** The transport or the platform cannot do this. */
export class UnsupportedError extends BusError {
  /** The name of the class, also after minifying. */
  override name = "UnsupportedError";
  /** Makes an error. */
  constructor(message: string, options?: BusErrorOptions) {
    super("unsupported", message, options);
  }
}

/** The transport failed: `unavailable`, `denied`, `too_large` or `internal`. */
export class ProviderError extends BusError {
  /** The name of the class, also after minifying. */
  override name = "ProviderError";
  /** Makes an error with one of the four codes of a transport. */
  constructor(
    code: "unavailable" | "denied" | "too_large" | "internal",
    message: string,
    options?: BusErrorOptions,
  ) {
    super(code, message, options);
  }
}

/** The base of what a call rejects with when its server, not its transport, is the reason. */
export class RpcError extends BusError {
  /** The name of the class, also after minifying. */
  override name = "RpcError";
}

/** Nobody serves the function. */
export class NoSuchRemoteError extends RpcError {
  /** The name of the class, also after minifying. */
  override name = "NoSuchRemoteError";
  /** Makes an error for the function of that name. */
  constructor(fn: string) {
    super("no_such_remote", `Cannot call "${fn}": no such remote`);
  }
}

/** The remote function threw. */
export class RemoteInvocationError extends RpcError {
  /** The name of the class, also after minifying. */
  override name = "RemoteInvocationError";
  /** The name of the remote error's class: `"TypeError"`, or `"module.Class"` of a Python server. */
  readonly remoteType: string;
  /** The arguments of the remote error; for one of JavaScript, its message. */
  readonly remoteArgs: readonly unknown[];
  /** The remote stack, where the server sent one. */
  readonly remoteStack?: string;

  /** Makes an error from what the server said. */
  constructor(
    fn: string,
    remoteType: string,
    remoteArgs: readonly unknown[] = [],
    remoteStack?: string,
  ) {
    super("remote_failed", `Cannot call "${fn}": ${remoteType}(${remoteArgs.map(show).join(", ")})`);
    this.remoteType = remoteType;
    this.remoteArgs = remoteArgs;
    if (remoteStack !== undefined) this.remoteStack = remoteStack;
  }
}

/** An error as plain data: a structured clone loses name, code and cause of an `Error`. */
export interface PlainError {
  /** The name of the class. */
  name: string;
  /** As {@linkcode BusError.code}. */
  code: ErrorCode;
  /** As of `Error`. */
  message: string;
  /** As {@linkcode BusError.retryable}. */
  retryable: boolean;
  /** As of `Error`. */
  stack?: string;
}

/** Turns anything thrown into plain data that can cross a port. */
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

/** Makes the error again that {@linkcode toPlain} took apart; `instanceof` and `code` hold. */
export function fromPlain(plain: PlainError): BusError {
  const error = new BusError(plain.code, plain.message, { retryable: plain.retryable });
  const type = BY_NAME[plain.name as keyof typeof BY_NAME];
  if (type) Object.setPrototypeOf(error, type.prototype);
  error.name = plain.name;
  if (plain.stack) error.stack = plain.stack;
  return error;
}

/** Whether it is Deno that refused, for lack of a permission. From a worker comes the text alone. */
export function lacksPermission(error: unknown): boolean {
  return isA(error, Error) && (nameOf(error) === "NotCapable" || /^Requires \w+ access/.test(textOf(error)));
}
