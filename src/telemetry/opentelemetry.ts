/**
 * Spans and metrics of operations, by OpenTelemetry.
 *
 * OpenTelemetry's API registers itself under a symbol of the global object, in every version and implementation, including Deno's own
 * (`OTEL_DENO=true`). So tsmq imports no package. It uses the API that the program sets up, even after the bus was opened.
 *
 * @module
 */
import { BusError } from "../errors.ts";
import { isA, nameOf, textOf } from "../internal/thrown.ts";

/** The global symbol under which `@opentelemetry/api` 1.x registers a program's SDK (its `internal/global-utils`). */
const API = Symbol.for("opentelemetry.js.api.1");
/** The symbol under which a context holds its span (`trace/context-utils` of `@opentelemetry/api` 1.x). */
const SPAN = Symbol.for("OpenTelemetry Context Key SPAN");
const SCOPE = "@tsmq/tsmq";
/** The boundaries of duration histograms in seconds: those of the semantic conventions, and smaller ones. */
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
export interface Api {
  readonly trace?: { getTracer(name: string): { startSpan(name: string, options: object, parent: Context): Span } };
  readonly context?: { active(): Context; with<T>(context: Context, work: () => T): T };
  readonly metrics?: { getMeter(name: string): Meter };
}

/** Returns the API of OpenTelemetry if the program has set it up. */
export function openTelemetry(): Api | undefined {
  return (globalThis as { [API]?: Api })[API];
}

type Attributes = Readonly<Record<string, string>>;

/** The observed operations of a bus. */
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

/** A span and metrics of one operation. */
export class Recording {
  #verb: Verb;
  #metrics: Api["metrics"];
  #attributes: Attributes;
  #context: Context;
  #contexts: Api["context"];
  #span: Span | undefined;

  /** Begins to record an operation of a bus. */
  constructor(
    { trace, context, metrics }: Api,
    { namespace, provider }: { readonly namespace: string; readonly provider: string },
    verb: Verb,
    name: string,
    traceparent: string | undefined,
    since: number | undefined,
    pattern: string | undefined,
  ) {
    const { kind, type } = VERBS[verb];
    this.#verb = verb;
    this.#metrics = metrics;
    this.#contexts = context;
    this.#attributes = type === "rpc" ? { "rpc.system": "tsmq", "rpc.method": name } : {
      "messaging.system": "tsmq",
      "messaging.operation.name": verb,
      "messaging.operation.type": type,
      // metrics have no topic that peers choose, because each new one would be a series of its own
      ...pattern === undefined ? { "messaging.destination.name": name } : { "messaging.destination.template": pattern },
    };
    const remote = traceparent === undefined ? undefined : parse(traceparent);
    // the parent of an incoming message is its sender's span, not the span that is active in this process
    const continues = verb === "process" || verb === "serve";
    const parent = !continues
      ? context?.active() ?? new Frame()
      : remote
      ? new Frame().setValue(SPAN, { spanContext: () => remote })
      : new Frame();
    this.#span = trace?.getTracer(SCOPE).startSpan(type === "rpc" ? name : `${verb} ${pattern ?? name}`, {
      kind,
      attributes: {
        ...this.#attributes,
        ...pattern !== undefined && { "messaging.destination.name": name },
        "tsmq.provider": provider,
        "tsmq.namespace": namespace,
      },
      ...!continues && remote && { links: [{ context: remote }] },
      ...since !== undefined && { startTime: new Date(Date.now() - (performance.now() - since)) },
    }, parent);
    this.#context = this.#span ? parent.setValue(SPAN, this.#span) : parent;
  }

  /** The ids of the trace and the span, if there is a span. */
  get ids(): { readonly traceId?: string; readonly spanId?: string } {
    const { traceId, spanId } = this.#span?.spanContext() ?? {};
    return traceId === undefined ? {} : { traceId, spanId };
  }

  /** W3C's `traceparent` of the span. Undefined if there is no span, or if the span is not recorded. */
  get traceparent(): string | undefined {
    const context = this.#span?.spanContext();
    if (!context || /^0*$/.test(context.traceId)) return undefined;
    return `00-${context.traceId}-${context.spanId}-0${context.traceFlags & 1}`;
  }

  /** Runs work with the span as the active one. */
  run<T>(work: () => T): T {
    return this.#contexts && this.#span ? this.#contexts.with(this.#context, work) : work();
  }

  /** Ends the span and measures the operation. `duration` is in milliseconds; an error says that it failed. */
  end(duration: number, error: unknown): void {
    let attributes = this.#attributes;
    if (error !== undefined) {
      const type = typeOf(error);
      attributes = { ...attributes, "error.type": type };
      this.#span?.setStatus({ code: 2, message: textOf(error) });
      this.#span?.setAttribute("error.type", type);
    }
    this.#span?.end();
    if (!this.#metrics) return;
    const { duration: histogram, counter } = VERBS[this.#verb];
    const instruments = instrumentsOf(this.#metrics);
    instruments.histogram(histogram).record(duration / 1_000, attributes);
    if (counter) instruments.counter(counter).add(1, attributes);
  }
}

/** Matches W3C's `traceparent`, the header that carries a trace. */
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

/** Returns the instruments of a meter provider, each created once. */
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
