/** Cases about calls in which the transport makes no difference. */
import type { Bus } from "../../src/bus.ts";
import { type ErrorCode, RemoteInvocationError, ValidationError } from "../../src/errors.ts";
import type { ExposeErrors } from "../../src/hooks.ts";
import { procedure } from "../../src/rpc/procedure.ts";
import { each, equal, ok, range, rejects, rejectsWith } from "../../src/conformance/assert.ts";
import type { Cases } from "../../src/conformance/cases.ts";
import { schema } from "../../src/conformance/schemas.ts";
import { amount, length, pair, slowAmount } from "./schemas.ts";

/** Cases about calls in which the transport makes no difference. */
export const rpc: Cases = {
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

  "exposeErrors decides which part of an error callers receive": async (t) => {
    const shown: Record<string, [ExposeErrors, type: string, message: string, stack: boolean]> = {
      false: [false, "RangeError", "secret", false],
      true: [true, "RangeError", "secret", true],
      "a function": [
        (error) => ({ name: "Failed", message: `by ${(error as Error).name}` }),
        "Failed",
        "by RangeError",
        false,
      ],
      "a function that throws": [
        () => {
          throw new Error("on purpose");
        },
        "Error",
        "the function threw",
        false,
      ],
      "a function that returns nothing": [() => undefined as never, "Error", "the function threw", false],
      "an asynchronous function that throws": [
        (() => Promise.reject(new Error("on purpose"))) as never,
        "Error",
        "the function threw",
        false,
      ],
      "a function that returns an error": [(error) => error as never, "RangeError", "secret", false],
      "a function that returns other values": [
        () => ({ name: 7, message: "secret" }) as never,
        "Error",
        "the function threw",
        false,
      ],
    };
    const caller = await t.open();
    const kept = console.error;
    console.error = () => {}; // a function that fails is reported there
    try {
      await each(shown, async ([exposeErrors, type, message, stack], name) => {
        const server = await t.open({ exposeErrors });
        t.errors(server); // it reports the error too
        await server.expose(name, () => {
          throw new RangeError("secret");
        });
        const error = await rejects(() => caller.stub(name)(), RemoteInvocationError);
        equal([error.remoteType, error.remoteArgs], [type, [message]], `with ${name}`);
        equal(error.remoteStack?.includes("secret") ?? false, stack, `with ${name}, whether the stack arrives`);
        equal(
          JSON.stringify(await caller.stub(name).rpc()).includes("secret"),
          message === "secret",
          `the response with ${name}`,
        );
      });
    } finally {
      console.error = kept;
    }
    await rejects(() => t.open({ exposeErrors: "stack" as never }), ValidationError);
  },

  "caller and server validate the calls of a procedure": async (t) => {
    const [server, caller] = await t.buses(2) as [Bus, Bus];
    t.errors(server); // it reports the error too
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
      "invalid",
      "a wrong call without the contract",
    );
    equal(served, 1, "the number of calls served: an invalid one is not served");
    await rejects(() => call(-1, 1), RemoteInvocationError, "remote_failed", "a call with a wrong result");
  },

  "the schemas of a procedure can be asynchronous": async (t) => {
    const bus = await t.open();
    t.errors(bus); // it reports the error too
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

  "a stub or a stream of a signal that has aborted before can be made: its calls reject with the reason": async (t) => {
    const bus = await t.open();
    class Shop {
      buy(): void {}
    }
    await bus.expose("fn", () => ok(false, "it ran"));
    const options = { signal: AbortSignal.abort("gone") };
    const [one, every] = [bus.stub("fn", options), bus.stub("fn", { ...options, multi: true })];
    const calls = [one(), one.rpc(), every(), every.rpc(), bus.stub(Shop, options).buy()];
    const values = bus.stream("fn", options)();
    await Promise.all([...calls, values[Symbol.asyncIterator]().next()].map((call) => rejectsWith(call, "gone")));
  },

  "the caller receives the output of the result's schema": async (t) => {
    const bus = await t.open();
    const describe = procedure("describe", { returns: length });
    await bus.expose(describe, () => "seven !");
    equal(await bus.stub(describe)(), 7);
  },

  "rpc() resolves with the raw answer, also if the function threw": async (t) => {
    const [server, caller] = await t.buses(2) as [Bus, Bus];
    t.errors(server); // it reports the error too
    await server.expose("add", (a: number, b: number) => a + b);
    await server.expose("fail", () => Promise.reject(new RangeError("too far")));
    equal(await caller.stub("add").rpc(1, 2), { fn: "add", result: 3, resultType: "int", isError: false });
    const failed = await caller.stub("fail").rpc();
    equal(failed, { fn: "fail", result: ["too far"], resultType: "RangeError", isError: true });
  },

  "a result that cannot be encoded is an error of the function": async (t) => {
    const [server, caller] = await t.buses(2) as [Bus, Bus];
    t.errors(server); // it reports the error too
    await server.expose("fn", () => () => {});
    const error = await rejects(() => caller.stub("fn")(), RemoteInvocationError, "remote_failed");
    equal(error.remoteType, "ValidationError");
  },

  "a call whose arguments only the server refuses says so: the function did not run": async (t) => {
    const caller = await t.open();
    const shown: Record<string, [ExposeErrors, code: ErrorCode, message: string]> = {
      "no stack": [false, "invalid", "the server refused the arguments: field: no pair of numbers"],
      "a stack": [true, "invalid", "the server refused the arguments: field: no pair of numbers"],
      "a function": [() => ({ name: "Hidden", message: "sorry" }), "remote_failed", "Hidden(sorry)"],
    };
    for (const [name, [exposeErrors, code, message]] of Object.entries(shown)) {
      const server = await t.open({ exposeErrors });
      await server.expose(procedure(name, { args: pair }), () => ok(false, `with ${name}: it ran`));
      await server.expose(procedure(`${name}, stream`, { args: pair, yields: amount }), async function* () {});
      const [settled] = await caller.stub(name, { multi: true })("x");
      const single = await rejects(() => caller.stub(name)("x"), RemoteInvocationError);
      const stream = await rejects(
        () => caller.stream(`${name}, stream`)("x")[Symbol.asyncIterator]().next(),
        RemoteInvocationError,
      );
      for (const error of [single, stream, (settled as PromiseRejectedResult).reason as RemoteInvocationError]) {
        equal<unknown>([error.code, error.retryable], [code, false], `with ${name}`);
        ok(error.message.endsWith(message), error.message);
        equal(error.remoteStack !== undefined, exposeErrors === true, `the stack with ${name}`);
      }
    }
    const refused = await rejects(() => caller.stub("no stack")(), RemoteInvocationError);
    equal(refused.message, 'Cannot call "no stack": the server refused the arguments: field: no pair of numbers');
    equal(refused.remoteType, "ValidationError");
    equal(refused.constructor, RemoteInvocationError, "its class, which programs can import");
    equal(refused.remoteArgs, ['Cannot accept the arguments of "no stack": field: no pair of numbers']);
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
    for (const [call, code] of [[() => takes(new Small(10)), "invalid"], [() => gives(10), "remote_failed"]] as const) {
      const error = await rejects(call, RemoteInvocationError, code);
      equal(error.remoteType, "ValidationError");
      ok(error.message.includes("too large"), error.message);
    }
    equal(await takes(new Small(2)), 2);
    await errors.count(2);
  },
};
