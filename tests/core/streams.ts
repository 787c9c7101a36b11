/** Cases about streams in which the transport makes no difference. */
import * as tsmq from "../../mod.ts";
import type { Bus } from "../../src/bus.ts";
import { NotInitializedError, RemoteInvocationError, RpcError, ValidationError } from "../../src/errors.ts";
import { currentCall } from "../../src/rpc/current_call.ts";
import { procedure } from "../../src/rpc/procedure.ts";
import { MAX_AHEAD, readValues, writeCredit, writeValues } from "../../src/rpc/stream_messages.ts";
import { writeCancel, writeRequest } from "../../src/rpc/wire.ts";
import { each, equal, ok, range, rejects } from "../../src/conformance/assert.ts";
import type { CaseContext } from "../../src/conformance/case_context.ts";
import type { Cases } from "../../src/conformance/cases.ts";
import type { RawClient } from "../../src/conformance/raw_client.ts";
import { Codec } from "../../src/codec/codec.ts";
import { overridden } from "../../src/conformance/runs.ts";
import { amount, length, pair, slowAmount } from "./schemas.ts";

async function read<T>(values: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const value of values) all.push(value);
  return all;
}

/** Yields these values. */
async function* yields<T>(...values: T[]): AsyncGenerator<T> {
  yield* values;
}

/** A client without a bus that reads a stream by itself. */
class RawReader {
  readonly id: string;
  readonly #client: RawClient;
  readonly #server: string;

  constructor(client: RawClient, server: string, id: string) {
    this.id = id;
    this.#client = client;
    this.#server = server;
  }

  /** Requests a stream of `fn`. */
  static async open(t: CaseContext, fn: string, id: string = crypto.randomUUID()): Promise<RawReader> {
    const client = await t.rawClient();
    const [server] = await client.sender.servers(fn);
    const reader = new RawReader(client, server!.inbox, id);
    const deadline = Date.now() + 60_000;
    await reader.post(
      writeRequest(fn, "", { json: "[]" }, { id: reader.id, inbox: client.address, deadline, stream: true }),
    );
    return reader;
  }

  async post(text: string): Promise<void> {
    await this.#client.sender.post(this.#server, text);
  }

  credit(taken: number, received?: number): Promise<void> {
    return this.post(writeCredit({ id: this.id, taken, received }));
  }

  /** The messages that have arrived, without keep-alives. */
  get messages(): { first: number; values: readonly unknown[] }[] {
    const codec = new Codec();
    return this.#client.inbox.flatMap((body) => {
      const message = readValues((codec.decode(body) as { value: unknown }).value);
      return message?.values.length ? message : [];
    });
  }

  /** The values that have arrived. */
  get values(): unknown[] {
    return this.messages.flatMap(({ values }) => values);
  }
}

/** Cases about streams in which the transport makes no difference. */
export const streams: Cases = {
  "the schemas of a procedure validate the arguments and each value, at both ends": async (t) => {
    const [server, caller] = await t.buses(2) as [Bus, Bus];
    t.errors(server); // it reports the error too
    const names = procedure("names", { yields: length });
    await server.expose(names, () => yields("a", "bcd"));
    equal(await read(caller.stream(names)()), [1, 3]);
    const pairs = procedure("pairs", { args: pair, yields: slowAmount });
    await server.expose(pairs, (a, b) => Promise.resolve(yields(a, b)));
    equal(await read(caller.stream(pairs)(1, 0)), [1, 0]);
    await rejects(() => read(caller.stream(pairs)("x" as never, 2)), ValidationError, "invalid", "wrong arguments");
    const wrong = procedure("wrong", { yields: amount });
    await server.expose(wrong, () => yields(1, -1, 2));
    const error = await rejects(() => read(caller.stream(wrong)()), RemoteInvocationError, "remote_failed");
    equal(error.remoteType, "ValidationError");
    await server.expose("unchecked", () => yields(1, -1, 2));
    const checked = procedure("unchecked", { yields: slowAmount });
    await rejects(() => read(caller.stream(checked)()), ValidationError, "invalid", "a value that the caller rejects");
    const plain = procedure("plain", { yields: amount });
    await server.expose(plain, (() => 7) as never);
    await rejects(() => read(caller.stream(plain)()), RemoteInvocationError, "remote_failed", "a result");
    const returns = procedure("returns", { returns: amount });
    await rejects(() => read(caller.stream(returns as never)()), RpcError, "invalid", "a procedure with a result");
  },

  "headers, authorize, exposeErrors and concurrency apply to streams": async (t) => {
    const server = await t.open({
      authorize: ({ headers }) => headers.user !== "eve",
      exposeErrors: (error) => ({ name: "Hidden", message: (error as Error).name }),
    });
    const caller = await t.open();
    t.errors(server); // it reports the error too
    await server.expose("whoami", async function* () {
      yield currentCall()?.headers.user;
      throw new RangeError("secret");
    });
    const as = (user: string) => caller.stream("whoami", { headers: { user } })()[Symbol.asyncIterator]();
    await rejects(() => as("eve").next(), RpcError, "denied");
    const ada = as("ada");
    equal(await ada.next(), { done: false, value: "ada" });
    const error = await rejects(() => ada.next(), RemoteInvocationError, "remote_failed");
    equal([error.remoteType, error.remoteArgs], ["Hidden", ["RangeError"]]);

    let [running, most] = [0, 0];
    await server.expose("one at a time", async function* () {
      most = Math.max(most, ++running);
      try {
        yield 1;
        yield 2;
      } finally {
        running--;
      }
    }, { concurrency: 1 });
    const all = await Promise.all(range(5).map(() => read(caller.stream("one at a time")())));
    equal(all, range(5).map(() => [1, 2]));
    equal(most, 1, "the number of streams that ran at once");
  },

  "a stream can be any async iterable, and its calls start at the first next()": async (t) => {
    const [server, caller] = await t.buses(2) as [Bus, Bus];
    let calls = 0;
    const functions: Record<string, () => unknown> = {
      "a generator": () => yields(1, 2),
      "a promise of one": () => Promise.resolve(yields(1, 2)),
      "a ReadableStream": () => ReadableStream.from([1, 2]),
      "an object without return()": () => {
        let i = 0;
        const next = () => Promise.resolve(i < 2 ? { done: false, value: ++i } : { done: true, value: undefined });
        return { [Symbol.asyncIterator]: () => ({ next }) };
      },
    };
    await each(functions, async (fn, name) => {
      await server.expose(name, () => {
        calls++;
        return fn();
      });
      const before = calls;
      const values = caller.stream(name)();
      if (before === 0) await t.quiet();
      equal(calls, before, `the calls of ${name} before it is read`);
      equal(await read(values), [1, 2], name);
      await rejects(() => read(values), RpcError, "invalid", "a second iteration");
      for await (const _ of caller.stream(name)()) break;
    });
    await t.until(() => server.health().pending.handlers === 0, "all streams have ended");
  },

  "reads that are not awaited are answered in order": async (t) => {
    const [server, caller] = await t.buses(2) as [Bus, Bus];
    await server.expose("three", () => yields(1, 2, 3));
    const values = caller.stream("three")()[Symbol.asyncIterator]();
    const results = await Promise.all(range(5).map(() => values.next()));
    equal(results.map(({ value }) => value as unknown), [1, 2, 3, undefined, undefined]);
    equal(results.map(({ done }) => done === true), [false, false, false, true, true]);
    const ends = caller.stream("three")()[Symbol.asyncIterator]();
    const first = ends.next();
    await ends.return!();
    equal(await first, { done: true, value: undefined });
  },

  "a class's async generators are streams, which its stub does not include": async (t) => {
    const [server, caller] = await t.buses(2) as [Bus, Bus];
    class Clock {
      static readonly topic = "kit.Clock";
      now(): number {
        return 7;
      }
      async *ticks(count: number): AsyncGenerator<number> {
        for (let i = 0; i < count; i++) yield this.now() + i;
      }
    }
    await server.expose(new Clock());
    await server.expose({ letters: () => yields("a", "b") });
    const clock = caller.stub(Clock);
    equal(await clock.now(), 7);
    equal("ticks" in clock, false);
    const reads = () => (clock as unknown as Clock).ticks(1);
    await rejects(reads, ValidationError, "invalid", "reading a stream from a stub");
    equal(await read(caller.stream<Clock["ticks"]>("kit.Clock.ticks")(3)), [7, 8, 9]);
    equal(await read(caller.stream("letters")()), ["a", "b"]);
  },

  "stream() refuses bad input": async (t) => {
    const bus = await t.open();
    const bad: Record<string, () => unknown> = {
      "an empty name": () => bus.stream(""),
      "no name": () => bus.stream(undefined as never),
      "a class": () => bus.stream(class Any {} as never),
      "a negative timeout": () => bus.stream("fn", { timeout: -1 }),
      "a timeout that is a string": () => bus.stream("fn", { timeout: "1" as never }),
      "a signal that is an object": () => bus.stream("fn", { signal: {} as never }),
      "headers that are a string": () => bus.stream("fn", { headers: "x" as never }),
      "a procedure with a result and values": () => procedure("fn", { returns: amount, yields: amount } as never),
      "a schema that is an object": () => procedure("fn", { yields: {} as never }),
    };
    await each(bad, (act, what) => rejects(act, ValidationError, "invalid", what));
    await rejects(() => tsmq.stream("fn"), NotInitializedError);
    await bus.expose("fails", async function* () {
      yield 1;
    });
    await rejects(
      () => read(bus.stream("fails")(() => {})),
      ValidationError,
      "invalid",
      "arguments that cannot be sent",
    );
  },

  "a bus that its own generator closes waits for everything else": async (t) => {
    const [server, caller] = await t.buses(2) as [Bus, Bus];
    await server.expose("closes", async function* () {
      yield 1;
      await server.close({ timeout: 20_000 });
      yield 2;
    });
    equal(await read(caller.stream("closes")()), [1, 2]);
    await server.closed;
  },

  "a caller that gives no credit, or forged credit, receives no more values": async (t) => {
    const server = await t.open();
    const errors = t.errors(server);
    let made = 0;
    await server.expose("numbers", async function* () {
      for (;;) yield made++;
    });
    const reader = await RawReader.open(t, "numbers");
    await t.until(() => reader.values.length === MAX_AHEAD, "the first values");
    const far = ["1e9", "-1", '"x"', "null", "[]", "1.5", "9007199254740993", `${MAX_AHEAD + 1}`, "{}", "NaN"];
    for (const taken of far) await reader.post(`{"__obj":["${reader.id}",${taken}],"__type":"tsmq:credit"}`);
    for (const id of ["", "x", crypto.randomUUID()]) await reader.post(writeCredit({ id, taken: 5 }));
    await reader.post('{"__obj":{"id":1},"__type":"tsmq:credit"}');
    await reader.post('{"__obj":[],"__type":"tsmq:values"}');
    for (const { error } of await errors.count(5)) ok(error instanceof ValidationError, `reported: ${error}`);
    await t.quiet();
    equal([made, reader.values], [MAX_AHEAD, range(MAX_AHEAD)]);
    await reader.credit(10);
    await t.until(() => made === MAX_AHEAD + 10, "ten more values");
    await reader.credit(5); // an old message
    const before = reader.messages.length;
    for (let i = 0; i < 50; i++) await reader.credit(10, 200);
    await t.quiet();
    const repeated = reader.messages.slice(before).filter(({ first }) => first < MAX_AHEAD);
    ok(
      new Set(repeated.map(({ first }) => first)).size * 4 >= repeated.length,
      `${repeated.length} messages were sent again`,
    );
    equal(made, MAX_AHEAD + 10);
    await reader.post(writeCancel(reader.id));

    const quoted = await RawReader.open(t, "numbers", 'x"],"__type":"tsmq:cancel","y":["');
    await t.until(() => quoted.values.length === MAX_AHEAD, "the values of a stream whose id has quotes");
    await quoted.post(writeCancel(quoted.id));
  },

  "values that a stranger forges are dropped": async (t) => {
    const posts: string[] = [];
    const provider = t.provider;
    const open: typeof provider.open = async (context) => {
      const sender = await provider.open(context);
      const post = (inbox: string, body: string) => {
        posts.push(body);
        return sender.post(inbox, body);
      };
      return overridden(sender, { post });
    };
    const [server, caller, client] = [await t.open(), await t.open({}, { ...provider, open }), await t.rawClient()];
    t.errors(caller);
    await server.expose("numbers", async function* (count: number) {
      yield* range(count);
    });
    const seen: unknown[] = [];
    for await (const value of caller.stream("numbers")(1_000)) {
      if (seen.push(value) !== 100) continue;
      const request = JSON.parse(posts.find((text) => text.includes('"stream":true'))!).__obj[4];
      const one = [{ json: '"forged"' }];
      const forged = [
        writeValues(request.id, 100_000, one),
        writeValues(request.id, 0, one, "{}"),
        writeValues(request.id, 50, one),
        writeValues(crypto.randomUUID(), 101, one),
        ...["-1", "1.5", '"x"', "null", "1e300"].map((first) =>
          `{"__obj":["${request.id}",${first},["forged"],{}],"__type":"tsmq:values"}`
        ),
        ...["7", "[]", '{"lost":1}', '{"error":7}', '{"error":{"type":"x"}}'].map((end) =>
          `{"__obj":["${request.id}",${MAX_AHEAD},[],${end}],"__type":"tsmq:values"}`
        ),
        `{"__obj":["${request.id}",100,"forged"],"__type":"tsmq:values"}`,
        `{"__obj":"${request.id}","__type":"tsmq:values"}`,
      ];
      for (const text of forged) await client.sender.post(request.inbox, text);
    }
    equal(seen, range(1_000));
  },
};
