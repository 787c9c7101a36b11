/** Deno's built-in telemetry (`OTEL_DENO=true`), without packages or code. A collector on loopback receives the trace. */
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Buffer } from "node:buffer";
import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { Peer } from "../support/peer.ts";
import { until } from "../support/until.ts";

interface Span {
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of request) chunks.push(chunk as Uint8Array);
  return Buffer.concat(chunks).toString();
}

describe("telemetry built into Deno", () => {
  it("a program that only sets OTEL_DENO sends its trace and metrics to a collector", async () => {
    const spans: Span[] = [];
    const metrics = new Set<string>();
    const collector = createServer(async (request, response) => {
      const sent = JSON.parse(await bodyOf(request));
      for (const resource of sent.resourceSpans ?? []) {
        for (const scope of resource.scopeSpans) spans.push(...scope.spans);
      }
      for (const resource of sent.resourceMetrics ?? []) {
        for (const scope of resource.scopeMetrics) for (const { name } of scope.metrics) metrics.add(name);
      }
      response.writeHead(200, { "content-type": "application/json" }).end("{}");
    }).listen(0, "127.0.0.1");
    await once(collector, "listening");
    try {
      await using peer = Peer.start<string>(new URL("deno_main.ts", import.meta.url), {
        runtime: "deno",
        env: {
          OTEL_DENO: "true",
          OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${(collector.address() as AddressInfo).port}`,
          OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
          OTEL_METRIC_EXPORT_INTERVAL: "100",
          OTEL_BSP_SCHEDULE_DELAY: "100",
        },
      });
      assertEquals(await peer.next(), "done");
      const one = (name: string) => spans.find((span) => span.name === name);
      const names = ["publish topic", "process topic", "own", "put queue", "process queue"];
      await until("all spans have arrived", () => names.every(one));
      for (const [i, name] of names.slice(1).entries()) {
        assertEquals(one(name)!.traceId, one(names[i]!)!.traceId, name);
      }
      assertEquals(one("process topic")!.parentSpanId, one("publish topic")!.spanId);
      assertEquals(one("own")!.parentSpanId, one("process topic")!.spanId);
      assertEquals(one("put queue")!.parentSpanId, one("process topic")!.spanId);
      assertEquals(one("process queue")!.parentSpanId, one("put queue")!.spanId);
      await until("metrics have arrived", () => metrics.has("messaging.process.duration"));
    } finally {
      collector.closeAllConnections();
      collector.close();
    }
  });
});
