/**
 * Calls of one server: arguments, results, errors, deadlines.
 *
 * @module
 */
import type { Bus } from "../bus.ts";
import {
  BusError,
  ClosedError,
  NoSuchRemoteError,
  ProviderError,
  RemoteInvocationError,
  TimeoutError,
  ValidationError,
} from "../errors.ts";
import { procedure } from "../rpc/procedure.ts";
import { each, equal, ok, range, rejects, rejectsWith } from "./assert.ts";
import { NAMES } from "./patterns.ts";
import { type Cases, slow } from "./cases.ts";
import { amount, length, pair, schema, slowAmount } from "./schemas.ts";

/** Cases about single calls. */
export const rpc: Cases = {
  "a stub calls what another bus exposes: by name, by function": async (t) => {
    const [server, caller] = await t.buses(2) as [Bus, Bus];
    function multiply(a: number, b: number): number {
      return a * b;
    }
    await server.expose("add", (a: number, b: number) => a + b);
    await server.expose(multiply);
    equal(await caller.stub("add")(1, 2), 3);
    equal(await caller.stub<typeof multiply>("multiply")(3, 4), 12);
    equal(await caller.stub(multiply)(5, 6), 30);
  },

  "a call waits for functions that its own bus is about to expose": async (t) => {
    const bus = await t.open();
    for (let i = 0; i < 4; i++) {
      bus.remote(`wrapped ${i}`)(() => "wrapped");
      equal(await bus.stub(`wrapped ${i}`)(), "wrapped");
      const exposed = bus.expose(`exposed ${i}`, () => "exposed");
      equal(await bus.stub(`exposed ${i}`, { multi: true })(), [{ status: "fulfilled", value: "exposed" }]);
      await exposed;
    }
    const failed = rejects(() => bus.expose("ended", () => {}), ClosedError);
    const ended = bus.unexpose("ended");
    await rejects(() => bus.stub("ended", { timeout: 5_000 })(), NoSuchRemoteError);
    await Promise.all([failed, ended]);
  },

  "a bus calls itself": async (t) => {
    const bus = await t.open();
    await bus.expose("echo", (value: unknown) => value);
    equal(await bus.stub("echo")("self"), "self");
  },

  "a function can be asynchronous, and can return nothing": async (t) => {
    const [server, caller] = await t.buses(2) as [Bus, Bus];
    const functions: Record<string, [() => unknown, unknown]> = {
      promise: [() => Promise.resolve("later"), "later"],
      nothing: [() => {}, undefined],
      "nothing later": [() => Promise.resolve(), undefined],
      null: [() => null, null],
      false: [() => false, false],
      "an empty text": [() => "", ""],
    };
    await each(functions, async ([fn, expected], name) => {
      await server.expose(name, fn);
      equal(await caller.stub(name)(), expected, `the result of "${name}"`);
    });
  },

  "a function receives exactly the arguments of the call": async (t) => {
    const bus = await t.open();
    await bus.expose("count", (...args: unknown[]) => args);
    const count = bus.stub("count");
    equal(await count(), []);
    equal(await count(undefined, null), [undefined, null]);
    equal(await count([1, [2]], { a: {} }), [[1, [2]], { a: {} }]);
    equal(await count(...range(100)), range(100));
  },

  "caller and server validate the calls of a procedure": async (t) => {
    const [server, caller] = await t.buses(2) as [Bus, Bus];
    const divide = procedure("divide", { args: pair, returns: amount });
    let served = 0;
    await server.expose(divide, (a: number, b: number) => {
      served++;
      return a / b;
    });
    const call = caller.stub(divide);
    equal(await call(6, 3), 2);
    const error = await rejects(
      () => call("6" as never, 3),
      ValidationError,
      "invalid",
      "a call with a wrong argument",
    );
    equal(error.issues.map(({ message }) => message), ["no pair of numbers"]);
    equal(served, 1, "the number of calls served: an invalid one is not sent");
    await rejects(
      () => caller.stub("divide")(1),
      RemoteInvocationError,
      "remote_failed",
      "a wrong call without the contract",
    );
    equal(served, 1, "the number of calls served: an invalid one is not served");
    await rejects(() => call(-1, 1), RemoteInvocationError, "remote_failed", "a call with a wrong result");
  },

  "the schemas of a procedure can be asynchronous": async (t) => {
    const bus = await t.open();
    const half = procedure("half", { returns: slowAmount });
    await bus.expose(half, (value: unknown) => value as number / 2);
    equal(await bus.stub(half)(4), 2);
    await rejects(() => bus.stub(half)(-4), RemoteInvocationError);
  },

  "a call that is aborted while a schema validates its arguments is not served": async (t) => {
    const [server, caller] = await t.buses(2) as [Bus, Bus];
    const seen = t.collect<string>();
    const { passed, open } = t.gate();
    const contract = procedure("work", { args: schema<unknown[]>((value) => passed.then(() => value as unknown[])) });
    await server.expose("work", () => seen.add("served"));
    const abort = new AbortController();
    const call = rejectsWith(caller.stub(contract, { signal: abort.signal })(), "enough");
    abort.abort("enough");
    open();
    await call;
    await t.quiet();
    equal(seen.values, []);
  },

  "the caller receives the output of the result's schema": async (t) => {
    const bus = await t.open();
    const describe = procedure("describe", { returns: length });
    await bus.expose(describe, () => "seven !");
    equal(await bus.stub(describe)(), 7);
  },

  "an error of the function reaches the caller with its type, arguments and stack": async (t) => {
    const [server, caller] = await t.buses(2) as [Bus, Bus];
    class OutOfStock extends Error {
      override name = "OutOfStock";
    }
    const thrown: Record<string, [() => unknown, string, unknown[]]> = {
      TypeError: [
        () => {
          throw new TypeError("no number");
        },
        "TypeError",
        ["no number"],
      ],
      "a custom class": [() => Promise.reject(new OutOfStock("seven left")), "OutOfStock", ["seven left"]],
      "a text": [() => Promise.reject("just text"), "Error", ["just text"]],
      nothing: [() => Promise.reject(undefined), "Error", ["undefined"]],
    };
    await each(thrown, async ([fn, type, args], what) => {
      await server.expose(what, fn);
      const error = await rejects(() => caller.stub(what)(), RemoteInvocationError, "remote_failed", what);
      equal([error.remoteType, error.remoteArgs], [type, args], `the error of a function that throws ${what}`);
      if (what === "TypeError") ok(error.remoteStack?.includes("no number") === true, "the error has the remote stack");
    });
  },

  "a call of a function without servers rejects with NoSuchRemoteError at once": async (t) => {
    const [bus] = await t.buses(2) as [Bus, Bus];
    const start = performance.now();
    await rejects(() => bus.stub("nobody", { timeout: 15_000 })(), NoSuchRemoteError, "no_such_remote");
    ok(performance.now() - start < 10_000, "the call waited for its timeout");
    await rejects(() => bus.stub("nobody", { timeout: 15_000 }).rpc(), NoSuchRemoteError, "no_such_remote", "rpc()");
  },

  "a subscriber of the function's topic is not a server of it": async (t) => {
    const [subscriber, caller] = await t.buses(2) as [Bus, Bus];
    await subscriber.subscribe("fn", () => "mine").ready;
    await subscriber.subscribe("*", () => "all mine", { pattern: true }).ready;
    const error = await rejects(() => caller.stub("fn", { timeout: 1_500 })(), BusError);
    ok(error instanceof NoSuchRemoteError || error instanceof TimeoutError, `the call rejected with ${error}`);
  },

  "a call without an answer in time rejects with TimeoutError; a late answer is ignored": async (t) => {
    const [server, caller] = [await t.open(), await t.open({ timeout: 300 })];
    const { passed, open } = t.gate();
    await server.expose("wait", () => passed);
    for (const [what, options] of [["the bus's timeout", {}], ["the stub's timeout", { timeout: 150 }]] as const) {
      const start = performance.now();
      await rejects(() => caller.stub("wait", options)(), TimeoutError, "timeout", what);
      const waited = performance.now() - start;
      ok(waited > 140 && waited < 5_000, `with ${what} it waited ${waited} ms`);
    }
    await rejects(() => caller.stub("wait", { timeout: 100 }).rpc(), TimeoutError, "timeout", "rpc()");
    open();
    await t.quiet();
    await server.expose("echo", (value: unknown) => value);
    equal(await caller.stub("echo", { timeout: 5_000 })("still well"), "still well");
    equal(caller.health().pending.calls, 0);
  },

  "an aborted call rejects with the reason of the signal": async (t) => {
    const [server, caller] = await t.buses(2) as [Bus, Bus];
    const { passed } = t.gate();
    const seen = t.collect<string>();
    await server.expose("wait", () => {
      seen.add("served");
      return passed;
    });
    const abort = new AbortController();
    const wait = caller.stub("wait", { signal: abort.signal });
    const calls = [wait(), wait.rpc()].map((call) => rejectsWith(call, "enough"));
    await seen.count(2);
    abort.abort("enough");
    await Promise.all(calls);
    await rejectsWith(() => wait(), "enough");
    equal(seen.values.length, 2, "the number of calls served");
    equal(caller.health().pending.calls, 0);
  },

  "1,000 calls in flight at once": slow(60_000, async (t) => {
    const [server, caller] = await t.buses(2) as [Bus, Bus];
    const { passed, open } = t.gate();
    let running = 0;
    await server.expose("double", async (i: number) => {
      if (++running === 1_000) open();
      await passed;
      return 2 * i;
    });
    const double = caller.stub("double", { timeout: 50_000 });
    equal(await Promise.all(range(1_000).map((i) => double(i))), range(1_000).map((i) => 2 * i));
  }),

  "a handler can call while further events wait": async (t) => {
    const [server, bus] = await t.buses(2) as [Bus, Bus];
    const seen = t.collect<number>();
    await server.expose("double", (i: number) => 2 * i);
    await bus.expose("own", (i: number) => i + 1);
    await bus.subscribe("events", async (i: number) => {
      seen.add(await bus.stub("double")(i) as number + (await bus.stub("own")(i) as number));
    }).ready;
    await Promise.all(range(100).map((i) => server.publish(i, "events")));
    const got = await seen.count(100);
    equal(t.features.ordered ? got : got.toSorted((a, b) => a - b), range(100).map((i) => 3 * i + 1));
  },

  "a function can call others, and itself": async (t) => {
    const [one, two] = await t.buses(2) as [Bus, Bus];
    const factorial = async (n: number): Promise<number> =>
      n < 2 ? 1 : n * (await one.stub<typeof factorial>("factorial")(n - 1));
    await one.expose("factorial", factorial);
    await two.expose("twice", async (n: number) => 2 * (await two.stub<typeof factorial>("factorial")(n)));
    equal(await one.stub("twice")(6), 1440);
    equal(await two.stub("twice")(5), 240);
  },

  "rpc() resolves with the raw answer, also if the function threw": async (t) => {
    const [server, caller] = await t.buses(2) as [Bus, Bus];
    await server.expose("add", (a: number, b: number) => a + b);
    await server.expose("fail", () => Promise.reject(new RangeError("too far")));
    equal(await caller.stub("add").rpc(1, 2), { fn: "add", result: 3, resultType: "int", isError: false });
    const failed = await caller.stub("fail").rpc();
    equal(failed, { fn: "fail", result: ["too far"], resultType: "RangeError", isError: true });
  },

  "a result that cannot be encoded is an error of the function": async (t) => {
    const [server, caller] = await t.buses(2) as [Bus, Bus];
    await server.expose("fn", () => () => {});
    const error = await rejects(() => caller.stub("fn")(), RemoteInvocationError, "remote_failed");
    equal(error.remoteType, "ValidationError");
  },

  "a call rejects if the schema of a class refuses its arguments or its result": async (t) => {
    class Small {
      static readonly topic = "kit.Size";
      constructor(readonly size: number) {}
    }
    /** The same class as the server has it. */
    class Checked {
      static readonly topic = "kit.Size";
      static readonly schema = schema((value) => {
        if ((value as Small).size > 9) throw "too large";
        return value;
      });
    }
    const plain = await t.open({ types: [Small] });
    const strict = await t.open({ types: [Checked] });
    const errors = t.errors(strict);
    await strict.expose("takes", (size: Small) => size.size);
    await plain.expose("gives", (size: number) => new Small(size));
    const takes = plain.stub<(size: Small) => number>("takes");
    const gives = strict.stub<(size: number) => Small>("gives");
    equal(await takes(new Small(1)), 1);
    equal((await gives(1)).size, 1);
    for (const call of [() => takes(new Small(10)), () => gives(10)]) {
      const error = await rejects(call, RemoteInvocationError, "remote_failed");
      equal(error.remoteType, "ValidationError");
      ok(error.message.includes("too large"), error.message);
    }
    equal(await takes(new Small(2)), 2);
    await errors.count(2);
  },

  "a large result arrives, or the call fails as too large": async (t) => {
    const [server, caller] = await t.buses(2) as [Bus, Bus];
    const large = "x".repeat(1e6);
    t.errors(server); // the server may report that it could not send the result
    await server.expose("large", () => large);
    await server.expose("throws", () => Promise.reject(new Error(large)));
    await server.expose("length", (text: string) => text.length);
    await rejects(() => caller.stub("throws")(), RemoteInvocationError, "remote_failed", "a large error");
    if (t.features.maxBody < 1e6) {
      await rejects(() => caller.stub("large")(), RemoteInvocationError, "remote_failed", "a large result");
      await rejects(() => caller.stub("length")(large), ProviderError, "too_large", "a large argument");
      return;
    }
    ok(await caller.stub("large")() === large, "the result arrived as it was sent");
    equal(await caller.stub("length")(large), 1e6);
  },

  "any string can be the name of a function": slow(60_000, async (t) => {
    const [server, caller] = await t.buses(2) as [Bus, Bus];
    await Promise.all(NAMES.map((name) => server.expose(name, () => name)));
    for (const name of NAMES) equal(await caller.stub(name)(), name);
  }),
};
