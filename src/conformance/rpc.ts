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
} from "../errors.ts";
import { each, equal, ok, range, rejects, rejectsWith } from "./assert.ts";
import { NAMES } from "./patterns.ts";
import { type Cases, slow } from "./cases.ts";

/** Cases about single calls. */
export const rpc: Cases = {
  "a stub calls a function that another bus exposes, by name or by function": async (t) => {
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
    await rejects(() => bus.stub("ended", { timeout: 30_000 })(), NoSuchRemoteError);
    await Promise.all([failed, ended]);
  },

  "a bus calls itself": async (t) => {
    const bus = await t.open();
    await bus.expose("echo", (value: unknown) => value);
    equal(await bus.stub("echo")("self"), "self");
  },

  "an error of the function reaches the caller with its type and arguments, without its stack": async (t) => {
    const [server, caller] = await t.buses(2) as [Bus, Bus];
    t.errors(server); // it reports the error too
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
      equal(error.remoteStack, undefined, "the stack: it names files of the server");
    });
  },

  "a call of a function without servers rejects with NoSuchRemoteError at once": async (t) => {
    const [bus] = await t.buses(2) as [Bus, Bus];
    await rejects(() => bus.stub("nobody", { timeout: 120_000 })(), NoSuchRemoteError, "no_such_remote");
    await rejects(() => bus.stub("nobody", { timeout: 120_000 }).rpc(), NoSuchRemoteError, "no_such_remote", "rpc()");
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
      ok(waited > 140, `with ${what} it waited ${waited} ms`);
    }
    await rejects(() => caller.stub("wait", { timeout: 100 }).rpc(), TimeoutError, "timeout", "rpc()");
    open();
    await t.quiet();
    await server.expose("echo", (value: unknown) => value);
    equal(await caller.stub("echo", { timeout: 30_000 })("still well"), "still well");
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

  "1,000 calls can be in flight at once": slow(60_000, async (t) => {
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

  "calls of one turn each get their own outcome": slow(60_000, async (t) => {
    const [server, caller] = await t.buses(2) as [Bus, Bus];
    t.errors(server); // it reports the thrown ones
    const values: unknown[] = [
      "a\n{b",
      "\n",
      new Date(0),
      new Set([1]),
      undefined,
      "x".repeat(40_000),
      [{ a: [null] }],
      "",
    ];
    await server.expose("outcome", (i: number, value: unknown) => {
      if (i % 10 === 9) throw new RangeError(String(i));
      return [i, value];
    });
    const outcome = caller.stub("outcome", { timeout: 60_000 });
    // from the second turn on, each bus knows that the other one reads joined messages
    for (let turn = 0; turn < 3; turn++) {
      const settled = await Promise.allSettled(range(100).map((i) => outcome(i, values[i % values.length])));
      for (const [i, one] of settled.entries()) {
        if (i % 10 === 9) equal((one as PromiseRejectedResult).reason?.remoteArgs, [String(i)]);
        else equal((one as PromiseFulfilledResult<unknown>).value, [i, values[i % values.length]]);
      }
    }
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
