/**
 * The options of a bus, its health, and the report of its closing.
 *
 * @module
 */
import * as v from "valibot";
import type { BusState } from "./events.ts";
import type { EventClass } from "./codec/codec.ts";
import { BusError, ProviderError, ValidationError } from "./errors.ts";
import type { Authorize, ExposeErrors } from "./hooks.ts";
import { callable, fields, flag, invalidOptions, milliseconds, must, parseOptions, whole } from "./internal/options.ts";
import { nameFault, type OptionNames, optionNames, refuseUnknown } from "./internal/arguments.ts";
import type { Provider } from "./provider/provider.ts";
import type { Log } from "./telemetry/telemetry.ts";
import { isA, nameOf, textOf } from "./internal/thrown.ts";

/** A key of a bus. */
export interface BusKey {
  /** The name of the key, which each signature contains: at most 64 letters, digits, `.`, `_` and `-`. It is not secret. */
  readonly id: string;
  /** The secret: at least 32 bytes, or a string of at least 32 bytes in UTF-8. Use random ones, not a password. */
  readonly secret: string | Uint8Array;
}

/** Options of `init` and {@linkcode Bus.open}. */
export interface BusOptions {
  /** Separates buses on one transport. Default `"global"`. Redis rejects a name with a colon. */
  readonly namespace?: string;
  /** The default timeout of a call in milliseconds, at least 1; `Infinity` for no limit. Default 30,000. */
  readonly timeout?: number;
  /** Milliseconds that a send may take before it rejects "unavailable", at most 12 days. Default 10,000. */
  readonly sendTimeout?: number;
  /** Milliseconds that opening may take, at most 12 days. Default 10,000. */
  readonly connectTimeout?: number;
  /**
   * Whether opening waits for a transport that is unreachable: it tries again until `connectTimeout` has passed. Default false: it rejects
   * immediately.
   */
  readonly waitOnFirstConnect?: boolean;
  /**
   * The largest body in bytes that this bus sends and decodes. It sends nothing larger: the verb rejects ("too_large"). It drops larger
   * events, requests and answers, and reports each with an `"error"` event. A larger item cannot be read: `get` rejects, and `body` of the
   * error contains the item; `receive` and `consume` move it to the dead-letter queue. Default 32 MiB.
   */
  readonly maxReceive?: number;
  /** Classes whose instances are restored in events, items, arguments and results, at any depth. */
  readonly types?: readonly EventClass[];
  /**
   * The part of a served function's error that callers receive. False: the name of its class and its message, but not its stack, which
   * names files of this server. True: the stack too. A function: the name and the message that it returns. Default false.
   */
  readonly exposeErrors?: ExposeErrors;
  /** A function that decides whether this bus runs a call. It is called for each call that the bus serves. Default: every call runs. */
  readonly authorize?: Authorize;
  /**
   * Keys that all members of the namespace share. The first key signs every message, and all keys verify. The bus accepts only messages
   * that a key has signed, so PyMQ and buses without keys cannot be peers. Default: the bus neither signs nor verifies.
   */
  readonly keys?: readonly BusKey[];
  /**
   * Whether to encrypt every message, and to accept only encrypted ones. It requires `keys`. Without it, a bus with keys accepts both, and
   * encrypts its answers to encrypted requests. Default false.
   */
  readonly encrypt?: boolean;
  /** Receives a record of each message, call, error and change of state. Default: no records. */
  readonly log?: Log;
}

/** Options of `shutdown` and {@linkcode Bus.close}. */
export interface CloseOptions {
  /**
   * Milliseconds for handlers to finish and for the transport to close. 0 ends both at once, `Infinity` is no limit. Default 5,000. A
   * quarter of it, at least 250 ms (or half of it) and at most 1,000 ms, is reserved for the transport, which gives back the items of the
   * handlers that have not finished: when it begins, the `signal` of their leases aborts.
   */
  readonly timeout?: number;
}

const CLOSE: OptionNames = optionNames<CloseOptions>({ timeout: true });

/**
 * Returns the timeout of `close`. Only a plain object has options: a listener passes other arguments, as in
 * `process.on("SIGTERM", shutdown)`. A number is refused, because it is meant as the timeout.
 *
 * @throws {ValidationError} when the timeout is invalid, or an option is unknown
 */
export function closeTimeout(options: unknown): number | undefined {
  const prototype = typeof options === "object" && options !== null ? Object.getPrototypeOf(options) : undefined;
  if (typeof options !== "number" && prototype !== null && prototype !== Object.prototype) return undefined;
  const check = refuseUnknown(options, CLOSE, "close the bus", "", "");
  const { timeout } = options as CloseOptions;
  return timeout === undefined ? undefined : check.number("timeout", timeout);
}

/** The outcome of closing a bus. */
export interface CloseReport {
  /** The number of handlers and served calls that finished in time. */
  readonly finished: number;
  /**
   * The number of handlers and served calls that did not finish in time. Some of them may have ended when their signal aborted; the others
   * continue to run, without a bus.
   */
  readonly abandoned: number;
  /** The number of events that had arrived and were not handled. */
  readonly dropped: number;
  /** The number of leased items that went back to their queues unsettled. An interrupted handler counts as an attempt. */
  readonly returned: number;
  /** The largest number of items that a cancelled or closing `get` may have taken without returning them; absent: none. */
  readonly uncertain?: number;
  /** Whether the transport closed in time; false if it was cut off. */
  readonly clean: boolean;
}

/** The health of a bus. */
export interface Health {
  /** The state: "up", "down" while a connection is lost, then "closing" and "closed". */
  readonly state: BusState;
  /** The time when the worker last sent a message, in milliseconds of `Date.now()`. */
  readonly lastReceive: number;
  /**
   * The last error since the connection was last restored: an error that was reported or, while the state is "down", its reason. As JSON it
   * has a name, a message and, for an error of tsmq, a code.
   */
  readonly lastError: unknown;
  /** The numbers of pending calls and running handlers. */
  readonly pending: { readonly calls: number; readonly handlers: number };
  /** The number of subscriptions that the transport has for this bus. */
  readonly subscriptions: number;
  /** The number of reconnections. */
  readonly reconnects: number;
  /** The number of times that the Web Worker of the bus was replaced. */
  readonly restarts: number;
  /**
   * The number of messages that were refused: not signed, signed for another destination, altered, or not encrypted. Absent without `keys`.
   */
  readonly refused?: number;
  /** The number of events that were dropped, because they had arrived before. Absent without `keys`. */
  readonly repeated?: number;
}

/** Returns the error of a transport that is unreachable, with the option that waits for it. */
export function suggestWaiting(error: BusError): ProviderError {
  const text = `${error.message}; to wait for the transport, pass waitOnFirstConnect: true`;
  return new ProviderError("unavailable", text, { cause: error.cause });
}

/** Returns the error of a transport that was unreachable until the end of `connectTimeout`. */
export function waited(error: BusError, connectTimeout: number): ProviderError {
  const text = `${error.message}, for ${connectTimeout} ms (connectTimeout)`;
  return new ProviderError("unavailable", text, { cause: error.cause });
}

/** Adds a `toJSON` to a health, which converts its error to plain fields. */
export function healthOf(health: Health): Health {
  const { lastError } = health;
  if (!isA(lastError, Error) || isA(lastError, BusError)) return health;
  const plain = { name: nameOf(lastError), message: textOf(lastError) };
  return Object.defineProperty({ ...health }, "toJSON", { value: () => ({ ...health, lastError: plain }) });
}

/**
 * The longest deadline in milliseconds, 12 days. It is half of the longest time of a timer, so that the sum of two deadlines fits a timer
 * too.
 */
const LONGEST_DEADLINE = 2 ** 30;

/** The smallest number of bytes of a secret: as many as HMAC-SHA-256 and AES-256 can use. */
const SECRET_BYTES = 32;

const KEYS = v.pipe(
  v.array(
    fields({
      id: v.pipe(
        v.string(must("a string")),
        v.regex(/^[\w.-]{1,64}$/, 'must be 1 to 64 letters, digits, ".", "_" and "-"'),
      ),
      secret: v.pipe(
        v.custom<string | Uint8Array>(
          (secret) => typeof secret === "string" || secret instanceof Uint8Array,
          must("a string or a Uint8Array"),
        ),
        v.check((secret) => typeof secret !== "string" || secret.isWellFormed(), "has a lone surrogate"),
        v.check((secret) => bytesOf(secret) >= SECRET_BYTES, `has fewer than ${SECRET_BYTES} bytes`),
      ),
    }),
    must("a list of keys"),
  ),
  v.minLength(1, "has no key"),
  v.check((keys) => new Set(keys.map(({ id }) => id)).size === keys.length, "contains two keys with the same id"),
);

/** The default of `maxReceive`: Redis too limits an event to 32 MiB. */
const MAX_RECEIVE = 32 * 2 ** 20;

const OPTIONS = fields({
  namespace: v.optional(
    v.pipe(
      v.string(must("a string")),
      v.check((name) => nameFault(name) === undefined, ({ input }) => nameFault(input) ?? ""),
    ),
    "global",
  ),
  timeout: v.optional(milliseconds(1, Infinity), 30_000),
  sendTimeout: v.optional(milliseconds(1, LONGEST_DEADLINE), 10_000),
  connectTimeout: v.optional(milliseconds(1, LONGEST_DEADLINE), 10_000),
  waitOnFirstConnect: v.optional(flag()),
  maxReceive: v.optional(whole("a number of bytes, above 0", 1), MAX_RECEIVE),
  types: v.optional(v.array(v.custom<EventClass>(() => true), must("a list of classes")), []),
  exposeErrors: v.optional(
    v.custom<ExposeErrors>(
      (value) => ["boolean", "function"].includes(typeof value),
      must("true, false or a function"),
    ),
    false,
  ),
  authorize: v.optional(callable<Authorize>()),
  keys: v.optional(KEYS),
  encrypt: v.optional(flag(), false),
  log: v.optional(callable<Log>()),
});

/** The options of a bus with their defaults. */
export type CheckedOptions = v.InferOutput<typeof OPTIONS>;

/**
 * Checks the provider and the options of a bus, and returns the options with their defaults.
 *
 * @throws {ValidationError} with one issue for each fault
 */
export function checkOptions(provider: Provider, options: BusOptions): CheckedOptions {
  checkProvider(provider);
  const checked = parseOptions(OPTIONS, options, "Cannot open a bus");
  if (!checked.encrypt || checked.keys) return checked;
  throw invalidOptions([{ path: ["encrypt"], message: "needs keys" }], "Cannot open a bus");
}

function bytesOf(secret: string | Uint8Array): number {
  return typeof secret === "string" ? new TextEncoder().encode(secret).length : secret.length;
}

/** Checks that a value is a provider and that its options can be posted to its worker. */
function checkProvider(provider: Provider): void {
  if (typeof provider?.open !== "function" || !(provider.worker instanceof URL)) {
    throw new ValidationError(
      "Cannot open a bus: the first argument is not a provider (call its factory, as in memory())",
    );
  }
  try {
    structuredClone(provider.options);
  } catch (cause) {
    const text = `Cannot open a bus: the options of "${provider.name}" cannot be posted to its worker: ${
      textOf(cause)
    }`;
    throw new ValidationError(text, [], { cause });
  }
}
