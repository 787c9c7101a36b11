import { assert, assertEquals, assertFalse, assertInstanceOf, assertStringIncludes, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import * as v from "valibot";
import { Codec, type Decoded, type EventClass } from "../src/codec/codec.ts";
import { readMarks, writeMarks } from "../src/codec/marks.ts";
import { ValidationError } from "../src/errors.ts";
import { difference } from "./support/same.ts";

class Item {
  static topic = "shop.Item";
  constructor(readonly name: string, readonly price: number = 1) {}
  get label(): string {
    return `${this.name} (${this.price})`;
  }
}

class Gift extends Item {
  static override topic = "shop.Gift";
  ribbon = true;
}

class Order {
  static topic = "shop.Order";
  at: Date = new Date(86_400_000);
  items: Item[];
  constructor(items: Item[]) {
    this.items = items;
  }
}

class Unregistered {
  a = 1;
}

const codec = new Codec([Item, Gift, Order]);

function decode(body: string, by = codec): Decoded {
  const decoded = by.decode(body);
  if (decoded instanceof Promise) throw new Error("a promise, though no schema is asynchronous");
  return decoded;
}

/** Returns the JSON of a body and its marks as text. */
function shown(body: string): [json: string, marks?: string] {
  const mark = readMarks(body);
  return mark === undefined ? [body] : [body.trimEnd(), JSON.stringify(mark)];
}

/** Encodes and decodes a value, alone and nested. */
function comesBack(value: unknown, by = codec): unknown {
  const { json, mark } = by.write(value);
  const nested = decode(`{"x":[${json}]}${writeMarks(mark && `{"x":[${mark}]}`)}`, by).value as { x: unknown[] };
  assertEquals(difference(nested.x[0], decode(by.encode(value), by).value), undefined);
  return nested.x[0];
}

/** Also as one line with tags. */
function assertInLine(value: unknown, by = codec): void {
  const line = by.line(value);
  assertFalse(/[\r\n]/.test(line), line);
  JSON.parse(line);
  assertEquals(difference(decode(line, by).value, value), undefined, line);
}

function assertSame(actual: unknown, expected: unknown): void {
  assertEquals(difference(actual, expected), undefined);
}

function assertComesBack(...values: unknown[]): void {
  for (const value of values) {
    assertSame(comesBack(value), value);
    assertInLine(value);
  }
}

function refusal(fn: () => unknown): ValidationError {
  return assertThrows(fn, ValidationError);
}

describe("codec: plain JSON", () => {
  it("encode() writes as JSON.stringify does", () => {
    for (const value of [true, "a", 1.5, [], {}, [1, [null, "ü☃𝄞"]], { a: { b: [{ c: null }] }, "d e": '\n"' }]) {
      assertEquals(codec.encode(value), JSON.stringify(value));
      assertComesBack(value);
    }
  });

  it("encode() tags a bare null only, as PyMQ does", () => {
    assertEquals(codec.encode(null), '{"__obj":null,"__type":"NoneType"}');
    assertEquals(codec.encode([null]), "[null]");
    assertEquals(codec.write(null), { json: "null" });
    assertComesBack(null);
  });

  it("decode() returns the tag of the whole body only", () => {
    assertEquals(decode('{"a":{"__type":"x"}}'), { value: { a: {} } });
    assertEquals(decode('{"a":1,"__type":"x.Y"}'), { value: { a: 1 }, type: "x.Y" });
    assertEquals(decode("7"), { value: 7 });
  });

  it("lone surrogates are kept as escapes, also in keys", () => {
    const value = { "\ud800": "a\udc00b", ok: "\ud834\udd1e" };
    assert(codec.encode(value).isWellFormed());
    assert(codec.encode({ ...value, d: new Date(0), "\udc01": undefined }).isWellFormed());
    assertComesBack(value, { "\udc01": undefined }, new Map([["\ud800", 1]]));
  });

  it("null-prototype objects are decoded to plain objects", () => {
    assertComesBack(Object.assign(Object.create(null), { a: 1 }), Object.assign(Object.create(null), { __type: "x" }));
  });

  it("constructor, prototype and the names of Object's methods are data", () => {
    assertComesBack(
      { constructor: 1, prototype: 2, toString: "x", hasOwnProperty: null },
      { constructor: new Date(0), valueOf: undefined },
    );
    const item = comesBack(Object.assign(new Item("a"), { constructor: "mine", toString: 5n }));
    assertInstanceOf(item, Item);
    assertSame(item, Object.assign(new Item("a"), { constructor: "mine", toString: 5n }));
  });
});

describe("codec: values that JSON does not have", () => {
  it("undefined is left out of an object and is null elsewhere, with a mark", () => {
    assertEquals(shown(codec.encode({ a: 1, b: undefined })), ['{"a":1}', '{"b":"U"}']);
    assertEquals(shown(codec.encode([undefined])), ["[null]", '["U"]']);
    assertEquals(codec.encode(undefined), '{"__obj":null,"__type":"tsmq:undefined"}');
    assertComesBack(undefined, { b: undefined }, [undefined, { a: { b: undefined } }], new Set([undefined]));
    assertComesBack(new Map<unknown, unknown>([[undefined, { a: undefined }]]));
    assertSame(comesBack(Object.assign(new Item("a"), { ribbon: undefined })), {
      __proto__: Item.prototype,
      name: "a",
      price: 1,
      ribbon: undefined,
    });
    // a hole in an array reads as undefined
    // deno-lint-ignore no-sparse-arrays
    assertSame(comesBack([1, , 2]), [1, undefined, 2]);
  });

  it("dates are decoded unchanged, also invalid ones and those before the year 0", () => {
    assertEquals(codec.encode(new Date(0)), '{"__obj":"1970-01-01T00:00:00.000Z","__type":"tsmq:Date"}');
    assertEquals(shown(codec.encode({ at: new Date(0) })), ['{"at":"1970-01-01T00:00:00.000Z"}', '{"at":"D"}']);
    assertComesBack(new Date(1), new Date(NaN), new Date(-8.64e15), new Date(8.64e15), [new Date(5)], {
      d: new Date(6),
    });
  });

  it("maps and sets keep their order, with any key", () => {
    assertComesBack(
      new Map<unknown, unknown>([["a", 1], [1, new Map([[{ k: 1 }, [new Set()]]])], [NaN, undefined], [
        "__proto__",
        2,
      ]]),
      new Set<unknown>(["b", "a", 1, null, NaN, 2n ** 60n]),
      new Map(),
      new Set(),
    );
    assertEquals(codec.encode(new Set([2, 1])), '{"__obj":[2,1],"__type":"set"}');
    assertEquals(shown(codec.encode({ s: new Set([2, 1]) })), ['{"s":[2,1]}', '{"s":"S"}']);
  });

  it("a map with string keys is an object and keeps its order; any other map is a list of pairs", () => {
    assertEquals(shown(codec.encode(new Map([["a", 1n]]))), ['{"a":1}', '["M",["N"]]']);
    assertEquals(shown(codec.encode({ m: new Map([["b", 1], ["2", 2], ["1", 3]]) })), [
      '{"m":{"b":1,"2":2,"1":3}}',
      '{"m":["M",{},["b","2","1"]]}',
    ]);
    assertEquals(shown(codec.encode(new Map([[1, "a"]]))), ['[[1,"a"]]', '"M"']);
    const tagLike = new Map<string, unknown>([["__type", "tuple"], ["__obj", new Date(0)]]);
    assertEquals(shown(codec.encode(tagLike))[0], `{"__obj":${codec.write(tagLike).json},"__type":"dict"}`);
    assertComesBack(
      tagLike,
      new Map([["2", 1], ["1", 2]]),
      new Map([["1", 1], ["2", 2]]),
      new Map([["constructor", 1], ["toString", 2], ["", 3]]),
      new Map([["__proto__", new Map([["1", undefined], ["0", new Date(1)]])]]),
      [new Map([["length", new Map()]])],
    );
  });

  it("a mark that all elements of a list have is written once", () => {
    const rows = [1, 2, 3].map((id) => ({ id, at: new Date(id), tags: new Set([`${id}`]) }));
    assertEquals(shown(codec.encode({ rows }))[1], '{"rows":[{"at":"D","tags":"S"}]}');
    assertEquals(shown(codec.encode([1, new Date(0), 2]))[1], '{"1":"D"}');
    assertEquals(shown(codec.encode([[new Date(0)], [1n, 2n], [1]]))[1], '{"0":["D"],"1":["N"]}');
    assertEquals(shown(codec.encode([new Set([1n]), new Set([2n])]))[1], '[["S",["N"]]]');
    assertComesBack({ rows }, rows, [rows, rows], [1, new Date(0), 2], [[new Date(0)], [1n, 2n], [1]]);
  });

  it("a set whose elements Python cannot hash has no set tag", () => {
    assertEquals(shown(codec.encode(new Set([[1]]))), ["[[1]]", '"S"']);
    assertComesBack(new Set([[1], { a: 1 }, new Date(0), 5n, undefined]));
  });

  it("bigints are bare integers, with a mark where they would be read as numbers", () => {
    assertEquals(codec.encode(2n ** 60n), "1152921504606846976");
    assertEquals(shown(codec.encode(5n)), ["5", '"N"']);
    for (const edge of [2n ** 53n, 2n ** 53n - 1n, 10n ** 40n, 0n, 10n ** 4298n]) {
      assertComesBack(edge, -edge, [edge], { e: -edge });
    }
    assertComesBack([2n ** 53n - 1n, 2 ** 53 - 1, 2n ** 53n, 2 ** 53]);
  });

  it("numbers are decoded unchanged", () => {
    const numbers = [NaN, Infinity, -0, 0, 1e20, 2 ** 53, 2 ** 53 - 1, 1e21, 1.7976931348623157e308, 5e-324, 0.1, 1e16];
    for (const number of numbers) assertComesBack(number, -number, [number], { n: -number });
    assertEquals(codec.encode(numbers.slice(0, 6)), "[NaN,Infinity,-0.0,0,1e+20,9.007199254740992e+15]");
  });

  it("bytes are base64, and are decoded to a Uint8Array", () => {
    assertEquals(codec.encode(new Uint8Array([1, 2, 255])), '{"__obj":"AQL/","__type":"tsmq:bytes"}');
    const all = Uint8Array.from({ length: 256 }, (_, i) => i);
    assertComesBack(new Uint8Array(), all, { a: [all.subarray(7, 9)] });
  });
});

describe("codec: bodies from Python", () => {
  it("decode() takes linear time for NaN beside long runs of zeros", () => {
    const took = (length: number) => {
      const text = `[NaN,"0e${"0".repeat(length / 2)}","${"0".repeat(length / 2)}"]`;
      return Math.min(...[1, 2, 3].map(() => {
        const start = performance.now();
        decode(text);
        return performance.now() - start;
      }));
    };
    const [small, large] = [took(25_000), took(400_000)];
    assert(large < 250 || large <= 64 * small, `${small} ms, and ${large} ms for 16 times the size`);
    assertSame(decode('[0e0,0e1,0e02,NaN,0e3,"0e2"]').value, [0, 0, 0, NaN, 0, "0e2"]);
  });

  it("decode() reads bare NaN and infinities, but not in strings", () => {
    assertSame(decode('{"a": NaN, "b": [-Infinity,Infinity ], "NaN": "NaN, \\"Infinity\\\\"}').value, {
      a: NaN,
      b: [-Infinity, Infinity],
      NaN: 'NaN, "Infinity\\',
    });
    assertSame(decode('[0e0,0e00,NaN,0e0000,"0e0"]').value, [0, 0, NaN, 0, "0e0"]);
    for (
      const body of [
        "-NaN",
        "1NaN",
        "NaN1",
        "+Infinity",
        "[NaN Infinity]",
        '"a"NaN',
        "{NaN:1}",
        "nan",
        'NaN"',
        "--Infinity",
      ]
    ) {
      assertEquals(refusal(() => codec.decode(body)).body, body);
    }
  });

  it("decode() reads integers beyond 2^53 as bigints, other numbers as numbers", () => {
    assertSame(
      decode(
        `[1152921504606846976,-9007199254740992, 9007199254740991,9007199254740992.0,1e300,0.12345678901234567890,NaN]`,
      ).value,
      [2n ** 60n, -(2n ** 53n), 9007199254740991, 9007199254740992, 1e300, 0.1234567890123456789, NaN],
    );
    assertSame(decode("9007199254740993").value, 9007199254740993n);
    assertSame(decode('{"a":"12345678901234567890","12345678901234567890":1}').value, {
      a: "12345678901234567890",
      "12345678901234567890": 1,
    });
  });

  it("decode() reads numbers that JSON.parse does not in every place of a value, and in no other place", () => {
    const long = "-12345678901234567890";
    for (const [text, number] of [[long, BigInt(long)], ["NaN", NaN], ["-Infinity", -Infinity]] as const) {
      assertSame(decode(`\t${text}\n`).value, number);
      assertSame(decode(`[${text},${text} , ${text}\n,"${text}"]`).value, [number, number, number, text]);
      assertSame(decode(`{"a":${text},"b" : ${text} ,"a":[{"c":${text}}]}`).value, { a: [{ c: number }], b: number });
      for (const body of [`{${text}:1}`, `{ ${text} :1}`, `{"a":1, ${text}\n: 2}`, `{ ${text}"a":1}`, `[${text}"a"]`]) {
        refusal(() => codec.decode(body));
      }
    }
    const digits = "1".repeat(4_300);
    assertSame(decode(`[${digits}]`).value, [BigInt(digits)]);
    refusal(() => codec.decode(`[${digits}1]`));
    assertStringIncludes(refusal(() => codec.decode(`[${digits}`)).message, "JSON"); // the error of the body itself
  });

  it("decode() calls no function for each value of a body with such a number", () => {
    const { parse } = JSON;
    let revivers = 0;
    JSON.parse = (...args: Parameters<typeof parse>) => {
      if (args[1] !== undefined) revivers++;
      return parse(...args);
    };
    try {
      decode("[12345678901234567890,0,NaN]");
    } finally {
      JSON.parse = parse;
    }
    assertEquals(revivers, 0); // on Deno it would take 30 times as long
  });

  it("decode() reads PyMQ's tags: tuple, set, NoneType, __list", () => {
    assertEquals(decode('{"__obj": ["a", 1], "__type": "tuple"}'), { value: ["a", 1], type: "tuple" });
    assertEquals(decode('{"__obj": [1, 2], "__type": "set"}'), { value: new Set([1, 2]), type: "set" });
    assertEquals(decode('{"__obj": null, "__type": "NoneType"}'), { value: null, type: "NoneType" });
    assertEquals(decode('{"__list": [null, 1], "__type": "NoneType"}').value, [null, 1]);
    assertEquals(decode('{"__list": [[1], [2]], "__type": "set"}').value, [new Set([1]), new Set([2])]);
    assertEquals(decode('{"__list": [[1], [2]], "__type": "tuple"}').value, [[1], [2]]);
    assertEquals(decode('{"__list": [[1], {"__obj": [2], "__type": "tuple"}], "__type": "set"}').value, [new Set([1]), [
      2,
    ]]);
    const { value, type } = decode('{"__list": [{"name": "a", "price": 2}], "__type": "shop.Item"}');
    assertSame(value, [new Item("a", 2)]);
    assertEquals(type, "shop.Item");
  });

  it("decode() returns plain data without the tag for an unregistered class", () => {
    assertEquals(decode('{"a": 1, "__type": "os.Nothing"}'), { value: { a: 1 }, type: "os.Nothing" });
    assertEquals(decode('{"__obj": ["p", 1], "__type": "m.Pair"}'), { value: ["p", 1], type: "m.Pair" });
    assertEquals(decode('{"__list": [["p", 1]], "__type": "m.Pair"}'), { value: [["p", 1]], type: "m.Pair" });
  });
});

describe("codec: classes", () => {
  it("instances are revived with their own class, nested ones too", () => {
    const order = new Order([new Item("a"), new Gift("b", 2)]);
    assertEquals(
      shown(codec.encode(order)),
      [
        '{"at":"1970-01-02T00:00:00.000Z",' +
        '"items":[{"name":"a","price":1,"__type":"shop.Item"},{"name":"b","price":2,"ribbon":true,"__type":"shop.Gift"}],' +
        '"__type":"shop.Order"}',
        '{"at":"D"}',
      ],
    );
    assertComesBack(order, new Map([[new Item("k"), new Set([order])]]), { deep: [[order]] });
    assertEquals((comesBack(new Gift("b", 2)) as Gift).label, "b (2)");
  });

  it("a body that is a list of instances of one class has PyMQ's form; a list of several classes does not", () => {
    assertEquals(
      codec.encode([new Item("a"), new Item("b")]),
      '{"__list":[{"name":"a","price":1},{"name":"b","price":1}],"__type":"shop.Item"}',
    );
    assertStringIncludes(codec.encode([new Item("a"), new Gift("b")]), '[{"name":"a","price":1,"__type":"shop.Item"},');
    const placed = shown(codec.encode([new Order([]), new Order([new Item("a")])]));
    assertEquals(placed[1], '{"__list":[{"at":"D"}]}');
    assertStringIncludes(placed[0], '{"__list":[{"at":"1970-01-02T00:00:00.000Z","items":[]},');
    assertComesBack(
      [new Item("a"), new Item("b")],
      [new Item("a"), null],
      [new Item("a"), new Gift("b")],
      [new Order([]), new Order([new Gift("x")])],
      [Object.assign(new Item("a"), { b: undefined }), new Item("c")],
      [Object.assign(new Item("a"), { __type: 1 })],
    );
  });

  it("a list of instances is a list of dictionaries in Python if the class has no dot in its name", () => {
    class Plain {
      when: Date | undefined = new Date(0);
      constructor(readonly a: number) {}
    }
    const plain = new Codec([Plain]);
    const list = [new Plain(1), Object.assign(new Plain(2), { when: undefined })];
    assertEquals(shown(plain.encode(list)), [
      '[{"a":1,"when":"1970-01-01T00:00:00.000Z"},{"a":2}]',
      '{"0":["@Plain",{"when":"D"}],"1":["@Plain",{"when":"U"}]}',
    ]);
    assertEquals(shown(plain.encode([new Plain(1), new Plain(2)]))[1], '[["@Plain",{"when":"D"}]]');
    const same = comesBack([new Plain(1)], plain) as Plain[];
    assertInstanceOf(same[0], Plain);
    assertComesBack([{ a: 1 }]);
    assertSame(decode(plain.encode([new Plain(1)]), new Codec()).value, [{ when: new Date(0), a: 1 }]);
    assertEquals(plain.encode(new Plain(1)).includes('"__type":"Plain"'), true);
  });

  it("decode() runs no constructor and no setter", () => {
    let ran = 0;
    class Strict {
      static topic = "t.Strict";
      constructor() {
        ran++;
      }
      set value(_: unknown) {
        ran++;
      }
    }
    const { value } = decode('{"value":1,"other":2,"__type":"t.Strict"}', new Codec([Strict]));
    assertInstanceOf(value, Strict);
    assertEquals([ran, Object.getOwnPropertyDescriptor(value, "value")?.value], [0, 1]);
  });

  it("a field hides a getter of its class, as on the sender, unless the schema of the class drops it", () => {
    class Loose {
      static topic = "t.Loose";
      role = "";
      get admin(): unknown {
        return this.role === "admin";
      }
    }
    class Checked extends Loose {
      static override topic = "t.Checked";
      static schema = v.object({ role: v.string() });
    }
    class Sent extends Loose {
      static override topic = "t.Sent";
      constructor() {
        super();
        Object.defineProperty(this, "admin", { value: "own", enumerable: true });
      }
    }
    const types = new Codec([Loose, Checked, Sent]);
    const admin = (tag: string) =>
      (decode(`{"role":"user","admin":true,"__type":"${tag}"}`, types).value as Loose).admin;
    assertEquals([admin("t.Loose"), admin("t.Checked")], [true, false]);
    assertEquals((comesBack(new Sent(), types) as Sent).admin, "own");
  });

  it("an instance of an unregistered class has its name as tag and arrives as a plain object", () => {
    assertEquals(codec.encode(new Unregistered()), '{"a":1,"__type":"Unregistered"}');
    assertEquals(decode(codec.encode(new Unregistered())), { value: { a: 1 }, type: "Unregistered" });
  });

  it("encode() does not call toJSON of an instance, and writes its fields", () => {
    class Money {
      static topic = "m.Money";
      constructor(readonly cents: number) {}
      toJSON(): string {
        return "lost";
      }
    }
    const money = new Codec([Money]);
    assertSame(comesBack(new Money(5), money), new Money(5));
    assertSame(comesBack([{ m: new Money(5) }], money), [{ m: new Money(5) }]);
  });

  it("nameOf() prefers an own topic, and refuses reserved names", () => {
    class Inherits extends Item {}
    class NotAString {
      static topic(): void {}
    }
    assertEquals([Codec.nameOf(Item), Codec.nameOf(Inherits)], ["shop.Item", "Inherits"]);
    assertEquals(Codec.nameOf(NotAString as unknown as EventClass), "NotAString");
    const named = (topic: string) => Object.assign(class {}, { topic });
    for (const topic of ["", "tuple", "set", "NoneType", "dict", "tsmq:Date"]) {
      refusal(() => Codec.nameOf(named(topic)));
    }
    refusal(() => Codec.nameOf((() => class {})()));
    refusal(() => codec.encode({ a: new (named("set"))() }));
  });

  it("register() is idempotent and refuses a second class with the same name", () => {
    const own = new Codec([Item, Item]);
    own.register(Item);
    const Other = {
      Item: class Item {
        static topic = "shop.Item";
      },
    }.Item;
    refusal(() => own.register(Other));
    refusal(() => own.encode(new Other()));
    const late = new Codec();
    assertEquals(late.tagOf(new Other()), "shop.Item");
    late.register(Item);
    refusal(() => late.encode(new Other()));
  });

  it("tagOf() returns the tag of instances only", () => {
    assertEquals([codec.tagOf(new Gift("a")), codec.tagOf(new Unregistered())], ["shop.Gift", "Unregistered"]);
    for (const value of [null, 1, {}, [], new Date(), new Map(), new Set(), new Uint8Array(), new Error(), () => {}]) {
      assertEquals(codec.tagOf(value), undefined);
    }
  });

  it("pythonType() and write() fit what Python loads as a result", () => {
    const cases: [unknown, string, string][] = [
      [1, "int", "1"],
      [1.5, "float", "1.5"],
      [-0, "float", "-0.0"],
      [1e20, "float", "1e+20"],
      [2n ** 60n, "int", "1152921504606846976"],
      [5n, "int", "5"],
      ["a", "str", '"a"'],
      [true, "bool", "true"],
      [null, "NoneType", "null"],
      [undefined, "NoneType", "null"],
      [[1], "list", "[1]"],
      [{ a: 1 }, "dict", '{"a":1}'],
      [new Set([1, "a"]), "set", '[1,"a"]'],
      [new Set([new Date(0), 1n]), "set", '["1970-01-01T00:00:00.000Z",1]'],
      [new Set([[1]]), "list", "[[1]]"],
      [new Date(0), "str", '"1970-01-01T00:00:00.000Z"'],
      [new Date(NaN), "NoneType", "null"],
      [new Uint8Array([1]), "str", '"AQ=="'],
      [new Item("a"), "shop.Item", '{"name":"a","price":1,"__type":"shop.Item"}'],
      [new Unregistered(), "dict", '{"a":1,"__type":"Unregistered"}'],
      [new Map([["a", new Date(0)]]), "dict", '{"a":"1970-01-01T00:00:00.000Z"}'],
      [new Map([[1, 2]]), "list", "[[1,2]]"],
    ];
    for (const [value, type, json] of cases) {
      assertEquals(codec.pythonType(value), type);
      assertEquals(codec.write(value).json, json);
    }
  });

  it("revive() applies a name to plain fields, and returns all else unchanged", () => {
    assertSame(codec.revive({ name: "a" }, "shop.Item"), { __proto__: Item.prototype, name: "a" });
    assertSame(codec.revive([1, 1], "set"), new Set([1]));
    const gift = new Gift("a");
    assert(codec.revive(gift, "shop.Item") === gift);
    for (const value of [1, null, [1], new Date(0), new Set([1])]) assert(codec.revive(value, "shop.Item") === value);
    for (const type of ["int", "list", "NoneType", "m.Unknown"]) assertEquals(codec.revive({ a: 1 }, type), { a: 1 });
  });
});

describe("codec: schemas of classes", () => {
  class Point {
    static topic = "m.Point";
    static schema = v.union([
      v.object({ x: v.number(), y: v.number() }),
      v.pipe(v.tuple([v.number(), v.number()]), v.transform(([x, y]) => ({ x, y }))),
    ]);
    x = 0;
    y = 0;
  }
  class Slow {
    static topic = "m.Slow";
    static schema = v.pipeAsync(
      v.objectAsync({
        id: v.pipeAsync(v.string(), v.checkAsync((id) => Promise.resolve(id !== "bad"), "is bad")),
        inner: v.any(),
      }),
      v.transformAsync(async (fields) => ({ ...(await fields), seen: true })),
    );
    constructor(readonly id: string, readonly inner?: unknown) {}
  }
  const checked = new Codec([Point, Slow]);

  it("a schema may map the array of a NamedTuple to fields", () => {
    const point = Object.assign(new Point(), { x: 1, y: 2 });
    assertSame(decode('{"__obj": [1, 2], "__type": "m.Point"}', checked).value, point);
    assertSame(decode('{"__list": [[1, 2], {"x": 1, "y": 2}], "__type": "m.Point"}', checked).value, [point, point]);
    assertSame(checked.revive([1, 2], "m.Point"), point);
    assertSame(comesBack([point], checked), [point]);
  });

  it("decode() rejects a value that the schema refuses, and the error has the body", () => {
    for (
      const body of [
        '{"x":1,"__type":"m.Point"}',
        '{"__obj":5,"__type":"m.Point"}',
        '[{"__obj":[1],"__type":"m.Point"}]',
      ]
    ) {
      const error = refusal(() => checked.decode(body));
      assertEquals(error.body, body);
      assertStringIncludes(error.message, '"m.Point"');
      assert(error.issues.length > 0);
    }
  });

  it("encode() does not validate", () => {
    assertEquals(checked.encode(Object.assign(new Point(), { x: "no" })), '{"x":"no","y":0,"__type":"m.Point"}');
  });

  it("an asynchronous schema makes decode() asynchronous, at any depth", async () => {
    const inner = new Slow("b", Object.assign(new Point(), { x: 1 }));
    const value = { list: [new Slow("a", inner), new Map([["k", new Set([inner])]])], z: new Slow("c") };
    const pending = checked.decode(checked.encode(value));
    assertInstanceOf(pending, Promise);
    const seen = (slow: Slow, inner: unknown) => Object.assign(new Slow(slow.id, inner), { seen: true });
    const seenInner = seen(inner, inner.inner);
    assertSame((await pending).value, {
      list: [seen(new Slow("a"), seenInner), new Map([["k", new Set([seenInner])]])],
      z: seen(new Slow("c"), undefined),
    });
    assertSame(await checked.decode(checked.encode([inner, inner])), { value: [seenInner, seenInner], type: "m.Slow" });
    assertFalse(checked.decode('{"a":{"__type":"m.Other"}}') instanceof Promise);
  });

  it("an asynchronous refusal rejects, and causes no unhandled rejection when another value fails first", async () => {
    const body = '[{"id":"bad","inner":1,"__type":"m.Slow"}]';
    const error = await Promise.resolve(checked.decode(body)).then(() => undefined, (error) => error);
    assertInstanceOf(error, ValidationError);
    assertEquals([error.body, error.issues], [body, [{ message: "is bad", path: ["id"] }]]);
    // the first element rejects later, the second fails at once
    refusal(() => checked.decode('[{"id":"bad","inner":1,"__type":"m.Slow"},{"x":1,"__type":"m.Point"}]'));
    await new Promise((resolve) => setTimeout(resolve));
  });

  it("a schema is the class's own, and its output becomes the fields", () => {
    class Base {
      static topic = "m.Base";
      static schema = v.object({ id: v.string() });
      id = "a";
    }
    class Sub extends Base {
      static override topic = "m.Sub";
      extra = 1;
    }
    class Odd {
      static topic = "m.Odd";
      static schema = v.pipe(v.any(), v.transform(() => 5));
    }
    const own = new Codec([Base, Sub, Odd]);
    assertSame(comesBack(new Sub(), own), new Sub());
    assertEquals([Codec.schemaOf(Base), Codec.schemaOf(Sub)], [Base.schema, undefined]);
    assertSame(decode('{"id":"x","surplus":1,"__type":"m.Base"}', own).value, Object.assign(new Base(), { id: "x" }));
    refusal(() => own.decode('{"__type":"m.Odd"}'));
  });
});

describe("codec: values that look like tags", () => {
  it("a user's own object is decoded unchanged", () => {
    const objects = [
      { __type: "tuple" },
      { __type: "shop.Item", name: "not one" },
      { __type: 5 },
      { __obj: [1], __type: "set" },
      { __obj: 1 },
      { __list: [1] },
      { __list: [{ __type: "set", __obj: [] }], __type: "x" },
      { __undefined: ["a"] },
      { __undefined: ["a"], b: undefined, c: { __obj: undefined } },
      { __type: "tsmq:Date", __obj: "x" },
      { __type: { __type: { __type: "x" } } },
      { a: "__type", __typename: "GraphQL", __x: "\\u005f" },
    ];
    assertComesBack(...objects, objects, new Map(objects.map((o) => [o, o])), { nested: { __type: objects } });
    assertComesBack(Object.assign(new Item("a"), { __type: "b", __undefined: [], c: undefined, d: new Date(0) }));
  });

  it("an object that looks like a tag is plain JSON inside a body, and marked", () => {
    assertEquals(shown(codec.encode([{ __type: "tuple", a: new Date(0) }])), [
      '[{"__type":"tuple","a":"1970-01-01T00:00:00.000Z"}]',
      '[["R",{"a":"D"}]]',
    ]);
    assertEquals(codec.encode({ __type: "tuple" }), '{"__obj":{"__type":"tuple"},"__type":"dict"}');
    assertEquals(codec.encode({ __tsmq: { a: "b" } }), '{"__obj":{"__tsmq":{"a":"b"}},"__type":"dict"}');
    // PyMQ searches lists for its keys as it does dictionaries, and fails when it finds one
    assertEquals(codec.encode(["__type", "a"]), '{"__obj":["__type","a"],"__type":"list"}');
    assertComesBack({ __tsmq: 1 }, [{ __tsmq: { traceparent: "x" } }], ["__obj", new Date(0)], [["__list"]]);
  });

  it("encode() refuses __proto__ and decode() drops it", () => {
    for (const value of [JSON.parse('{"__proto__":1}'), [{ a: JSON.parse('{"__type":1,"__proto__":{}}') }]]) {
      assertStringIncludes(refusal(() => codec.encode(value)).message, "prototype");
    }
    refusal(() => codec.encode(Object.defineProperty(new Item("a"), "__proto__", { value: 1, enumerable: true })));
    const evil = [
      '"__proto__"',
      '"\\u005f_proto__"',
      '"_\\u005Fproto__"',
      '"__pr\\u006fto__"',
      '"\\u005f\\u005fproto\\u005f_"',
    ];
    for (const key of evil) {
      const bad = `${key}:{"admin":true}`;
      for (
        const [body, expected] of [
          [`{${bad},"a":1}`, { a: 1 }],
          [`[{"b":{${bad}}}]`, [{ b: {} }]],
          [`{${bad},"name":"a","price":1,"__type":"shop.Item"}`, new Item("a")],
          [`{${bad},"__obj":[{${bad}}],"__type":"set"}`, new Set([{}])],
          [`{"__obj":{${bad},"__type":"x"},"__type":"dict"}`, { __type: "x" }],
          [`{"__list":[{${bad},"name":"a","price":1}],"__type":"shop.Item"}`, [new Item("a")]],
          [`{"__undefined":["__proto__","b"],${bad}}`, { __undefined: ["__proto__", "b"] }],
          [`{"__undefined":["__proto__","b"]}`, { b: undefined }],
          [`{"a":12345678901234567890,"n":NaN,${bad}}`, { a: 12345678901234567890n, n: NaN }],
        ] as const
      ) assertSame(decode(body).value, expected);
    }
    assertEquals(({} as { admin?: boolean }).admin, undefined);
    assertSame(decode('{"\\u005f_obj":[1],"_\\u005Ftype":"set"}').value, new Set([1]));
  });

  it("a malformed tag is plain data or is refused", () => {
    for (
      const body of [
        '{"__type":5}',
        '{"__type":""}',
        '{"__type":null,"a":1}',
        '{"__obj":1}',
        '{"__list":[1]}',
        '{"__undefined":[1]}',
        '{"a":1,"__undefined":["a"]}',
        '{"__obj":1,"__list":[],"__type":"set"}',
        '{"__obj":1,"a":2,"__type":"set"}',
      ]
    ) {
      assertSame(decode(body).value, JSON.parse(body));
    }
    assertSame(decode('{"__obj":1,"__type":"set"}').value, 1);
    assertSame(decode('{"__list":1,"__type":"shop.Item"}').value, 1);
    assertSame(decode('{"__obj":1,"__type":"shop.Item"}').value, 1);
    const malformed: Record<string, string[]> = {
      "tsmq:Date": ['"x"', "5", '"2020"', '"1970-01-01T00:00:00Z"', "[]", "{}"],
      "tsmq:undefined": ["5", '""', "{}"],
      "tsmq:Set": ["5", "null", "{}", '"a"'],
      "tsmq:Map": ["5", "null", "{}", "[1]", "[[1]]", "[[1,2,3]]", '["ab"]'],
      "tsmq:bigint": ["0.5", "1e20", "null", '""', '"1.5"', '"0x1"', '" 1"', '"99999999999999999"', "[5]"],
      "tsmq:bytes": ["5", "null", '"AQ"', '"AQ="', '"!"', '"AR=="', '"A-_A"', "[1]"],
    };
    for (const [tag, contents] of Object.entries(malformed)) {
      for (const body of [...contents.map((c) => `{"__obj":${c},"__type":"${tag}"}`), `{"a":1,"__type":"${tag}"}`]) {
        assertEquals(refusal(() => codec.decode(body)).body, body);
      }
    }
    assertEquals(decode('{"a":1,"__type":"tsmq:Unknown"}').value, { a: 1 });
  });
});

describe("codec: refusals", () => {
  it("encode() refuses a value that cannot be encoded, with its path", () => {
    class Locked extends Error {}
    class Many extends Map {}
    class List extends Array {}
    const cycle: unknown[] = [];
    cycle.push({ cycle });
    const proxied = new Proxy({}, {
      ownKeys: () => ["a"],
      getOwnPropertyDescriptor: () => ({ enumerable: true, configurable: true }),
      get: () => {
        throw new Error("no");
      },
    });
    const cases: [unknown, string][] = [
      [() => {}, "a function"],
      [Item, "a function"],
      [Symbol("s"), "a symbol"],
      [/x/, "RegExp"],
      [new TypeError("x"), "TypeError"],
      [new Locked(), "Error"],
      [Promise.resolve(), "Promise"],
      [new WeakMap(), "WeakMap"],
      [new WeakSet(), "WeakSet"],
      [Object(1), "Number"],
      [Object("a"), "String"],
      [Object(1n), "BigInt"],
      [new Uint16Array(1), "Uint16Array"],
      [new ArrayBuffer(1), "ArrayBuffer"],
      [new DataView(new ArrayBuffer(1)), "DataView"],
      [new URL("a:b"), "URL"],
      [new AbortController().signal, "AbortSignal"],
      [new Headers(), "Headers"],
      [new TextEncoder(), "TextEncoder"],
      [new Many(), "Map"],
      [new List(), "Array"],
      [(function* () {})(), "prototype"],
      [[].values(), ""],
      [Math, "platform"],
      [Object.create({ a: 1 }), "prototype"],
      [Object.create(Date.prototype), "threw"],
      [new (class {})(), "name"],
      [cycle, "a cycle"],
      [10n ** 5_000n, "digits"],
      [proxied, "no"],
      [{
        get a() {
          throw new Error("broken getter");
        },
      }, "broken getter"],
    ];
    for (const [value, reason] of cases) {
      assertStringIncludes(refusal(() => codec.encode(value)).message, reason);
      assertStringIncludes(refusal(() => codec.write(value)).message, reason);
      refusal(() => codec.encode([{ a: new Map([[1, value]]) }]));
    }
    const error = refusal(() => codec.encode({ a: [1, new Map([["k", { f() {} }]])] }));
    assertEquals(error.issues, [{ message: "a function", path: ["a", 1, "k", "f"] }]);
    assertEquals(error.message, "Cannot encode the value at a.1.k.f: it is a function");
    assertEquals(refusal(() => codec.encode([new Item("a"), new Item(Symbol() as never)])).issues[0]?.path, [
      1,
      "name",
    ]);
    class Tagged {
      static topic = "m.Tagged";
      get [Symbol.toStringTag](): string {
        return "Tagged";
      }
    }
    assertStringIncludes(refusal(() => codec.encode(new Tagged())).message, "not registered");
    assertSame(comesBack(new Tagged(), new Codec([Tagged])), new Tagged());
  });

  it("a value that occurs twice is not a cycle", () => {
    const shared = { d: new Date(0) };
    assertComesBack([shared, shared, { shared }], new Map([[shared, shared]]));
  });

  it("decode() refuses text that is not JSON, and the error has the body", () => {
    for (
      const body of [
        "",
        " ",
        "{",
        "undefined",
        "{'a':1}",
        "[1,]",
        "\ufeff1",
        '{"__type":"x"',
        "\u0000",
        '"\n"',
        "1 2",
        '{"a":NaN,}',
      ]
    ) {
      const error = refusal(() => codec.decode(body));
      assertEquals(error.body, body);
      assertStringIncludes(error.message, "Cannot read a body");
    }
  });

  it("encode() and decode() refuse an integer that is too long", () => {
    assertSame(decode("1".repeat(4_300)).value, BigInt("1".repeat(4_300)));
    refusal(() => codec.decode("1".repeat(4_301)));
    refusal(() => codec.decode(`[${"1".repeat(3_000_000)}]`));
  });
});

describe("codec: depth", () => {
  const nest = (levels: number, wrap: (inner: unknown) => unknown, core: unknown = 1) => {
    let value = core;
    for (let i = 0; i < levels; i++) value = wrap(value);
    return value;
  };
  class Box {
    static topic = "m.Box";
    constructor(readonly inner: unknown) {}
  }
  const boxes = new Codec([Box]);
  const wraps: [number, (inner: unknown) => unknown][] = [
    [1, (inner) => [inner]],
    [1, (inner) => ({ inner })],
    [1, (inner) => new Box(inner)],
    [1, (inner) => new Set([inner])],
    [1, (inner) => ({ __type: inner })],
    [1, (inner) => Object.assign(new Box(1), { __obj: inner })],
    [1, (inner) => new Map([["k", inner]])],
    [2, (inner) => new Map([[1, inner]])],
  ];
  // a date counts as a level
  const cores: [number, unknown][] = [[0, 1], [0, 2n ** 60n], [0, undefined], [1, new Date(0)], [0, 5n]];

  it("five hundred levels of JSON are encoded and decoded; encode() refuses one more", () => {
    for (const [cost, wrap] of wraps) {
      for (const [own, core] of cores) {
        // an object that looks like a tag is boxed, which takes a level
        const levels = Math.floor((499 - own) / cost);
        const value = nest(levels, wrap, core);
        const body = boxes.encode(value);
        assertEquals(boxes.encode(decode(body, boxes).value), body);
        assertStringIncludes(refusal(() => boxes.encode(nest(levels + 2, wrap, core))).message, "500 levels");
      }
    }
  });

  it("decode() limits the levels too", () => {
    for (const [open, close] of [["[", "]"], ['{"a":', "}"], ['{"__type":"m.Box","inner":', "}"]] as const) {
      boxes.decode(open.repeat(500) + '"__"' + close.repeat(500));
      const error = refusal(() => boxes.decode(open.repeat(501) + '"__"' + close.repeat(501)));
      assertStringIncludes(error.message, "500 levels");
    }
  });

  it("a tagged list without further tags is read like one with them", () => {
    const body = (list: string) => `{"__obj":${list},"__type":"pymq.core.RpcRequest"}`;
    const read = (list: string) => decode(body(list));
    assertEquals(read('["f","",[1,{"a":[null]}],{},{"inbox":"__tsmq:inbox:1"}]'), {
      value: ["f", "", [1, { a: [null] }], {}, { inbox: "__tsmq:inbox:1" }],
      type: "pymq.core.RpcRequest",
    });
    assertEquals(decode('{"__obj":[1,2,2],"__type":"set"}').value, new Set([1, 2]));
    for (const type of ["__type", "__\\u0074ype", "\\u005f_type"]) {
      const [revived] = read(`[{"${type}":"tsmq:Date","__obj":"1970-01-01T00:00:00.000Z"},"__type"]`)
        .value as unknown[];
      assertEquals(revived, new Date(0));
    }
    for (const key of ["__proto__", "__\\u0070roto__", "\\u005f_proto__"]) {
      const [fields] = read(`[{"a":1,"${key}":{"b":2}}]`).value as object[];
      assertEquals(Object.keys(fields!), ["a"]);
    }
    assertEquals(Object.hasOwn((read('[{"a":1,"__undefined":["b"]}]').value as object[])[0]!, "b"), true);
  });

  it("no depth of a body overflows the stack", () => {
    const deep = 200_000;
    const hostile: [string, string, string][] = [
      ['{"__obj":[', "1", '],"__type":"set"}'],
      ['{"__obj":{"a":', "1", '},"__type":"dict"}'],
      ['{"__type":"m.Box","inner":', "1", "}"],
      ['{"__list":[', "{}", '],"__type":"m.Box"}'],
      ['["__",', "1", "]"],
      ["[", "", ""],
      ['{"__type":', "", ""],
    ];
    for (const [open, core, close] of hostile) {
      refusal(() => boxes.decode(open.repeat(deep) + core + close.repeat(deep)));
    }
    // without a tag the codec does not visit the value: it may be as deep as the parser of the runtime allows
    const plain = [["[", "", "]"], ["[", "12345678901234567890", "]"], ["[", "NaN", "]"], ['{"a":', "-Infinity", "}"]];
    for (const [open, core, close] of plain) boxes.decode(open!.repeat(deep) + core + close!.repeat(deep));
  });
});
