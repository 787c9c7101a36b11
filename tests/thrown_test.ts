import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { RemoteInvocationError } from "../mod.ts";
import { nameOf, textOf } from "../src/internal/thrown.ts";

class OutOfStock extends Error {}
class Wrong extends TypeError {}
class Named extends Error {
  override get name(): string {
    return "shop.Named";
  }
}
class Heir extends Named {}

describe("what a thrown value says", () => {
  it("is the name of its class, unless it has a name of its own", () => {
    const named = Object.assign(new OutOfStock(), { name: "explicit" });
    const names: [unknown, string][] = [
      [new Error(), "Error"],
      [new TypeError(), "TypeError"],
      [new OutOfStock(), "OutOfStock"],
      [new Wrong(), "Wrong"],
      [new Named(), "shop.Named"],
      [new Heir(), "shop.Named"],
      [named, "explicit"],
      [new DOMException("", "AbortError"), "AbortError"],
      [Object.assign(new Error(), { name: 7 }), "Error"],
      [new (class extends RangeError {})(), "RangeError"],
      ["text", "Error"],
    ];
    for (const [thrown, name] of names) assertEquals(nameOf(thrown), name);
  });

  it("is its message, or the value as a text", () => {
    const texts: [unknown, string][] = [
      [new Error("message"), "message"],
      [Object.assign(new Error(), { message: { code: 7 } }), '{"code":7}'],
      ["text", "text"],
      [undefined, "undefined"],
      [{ code: 7, big: 1n }, '{"code":7,"big":"1"}'],
      [[{ a: 1 }, "b"], '[{"a":1},"b"]'],
      [new URL("http://host/"), "http://host/"],
      [Symbol("s"), "Symbol(s)"],
      [function name() {}, "function name"],
    ];
    for (const [thrown, text] of texts) assertEquals(textOf(thrown), text);
    assertEquals(textOf(["x".repeat(5_000)]).length, 1_001);
  });

  it("is readable in the message of a RemoteInvocationError", () => {
    const { message } = new RemoteInvocationError("fn", "shop.Full", [{ code: 7 }, "text", [1, null]]);
    assertEquals(message, 'Cannot call "fn": shop.Full({"code":7}, text, [1,null])');
    assertEquals(
      new RemoteInvocationError("fn", "E", [{ toString: 1 }]).message,
      'Cannot call "fn": E({"toString":1})',
    );
  });
});
