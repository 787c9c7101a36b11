/** The log hook, and that nothing is measured without one. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Bus, type LogRecord, memory, ValidationError } from "../../mod.ts";
import { until } from "../support/until.ts";

describe("the log hook", () => {
  it("receives a record of each operation and event", async () => {
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

  it("may throw without stopping the bus", async () => {
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
    assert(said.length > 0 && said.every(([, text]) => text === "the log function threw:"));
  });

  it("is rejected if it is not a function", () => {
    assertThrows(() => memory({ capacity: "x" as never }), ValidationError);
    return Bus.open(memory(), { log: "x" as never }).then(
      () => assert(false),
      (error) => assert(error instanceof ValidationError),
    );
  });
});
