/** Headers: the invalid ones are refused, and the names of keys of the wire format, unreadable items and frozen objects work. */
import type { Bus } from "../../src/bus.ts";
import type { MessageHeaders } from "../../src/codec/headers.ts";
import { ValidationError } from "../../src/errors.ts";
import { currentCall } from "../../src/rpc/current_call.ts";
import { equal, ok, rejects } from "../../src/conformance/assert.ts";
import type { Cases } from "../../src/conformance/cases.ts";
import { drain } from "../../src/conformance/queues.ts";

const INVALID: Readonly<Record<string, unknown>> = {
  "null": null,
  "a string": "a=b",
  "a list": ["a", "b"],
  "a Map": new Map([["a", "b"]]),
  "a Headers": new Headers({ a: "b" }),
  "a function": () => {},
  "a name with a space": { "a b": "c" },
  "an empty name": { "": "c" },
  "a name of letters that are not ASCII": { "straße": "c" },
  "a reserved name": { "tsmq-signature": "c" },
  "a number": { a: 1 },
  "undefined": { a: undefined },
  "a line feed": { a: "b\nc: d" },
  "a control character": { a: "\u0085" },
  "a lone surrogate": { a: "\ud83e" },
  "more than 8 KiB": { a: "x".repeat(8_192) },
  "more than 8 KiB in UTF-8": { a: "ß".repeat(4_096) },
  "a getter that throws": {
    get a(): string {
      throw new Error("no");
    },
  },
};

/** Objects without keys that are not options. The first one is a topic that was not awaited. */
const EMPTY: readonly unknown[] = [Promise.resolve("topic"), new Map(), new Date()];

/** Headers whose names are keys of the wire format. */
const TAGS: readonly string[] = [
  '{"__type":"set"}',
  '{"__type":"tsmq:Date"}',
  '{"__type":"kit.event","id":"1"}',
  '{"__type":"set","__obj":"[1]"}',
  '{"__type":"set","__list":"[1]"}',
  '{"__proto__":"own","__tsmq":"a","__traceparent":"b","__undefined":"c"}',
];

/** Cases about headers. */
export const headers: Cases = {
  "invalid headers are refused with a ValidationError, and nothing is sent": async (t) => {
    const bus = await t.open();
    const seen = t.collect<unknown>();
    const calls = t.collect<unknown>();
    bus.subscribe("topic", seen.add);
    await bus.expose("fn", calls.add);
    const queue = t.queue(bus, "queue");
    for (const [what, value] of Object.entries(INVALID)) {
      const headers = value as Record<string, string>;
      await rejects(
        () => bus.publish("event", "topic", { headers }),
        ValidationError,
        "invalid",
        `publish with ${what}`,
      );
      await rejects(() => bus.topic("topic").publish("event", { headers }), ValidationError, "invalid", what);
      await rejects(() => queue.put("item", { headers }), ValidationError, "invalid", `put with ${what}`);
      await rejects(() => queue.putNowait("item", { headers }), ValidationError, "invalid", `putNowait with ${what}`);
      await rejects(() => bus.stub("fn", { headers }), ValidationError, "invalid", `a stub with ${what}`);
    }
    const { message } = await rejects(() => queue.put("item", { headers: { ok: "1", "a b": "c" } }), ValidationError);
    equal(message, 'Cannot use headers: "a b" is not a token as in HTTP');
    await bus.publish("last", "topic", { headers: { a: "x".repeat(8_191) } });
    await seen.are(["last"]);
    await bus.stub("fn", { headers: {} })("last");
    await calls.are(["last"]);
    equal(await drain(t, queue), []);
  },

  "a second argument of publish() that is neither a target nor options is refused": async (t) => {
    const bus = await t.open();
    class Event {
      static readonly topic = "event";
    }
    const seen = t.collect<unknown>();
    bus.subscribe("event", (_, message) => seen.add({ ...message.headers }));
    const publish = bus.publish.bind(bus) as (...args: unknown[]) => Promise<unknown>;
    for (const second of [null, 7, true, [], () => {}, { header: {} }, { headers: {}, timeout: 1 }, Event, ...EMPTY]) {
      await rejects(
        () => publish(new Event(), second),
        ValidationError,
        "invalid",
        `publish(event, ${String(second)})`,
      );
    }
    for (const third of [null, 7, "x", [], { timeout: 1 }, ...EMPTY]) {
      await rejects(() => publish(new Event(), "event", third), ValidationError, "invalid", "a third argument");
    }
    await rejects(() => publish(new Event(), { headers: {} }, {}), ValidationError, "invalid", "options twice");
    await rejects(() => publish({ plain: true }, { headers: { a: "b" } }), ValidationError, "invalid", "no class");
    await publish(new Event(), undefined, { headers: { a: "1" } });
    await publish(new Event(), { headers: undefined });
    await publish(new Event(), {}, undefined);
    await publish(new Event(), "event", undefined);
    await publish(new Event(), undefined, undefined);
    await publish(new Event(), "event", { headers: { a: "6" } });
    await seen.are([{ a: "1" }, {}, {}, {}, {}, { a: "6" }]);
  },

  "the name of a header may be a key of the wire format": async (t) => {
    class Event {
      static readonly topic = "kit.event";
      constructor(readonly id: number) {}
    }
    const bus = await t.open({ types: [Event] });
    const seen = t.collect<MessageHeaders>();
    bus.subscribe(Event, (_, message) => seen.add(message.headers));
    bus.queue("queue").consume((_, lease) => seen.add(lease.headers));
    t.frees("queue");
    await bus.expose("fn", () => void seen.add(currentCall()!.headers));
    for (const [i, json] of TAGS.entries()) {
      const headers = JSON.parse(json);
      await bus.publish(new Event(1), { headers });
      await seen.count(4 * i + 1);
      await bus.queue("queue").put(new Event(2), { headers });
      await seen.count(4 * i + 2);
      await bus.stub("fn", { headers })();
      await bus.stub("fn", { headers, multi: true })();
      for (const each of (await seen.count(4 * i + 4)).slice(4 * i)) {
        equal([JSON.stringify(each), Object.getPrototypeOf(each)], [json, null]);
      }
    }
  },

  "an item that cannot be read keeps its headers in its dead letter": async (t) => {
    const [bus] = await t.buses(1) as [Bus];
    t.errors(bus);
    const client = await t.rawClient();
    t.frees("queue", "queue.dead");
    await client.put("queue", '{"__tsmq":{"a":"b"},"__obj":{"half":}');
    const consumer = bus.queue("queue").consume(() => {});
    const letter = await bus.queue<{ item: unknown }>("queue.dead").receive();
    equal([letter.item.item, { ...letter.headers }], ['{"half":', { a: "b" }]);
    await letter.ack();
    await consumer.close();
  },

  "received headers can be sent on, and cannot be changed by the next message": async (t) => {
    const bus = await t.open();
    const seen = t.collect<Record<string, string>>();
    bus.subscribe("second", (_, { headers }) => seen.add({ ...headers }));
    bus.subscribe("first", (_, { headers }) => bus.publish("x", "second", { headers }));
    await bus.publish("x", "first", { headers: { __proto__: "no", a: "b" } as never });
    await bus.publish("x", "first", { headers: JSON.parse('{"__proto__":"own"}') });
    await bus.publish("x", "first");
    const all = await seen.count(3);
    equal(all.map((headers) => Object.entries(headers)), [[["a", "b"]], [["__proto__", "own"]], []]);
    ok(Object.getPrototypeOf({}) === Object.prototype, "the prototype is unchanged");
  },
};
