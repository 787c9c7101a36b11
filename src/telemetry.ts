/**
 * Spans, metrics and log records of a bus. It does nothing until a tracer, a meter or a log hook is registered.
 *
 * OpenTelemetry is found where its API registers itself for all its versions, copies and implementations, Deno's own
 * (`OTEL_DENO=true`) among them: under a symbol of the global object. So tsmq needs no package of it, and follows
 * whichever the program has set up, also after the bus was opened.
 *
 * @module
 */
import { BusError } from "./errors.ts";
import { guard, isA, nameOf, textOf } from "./internal/thrown.ts";

/** The global symbol under which `@opentelemetry/api` 1.x registers a program's SDK (its `internal/global-utils`). */
const API = Symbol.for("opentelemetry.js.api.1");
/** The symbol under which a context holds its span (`trace/context-utils` of `@opentelemetry/api` 1.x). */
const SPAN = Symbol.for("OpenTelemetry Context Key SPAN");
const SCOPE = "@tsmq/tsmq";
/** Histogram boundaries of durations in seconds: those of the semantic conventions, and finer ones below. */
const BUCKETS = [0.0002, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

interface SpanContext {
  readonly traceId: string;
  readonly spanId: string;
  readonly traceFlags: number;
  readonly isRemote?: boolean;
}

interface Span {
  spanContext(): SpanContext;
  setAttribute(key: string, value: string): unknown;
  setStatus(status: { code: number; message?: string }): unknown;
  end(): void;
}

interface Context {
  getValue(key: symbol): unknown;
  setValue(key: symbol, value: unknown): Context;
  deleteValue(key: symbol): Context;
}

interface Meter {
  createCounter(name: string, options: object): { add(count: number, attributes: Attributes): void };
  createHistogram(name: string, options: object): { record(value: number, attributes: Attributes): void };
}

/** The part of OpenTelemetry's API that tsmq uses. */
interface Api {
  readonly trace?: { getTracer(name: string): { startSpan(name: string, options: object, parent: Context): Span } };
  readonly context?: { active(): Context; with<T>(context: Context, work: () => T): T };
  readonly metrics?: { getMeter(name: string): Meter };
}

type Attributes = Readonly<Record<string, string>>;

/** The operations of a bus that are observed. */
export type Verb = "publish" | "process" | "put" | "receive" | "call" | "serve";

/** OpenTelemetry's numbers of `SpanKind`, and names by its semantic conventions for messaging and for RPC. */
const VERBS: Readonly<Record<Verb, { kind: number; type: string; duration: string; counter?: string }>> = {
  publish: sending(),
  put: sending(),
  receive: receiving(2, "receive", "messaging.client.operation.duration"),
  process: receiving(4, "process", "messaging.process.duration"),
  call: { kind: 2, type: "rpc", duration: "rpc.client.call.duration" },
  serve: { kind: 1, type: "rpc", duration: "rpc.server.call.duration" },
};

function sending(): typeof VERBS[Verb] {
  const duration = "messaging.client.operation.duration";
  return { kind: 3, type: "send", duration, counter: "messaging.client.sent.messages" };
}

function receiving(kind: number, type: string, duration: string): typeof VERBS[Verb] {
  return { kind, type, duration, counter: "messaging.client.consumed.messages" };
}

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
  /** The name of its provider. */
  readonly provider: string;
  #log: Log | undefined;

  /** Observes a bus. */
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
   */
  begin(verb: Verb, name: string, traceparent?: string, since?: number): Operation | undefined {
    const api = (globalThis as { [API]?: Api })[API];
    if (api === undefined && this.#log === undefined) return undefined;
    return new Operation(this, api ?? {}, verb, name, traceparent, since);
  }

  /** Runs an operation, observed if something observes it. `work` receives the trace context for the message, if any. */
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

/** An observed operation. */
export class Operation {
  #telemetry: Telemetry;
  #api: Api;
  #verb: Verb;
  #name: string;
  #since: number;
  #attributes: Attributes;
  #span: Span | undefined;
  #context: Context;

  /** Begun by {@linkcode Telemetry.begin}. */
  constructor(
    telemetry: Telemetry,
    api: Api,
    verb: Verb,
    name: string,
    traceparent: string | undefined,
    since: number | undefined,
  ) {
    const { kind, type } = VERBS[verb];
    const now = performance.now();
    this.#telemetry = telemetry;
    this.#api = api;
    this.#verb = verb;
    this.#name = name;
    this.#since = since ?? now;
    this.#attributes = type === "rpc" ? { "rpc.system": "tsmq", "rpc.method": name } : {
      "messaging.system": "tsmq",
      "messaging.operation.name": verb,
      "messaging.operation.type": type,
      "messaging.destination.name": name,
    };
    const remote = traceparent === undefined ? undefined : parse(traceparent);
    // the parent of an incoming message is its sender's span, not the span that is active in this process
    const continues = verb === "process" || verb === "serve";
    const parent = !continues
      ? api.context?.active() ?? new Frame()
      : remote
      ? new Frame().setValue(SPAN, { spanContext: () => remote })
      : new Frame();
    this.#span = api.trace?.getTracer(SCOPE).startSpan(type === "rpc" ? name : `${verb} ${name}`, {
      kind,
      attributes: { ...this.#attributes, "tsmq.provider": telemetry.provider, "tsmq.namespace": telemetry.namespace },
      ...!continues && remote && { links: [{ context: remote }] },
      ...since !== undefined && { startTime: new Date(Date.now() - (now - since)) },
    }, parent);
    this.#context = this.#span ? parent.setValue(SPAN, this.#span) : parent;
  }

  /** The trace context for the message, W3C's `traceparent`, so that its receiver continues the trace. */
  get traceparent(): string | undefined {
    const context = this.#span?.spanContext();
    if (!context || /^0*$/.test(context.traceId)) return undefined;
    return `00-${context.traceId}-${context.spanId}-0${context.traceFlags & 1}`;
  }

  /** Runs work with this span as the active one. */
  run<T>(work: () => T): T {
    return this.#api.context && this.#span ? this.#api.context.with(this.#context, work) : work();
  }

  /** Runs work with this span as the active one, and ends the span with it. */
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
  end(...[error]: [error?: unknown]): void {
    const duration = performance.now() - this.#since;
    const failed = error !== undefined;
    if (failed) {
      this.#span?.setStatus({ code: 2, message: textOf(error) });
      this.#span?.setAttribute("error.type", typeOf(error));
    }
    this.#span?.end();
    this.#measure(duration, failed ? { ...this.#attributes, "error.type": typeOf(error) } : this.#attributes);
    const { traceId, spanId } = this.#span?.spanContext() ?? {};
    this.#telemetry.log({
      level: failed ? "warn" : "debug",
      event: this.#verb,
      name: this.#name,
      duration,
      ...failed && { error },
      ...traceId !== undefined && { traceId, spanId },
    });
  }

  #measure(duration: number, attributes: Attributes): void {
    if (!this.#api.metrics) return;
    const { duration: histogram, counter } = VERBS[this.#verb];
    const instruments = instrumentsOf(this.#api.metrics);
    instruments.histogram(histogram).record(duration / 1_000, attributes);
    if (counter) instruments.counter(counter).add(1, attributes);
  }
}

/** Writes W3C's `traceparent`, the header that carries a trace. */
const TRACEPARENT = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;

/** Parses a `traceparent`. Returns undefined for anything else, because nothing from the wire is trusted. */
function parse(traceparent: string): SpanContext | undefined {
  const [, traceId, spanId, flags] = TRACEPARENT.exec(traceparent) ?? [];
  if (!traceId || !spanId || /^0*$/.test(traceId) || /^0*$/.test(spanId)) return undefined;
  return { traceId, spanId, traceFlags: parseInt(flags!, 16) & 1, isRemote: true };
}

function typeOf(error: unknown): string {
  return isA(error, BusError) ? error.code : isA(error, Error) ? nameOf(error) : typeof error;
}

/** A context that contains only the values that tsmq sets. */
class Frame implements Context {
  #values: ReadonlyMap<symbol, unknown>;

  constructor(values: ReadonlyMap<symbol, unknown> = new Map()) {
    this.#values = values;
  }

  getValue(key: symbol): unknown {
    return this.#values.get(key);
  }

  setValue(key: symbol, value: unknown): Context {
    return new Frame(new Map(this.#values).set(key, value));
  }

  deleteValue(key: symbol): Context {
    const values = new Map(this.#values);
    values.delete(key);
    return new Frame(values);
  }
}

interface Instruments {
  counter(name: string): ReturnType<Meter["createCounter"]>;
  histogram(name: string): ReturnType<Meter["createHistogram"]>;
}

const known = new WeakMap<object, Instruments>();

/** The instruments of a meter provider, each created once. */
function instrumentsOf(provider: NonNullable<Api["metrics"]>): Instruments {
  let instruments = known.get(provider);
  if (!instruments) {
    const meter = provider.getMeter(SCOPE);
    const histogram = { unit: "s", advice: { explicitBucketBoundaries: BUCKETS } };
    instruments = {
      counter: memoized((name) => meter.createCounter(name, { unit: "{message}" })),
      histogram: memoized((name) => meter.createHistogram(name, histogram)),
    };
    known.set(provider, instruments);
  }
  return instruments;
}

function memoized<T>(make: (name: string) => T): (name: string) => T {
  const made = new Map<string, T>();
  return (name) => {
    let one = made.get(name);
    if (one === undefined) made.set(name, one = make(name));
    return one;
  };
}
