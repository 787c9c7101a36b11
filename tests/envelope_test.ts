import { assert, assertEquals, assertFalse, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Codec } from "../src/codec/codec.ts";
import { separate, unwrap, wrap } from "../src/codec/envelope.ts";
import { checkHeaders, listHeaders, type MessageHeaders, parseHeaders, readHeaders } from "../src/codec/headers.ts";
import { readMarks, writeMarks } from "../src/codec/marks.ts";
import { ValidationError } from "../src/errors.ts";
import { difference } from "./support/same.ts";
import { linear } from "./support/growth.ts";
import { Random } from "./support/random.ts";

const TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

class Order {
  static readonly topic = "shop.Order";
  constructor(readonly id?: unknown, readonly at?: Date) {}
}
class Quoted {
  static readonly topic = 'a"b\\';
  constructor(readonly id = 1) {}
}
class Empty {}

const codec = new Codec([Order, Quoted, Empty]);

const VALUES: unknown[] = [
  ...[0, "", "text", '","__type":"x"}', '"__type":"x"}', "}}", null, true, [], ["__type"], {}, { a: { b: 1 } }],
  ...[{ "": '"}' }, undefined, 7n, new Date(0), new Set([1]), new Map([[1, { a: 1 }]]), new Uint8Array([1])],
  ...[new Order(1), new Order(), new Order({}), new Empty(), [new Order(1), new Order(2)], [new Empty()]],
  ...[new Order(1, new Date(5)), [new Order(1, new Date(5))], { order: new Order(3) }, [new Order({ a: {} })]],
  ...[new Quoted(), [new Quoted()], { q: new Quoted() }, new Map([["a", new Date(1)]]), [new Set([1n])]],
  ...[{ __type: "x", __obj: 1 }, { __type: "shop.Order", id: 1 }, { __traceparent: TRACEPARENT, __obj: 5 }],
  ...[{ __traceparent: TRACEPARENT }, { __tsmq: {}, __obj: 1 }, { __tsmq: { a: "b" } }, {
    at: new Date(0),
    u: undefined,
  }],
];

const HEADERS: MessageHeaders[] = [
  {},
  { traceparent: TRACEPARENT },
  { a: "", "X-b": 'quotes " and } braces {}}', "tsmq-signature": "☃ \\u007d \\", __proto__x: "}" },
];

/** Writes the envelope of a trace as versions without headers did. */
function stamp(body: string): string {
  const head = `{"__traceparent":"${TRACEPARENT}",`;
  const tag = body.startsWith("{") ? /,?("__type":"[^"\\]*")\}$/.exec(body) : null;
  if (!tag) return `${head}"__obj":${body}}`;
  if (/^"__(obj|list)":.*,"__type":"[^"\\]*"\}$/s.test(body.slice(1))) return head + body.slice(1);
  return `${head}${tag[1]},"__obj":${body.slice(0, tag.index)}}}`;
}

describe("envelope", () => {
  it("unwrap() returns the body and the headers that wrap() got", () => {
    for (const value of VALUES) {
      const body = codec.encode(value);
      assertEquals(unwrap(body), undefined, body);
      assertEquals(wrap(body, undefined), body);
      for (const headers of HEADERS) {
        const message = wrap(body, headers);
        const opened = unwrap(message)!;
        assertEquals(opened.body, body, message);
        assertEquals({ ...opened.headers }, { ...headers });
        assertEquals(Object.getPrototypeOf(opened.headers), null);
        // the value that PyMQ reads
        const parsed = JSON.parse(message);
        assert("__obj" in parsed || "__list" in parsed, message);
      }
    }
  });

  it("unwrap() reads the trace that versions without headers wrote", () => {
    for (const value of VALUES) {
      const body = codec.encode(value);
      if (readMarks(body) !== undefined) continue; // versions without headers had no marks
      const opened = unwrap(stamp(body))!;
      assertEquals(opened, { body, headers: { traceparent: TRACEPARENT } }, body);
      assertEquals(Object.getPrototypeOf(opened.headers), null);
    }
    const message = stamp("1");
    assertEquals(unwrap(message.replace("4bf9", "4BF9")), undefined);
    assertEquals(unwrap(message.replace("__obj", "__other")), undefined);
  });

  it("a damaged envelope is a body, or a body that cannot be read", () => {
    for (const value of VALUES) {
      const message = wrap(codec.encode(value), HEADERS[2]);
      for (let end = 0; end < message.trimEnd().length; end++) {
        const opened = unwrap(message.slice(0, end));
        if (opened) refused(opened.body);
      }
    }
    const hostile = [
      '{"__tsmq":{"a":1},"__obj":1}',
      '{"__tsmq":{"a":{"b":"c"}},"__obj":1}',
      '{"__tsmq":{"a b":"c"},"__obj":1}',
      '{"__tsmq":{"":"c"},"__obj":1}',
      '{"__tsmq":{"a":"\\n"},"__obj":1}',
      '{"__tsmq":{"a":"\\ud800"},"__obj":1}',
      '{"__tsmq":{"a":"b"} ,"__obj":1}',
      '{"__tsmq":{"a":"b"}}',
      '{"__tsmq":{"a":"b"},"other":1}',
      '{"__tsmq":{"a":"b"},"__list":[1]}',
      `{"__tsmq":{"a":"${"b".repeat(70_000)}"},"__obj":1}`,
      '{"__tsmq":{',
    ];
    for (const body of hostile) assertEquals(unwrap(body), undefined, body);
    // as for any unknown object
    assertEquals(value(hostile[0]!), { __tsmq: { a: 1 }, __obj: 1 });
  });

  it("headers are listed without JSON.parse as it reads them", () => {
    const values = ["", '"', "\\", "}", "\\u007d", "\\\\}", "☃\u{1f600}", 'a"b\\"', "/", "x".repeat(30_000)];
    for (const value of values) {
      for (const more of [{}, { "1": value, b: "\\" }]) {
        const message = wrap("1", { a: value, ...more } as MessageHeaders);
        const { head } = separate(message)!;
        assertEquals(listHeaders(head), Object.entries(JSON.parse(message).__tsmq), head);
      }
    }
    assertEquals(listHeaders('{"a":"\\/\\u00e4"}'), [["a", "/ä"]]);
    for (const escape of ["\\n", "\\x", "\\u00"]) assertEquals(listHeaders(`{"a":"${escape}"}`), [["a", "\0"]]);
    const wrong = ['{"a":"\\"}', '{"a":"b",}', '{"a":"b"}}', '{"a":"b"'];
    for (const json of [...wrong, '{"a b":"c"}', '{"a":1}', "{}", "{", '[["a","b"]]']) {
      assertEquals(listHeaders(json), undefined, json);
    }
  });

  it("headers have a largest number", () => {
    const many = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`h${i}`, "v"]));
    assertEquals(Object.keys(checkHeaders(many(256), "options")!).length, 256);
    assertThrows(
      () => checkHeaders(many(257), "options"),
      ValidationError,
      "Cannot use headers: they are 257 headers, and at most 256 are allowed",
    );
    for (const [count, read] of [[272, true], [273, false]] as const) {
      const json = JSON.stringify(many(count));
      for (const found of [listHeaders(json), parseHeaders(json)]) assertEquals(found !== undefined, read);
    }
  });

  it("headers change no prototype", () => {
    const headers = readHeaders(JSON.parse('{"__proto__":"x","constructor":"y"}'))!;
    assertEquals([headers.__proto__, headers.constructor], ["x", "y"] as never);
    assertEquals(headers.toString, undefined);
    for (const wrong of [null, 1, [], ["a"], { a: 1 }, { a: undefined }, { "a:": "b" }, { a: "\u0085" }]) {
      assertEquals(readHeaders(wrong), undefined);
    }
  });
});

describe("marks", () => {
  it("are white space that JSON skips and that differs from a count of deliveries", () => {
    for (const value of VALUES) {
      const body = codec.encode(value);
      if (body.trimEnd() === body) continue;
      assertFalse(/\n[ \t]{1,32}$/.test(body), body);
      JSON.parse(body);
    }
    const mark = '{"k\\"ey":"D","\u00e4☃":["S",{"0":"U"}]}';
    assertEquals(readMarks(`[]${writeMarks(mark)}`), JSON.parse(mark));
    assertEquals(writeMarks(undefined), "");
  });

  it("other white space behind a body has no meaning", () => {
    for (
      const space of [
        "\n",
        "\r\n",
        "\r",
        " ",
        "\r\r\r\r\r",
        "\n\t",
        "\r\n \t\n",
        "    \r",
        writeMarks("{"),
        writeMarks(""),
      ]
    ) {
      assertEquals(value(`{"a":1}${space}`), { a: 1 }, JSON.stringify(space));
    }
    assertEquals(readMarks(writeMarks('"D"')), "D");
    refused(writeMarks('"D"'));
  });

  it("that do not fit their values are refused or ignored", () => {
    const body = '{"a":"x","l":[1,2],"o":{"b":null}}';
    for (
      const mark of [
        '{"a":"D"}',
        '{"a":"B"}',
        '{"a":"N"}',
        '{"a":"M"}',
        '{"a":"S"}',
        '{"a":"U"}',
        '{"a":{}}',
        '{"a":["D"]}',
      ]
    ) {
      refused(body + writeMarks(mark));
    }
    for (
      const mark of [
        '{"l":"D"}',
        '{"l":"M"}',
        '{"o":"S"}',
        '{"o":"U"}',
        '{"o":["M",{},["c"]]}',
        '{"o":["M",{},5]}',
        '{"o":["M",{},["b","b"]]}',
      ]
    ) {
      refused(body + writeMarks(mark));
    }
    const nothing = [
      "null",
      "5",
      "[]",
      "{}",
      '{"x":"D"}',
      '{"l":{"2":"D","length":"D","-1":"D","x":"D","0.5":"D"}}',
      '"?"',
      '["?",{}]',
      "[[],{}]",
      '["@Nobody",{}]',
      '{"__proto__":"U"}',
      '{"o":{"__proto__":"U"}}',
      '{"o":null}',
      "[null,{}]",
      '{"l":"R"}',
    ];
    for (const mark of nothing) assertEquals(value(body + writeMarks(mark)), JSON.parse(body), mark);
    assertEquals(value(`${body}${writeMarks('{"constructor":"U","o":{"toString":"U"}}')}`), {
      ...JSON.parse(body),
      constructor: undefined,
      o: { b: null, toString: undefined },
    });
    assertEquals(({} as { a?: unknown }).a, undefined);
  });

  it("no mark overflows the stack or takes more steps than the value has parts", () => {
    const deep = 200_000;
    const nested = "[".repeat(deep) + "]".repeat(deep);
    const mark = "[".repeat(deep) + '"D"' + "]".repeat(deep);
    refused(`${nested}${writeMarks(mark)}`);
    assertEquals(value(`[[1]]${writeMarks('[["@x",{},[[]]]]')}`), [[1]]);
    // a mark that all have is written once
    const rows = (count: number) => Array.from({ length: count }, (_, i) => [`${i}`, new Date(i), [1n, undefined]]);
    assertEquals(readMarks(codec.encode(rows(1_000))), readMarks(codec.encode(rows(10))));
  });

  it("the time to read a hostile message is linear in its length", async () => {
    const spaces = (n: number) => `1${" \t\n\r".repeat(n / 4)}`;
    const hostile: Record<string, (n: number) => string> = {
      spaces,
      "spaces that end as marks do": (n) => `${spaces(n)}\r`,
      "headers that do not end": (n) => `{"__tsmq":{"a":"${"b".repeat(n)}`,
      "a trace and tags": (n) => `{"__traceparent":"${TRACEPARENT}",${'"__type":"x",'.repeat(n / 13)}"__obj":1}`,
      "headers and tags": (n) => `{"__tsmq":{"a":"b"},"__obj":[${'{"__type":"x"},'.repeat(n / 15)}1]}`,
      "marks of nothing": (n) => `[]${writeMarks(`{${'"x":"D",'.repeat(n / 32)}"y":"D"}`)}`,
      "marks in marks": (n) => `[]${writeMarks(`${"[".repeat(n / 8)}${"]".repeat(n / 8)}`)}`,
      "a map with its order": (n) => {
        const keys = Array.from({ length: n / 64 }, (_, i) => `"k${i}"`);
        return `{${keys.map((key) => `${key}:1`)}}${writeMarks(`["M",{},[${keys}]]`)}`;
      },
    };
    for (const [what, make] of Object.entries(hostile)) {
      await linear(what, 65_536, make, (message) => {
        try {
          codec.decode(unwrap(message)?.body ?? message);
        } catch (error) {
          if (!(error instanceof ValidationError)) throw error;
        }
      });
    }
  });

  it("damaged ones give a harmless value or a ValidationError", () => {
    const seeded = new Random(7);
    const random = () => seeded.next();
    const of = <T>(from: readonly T[]) => from[Math.floor(random() * from.length)]!;
    const mark = (depth: number): string =>
      depth === 0 || random() < 0.4
        ? of(['"D"', '"S"', '"M"', '"U"', '"N"', '"B"', '"R"', '"@shop.Order"', '"@set"', '"?"', "1", "null", "[]"])
        : of([
          () => `[${mark(depth - 1)}]`,
          () => `[${mark(0)},${mark(depth - 1)}]`,
          () => `["M",${mark(depth - 1)},["id","at"]]`,
          () => `{${of(['"id"', '"at"', '"0"', '"1"', '"__obj"', '"__proto__"', '"length"'])}:${mark(depth - 1)}}`,
        ])();
    const json = (depth: number): string =>
      depth === 0 || random() < 0.3
        ? of(["null", "5", '"AQ=="', '"1970-01-01T00:00:00.000Z"', "[]", "{}", '"__"'])
        : of([
          () => `[${json(depth - 1)},${json(depth - 1)}]`,
          () => `{"id":${json(depth - 1)},"at":${json(depth - 1)}}`,
          () => `{"__obj":${json(depth - 1)},"__type":"set"}`,
          () => `{"id":${json(depth - 1)},"__type":"shop.Order"}`,
        ])();
    let read = 0;
    for (let i = 0; i < 10_000; i++) {
      const body = json(3) + writeMarks(mark(3));
      try {
        const got = value(body);
        assertEquals(difference(value(codec.encode(got)), got), undefined, JSON.stringify(body));
        read++;
      } catch (error) {
        if (!(error instanceof ValidationError)) throw error;
      }
    }
    assert(read > 1_000 && read < 9_500, `${read} read`);
    assertEquals(Object.keys(Object.prototype), []);
  });
});

function value(body: string): unknown {
  const decoded = codec.decode(body);
  if (decoded instanceof Promise) throw new Error("a promise, though no schema is asynchronous");
  return decoded.value;
}

function refused(body: string): void {
  try {
    value(body);
  } catch (error) {
    if (error instanceof ValidationError) return;
    throw error;
  }
  throw new Error(`it was read: ${JSON.stringify(body)}`);
}
