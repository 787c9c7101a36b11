/** Values that JSON lacks: what Python receives, and that tsmq reads them back unchanged. */
import { assertEquals } from "@std/assert";
import type { Bus } from "../../mod.ts";
import { difference } from "../support/same.ts";
import { until } from "../support/until.ts";
import type { Python, Shown } from "./harness.ts";

/** The TypeScript half of `shop/events.py`. */
export class OrderPlaced {
  static readonly topic = "shop.events.OrderPlaced";
  constructor(readonly id: string, readonly total: number, readonly tags: string[], readonly meta: object) {}
}
class Holder {
  static readonly topic = "shop.events.Holder";
  constructor(
    readonly name: string,
    readonly tags: Set<string>,
    readonly lines: unknown[] = [],
    readonly parts: object = {},
  ) {}
}
class When {
  static readonly topic = "shop.events.When";
  constructor(readonly at: Date) {}
}
class Whole {
  static readonly topic = "shop.events.Whole";
  constructor(readonly n: bigint) {}
}
class Bag {
  static readonly topic = "shop.events.Bag";
  constructor(readonly fields: object) {
    Object.assign(this, fields);
    delete (this as { fields?: object }).fields;
  }
}
/** A class that Python cannot import. */
class Plain {
  constructor(readonly a: number) {}
}

/** The classes of this file. */
export const classes = [Holder, When, Whole, Bag, Plain];

/** Returns a value as the Python service describes it. */
export function py(type: string, value: unknown): Shown {
  return { type, value };
}

const int = (n: number) => py("int", String(n));
const str = (text: string) => py("str", `'${text}'`);
const none = py("NoneType", "None");
const dict = (value: object) => py("dict", value);
const list = (...value: Shown[]) => py("list", value);
const object = (name: string, value: object) => py(`shop.events.${name}`, value);

const AT = new Date(Date.UTC(2026, 0, 2, 3, 4, 5));
const TEXT = "2026-01-02T03:04:05.000Z";
const order = () => new OrderPlaced("o-1", 2, ["x"], { k: 1 });
const shownOrder = object("OrderPlaced", {
  id: str("o-1"),
  total: py("float", "2.0"),
  tags: list(str("x")),
  meta: dict({ k: int(1) }),
});
const lines = [["soap", 2]];
const shownBag = { counts: none, pairs: none, data: none, value: str("absent") };

/** Values, and what Python receives for them as an item, with no type hints but those of its classes. */
const ITEMS: [unknown, Shown][] = [
  [
    new Holder("h", new Set(["t"]), lines, { a: order() }),
    object("Holder", {
      name: str("h"),
      tags: py("set", [str("t")]),
      lines: list(py("shop.events.Line", [str("soap"), int(2)])),
      parts: dict({ a: shownOrder }),
    }),
  ],
  [new When(AT), object("When", { at: str(TEXT) })],
  [[new When(AT), new When(AT)], list(object("When", { at: str(TEXT) }), object("When", { at: str(TEXT) }))],
  [new Whole(5n), object("Whole", { n: int(5) })],
  [
    new Bag({ counts: new Map([["b", 1], ["a", 2]]), pairs: new Map([[1, "x"]]), data: new Uint8Array([1, 2]) }),
    object("Bag", {
      ...shownBag,
      counts: dict({ b: int(1), a: int(2) }),
      pairs: list(py("tuple", [int(1), str("x")])),
      data: str("AQI="),
    }),
  ],
  [new Bag({ counts: { a: 1, b: undefined } }), object("Bag", { ...shownBag, counts: dict({ a: int(1) }) })],
  [new Bag({ value: undefined }), object("Bag", shownBag)],
  [{ at: AT }, dict({ at: str(TEXT) })],
  [{ m: new Map([["k", 1]]) }, dict({ m: dict({ k: int(1) }) })],
  [{ m: new Map([[1, "v"]]) }, dict({ m: list(list(int(1), str("v"))) })],
  [
    { deep: [{ s: new Set([1n]), at: [AT, null] }] },
    dict({ deep: list(dict({ s: list(int(1)), at: list(str(TEXT), none) })) }),
  ],
  [[undefined, 1], list(none, int(1))],
  [undefined, none],
  [{ a: 1, b: undefined }, dict({ a: int(1) })],
  [AT, str(TEXT)],
  [7n, int(7)],
  [new Set([1, 2]), py("set", [int(1), int(2)])],
  [new Set([[1]]), list(list(int(1)))],
  [new Map([["k", AT]]), dict({ k: str(TEXT) })],
  [new Map([["__type", "tuple"], ["__obj", "x"]]), dict({ __type: str("tuple"), __obj: str("x") })],
  [new Uint8Array([255]), str("/w==")],
  [[new Plain(1)], list(dict({ a: int(1) }))],
  [new Plain(1), dict({ a: int(1) })],
  [["__type", "a"], list(str("__type"), str("a"))],
  [[{ __type: "tuple", __obj: [1] }], list(dict({ __type: str("tuple"), __obj: list(int(1)) }))],
  [{ __tsmq: { a: "b" } }, dict({ __tsmq: dict({ a: str("b") }) })],
  [[-0, NaN], list(py("float", "-0.0"), py("float", "nan"))],
];

/** Type hints of a Python subscriber, the published value, and what the subscriber receives. */
const HINTED: [string, unknown, Shown][] = [
  ["Dict[str, int]", { a: 1, b: undefined }, dict({ a: int(1) })],
  ["Dict[str, int]", new Map([["2", 1n], ["1", 2n]]), dict({ 2: int(1), 1: int(2) })],
  ["Set[str]", new Set(["t"]), py("set", [str("t")])],
  ["List[str]", [AT], list(str(TEXT))],
  ["str", AT, str(TEXT)],
  ["int", 5n, int(5)],
  ["List[When]", [{ at: AT }], list(object("When", { at: str(TEXT) }))],
];

/** Cases of the suite. */
export const cases: Record<string, (bus: Bus, python: Python, open: () => Promise<Bus>) => Promise<void>> = {
  "a value that JSON cannot express is usable in Python as an item, and comes back unchanged": async (
    bus,
    python,
  ) => {
    const queue = bus.queue("values");
    for (const [value, shown] of ITEMS) {
      await queue.put(value);
      assertEquals(await python.do({ do: "get", queue: "values" }), shown);
      await queue.put(value);
      assertEquals(difference(await queue.get(), value), undefined);
    }
    await queue.free();
  },

  "as an event, to a Python subscriber with a type hint and to one of tsmq": async (bus, python) => {
    const got: unknown[] = [];
    await bus.subscribe("hinted*", (event) => got.push(event), { pattern: true }).ready;
    for (const [i, [hint, value, shown]] of HINTED.entries()) {
      await python.do({ do: "subscribe", channel: `hinted${i}`, hint });
      await bus.publish(value, `hinted${i}`);
      assertEquals(await python.event(), shown);
      await until("it comes to ours", () => got.length === i + 1);
      assertEquals(difference(got[i], value), undefined);
    }
  },

  "as arguments and results of a Python function": async (bus, python) => {
    for (const fn of ["tagged_with", "year", "total", "kind_of", "same", "when"]) await python.do({ do: "expose", fn });
    assertEquals(await bus.stub("tagged_with")(new Set(["a", "b"])), 2);
    assertEquals(await bus.stub("year")(AT), "2026");
    assertEquals(await bus.stub("total")({ a: 1, b: undefined }), 1);
    assertEquals(await bus.stub("total")(new Map([["a", 1n], ["b", 2n]])), 3);
    assertEquals(await bus.stub("kind_of")(undefined, 5n), ["NoneType", "int"]);
    assertEquals(await bus.stub("kind_of")([undefined], new Uint8Array([1])), ["list", "str"]);
    assertEquals(await bus.stub("same")({ at: AT, s: new Set([1]) }), { at: TEXT, s: [1] });
    // a Python class has a string there; a schema converts it to a Date
    assertEquals(await bus.stub<() => { at: unknown }>("when")().then(({ at }) => at), TEXT);
  },

  "as results of tsmq to a Python caller, and to one of tsmq": async (bus, python, open) => {
    const results: [unknown, Shown][] = [
      [AT, str(TEXT)],
      [new Map([["k", AT]]), dict({ k: str(TEXT) })],
      [new Map([[1, 2]]), list(list(int(1), int(2)))],
      [new Set([[1]]), list(list(int(1)))],
      [new Uint8Array([255]), str("/w==")],
      [{ s: new Set([1n]), u: undefined }, dict({ s: list(int(1)) })],
      [[undefined], list(none)],
      [new When(AT), object("When", { at: str(TEXT) })],
      [new Whole(5n), object("Whole", { n: int(5) })],
    ];
    await bus.expose("value", (i: number) => results[i]![0]);
    await bus.expose("echo", (...args: unknown[]) => args);
    const caller = await open();
    for (const [i, [value, shown]] of results.entries()) {
      assertEquals(await python.do({ do: "call", fn: "value", args: [String(i)] }), shown);
      assertEquals(difference(await caller.stub("value")(i), value), undefined);
      assertEquals(difference(await caller.stub("echo")(value, [value]), [value, [value]]), undefined);
    }
  },
};
