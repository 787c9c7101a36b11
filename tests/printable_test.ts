/** Nothing from the wire reaches a terminal as it came: the escaping printer, and the reports on the console. */
import { assert, assertEquals, assertFalse, assertMatch } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { format } from "node:util";
import { Bus, memory } from "../mod.ts";
import { Codec } from "../src/codec/codec.ts";
import { indented, printable, printableLines } from "../src/internal/printable.ts";
import { until } from "./support/until.ts";

/** Escape sequences (also by C1), the clipboard (OSC 52), a bell, a new line, marks of direction, a lone surrogate. */
const HOSTILE = "\x1b]52;c;ZXZpbA==\x07\x9b2J\r\ntsmq: all is well\x7f\u202e\u2066\u200f\u061c\u2028\ud800";
/** Lines that look like those of a stack, and like another report. */
const FORGED = 'f": no\n    at forged (file.ts:1:1)\n  }\n tsmq: on "payments": .*\n';

describe("printable", () => {
  it("escapes the characters that a terminal or a log would act on, and keeps all other text", () => {
    assertEquals(
      printable(HOSTILE),
      "\\u001b]52;c;ZXZpbA==\\u0007\\u009b2J\\u000d\\u000atsmq: all is well\\u007f\\u202e\\u2066\\u200f\\u061c\\u2028\\ud800",
    );
    for (const text of ["", "plain %s %o", "ä, 漢字, עברית", "👩‍👩‍👧 🇪🇺", "a\\u001b"]) assertEquals(printable(text), text);
  });

  it("keeps the value of JSON text", () => {
    for (const value of [HOSTILE.slice(0, -1), { [HOSTILE.slice(0, -1)]: ["\u2029\x85"] }]) {
      assertEquals(JSON.parse(printable(JSON.stringify(value))), value);
    }
  });

  it("keeps the lines of a stack, and no line of its own from a message", () => {
    const stack = "Error: no\n    at f (file.ts:1)\n  [cause]: Error: why\n}";
    assertEquals(printableLines(stack), stack);
    assertEquals(printableLines("Error: no\ntsmq: fine\n\nx"), "Error: no\\u000atsmq: fine\\u000a\\u000ax");
  });
});

describe("indented", () => {
  it("indents JSON, unless that would take many times its length", () => {
    assertEquals(indented('{"a":[1,{"b":null}]}'), '{\n  "a": [\n    1,\n    {\n      "b": null\n    }\n  ]\n}');
    const deep = `${"[".repeat(500)}${"1,".repeat(30_000)}1${"]".repeat(500)}`;
    assertEquals(indented(deep).length, deep.length);
    assertEquals(indented('{"a":['.repeat(10) + "]}".repeat(10)).split("\n").length, 39);
    assertEquals(indented('{"n":12345678901234567890,"z":-0.0}'), '{\n  "n": 12345678901234567890,\n  "z": -0.0\n}');
  });
});

/** An error whose class is registered, with these fields from the wire. */
class Failure extends Error {}
async function received(fields: object): Promise<unknown> {
  return (await new Codec([Failure]).decode(JSON.stringify({ ...fields, __type: "Failure" }))).value;
}

describe("a report on the console", () => {
  it("has a constant format string, and its text is escaped", async () => {
    const kept = console.error;
    const reports: unknown[][] = [];
    console.error = (...args: unknown[]) => void reports.push(args);
    try {
      await using bus = await Bus.open(memory());
      const caused = (causes: number): Error =>
        causes === 0 ? new Error(HOSTILE) : new Error("outer", { cause: caused(causes - 1) });
      const nested = (levels: number): unknown => levels === 0 ? new Error(HOSTILE) : { a: nested(levels - 1) };
      const thrown = [
        new Error(`%s ${HOSTILE}`),
        new Error("outer", { cause: new TypeError(HOSTILE) }),
        Object.assign(new Error("fields"), { body: HOSTILE, [HOSTILE]: 1 }),
        HOSTILE,
        // each runtime's console stops at another depth than `inspect`
        ...[1, 2, 3, 4, 5, 6, 7, 8].flatMap((depth) => [caused(depth), { data: nested(depth) }]),
        new AggregateError([new AggregateError([new Error(HOSTILE)], "inner")], "outer"),
        Object.assign(new Error("symbols"), { [Symbol(HOSTILE)]: Symbol(HOSTILE) }),
        { toString: () => HOSTILE, [Symbol.for("Deno.customInspect")]: () => HOSTILE },
        new DOMException(HOSTILE, "X"),
        [...Array(150).fill("x"), HOSTILE],
        new Error(FORGED),
        new Error(FORGED.repeat(1_000)),
        new TypeError(`outer ${FORGED}`, { cause: new AggregateError([new Error(FORGED)], FORGED) }),
        Object.assign(new Error("fields"), { body: FORGED, [FORGED]: 1, name: FORGED }),
        { data: [{ error: new DOMException(FORGED, "X") }] },
        new Map<unknown, unknown>([[1, new Error(FORGED)], [new TypeError(FORGED), 1]]),
        new Set([new Map([[1, new Error(FORGED)]])]),
        [await received({ message: "m", stack: `Failure: m${FORGED}` })],
        await received({ message: FORGED, name: FORGED, stack: FORGED }),
      ];
      const topic = `%s%o${HOSTILE.replaceAll("\ud800", "")}`;
      await bus.subscribe<number>(topic, (index) => {
        throw thrown[index];
      }).ready;
      for (const index of thrown.keys()) await bus.publish(index, topic);
      await until("all are reported", () => reports.length === thrown.length);
    } finally {
      console.error = kept;
    }
    for (const report of reports) {
      assertEquals(report[0], "tsmq: %s %s");
      assert(report.every((part) => typeof part === "string"), "the console formats no value itself");
      const text = format(...report);
      assertEquals(text, printableLines(text));
      assertMatch(text, /^tsmq: on "%s%o\\u001b/);
      assertFalse(/\n *(tsmq:|at forged)/.test(text), text);
    }
  });
});
