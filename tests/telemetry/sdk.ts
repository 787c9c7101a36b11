/** OpenTelemetry's SDK, with exporters that keep spans and metrics in memory. */
import { context, metrics, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
  type ResourceMetrics,
} from "@opentelemetry/sdk-metrics";
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from "@opentelemetry/sdk-trace-base";

const spans = new InMemorySpanExporter();
const points = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
const reader = new PeriodicExportingMetricReader({ exporter: points, exportIntervalMillis: 3_600_000 });

/** Registers the SDK with the API of this process. */
export function register(): void {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] }));
  metrics.setGlobalMeterProvider(new MeterProvider({ readers: [reader] }));
}

/** Unregisters the SDK. */
export async function unregister(): Promise<void> {
  context.disable();
  trace.disable();
  metrics.disable();
  await reader.shutdown();
}

/** Returns the ended spans of this name. */
export function ended(name: string): ReadableSpan[] {
  return spans.getFinishedSpans().filter((span) => span.name === name);
}

/** Returns all ended spans and all metrics. */
export async function recorded(): Promise<{ spans: ReadableSpan[]; metrics: ResourceMetrics[] }> {
  points.reset();
  await reader.forceFlush();
  return { spans: spans.getFinishedSpans(), metrics: points.getMetrics() };
}

/** Returns the sum of a counter, or the number of values of a histogram, over the points with these attributes. */
export async function measured(metric: string, attributes: Record<string, string>): Promise<number> {
  const found = (await recorded()).metrics.flatMap(({ scopeMetrics }) => scopeMetrics)
    .flatMap(({ metrics }) => metrics).filter(({ descriptor }) => descriptor.name === metric)
    .flatMap(({ dataPoints }) => dataPoints as { attributes: Record<string, unknown>; value: unknown }[])
    .filter((point) => Object.entries(attributes).every(([key, value]) => point.attributes[key] === value));
  return found.reduce(
    (sum, { value }) => sum + (typeof value === "number" ? value : (value as { count: number }).count),
    0,
  );
}
