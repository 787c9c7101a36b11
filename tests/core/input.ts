/**
 * Bad input, from the wire and from callers: each with its typed error, nothing lost, and the bus lives on.
 *
 * @module
 */
import type { Bus } from "../../src/bus.ts";
import { BusError, type InvalidPart, ValidationError } from "../../src/errors.ts";
import type { DeadLetter } from "../../src/queue/letter.ts";
import type { BusOptions } from "../../src/options.ts";
import { procedure } from "../../src/rpc/procedure.ts";
import { each, equal, ok, rejects } from "../../src/conformance/assert.ts";
import { drain } from "../../src/conformance/queues.ts";
import { MALFORMED } from "../../src/conformance/bodies.ts";
import type { Cases } from "../../src/conformance/cases.ts";

/** Bodies that others may well send, and what they mean. */
const FOREIGN: Readonly<Record<string, [body: string, value: unknown]>> = {
  "Python's numbers": ["[NaN, Infinity, -Infinity, 1152921504606846976]", [NaN, Infinity, -Infinity, 2n ** 60n]],
  "Python's words in a text": ['["NaN", "Infinity, -Infinity"]', ["NaN", "Infinity, -Infinity"]],
  "Python's None": ['{"__obj": null, "__type": "NoneType"}', null],
  "Python's tuple": ['{"__obj": [1, 2], "__type": "tuple"}', [1, 2]],
  "Python's set": ['{"__obj": [1, 2], "__type": "set"}', new Set([1, 2])],
  "an unregistered tag": ['{"a": 1, "__type": "shop.events.Order"}', { a: 1 }],
  "a list of an unregistered class": ['{"__list": [{"a": 1}], "__type": "shop.Order"}', [{ a: 1 }]],
  "a named tuple": ['{"__obj": [1, "x"], "__type": "shop.Pair"}', [1, "x"]],
  "a key that would change the prototype": ['{"constructor": {"prototype": 1}}', { constructor: { prototype: 1 } }],
  "white space": [" \n[ 1 ,\t2 ] ", [1, 2]],
};

/** No names. */
const NAMELESS: readonly unknown[] = ["", undefined, null, 7, {}, [], true, Symbol("s"), "\ud83e", "a\0b"];

/** No amounts of milliseconds. */
const TIMELESS: readonly unknown[] = [-1, NaN, "100", {}, true, 1n];

/** Cases about bad input. */
export const input: Cases = {
  "an event that cannot be read is reported, and the next one arrives": async (t) => {
    const bus = await t.open();
    const errors = t.errors(bus);
    const client = await t.rawClient();
    const seen = t.collect<unknown>();
    await bus.subscribe("topic", seen.add).ready;
    await bus.subscribe("t*", seen.add, { pattern: true }).ready;
    for (const [i, [what, body]] of Object.entries(MALFORMED).entries()) {
      await client.publish("topic", body);
      await client.publish("topic", String(i));
      equal((await seen.count(2 * i + 2)).slice(2 * i), [i, i], `what was handled after ${what}`);
      const reported = (await errors.count(2 * i + 2)).slice(2 * i);
      for (const { error, topic } of reported) {
        ok(error instanceof ValidationError, `${what} is reported as ${error}, no ValidationError`);
        equal(topic, "topic");
      }
    }
  },

  "an item that cannot be read: get() rejects with its body, and the next item is delivered": async (t) => {
    const bus = await t.open();
    const client = await t.rawClient();
    const queue = t.queue(bus, "queue");
    await each(MALFORMED, async (body, what) => {
      await client.put("queue", body);
      const error = await rejects(() => queue.get({ timeout: 5_000 }), ValidationError, "invalid", what);
      equal(error.body, body, `the body of ${what}`);
      await queue.put(what);
      equal(await queue.get({ timeout: 5_000 }), what);
    });
  },

  "an item that cannot be read goes from receive() and consume() to the dead-letter queue": async (t) => {
    const bus = await t.open();
    t.errors(bus);
    const client = await t.rawClient();
    const queue = t.queue(bus, "queue");
    const dead = bus.queue<{ item: unknown }>("queue.dead");
    await client.put("queue", "half of {");
    await rejects(() => queue.receive({ timeout: 5_000 }), ValidationError);
    equal((await dead.get({ timeout: 5_000 })).item, "half of {");
    const seen = t.collect<unknown>();
    queue.consume(seen.add);
    await client.put("queue", "half of {");
    await queue.put("next");
    await seen.are(["next"]);
    equal((await dead.get({ timeout: 5_000 })).item, "half of {");
  },

  "an item or event that cannot be read ends no for await: it is reported, an item dead-lettered, and the loop continues":
    async (
      t,
    ) => {
      const bus = await t.open();
      const errors = t.errors(bus);
      const client = await t.rawClient();
      const queue = t.queue(bus, "queue");
      const items = queue[Symbol.asyncIterator]();
      const events = bus.topic("topic")[Symbol.asyncIterator]();
      const [item, event] = [items.next(), events.next()];
      await client.put("queue", "half of {");
      await errors.count(1);
      await queue.put("next");
      equal(await item, { done: false, value: "next" });
      const { queue: from, item: body, attempts, cause } = await bus.queue<DeadLetter>("queue.dead").get({
        timeout: 5_000,
      });
      equal([from, body, attempts, cause.name], ["queue", "half of {", 1, "ValidationError"]);
      await bus.subscribe("topic", () => {}).ready;
      await client.publish("topic", "half of {");
      await errors.count(2);
      await bus.publish("next", "topic");
      equal(await event, { done: false, value: "next" });
      for (const { error } of errors.values) ok(error instanceof ValidationError, `${error} is no ValidationError`);
      await Promise.all([items.return!(), events.return!()]);
    },

  "peek() shows what cannot be read as an error and a body": async (t) => {
    const bus = await t.open();
    const client = await t.rawClient();
    const queue = t.queue(bus, "queue");
    const deep = "[".repeat(600) + "]".repeat(600);
    for (const body of ["half of {", deep, "2"]) await client.put("queue", body);
    const items = await queue.peek();
    equal(items.map(({ error, item }) => error?.code ?? item), ["invalid", "invalid", 2]);
    equal(items.map((item) => item.error && item.body), ["half of {", deep, undefined]);
    await bus.queue("queue.dead").put("no letter");
    const [letter] = await queue.dead.peek();
    equal([letter?.error?.code, letter?.error && letter.body, letter?.item], ["invalid", '"no letter"', undefined]);
  },

  "bodies of other writers are decoded to the intended values": async (t) => {
    const bus = await t.open();
    const client = await t.rawClient();
    const queue = t.queue(bus, "queue");
    await each(FOREIGN, async ([body, value], what) => {
      await client.put("queue", body);
      equal(await queue.get({ timeout: 5_000 }), value, what);
    });
  },

  "__proto__ from the wire changes no prototype": async (t) => {
    const bus = await t.open();
    const client = await t.rawClient();
    const queue = t.queue<Record<string, unknown>>(bus, "queue");
    for (
      const body of ['{"__proto__": {"polluted": true}}', '{"a": {"__proto__": {"polluted": true}}, "__type": "x"}']
    ) {
      await client.put("queue", body);
      const value = await queue.get({ timeout: 5_000 });
      equal(Object.getPrototypeOf(value), Object.prototype);
      for (const part of [value, value.a ?? {}]) equal(Object.hasOwn(part, "__proto__"), false, "a key __proto__");
      equal(value.polluted, undefined);
      equal((value.a as Record<string, unknown> | undefined)?.polluted, undefined);
      equal(({} as Record<string, unknown>).polluted, undefined);
    }
  },

  "garbage on a function's topic has no effect": async (t) => {
    const [server, caller] = await t.buses(2) as [Bus, Bus];
    t.errors(server);
    const client = await t.rawClient();
    await server.expose("fn", (value: unknown) => value);
    const requests = [
      '{"__obj":[],"__type":"pymq.core.RpcRequest"}',
      '{"__obj":["fn",7,null,null],"__type":"pymq.core.RpcRequest"}',
      '{"__obj":["fn","queue",{"a":1},[],{"id":7}],"__type":"pymq.core.RpcRequest"}',
      '{"__obj":["other","x",[],{}],"__type":"pymq.core.RpcRequest"}',
    ];
    for (const body of [...Object.values(MALFORMED), '"an event"', "[1]", ...requests]) {
      await client.publish("fn", body);
      equal(await caller.stub("fn")(1), 1, `the result of a call after ${body.slice(0, 80)}`);
    }
  },

  "an invalid name is refused": async (t) => {
    const bus = await t.open();
    const verbs: Record<string, (name: string) => unknown> = {
      "publish(event, name)": (name) => bus.publish("x", name),
      "subscribe(name)": (name) => bus.subscribe(name, () => {}).ready,
      "subscribe(name, { pattern })": (name) => bus.subscribe(name, () => {}, { pattern: true }).ready,
      "topic(name)": (name) => bus.topic(name),
      "queue(name)": (name) => bus.queue(name),
      "consume({ deadLetter })": (name) => bus.queue("q").consume(() => {}, { deadLetter: name }),
      "expose(name)": (name) => bus.expose(name, () => {}),
      "stub(name)": (name) => bus.stub(name),
      "procedure(name)": (name) => procedure(name),
    };
    const optional = ["publish(event, name)", "consume({ deadLetter })"];
    await each(verbs, async (use, verb) => {
      for (const name of NAMELESS) {
        if ((name ?? undefined) === undefined && optional.includes(verb)) continue;
        await rejects(() => use(name as string), ValidationError, "invalid", `${verb} with ${String(name) || '""'}`);
      }
    });
    for (const namespace of NAMELESS.filter((name) => (name ?? undefined) !== undefined)) {
      await rejects(() => t.open({ namespace: namespace as string }), ValidationError, "invalid", "namespace");
    }
  },

  "headers and a delay that are invalid are the fault of the input, as the value that they are sent with is": async (
    t,
  ) => {
    const bus = await t.open();
    const queue = t.queue(bus, "queue");
    const headers = { id: "x".repeat(9_000) };
    const delay = NaN;
    const verbs: Record<string, [InvalidPart, () => unknown]> = {
      "put({ headers })": ["item", () => queue.put(1, { headers })],
      "put({ delay })": ["item", () => queue.put(1, { delay })],
      "putNowait({ headers })": ["item", () => queue.putNowait(1, { headers })],
      "publish({ headers })": ["event", () => bus.publish(1, "topic", { headers })],
      "topic.publish({ headers })": ["event", () => bus.topic("topic").publish(1, { headers })],
      "stub({ headers })": ["arguments", () => bus.stub("fn", { headers })],
      "stream({ headers })": ["arguments", () => bus.stream("fn", { headers })],
    };
    await each(verbs, async ([expected, use], verb) => {
      const { part } = await rejects(use, ValidationError, "invalid", verb);
      equal(part, expected, `the part that ${verb} names`);
    });
  },

  "an invalid time is refused": async (t) => {
    const bus = await t.open();
    const queue = t.queue(bus, "queue");
    await queue.put("x");
    const lease = await queue.receive();
    const verbs: Record<string, (time: number) => unknown> = {
      "get({ timeout })": (timeout) => queue.get({ timeout }),
      "put({ timeout })": (timeout) => queue.put("y", { timeout }),
      "receive({ timeout })": (timeout) => queue.receive({ timeout }),
      "receive({ lease })": (lease) => queue.receive({ lease, block: false }),
      "consume({ lease })": (lease) => queue.consume(() => {}, { lease }),
      "consume({ backoff })": (backoff) => queue.consume(() => {}, { backoff }),
      "nack({ delay })": (delay) => lease.nack({ delay }),
      "stub({ timeout })": (timeout) => bus.stub("fn", { timeout }),
      "stream({ timeout })": (timeout) => bus.stream("fn", { timeout }),
      "close({ timeout })": (timeout) => bus.close({ timeout }),
    };
    await each(verbs, async (use, verb) => {
      for (const time of TIMELESS) {
        await rejects(() => use(time as number), ValidationError, "invalid", `${verb} with ${String(time)}`);
      }
    });
    const delays: Record<string, (delay: number) => unknown> = {
      "put({ delay })": (delay) => queue.put("y", { delay }),
      "putNowait({ delay })": (delay) => queue.putNowait("y", { delay }),
      "nack({ delay })": verbs["nack({ delay })"]!,
      "consume({ backoff })": verbs["consume({ backoff })"]!,
      "subscribe({ backoff })": (backoff) => bus.subscribe("topic", () => {}, { group: "group", backoff }),
    };
    await each(delays, async (use, verb) => {
      for (const delay of [Infinity, Number.MAX_VALUE, 1e12 + 1]) {
        const { message, part } = await rejects(() => use(delay), ValidationError, "invalid", `${verb} with ${delay}`);
        ok(message.endsWith(` must be at most 1000000000000 ms, not ${delay}`), message);
        equal(part, verb.startsWith("put") ? "item" : "options", `the part that ${verb} names`);
      }
    });
    await rejects(() => queue.receive({ lease: 0 }), ValidationError, "invalid", "a lease of 0");
    await rejects(() => queue.receive({ lease: Infinity }), ValidationError, "invalid", "a lease without an end");
    await rejects(() => bus.stub("fn", { timeout: 0 }), ValidationError, "invalid", "a call without time");
    await rejects(() => bus.stream("fn", { timeout: 0 }), ValidationError, "invalid", "a stream without time");
    await bus.expose("fn", () => "served");
    equal(await bus.stub("fn", { timeout: Infinity })(), "served", "the result of a call without a limit");
    const options = ["timeout", "sendTimeout", "connectTimeout"] satisfies (keyof BusOptions)[];
    for (const option of options) {
      for (const time of [-1, 0, NaN, "100"]) {
        await rejects(() => t.open({ [option]: time }), ValidationError, "invalid", `Bus.open({ ${option} })`);
      }
    }
    for (const option of options.slice(1)) {
      for (const time of [2 ** 30 + 1, Infinity]) { // 12 days; calls accept any timeout
        await rejects(() => t.open({ [option]: time }), ValidationError, "invalid", `Bus.open({ ${option} })`);
      }
    }
    await lease.ack();
    equal(await drain(t, queue), []);
  },

  "an invalid handler, count, schema, signal or class is refused": async (t) => {
    const bus = await t.open();
    const queue = t.queue(bus, "queue");
    const no = (value: unknown) => value as never;
    const verbs: Record<string, () => unknown> = {
      "subscribe without a handler": () => bus.subscribe("t", no(undefined)).ready,
      "subscribe with a text for a handler": () => bus.subscribe("t", no("handler")).ready,
      "subscriber of a text": () => bus.subscriber("t")(no("text")),
      "remote of a text": () => bus.remote("t")(no("text")),
      "consume without a handler": () => queue.consume(no(undefined)),
      "subscribe({ concurrency: 0 })": () => bus.subscribe("t", () => {}, { concurrency: 0 }).ready,
      "subscribe({ concurrency: NaN })": () => bus.subscribe("t", () => {}, { concurrency: NaN }).ready,
      "subscribe({ concurrency: 1.5 })": () => bus.subscribe("t", () => {}, { concurrency: 1.5 }).ready,
      "consume({ concurrency: 0 })": () => queue.consume(() => {}, { concurrency: 0 }),
      "consume({ concurrency: '2' })": () => queue.consume(() => {}, { concurrency: no("2") }),
      "consume({ concurrency: 1.5 })": () => queue.consume(() => {}, { concurrency: 1.5 }),
      "put({ delay: -1 })": () => queue.put("x", { delay: -1 }),
      "put({ delay: '9' })": () => queue.put("x", { delay: no("9") }),
      "putNowait({ delay: NaN })": () => queue.putNowait("x", { delay: NaN }),
      "peek({ limit: 0 })": () => queue.peek({ limit: 0 }),
      "peek({ limit: 1.5 })": () => queue.peek({ limit: 1.5 }),
      "peek({ limit: 10_001 })": () => queue.peek({ limit: 10_001 }),
      "peek({ offset: -1 })": () => queue.peek({ offset: -1 }),
      "peek({ offset: '1' })": () => queue.peek({ offset: no("1") }),
      "dead.peek({ limit: NaN })": () => queue.dead.peek({ limit: NaN }),
      "dead.retry({ limit: 0 })": () => queue.dead.retry({ limit: 0 }),
      "dead.retry({ only: 1 })": () => queue.dead.retry({ only: no(1) }),
      "dead.retry({ limit: '1' })": () => queue.dead.retry({ limit: no("1") }),
      "queue({ deadLetter: '' })": () => bus.queue("q", { deadLetter: "" }),
      "queue({ deadLetter: 7 })": () => bus.queue("q", { deadLetter: no(7) }),
      "consume({ handlerTimeout: 0 })": () => queue.consume(() => {}, { handlerTimeout: 0 }),
      "consume({ handlerTimeout: '9' })": () => queue.consume(() => {}, { handlerTimeout: no("9") }),
      "consume({ maxAttempts: 0 })": () => queue.consume(() => {}, { maxAttempts: 0 }),
      "consume({ maxAttempts: 2.5 })": () => queue.consume(() => {}, { maxAttempts: 2.5 }),
      "subscribe({ schema: {} })": () => bus.subscribe("t", () => {}, { schema: no({}) }).ready,
      "topic({ schema: {} })": () => bus.topic("t", { schema: no({}) }),
      "queue({ schema: {} })": () => bus.queue("q", { schema: no({}) }),
      "procedure({ args: {} })": () => procedure("p", { args: no({}) }),
      "procedure({ returns: 'number' })": () => procedure("p", { returns: no("number") }),
      "subscribe({ signal: {} })": () => bus.subscribe("t", () => {}, { signal: no({}) }).ready,
      "get({ signal: {} })": () => queue.get({ signal: no({}), block: false }),
      "put({ signal: {} })": () => queue.put("x", { signal: no({}) }),
      "consume({ signal: {} })": () => queue.consume(() => {}, { signal: no({}) }),
      "stub({ signal: {} })": () => bus.stub("fn", { signal: no({}) }),
      "Bus.open({ types: [{}] })": () => t.open({ types: no([{}]) }),
      "Bus.open({ waitOnFirstConnect: 1 })": () => t.open({ waitOnFirstConnect: no(1) }),
      "Bus.open({ types: 7 })": () => t.open({ types: no(7) }),
      "stub of an object": () => bus.stub(no({})),
      "unexpose of a number": () => bus.unexpose(no(7)),
    };
    await each(verbs, (use, verb) => rejects(use, ValidationError, "invalid", verb));
    equal(await queue.qsize(), 0);
    equal(bus.health().subscriptions, 0);
  },

  "an error has a code, and says whether a retry may succeed": async (t) => {
    const bus = await t.open();
    const invalid = await rejects(() => bus.publish({}), BusError, "invalid");
    equal([invalid.name, invalid.retryable], ["ValidationError", false]);
    const empty = await rejects(() => t.queue(bus, "empty").getNowait(), BusError, "queue_empty");
    equal([empty.name, empty.retryable], ["QueueEmptyError", true]);
    ok(empty.message.includes('"empty"'), "the message names the queue");
    const none = await rejects(() => bus.stub("nobody", { timeout: 5_000 })(), BusError, "no_such_remote");
    equal([none.name, none.retryable], ["NoSuchRemoteError", true]);
    ok(none.message.includes('"nobody"'), "the message names the function");
  },
};
