// run: on bun
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Codec } from "../../src/codec/codec.ts";
import { Decodings } from "../../src/rpc/decodings.ts";
import { textOf } from "../../src/internal/thrown.ts";
import { schema } from "../support/schema.ts";

describe("Decodings", () => {
  it("validates a limited number of messages at once by asynchronous schemas, and drops others meanwhile", async () => {
    const gate = Promise.withResolvers<void>();
    let validating = 0;
    class Order {
      static readonly topic = "shop.Order";
      static readonly schema = schema(async (value) => {
        validating++;
        await gate.promise;
        return { value };
      });
    }
    const reports: string[] = [];
    let [read, ended, dropped] = [0, 0, 0];
    const decodings = new Decodings({
      codec: new Codec([Order]),
      report: (error, name) => reports.push(`${name}: ${textOf(error)}`),
      full: () => false,
      dropped: () => dropped++,
    });
    const decode = (body: string) => decodings.decode(body, "orders", () => ++read > 0, () => () => ended++);
    for (let i = 0; i < 10_100; i++) decode('{"__type":"shop.Order","id":1}');
    decode('"no schema"');
    assertEquals([validating, read, dropped], [10_000, 0, 0]);
    assertEquals(reports, [
      "orders: Cannot read more calls and answers: schemas are validating 10000 calls, and others are dropped until they have finished",
    ]);
    gate.resolve();
    await decodings.idle();
    assertEquals([read, ended], [10_000, 10_000]);
    decode('"no schema"');
    decode('"no schema"');
    assertEquals([read, dropped, reports.length], [10_002, 1, 1]);
  });

  it("counts the memory of these messages too", async () => {
    const gate = Promise.withResolvers<void>();
    class Order {
      static readonly topic = "shop.Order";
      static readonly schema = schema((value) => gate.promise.then(() => ({ value })));
    }
    let [read, dropped] = [0, 0];
    const decodings = new Decodings({
      codec: new Codec([Order]),
      report: () => {},
      full: () => false,
      dropped: () => dropped++,
    });
    const decode = (body: string) => decodings.decode(body, "orders", () => ++read > 0, () => undefined);
    const body = `{"__type":"shop.Order","text":"${"x".repeat(16 * 2 ** 20)}"}`;
    for (let i = 0; i < 20; i++) decode(body);
    assertEquals(decodings.running, 16);
    gate.resolve();
    await decodings.idle();
    decode('"no schema"');
    assertEquals([read, dropped], [17, 1]);
  });
});
