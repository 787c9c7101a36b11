/**
 * Log records of a bus, and its spans and metrics. This module does nothing until a log hook, a tracer or a meter is registered.
 *
 * @module
 */
import { guard } from "../internal/complain.ts";
import { openTelemetry, Recording, type Verb } from "./opentelemetry.ts";

/** A log record: one operation or event of a bus. */
export interface LogRecord {
  /** The time, in milliseconds of `Date.now()`. */
  readonly time: number;
  /** The severity: "debug" for operations that succeeded, "info" for changes of the bus, "warn" and "error" for failures. */
  readonly level: "debug" | "info" | "warn" | "error";
  /** The operation that ended, or the event of the bus. */
  readonly event: Verb | "open" | "state" | "gap" | "error" | "close";
  /** The namespace of the bus. */
  readonly namespace: string;
  /** The topic, queue or function. */
  readonly name?: string;
  /** The duration in milliseconds. */
  readonly duration?: number;
  /** The error of a failed operation. */
  readonly error?: unknown;
  /** Details: the new state, the reason of a gap, the report of `close`. */
  readonly detail?: unknown;
  /** The id of the trace, if there is one. */
  readonly traceId?: string;
  /** The id of the span, if there is one. */
  readonly spanId?: string;
}

/** Receives log records. The bus calls it for each message, so it must be fast. */
export type Log = (record: LogRecord) => void;

/** The telemetry of one bus. */
export class Telemetry {
  /** The namespace of the bus. */
  readonly namespace: string;
  /** The name of the bus's provider. */
  readonly provider: string;
  #log: Log | undefined;

  /** Creates the telemetry of a bus. */
  constructor(namespace: string, provider: string, log?: Log) {
    this.namespace = namespace;
    this.provider = provider;
    this.#log = log;
  }

  /**
   * Begins an operation. Returns undefined if nothing observes it.
   *
   * @param traceparent the trace context of the message, if any
   * @param since `performance.now()` at its beginning; default: now
   * @param pattern the glob of the subscription, if the peers choose the name
   */
  begin(verb: Verb, name: string, traceparent?: string, since?: number, pattern?: string): Operation | undefined {
    const api = openTelemetry();
    if (api === undefined && this.#log === undefined) return undefined;
    const recording = api && new Recording(api, this, verb, name, traceparent, since, pattern);
    return new Operation(this, verb, name, since ?? performance.now(), recording);
  }

  /**
   * Runs an operation. If a log hook, a tracer or a meter is registered, the operation is logged, traced and measured. `work` receives the
   * trace context for the message, if any.
   */
  observe<T>(verb: Verb, name: string, work: (own?: string) => Promise<T>, traceparent?: string): Promise<T> {
    const operation = this.begin(verb, name, traceparent);
    return operation ? operation.follow(() => work(operation.traceparent)) : work();
  }

  /** Logs an event. */
  log(record: Omit<LogRecord, "time" | "namespace">): void {
    const log = this.#log;
    if (log) guard("the log function", () => log({ time: Date.now(), namespace: this.namespace, ...record }));
  }
}

/** A running operation, which is logged, traced and measured when it ends. */
export class Operation {
  #telemetry: Telemetry;
  #verb: Verb;
  #name: string;
  #since: number;
  #recording: Recording | undefined;

  /** Created by {@linkcode Telemetry.begin}. */
  constructor(telemetry: Telemetry, verb: Verb, name: string, since: number, recording: Recording | undefined) {
    this.#telemetry = telemetry;
    this.#verb = verb;
    this.#name = name;
    this.#since = since;
    this.#recording = recording;
  }

  /** The trace context for the message, W3C's `traceparent`, so that its receiver continues the trace. */
  get traceparent(): string | undefined {
    return this.#recording?.traceparent;
  }

  /** Runs work with the span of this operation as the active one. */
  run<T>(work: () => T): T {
    return this.#recording ? this.#recording.run(work) : work();
  }

  /** Runs work with the span of this operation as the active one, and ends the operation with it. */
  follow<T>(work: () => Promise<T>): Promise<T> {
    try {
      const done = this.run(work);
      done.then(() => this.end(), (error) => this.end(error));
      return done;
    } catch (error) {
      this.end(error);
      throw error;
    }
  }

  /** Ends the operation, with its error if it failed. */
  end(error?: unknown): void {
    const duration = performance.now() - this.#since;
    const failed = error !== undefined;
    this.#recording?.end(duration, error);
    this.#telemetry.log({
      level: failed ? "warn" : "debug",
      event: this.#verb,
      name: this.#name,
      duration,
      ...failed && { error },
      ...this.#recording?.ids,
    });
  }
}
