import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import * as v from "valibot";
import { Codec } from "../src/codec/codec.ts";
import { readEvents, readItem } from "../src/providers/ipc/frames.ts";
import { difference } from "./support/same.ts";
import vectors from "./vectors/pymq.json" with { type: "json" };

class MyEvent {
  static topic = "__main__.MyEvent";
}

/** A NamedTuple in Python: an array on the wire. */
class Payload {
  static topic = "__main__.Payload";
  static schema = v.pipe(v.tuple([v.string(), v.number()]), v.transform(([name, value]) => ({ name, value })));
  constructor(readonly name: string, readonly value: number) {}
}

class EventWithPayload {
  static topic = "__main__.EventWithPayload";
  constructor(readonly payload: unknown) {}
}

class Order {
  static topic = "__main__.Order";
  constructor(readonly id = "o-1", readonly items = ["a", "b"], readonly meta: object = { n: 2 }) {}
}

/** The value of each vector, by the Python that wrote it; `both` where tsmq writes the same JSON. */
interface Expected {
  value: unknown;
  type?: string;
  both: boolean;
}

const both = (value: unknown, type?: string): Expected => ({ value, type, both: true });
const read = (value: unknown, type: string): Expected => ({ value, type, both: false });

const EVENTS: Record<string, Expected> = {
  "publish(MyEvent())": both(new MyEvent(), MyEvent.topic),
  "publish(EventWithPayload(Payload('foobar', 42)))": both(
    new EventWithPayload(["foobar", 42]),
    EventWithPayload.topic,
  ),
  "publish(Order('o-1', ['a','b'], {'n': 2}))": both(new Order(), Order.topic),
  "publish('hello', 'vec/ch')": both("hello"),
  "publish(7, 'vec/ch')": both(7),
  "publish(1.5, 'vec/ch')": both(1.5),
  "publish(True, 'vec/ch')": both(true),
  "publish(None, 'vec/ch')": both(null, "NoneType"),
  "publish(['a', 'b'], 'vec/ch')": both(["a", "b"]),
  "publish([1, 2, 3], 'vec/ch')": both([1, 2, 3]),
  "publish({'a': 1, 'b': 'c'}, 'vec/ch')": both({ a: 1, b: "c" }),
  "publish({'nested': {'x': [1, {'y': None}]}}, 'vec/ch')": both({ nested: { x: [1, { y: null }] } }),
  "publish(('a', 1), 'vec/ch')": read(["a", 1], "tuple"),
  "publish(Payload(name='p', value=1), 'vec/ch')": read(new Payload("p", 1), Payload.topic),
  "publish([Payload(name='p', value=1), Payload(name='q', value=2)], 'vec/ch')": read(
    [new Payload("p", 1), new Payload("q", 2)],
    Payload.topic,
  ),
  "publish([], 'vec/ch')": both([]),
  "publish({1, 2}, 'vec/ch')": both(new Set([1, 2]), "set"),
  "publish('ünï ☃ 𝄞', 'vec/ch')": both("ünï ☃ 𝄞"),
};

/** The values of queue items, by their text, since some were written by the same Python. */
const ITEMS: Record<string, Expected> = {
  '"abc"': both("abc"),
  "1": both(1),
  "1.1": both(1.1),
  '{"__obj": ["a", 1], "__type": "tuple"}': read(["a", 1], "tuple"),
  '[1, "v"]': both([1, "v"]),
  '{"a": 1, "b": "c"}': both({ a: 1, b: "c" }),
  '{"payload": ["foo", 42], "__type": "__main__.EventWithPayload"}': both(
    new EventWithPayload(["foo", 42]),
    EventWithPayload.topic,
  ),
  '{"__list": [{"payload": ["foo", 1]}, {"payload": ["bar", 2]}], "__type": "__main__.EventWithPayload"}': both(
    [new EventWithPayload(["foo", 1]), new EventWithPayload(["bar", 2])],
    EventWithPayload.topic,
  ),
};

const ORDER = `{"id": "o-3", "items": ["x"], "meta": {"n": 3}, "__type": "__main__.Order"}`;
ITEMS[ORDER] = both(new Order("o-3", ["x"], { n: 3 }), Order.topic);

const RESULTS: Record<string, Expected> = {
  vec_product: both(8),
  vec_boom: read(["bad x", 3], "__main__.MyErr"),
  vec_nothing: both(null),
  vec_obj: both(new EventWithPayload(["foo", 42])),
  vec_lst: both([1, 2]),
  vec_dct: both({ k: 1 }),
  vec_pars: both("zed"),
};

const codec = new Codec([MyEvent, Payload, EventWithPayload, Order]);

function check(body: string, expected: Expected | undefined): void {
  if (!expected) throw new Error(`no value is known for ${body}`);
  const decoded = codec.decode(body);
  if (decoded instanceof Promise) throw new Error("a promise, though no schema is asynchronous");
  assertEquals(difference(decoded.value, expected.value), undefined);
  assertEquals(decoded.type, expected.type);
  if (expected.both) assertEquals(JSON.parse(codec.encode(expected.value)), JSON.parse(body));
}

describe("codec: messages that PyMQ wrote", () => {
  for (const { python, data } of vectors.events) it(python, () => check(data, EVENTS[python]));

  for (const { python, value } of vectors.queue_items) it(`${python}: ${value}`, () => check(value, ITEMS[value]));

  for (const { python, request, response } of vectors.rpc) {
    it(python, () => {
      checkRequest(request);
      checkResponse(response, RESULTS);
    });
  }

  for (const { python, channel, message } of vectors.ipc.loop) {
    it(`${python} over POSIX IPC`, () => {
      const { topic, body } = readEvents(encoder.encode(message))![0]!;
      assertEquals(topic, channel);
      if (topic === "vec_product") checkRequest(body);
      else check(body, EVENTS[python]);
    });
  }

  for (const { python, message } of vectors.ipc.queue_items) {
    it(`${python} over POSIX IPC`, () => check(readItem(encoder.encode(message)).text, ITEMS[message]));
  }

  for (const { python, message } of vectors.ipc.answers) {
    const results = { ...RESULTS, vec_obj: both(new Order("o-2", [], {})) };
    it(`${python} over POSIX IPC`, () => checkResponse(readItem(encoder.encode(message)).text, results));
  }
});

const encoder = new TextEncoder();

function checkRequest(request: string): void {
  const [fn, channel, args, kwargs] = JSON.parse(request).__obj;
  check(request, read([fn, channel, args, kwargs], "pymq.core.RpcRequest"));
}

function checkResponse(response: string, results: Record<string, Expected>): void {
  const [fn, result, resultType, isError] = JSON.parse(response).__obj;
  check(response, read([fn, result, resultType, isError], "pymq.core.RpcResponse"));
  const expected = results[fn]!;
  assertEquals(difference(codec.revive(result, resultType), expected.value), undefined);
  if (!expected.both) return;
  assertEquals(codec.pythonType(expected.value), resultType);
  // Python ignores the tag in the JSON of an instance
  const tagged = codec.tagOf(expected.value) ? { ...Object(result), __type: resultType } : result;
  assertEquals(JSON.parse(codec.write(expected.value).json), tagged);
}
