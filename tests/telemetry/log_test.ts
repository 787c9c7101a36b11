/** The log hook, and what is done when nobody looks. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Bus, type LogRecord, memory, ValidationError } from "../../mod.ts";
import { Codec } from "../../src/codec.ts";
import { stamp, unstamp } from "../../src/telemetry.ts";
import { until } from "../support/until.ts";

const TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

class Order {
  static readonly topic = "shop.Order";
  constructor(readonly id?: number) {}
}

class Empty {
  static readonly topic = "shop.Empty";
}

describe("the log hook", () => {
  it("gets a record of each thing that happens", async () => {
    const records: LogRecord[] = [];
    const bus = await Bus.open(memory(), { namespace: "logged", log: (record) => records.push(record) });
    bus.addEventListener("error", () => {});
    const failure = new Error("no");
    await bus.subscribe("topic", () => Promise.reject(failure)).ready;
    await bus.publish("x", "topic");
    await until("the failure is logged", () => records.some(({ event }) => event === "error"));
    await bus.queue("queue").put(1);
    await bus.queue("queue").get();
    await bus.expose("fn", () => {});
    await bus.stub("fn")();
    const report = await bus.close();
    const seen = records.map(({ level, event, name }) => `${level} ${event} ${name ?? ""}`.trim());
    assertEquals(seen.toSorted(), [
      "debug call fn",
      "debug publish topic",
      "debug put queue",
      "debug receive queue",
      "debug serve fn",
      "error error topic",
      "info close",
      "info open",
      "info state",
      "info state",
      "warn process topic",
    ]);
    const processed = records.find(({ event }) => event === "process")!;
    assert(processed.error === failure && processed.duration! >= 0 && processed.namespace === "logged");
    assert(Math.abs(processed.time - Date.now()) < 60_000);
    assertEquals(processed.traceId, undefined, "no tracer, no trace");
    assertEquals(records.at(-1)!.detail, report);
  });

  it("may throw: the bus goes on", async () => {
    const error = console.error;
    const said: unknown[][] = [];
    console.error = (...args: unknown[]) => void said.push(args);
    try {
      await using bus = await Bus.open(memory(), {
        log: () => {
          throw new Error("hook");
        },
      });
      await bus.queue("queue").put(1);
      assertEquals(await bus.queue("queue").get(), 1);
    } finally {
      console.error = error;
    }
    assert(said.length > 0 && said.every(([text]) => text === "tsmq: the log function threw:"));
  });

  it("is refused when it is no function", () => {
    assertThrows(() => memory({ capacity: "x" as never }), ValidationError);
    return Bus.open(memory(), { log: "x" as never }).then(
      () => assert(false),
      (error) => assert(error instanceof ValidationError),
    );
  });
});

describe("the envelope of a trace", () => {
  const codec = new Codec([Order, Empty]);
  const values: unknown[] = [
    ...[0, "", "text", '","__type":"x"}', null, true, [], ["__type"], {}, { a: { b: 1 } }, { "": '"}' }],
    ...[undefined, 7n, new Date(0), new Set([1]), new Map([[1, { a: 1 }]]), new Uint8Array([1])],
    ...[new Order(1), new Order(), new Empty(), [new Order(1), new Order(2)], { order: new Order(3) }],
    ...[{ __type: "x", __obj: 1 }, { __type: "shop.Order", id: 1 }, { __traceparent: TRACEPARENT, __obj: 5 }],
    { __traceparent: TRACEPARENT },
  ];

  it("gives back the body's value and its tag, whatever it is", () => {
    for (const value of values) {
      const body = codec.encode(value);
      assertEquals(unstamp(body), undefined, body);
      const stamped = stamp(body, TRACEPARENT);
      const opened = unstamp(stamped)!;
      assertEquals(opened.traceparent, TRACEPARENT, stamped);
      assertEquals(opened.body, body, stamped);
      JSON.parse(stamped);
    }
  });

  it("is none without a trace, and none when it is damaged", () => {
    assertEquals(stamp("1", undefined), "1");
    const stamped = stamp("1", TRACEPARENT);
    for (let end = 0; end < stamped.length - 3; end++) assertEquals(unstamp(stamped.slice(0, end)), undefined);
    assertEquals(unstamp(stamped.replace("4bf9", "4BF9")), undefined);
    assertEquals(unstamp(stamped.replace("__obj", "__other")), undefined);
  });
});
