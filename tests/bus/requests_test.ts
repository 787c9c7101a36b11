/** Requests from the wire: a server holds one until its answer has been sent, so all that it holds is limited. */
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { readRequest } from "../../src/rpc/wire.ts";

const CALL = { id: "id", inbox: "inbox", deadline: 1 };
const read = (part: object, channel = "") => readRequest(["fn", channel, [], {}, { ...CALL, ...part }]);

describe("readRequest()", () => {
  it("refuses an empty inbox, as which all callers of PyMQ count", () => {
    assertEquals(read({ inbox: "" }), undefined);
  });

  it("refuses an inbox, an id and an answer queue that are too long", () => {
    assertEquals(read({ inbox: "x".repeat(4_096) })?.call?.inbox.length, 4_096);
    assertEquals(read({ inbox: "x".repeat(4_097) }), undefined);
    assertEquals(read({ id: "x".repeat(65) }), undefined);
    assertEquals(read({}, "x".repeat(64))?.channel.length, 64);
    assertEquals(read({}, "x".repeat(65)), undefined);
    assertEquals(readRequest(["fn", "x".repeat(65), [], {}]), undefined);
  });

  it("refuses an id that is a number: V8 hashes it without a secret, so a server would remember many that collide", () => {
    for (const id of ["0", "100016384", "9".repeat(64)]) assertEquals(read({ id }), undefined);
    for (const id of ["", "1a", "-1", crypto.randomUUID()]) assertEquals(read({ id })?.call?.id, id);
  });

  it("ignores headers that are too long, as others that are not valid", () => {
    const headers = (length: number) => ({ a: "x".repeat(length), b: "y" });
    for (const write of [(value: object) => value, JSON.stringify]) {
      assertEquals(Object.keys(read({ headers: write(headers(16_381)) })!.call!.headers!), ["a", "b"]);
      assertEquals(read({ headers: write(headers(16_382)) })!.call!.headers, undefined);
    }
    assertEquals(read({ headers: `{"a":"${"x".repeat(1_000_000)}"}` })!.call!.headers, undefined);
    assertEquals(read({ traceparent: "x".repeat(1_000_000) })!.call!.headers, undefined);
    assertEquals(read({ traceparent: "trace" })!.call!.headers!.traceparent, "trace");
  });

  it("drops fields that it does not know", () => {
    const { call } = read({ unknown: "x".repeat(1_000_000), joins: true })!;
    assertEquals(JSON.parse(JSON.stringify(call)), { ...CALL, joins: true });
  });
});
