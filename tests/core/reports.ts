/**
 * Errors that a bus reports: each names the verb, the name and the attempt, and what the bus does next.
 *
 * @module
 */
import { inspect } from "node:util";
import { engineOf } from "../../src/bus.ts";
import type { BusErrorEvent, BusStateEvent, Gap } from "../../src/events.ts";
import { RemoteInvocationError } from "../../src/errors.ts";
import { equal, ok, rejects } from "../../src/conformance/assert.ts";
import type { Cases } from "../../src/conformance/cases.ts";
import { currentCall } from "../../src/rpc/current_call.ts";
import { procedure } from "../../src/rpc/procedure.ts";
import { amount, pair } from "./schemas.ts";

type Inspect = (value: unknown, options: { depth: number }) => string;

/** Returns what `console.log` prints of a value on this runtime, and what `inspect` of node:util returns. */
function printed(value: unknown): string[] {
  const { Deno, Bun } = globalThis as { Deno?: { inspect: Inspect }; Bun?: { inspect: Inspect } };
  const all: Inspect[] = [inspect, (Deno ?? Bun)!.inspect];
  return all.map((inspect) => inspect(value, { depth: 9 }));
}

const shape = ({ verb, name, attempt, next, delay }: BusErrorEvent) => [verb, name, attempt, next, delay];

/** Cases about the errors that a bus reports. */
export const reports: Cases = {
  "an event whose handler throws, or that cannot be read, is dropped": async (t) => {
    const bus = await t.open();
    const errors = t.errors(bus);
    await bus.subscribe("topic", () => Promise.reject(new Error("no"))).ready;
    await bus.publish(1, "topic");
    await errors.count(1);
    await (await t.rawClient()).publish("topic", "{");
    equal((await errors.count(2)).map(shape), [
      ["subscribe", "topic", undefined, "drop", undefined],
      ["subscribe", "topic", undefined, "drop", undefined],
    ]);
  },

  "an error has the item or the event and its headers, which neither JSON nor the console nor the log shows": async (
    t,
  ) => {
    const logged: unknown[] = [];
    const bus = await t.open({ log: (record) => logged.push(record) });
    const errors = t.errors(bus);
    // Bun prints the lines of the source that threw, so the secrets must not be among them
    const [id, secret, refused, unreadable] = [1, 2, 3, 4].map((n) => `hidden-${n}`) as [
      string,
      string,
      string,
      string,
    ];
    const headers = { id };
    const fail = () => Promise.reject(new RangeError("no"));
    await bus.subscribe("topic", fail).ready;
    await bus.subscribe("topic", fail, { group: "group", maxAttempts: 1 }).ready;
    t.frees("topic@group", "topic@group.dead");
    const queue = t.queue<unknown>(bus, "jobs");
    const consumer = bus.queue("jobs", { schema: amount }).consume(fail, { maxAttempts: 1 });
    await bus.publish({ secret }, "topic", { headers });
    await queue.put(1, { headers });
    await queue.put(refused, { headers });
    const raw = await t.rawClient();
    await raw.publish("topic", `{${unreadable}`);
    const seen = (await errors.count(6)).map(({ name, verb, item, headers }) => [name, verb, item, headers?.id]);
    const sorted = seen.toSorted((a, b) => JSON.stringify(a) < JSON.stringify(b) ? -1 : 1);
    equal(sorted, [
      ["jobs", "consume", JSON.stringify(refused), id],
      ["jobs", "consume", 1, id],
      ["topic", "subscribe", `{${unreadable}`, undefined],
      ["topic", "subscribe", { secret }, id],
      ["topic@group", "subscribe", `{${unreadable}`, undefined],
      ["topic@group", "subscribe", { secret }, id],
    ]);
    const event = errors.values.find(({ item }) => item === 1)!;
    const json = JSON.parse(JSON.stringify(event));
    ok(json.error.stack.includes("reports.ts"), "JSON has the stack");
    delete json.error.stack;
    equal(json, {
      name: "jobs",
      verb: "consume",
      attempt: 1,
      next: "dead-letter",
      message: "no",
      error: { name: "RangeError", message: "no" },
    });
    for (const text of printed(event)) {
      ok(/^BusErrorEvent \{.*name: ['"]jobs['"],.*RangeError: no\s+at /s.test(text), text);
    }
    const shown = errors.values.flatMap((event) => [JSON.stringify(event), ...printed(event)]);
    for (const text of [...shown, ...printed(logged)]) {
      ok(!text.includes(id) && !text.includes(secret), text);
    }
    await consumer.close();
  },

  "a state event has its state, also as JSON and on the console": async (t) => {
    const bus = await t.open();
    const events = t.collect<BusStateEvent>("the states");
    bus.addEventListener("state", (event) => events.add(event));
    await bus.close();
    const all = await events.count(2);
    equal(all.map(({ state, detail }) => [state, detail]), [["closing", "closing"], ["closed", "closed"]]);
    equal(JSON.stringify(all[0]), '{"state":"closing"}');
    for (const text of printed(all[0])) ok(/^BusStateEvent \{\s+state: ['"]closing['"],?\s+\}$/.test(text), text);
  },

  "a gap event has its detail, also as JSON and on the console": async (t) => {
    const bus = await t.open();
    const events = t.collect<CustomEvent<Gap>>("the gaps");
    bus.addEventListener("gap", events.add);
    engineOf(bus).gap({ reason: "the connection broke", lost: 2, topic: "news" });
    const [event] = await events.count(1);
    equal(JSON.parse(JSON.stringify(event)), { reason: "the connection broke", lost: 2, topic: "news" });
    for (const text of printed(event)) ok(/^GapEvent \{\s+reason: ['"]the connection broke['"],/.test(text), text);
  },

  "an item whose handler throws is retried after its delay, and dead-lettered after the last attempt": async (t) => {
    const bus = await t.open();
    const errors = t.errors(bus);
    const queue = t.queue<string>(bus, "jobs");
    const consumer = queue.consume(() => Promise.reject(new Error("no")), {
      maxAttempts: 3,
      backoff: (attempt) => attempt,
    });
    await queue.put("item");
    equal((await errors.count(3)).map(shape), [
      ["consume", "jobs", 1, "retry", 1],
      ["consume", "jobs", 2, "retry", 2],
      ["consume", "jobs", 3, "dead-letter", undefined],
    ]);
    await consumer.close();
  },

  "an item that its handler has settled, or whose backoff throws, is reported with its outcome": async (t) => {
    const bus = await t.open();
    const errors = t.errors(bus);
    const queue = t.queue<string>(bus, "jobs");
    const consumer = queue.consume(async (item, lease) => {
      if (item === "settled") await lease.ack();
      throw new Error(item);
    }, {
      backoff: () => {
        throw new Error("the backoff");
      },
    });
    await queue.put("settled");
    await errors.count(1);
    await queue.put("item");
    equal((await errors.count(3)).map((event) => [event.message, ...shape(event)]), [
      ["settled", "consume", "jobs", 1, undefined, undefined],
      ["the backoff", "consume", "jobs", undefined, undefined, undefined],
      ["item", "consume", "jobs", 1, "retry", 1_000],
    ]);
    await consumer.close();
  },

  "a failed attempt whose lease ended unnoticed is reported without what becomes of its item": async (t) => {
    const bus = await t.open();
    const errors = t.errors(bus);
    const queue = t.queue<string>(bus, "jobs");
    const consumer = queue.consume(async () => {
      await queue.free(); // with its leases, as if another consumer had finished the item while this process was frozen
      throw new Error("late");
    });
    await queue.put("item");
    equal((await errors.count(1)).map((event) => [event.message, ...shape(event)]), [
      ["late", "consume", "jobs", 1, undefined, undefined],
    ]);
    await consumer.close();
    equal(errors.values.length, 1, "the number of reports");
  },

  "a served function that throws, or whose result cannot be sent, is reported on its server too": async (t) => {
    const server = await t.open();
    const caller = await t.open();
    const errors = t.errors(server);
    const thrown = new RangeError("too far");
    await server.expose("fail", () => Promise.reject(thrown));
    await server.expose(procedure("half", { args: pair, returns: amount }), () => -1);
    const failed = await rejects(() => caller.stub("fail")(), RemoteInvocationError);
    equal([failed.remoteType, failed.remoteArgs], ["RangeError", ["too far"]]);
    await rejects(() => caller.stub("half")("x", 1), RemoteInvocationError, undefined, "wrong arguments");
    await rejects(() => caller.stub("half")(1, 1), RemoteInvocationError, undefined, "a wrong result");
    equal((await errors.count(2)).map(shape), [
      ["expose", "fail", undefined, "answer", undefined],
      ["expose", "half", undefined, "answer", undefined],
    ]);
    equal(errors.values[0]!.error, thrown);
    equal(errors.values.length, 2, "the number of reports");
  },

  "a method that was exposed without its object fails with an error that names the remedy": async (t) => {
    const bus = await t.open();
    t.errors(bus);
    class Remote {
      greeting = "hello";
      echo(text: string): string {
        return `${this.greeting} ${text}`;
      }
      async later(text: string): Promise<string> {
        return await Promise.resolve(`${this.greeting} ${text}`);
      }
      pure(text: string): string {
        return text;
      }
    }
    const remote = new Remote();
    await bus.expose(remote.echo);
    await bus.expose("later", remote.later);
    await bus.expose(remote.pure);
    for (const name of ["echo", "later"]) {
      const { message } = await rejects(() => bus.stub(name)("x"), RemoteInvocationError);
      ok(message.includes(`Cannot call "${name}": the method was exposed without its object`), message);
    }
    equal(await bus.stub(remote.pure)("x"), "x");
    await bus.unexpose(remote.echo);
    await bus.expose(remote, "echo");
    equal(await bus.stub(Remote).echo("you"), "hello you");
    await bus.expose("arrow", (text: string) => text);
    await bus.expose("function", function (this: unknown, text: string) {
      return this === undefined ? text : "with this";
    });
    equal([await bus.stub("arrow")("x"), await bus.stub("function")("x")], ["x", "x"]);
  },

  "a served function that ends with the reason of its signal is not reported": async (t) => {
    const server = await t.open();
    const caller = await t.open();
    const started = t.collect<string>();
    const ended = t.collect<unknown>();
    await server.expose("wait", async () => {
      const { signal } = currentCall()!;
      started.add("started");
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      ended.add(signal.reason);
      throw signal.reason;
    });
    const left = new AbortController();
    const call = caller.stub("wait", { signal: left.signal })().catch(() => {});
    await started.count(1);
    left.abort();
    await call;
    await ended.count(1);
    await t.quiet();
  },
};
