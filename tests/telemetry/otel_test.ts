/** A trace continues across processes and providers, recorded by OpenTelemetry's SDK. */
// run: on bun
import { type Span, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import type { ReadableSpan } from "@opentelemetry/sdk-trace-base";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { afterAll, afterEach, beforeAll, beforeEach, describe, it } from "@std/testing/bdd";
import { Bus, memory, RemoteInvocationError } from "../../mod.ts";
import { redis } from "../../src/providers/redis/provider.ts";
import { here, Peer } from "../support/peer.ts";
import { RedisServer } from "../support/redis_server.ts";
import { itNeeds } from "../support/skip.ts";
import { missing } from "../support/tools.ts";
import { until } from "../support/until.ts";
import { ended, measured, register, unregister } from "./sdk.ts";

class Paid {
  static readonly topic = "shop.Paid";
  constructor(readonly id: number) {}
}

/** Resolves with the spans of this name when `count` of them have ended. */
async function spansOf(name: string, count: number): Promise<ReadableSpan[]> {
  await until(`${count} spans "${name}" have ended`, () => ended(name).length >= count);
  assertEquals(ended(name).length, count, name);
  return ended(name);
}

/** Resolves with the only span of this name. */
async function span(name: string): Promise<ReadableSpan> {
  return (await spansOf(name, 1))[0]!;
}

/** The spans of a call: the client's and the server's. */
async function sides(fn: string): Promise<[called: ReadableSpan, served: ReadableSpan]> {
  const spans = (await spansOf(fn, 2)).toSorted((a, b) => b.kind - a.kind);
  assertEquals(spans.map(({ kind }) => kind), [SpanKind.CLIENT, SpanKind.SERVER]);
  return spans as [ReadableSpan, ReadableSpan];
}

function assertContinues(child: ReadableSpan, parent: ReadableSpan | Span): void {
  assertEquals(child.spanContext().traceId, parent.spanContext().traceId);
  assertEquals(child.parentSpanContext?.spanId, parent.spanContext().spanId);
}

/** Runs a function in a span of the program. */
async function inSpan(work: () => Promise<unknown>): Promise<Span> {
  return await trace.getTracer("program").startActiveSpan("program", async (span) => {
    await work();
    span.end();
    return span;
  });
}

describe("telemetry with OpenTelemetry's SDK", () => {
  let bus: Bus;
  let count = 0;
  const fresh = () => `name-${count++}`;
  beforeAll(register);
  afterAll(unregister);
  beforeEach(async () => bus = await Bus.open(memory(), { namespace: "seen", types: [Paid] }));
  afterEach(async () => void await bus.close());

  it("a publish and its handlers are one trace, for every kind of event", async () => {
    const events: unknown[] = [
      1,
      "text",
      null,
      undefined,
      [1, { a: 1 }],
      { a: [1] },
      {},
      new Map([[1, 2]]),
      7n,
      new Paid(1),
    ];
    for (const event of events) {
      const topic = fresh();
      const { promise, resolve } = Promise.withResolvers<unknown>();
      await bus.subscribe(topic, resolve).ready;
      const program = await inSpan(() => bus.publish(event, topic));
      assertEquals(await promise, event);
      const published = await span(`publish ${topic}`);
      assertContinues(published, program);
      assertEquals(published.kind, SpanKind.PRODUCER);
      const processed = await span(`process ${topic}`);
      assertContinues(processed, published);
      assertEquals(processed.kind, SpanKind.CONSUMER);
      assertEquals(processed.attributes, {
        "messaging.system": "tsmq",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": topic,
        "tsmq.provider": "memory",
        "tsmq.namespace": "seen",
      });
    }
  });

  it("spans, puts and calls of a handler belong to its trace", async () => {
    const [topic, queue, fn] = [fresh(), fresh(), fresh()];
    await bus.expose(fn, () => {});
    await bus.subscribe(topic, async () => {
      trace.getTracer("program").startSpan(`own ${topic}`).end();
      await bus.queue(queue).put(1);
      await bus.stub(fn)();
    }).ready;
    await bus.publish({}, topic);
    const processed = await span(`process ${topic}`);
    assertContinues(await span(`own ${topic}`), processed);
    assertContinues(await span(`put ${queue}`), processed);
    const [called, served] = await sides(fn);
    assertContinues(called, processed);
    assertContinues(served, called);
  });

  it("a consumer continues the trace of the put; a get and a receive link to it", async () => {
    const name = fresh();
    const queue = bus.queue<number>(name);
    for (const item of [1, 2, 3]) await queue.put(item);
    assertEquals(await queue.get(), 1);
    await (await queue.receive()).ack();
    await using _consumer = queue.consume(() => {});
    const puts = await spansOf(`put ${name}`, 3);
    const linked = ended(`receive ${name}`).map(({ links }) => links.map(({ context }) => context.spanId));
    assertEquals(linked, puts.slice(0, 2).map((put) => [put.spanContext().spanId]));
    assertContinues(await span(`process ${name}`), puts[2]!);
  });

  it("a failure is a span with an error type on both sides", async () => {
    const [topic, fn] = [fresh(), fresh()];
    bus.addEventListener("error", () => {});
    await bus.subscribe(topic, () => Promise.reject(new RangeError("no"))).ready;
    await bus.publish(1, topic);
    await bus.expose(fn, () => {
      throw new RangeError("no");
    });
    await assertRejects(() => bus.stub(fn)(), RemoteInvocationError);
    const processed = await span(`process ${topic}`);
    assertEquals(processed.status, { code: SpanStatusCode.ERROR, message: "no" });
    const types = [processed, ...await sides(fn)].map(({ attributes }) => attributes["error.type"]);
    assertEquals(types, ["RangeError", "remote_failed", "RangeError"]);
  });

  it("the metrics of a pattern's handler have the glob in place of the topic, and its span has both", async () => {
    const prefix = fresh();
    const glob = `${prefix}.*`;
    await bus.subscribe(glob, () => {}, { pattern: true }).ready;
    for (let i = 0; i < 3; i++) await bus.publish(i, `${prefix}.${i}`);
    const processed = await spansOf(`process ${glob}`, 3);
    assertEquals(
      processed.map(({ attributes }) => attributes["messaging.destination.name"]),
      [0, 1, 2].map((i) => `${prefix}.${i}`),
    );
    const template = { "messaging.destination.template": glob };
    for (const metric of ["messaging.client.consumed.messages", "messaging.process.duration"]) {
      assertEquals(await measured(metric, template), 3);
      assertEquals(await measured(metric, { "messaging.destination.name": `${prefix}.0` }), 0);
    }
  });

  it("counters and histograms count each operation", async () => {
    const [topic, queue, fn] = [fresh(), fresh(), fresh()];
    await bus.subscribe(topic, () => {}).ready;
    for (let i = 0; i < 3; i++) await bus.publish(i, topic);
    await until("all are handled", () => ended(`process ${topic}`).length === 3);
    await bus.queue(queue).put(1);
    await bus.queue(queue).get();
    await bus.expose(fn, () => {});
    await bus.stub(fn)();
    const at = (name: string, operation: string) => ({
      "messaging.destination.name": name,
      "messaging.operation.name": operation,
    });
    assertEquals(await measured("messaging.client.sent.messages", at(topic, "publish")), 3);
    assertEquals(await measured("messaging.client.operation.duration", at(topic, "publish")), 3);
    assertEquals(await measured("messaging.client.consumed.messages", at(topic, "process")), 3);
    assertEquals(await measured("messaging.process.duration", at(topic, "process")), 3);
    assertEquals(await measured("messaging.client.sent.messages", at(queue, "put")), 1);
    assertEquals(await measured("messaging.client.consumed.messages", at(queue, "receive")), 1);
    assertEquals(await measured("rpc.client.call.duration", { "rpc.method": fn }), 1);
    assertEquals(await measured("rpc.server.call.duration", { "rpc.method": fn }), 1);
  });

  itNeeds(missing("redis-server"))("a trace goes through another process, and on over another provider", async () => {
    await using server = await RedisServer.start();
    await using far = await Bus.open(redis({ url: server.url }));
    await using peer = Peer.start<{ ready?: true; traceId?: string }>(new URL("peer.ts", import.meta.url), {
      args: [server.url],
    });
    await peer.next();
    const program = await inSpan(async () => {
      await bus.expose("remember", (text: string) => text);
      const { promise, resolve } = Promise.withResolvers<string>();
      await far.subscribe(
        "back",
        async (text: string) => resolve(await bus.stub<(text: string) => string>("remember")(text)),
      ).ready;
      await far.publish({ from: here }, "there");
      assertEquals(await promise, `from ${here}`);
    });
    const { traceId } = program.spanContext();
    assertEquals((await peer.next()).traceId, traceId, "in the other process");
    const [, served] = await sides("remember");
    assertEquals(served.spanContext().traceId, traceId, "over the other provider");
    assert(ended("process back")[0]!.parentSpanContext!.isRemote);
  });
});
