/**
 * What one opens and closes a bus with, and what one learns of it.
 *
 * @module
 */
import * as v from "valibot";
import type { EventClass } from "./codec/codec.ts";
import { ValidationError } from "./errors.ts";
import { callable, fields, milliseconds, must, parseOptions } from "./internal/options.ts";
import { nameFault } from "./internal/arguments.ts";
import type { Provider } from "./provider/provider.ts";
import type { Log } from "./telemetry.ts";
import { textOf } from "./internal/thrown.ts";

/** Options of `init` and {@linkcode Bus.open}. */
export interface BusOptions {
  /** Separates buses on one transport. Default `"global"`. Redis refuses one with a colon. */
  readonly namespace?: string;
  /** Milliseconds that a call may take. Default 30,000. */
  readonly timeout?: number;
  /** Milliseconds that a send may take before it rejects "unavailable". Default 10,000. */
  readonly sendTimeout?: number;
  /** Milliseconds that opening may take. Default 10,000. */
  readonly connectTimeout?: number;
  /** Classes whose instances come out as instances, wherever in an event, item, argument or result they are. */
  readonly types?: readonly EventClass[];
  /** Takes a record of each message, call, fault and change of state. Default: none is made. */
  readonly log?: Log;
}

/** Options of `shutdown` and {@linkcode Bus.close}. */
export interface CloseOptions {
  /** Milliseconds for handlers to finish and for the transport to close. Default 5,000. */
  readonly timeout?: number;
}

/** What became of the work that was there when the bus was closed. */
export interface CloseReport {
  /** Handlers, consumers' handlers and served calls that finished in time. */
  readonly finished: number;
  /** Those that did not; they run on, but reach nothing any more. */
  readonly abandoned: number;
  /** Events that had arrived and were not handled. */
  readonly dropped: number;
  /** Leased items that were not settled and went back to their queues. */
  readonly returned: number;
  /** At most so many items may have been taken by a `get` that gave them to nobody; absent: none. */
  readonly uncertain?: number;
  /** Whether the transport closed in time; false if it was cut off. */
  readonly clean: boolean;
}

/** How a bus is. */
export interface Health {
  /** "up", "down" while a connection is lost, then "closing" and "closed". */
  readonly state: BusState;
  /** When the worker was last heard, in milliseconds of `Date.now()`. */
  readonly lastReceive: number;
  /** The last error that was reported, if any. */
  readonly lastError: unknown;
  /** What is under way: calls that wait, handlers that run. */
  readonly pending: { readonly calls: number; readonly handlers: number };
  /** How many subscriptions the transport has for this bus. */
  readonly subscriptions: number;
  /** How many times a connection came back. */
  readonly reconnects: number;
  /** How many times the worker was replaced. */
  readonly restarts: number;
}

/** The states of a bus. */
export type BusState = "up" | "down" | "closing" | "closed";

const OPTIONS = fields({
  namespace: v.optional(
    v.pipe(
      v.string(must("a string")),
      v.check((name) => nameFault(name) === undefined, ({ input }) => nameFault(input) ?? ""),
    ),
    "global",
  ),
  timeout: v.optional(milliseconds(0, Infinity), 30_000),
  sendTimeout: v.optional(deadline(), 10_000),
  connectTimeout: v.optional(deadline(), 10_000),
  types: v.optional(v.array(v.custom<EventClass>(() => true), must("a list of classes")), []),
  log: v.optional(callable<Log>()),
});

/** The longest deadline in milliseconds, 12 days. A timer holds twice as much, so that sums of it fit too. */
const LONGEST = 2 ** 30;

/** Milliseconds as a timer holds them. */
function deadline(): v.GenericSchema<number> {
  return v.pipe(milliseconds(1, Infinity), v.transform((ms) => Math.min(ms, LONGEST)));
}

/**
 * The options with their defaults.
 *
 * @throws {ValidationError} with one issue for each fault
 */
export function checkOptions(options: BusOptions): v.InferOutput<typeof OPTIONS> {
  return parseOptions(OPTIONS, options, "Cannot open a bus");
}

/** Throws unless it is a provider whose options can be posted to its worker. */
export function checkProvider(provider: Provider): void {
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
