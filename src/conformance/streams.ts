/**
 * Streams: served async generators, whose values arrive in order and at the reader's pace.
 *
 * @module
 */
import type { Bus } from "../bus.ts";
import {
  ClosedError,
  NoSuchRemoteError,
  ProviderError,
  RemoteInvocationError,
  RpcError,
  TimeoutError,
} from "../errors.ts";
import { currentCall } from "../rpc/current_call.ts";
import { MAX_AHEAD } from "../rpc/stream_messages.ts";
import { each, equal, ok, range, rejects, rejectsWith } from "./assert.ts";
import type { CaseContext } from "./case_context.ts";
import { type Cases, slow } from "./cases.ts";
import { broken, recovered } from "./faults.ts";

/** More values than a server sends ahead of the reader. */
const MANY = 2 * MAX_AHEAD + 10;
/** The number of times that connections break during one stream. */
const CUTS = 3;
/** Milliseconds in which a cancelled generator must end. A generator whose reader is only silent runs for 15 s. */
const PROMPT = 10_000;

type Numbers = (from: number) => AsyncIterable<number>;

/** Serves an endless stream of numbers that starts with the argument of the call. */
async function serveNumbers(t: CaseContext, server: Bus): Promise<{ made: number; ended: unknown[] }> {
  const state = { made: 0, ended: [] as unknown[] };
  await server.expose("numbers", async function* (from: number) {
    try {
      for (let i = from;; i++) {
        state.made++;
        yield i;
      }
    } finally {
      await t.pause(1);
      state.ended.push(currentCall()?.fn);
    }
  });
  await t.settle();
  return state;
}

/** Reads at most `count` values, and leaves the stream by a `break`. */
async function read<T>(values: AsyncIterable<T>, count = Infinity): Promise<T[]> {
  const all: T[] = [];
  for await (const value of values) if (all.push(value) >= count) break;
  return all;
}

/** Cases about streams. */
export const streams: Cases = {
  "each value arrives once, in order, with its type": async (t) => {
    const [server, caller] = await t.buses(2) as [Bus, Bus];
    const values = [new Date(0), undefined, new Map([[1, 2n]]), null, [new Set(["x"])], "\u{1f9ca}", {
      deep: { at: new Date(1) },
    }];
    await server.expose("values", async function* (count: number) {
      yield* values;
      yield* range(count);
    });
    await server.expose("nothing", async function* () {});
    await t.settle();
    equal(await read(caller.stream("values")(MANY)), [...values, ...range(MANY)]);
    equal(await read(caller.stream("nothing")()), []);
    const large = "x".repeat(Math.min(200_000, Math.floor(t.features.maxBody / 2)));
    await server.expose("large", async function* () {
      for (const i of range(4)) yield large + i;
    });
    await t.settle();
    equal(
      (await read(caller.stream<() => AsyncIterable<string>>("large")())).map((text) => text.length),
      range(4).map(() => large.length + 1),
    );
  },

  "several streams run at once, on the server's own bus too": async (t) => {
    const [server, caller] = await t.buses(2) as [Bus, Bus];
    await serveNumbers(t, server);
    const streams = [caller, server, caller, server].map((bus, i) =>
      read(bus.stream<Numbers>("numbers")(1_000 * i), MANY)
    );
    equal(await Promise.all(streams), range(4).map((i) => range(MANY).map((n) => 1_000 * i + n)));
  },

  "a generator runs a limited number of values ahead of its reader": async (t) => {
    const [server, caller] = await t.buses(2) as [Bus, Bus];
    const state = await serveNumbers(t, server);
    let seen = 0;
    for await (const value of caller.stream<Numbers>("numbers")(0)) {
      equal(value, seen++);
      if (seen === 10) {
        await t.quiet();
        ok(state.made >= 10 && state.made <= MAX_AHEAD + 10, `${state.made} values were made for a reader of ten`);
      }
      if (seen === MANY) break;
    }
    await t.until(() => state.ended.length === 1, "the generator has ended");
  },

  "break, abort and return() end the generator": slow(60_000, async (t) => {
    const [server, caller] = await t.buses(2) as [Bus, Bus];
    const state = await serveNumbers(t, server);
    const abort = new AbortController();
    const ways: Record<string, () => Promise<void>> = {
      break: async () => equal(await read(caller.stream<Numbers>("numbers")(7), 10), range(10).map((i) => i + 7)),
      abort: async () => {
        const numbers = caller.stream<Numbers>("numbers", { signal: abort.signal })(0)[Symbol.asyncIterator]();
        equal(await numbers.next(), { done: false, value: 0 });
        abort.abort("changed my mind");
        await rejectsWith(() => numbers.next(), "changed my mind");
        equal(await numbers.next(), { done: true, value: undefined });
      },
      return: async () => {
        const numbers = caller.stream<Numbers>("numbers")(0)[Symbol.asyncIterator]();
        equal(await numbers.next(), { done: false, value: 0 });
        equal(await numbers.return!(), { done: true, value: undefined });
        equal(await numbers.next(), { done: true, value: undefined });
      },
    };
    for (const [i, [way, leave]] of Object.entries(ways).entries()) {
      await leave();
      const since = performance.now();
      await t.until(() => state.ended.length > i, `the generator has ended after ${way}`);
      const took = performance.now() - since;
      ok(took < PROMPT + t.features.latency, `the generator ended ${took} ms after ${way}`);
    }
    equal(state.ended, ["numbers", "numbers", "numbers"]);
  }),

  "a generator that waits can end when its reader has left": async (t) => {
    const [server, caller] = await t.buses(2) as [Bus, Bus];
    const ended = t.collect<string>();
    await server.expose("wait", async function* () {
      const { signal, deadline } = currentCall()!;
      equal(deadline, Infinity);
      yield "first";
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      ended.add("aborted");
    });
    await t.settle();
    equal(await read(caller.stream("wait")(), 1), ["first"]);
    await ended.count(1);
  },

  "an error of the generator reaches its reader after the values": async (t) => {
    const [server, caller] = await t.buses(2) as [Bus, Bus];
    t.errors(server); // it reports the error too
    await server.expose("fails", async function* () {
      yield 1;
      yield 2;
      throw new RangeError("no third one");
    });
    await server.expose("cannot be sent", async function* () {
      yield 1;
      yield 2;
      yield () => {};
    });
    await t.settle();
    await each({ fails: "RangeError", "cannot be sent": "ValidationError" }, async (type, name) => {
      const seen: unknown[] = [];
      const reading = async () => {
        for await (const value of caller.stream(name)()) seen.push(value);
      };
      const error = await rejects(reading, RemoteInvocationError, "remote_failed", name);
      equal([seen, error.remoteType], [[1, 2], type]);
      equal(error.remoteStack, undefined);
    });
  },

  "a stub rejects a stream, and stream() rejects any other result": async (t) => {
    const [server, caller] = await t.buses(2) as [Bus, Bus];
    const state = await serveNumbers(t, server);
    await server.expose("plain", () => 7);
    await t.settle();
    await rejects(() => caller.stub("numbers")(0), RpcError, "invalid", "a stub of a stream");
    const [result] = await caller.stub("numbers", { multi: true })(0);
    ok(result?.status === "rejected" && (result.reason as RpcError).code === "invalid", "a multi-stub of a stream");
    await rejects(() => read(caller.stream("plain")()), RpcError, "invalid", "a stream of a function");
    await rejects(() => read(caller.stream("nobody")()), NoSuchRemoteError, "no_such_remote", "a stream of nobody");
    equal(state.made, 0, "the number of values that were made");
  },

  "the timeout runs while the reader waits for a value, and not while it handles one": slow(40_000, async (t) => {
    const [server, caller] = await t.buses(2) as [Bus, Bus];
    const ended = t.collect<string>();
    const { passed } = t.gate();
    await server.expose("stops", async function* () {
      const { signal } = currentCall()!;
      for (const i of range(3)) yield i;
      await Promise.race([passed, new Promise((resolve) => signal.addEventListener("abort", resolve))]);
      ended.add("ended");
    });
    await t.settle();
    const timeout = 4_000 + 2 * t.features.latency; // the call that opens the stream ends within it too
    const seen: unknown[] = [];
    await rejects(
      async () => {
        for await (const value of caller.stream("stops", { timeout })()) {
          if (value === 1) await t.pause(timeout + 300);
          seen.push(value);
        }
      },
      TimeoutError,
      "timeout",
    );
    equal(seen, range(3));
    await ended.count(1);
  }),

  "a server that closes finishes its streams, and reports those that do not end to their readers": slow(
    60_000,
    async (t) => {
      const [caller, finishes, breaks] = await t.buses(3) as [Bus, Bus, Bus];
      await finishes.expose("finishes", async function* () {
        const closes = new Promise((resolve) => finishes.addEventListener("state", resolve, { once: true }));
        yield 0;
        await closes;
        yield* range(MANY);
      });
      const state = await serveNumbers(t, breaks);
      const values = caller.stream<() => AsyncIterable<number>>("finishes")()[Symbol.asyncIterator]();
      equal(await values.next(), { done: false, value: 0 });
      const closing = finishes.close({ timeout: 30_000 });
      equal(await read({ [Symbol.asyncIterator]: () => values }), range(MANY));
      equal((await closing).abandoned, 0);
      const numbers = caller.stream<Numbers>("numbers")(0)[Symbol.asyncIterator]();
      equal(await numbers.next(), { done: false, value: 0 });
      const { abandoned } = await breaks.close({ timeout: 2_000 });
      equal(abandoned, 1);
      await rejects(() => read({ [Symbol.asyncIterator]: () => numbers }), ProviderError, "unavailable");
      await t.until(() => state.ended.length === 1, "the generator has ended");
    },
  ),

  "a reader whose bus closes reads no more, and the generator ends": async (t) => {
    const [server, caller] = await t.buses(2) as [Bus, Bus];
    const state = await serveNumbers(t, server);
    const numbers = caller.stream<Numbers>("numbers")(0)[Symbol.asyncIterator]();
    equal(await numbers.next(), { done: false, value: 0 });
    await caller.close();
    await rejects(() => numbers.next(), ClosedError, "closed");
    await t.until(() => state.ended.length === 1, "the generator has ended");
  },

  "each value arrives once and in order, though connections break": broken(async (t) => {
    const [server, caller] = await t.buses(2) as [Bus, Bus];
    for (const bus of [server, caller]) t.errors(bus);
    const state = await serveNumbers(t, server);
    let seen = 0;
    for await (const value of caller.stream<Numbers>("numbers")(0)) {
      equal(value, seen++);
      if (seen % MANY === 0 && seen <= CUTS * MANY) {
        await t.faults.cut();
        await recovered(t, server, caller);
      }
      if (seen === (CUTS + 1) * MANY) break;
    }
    await t.until(() => state.ended.length === 1, "the generator has ended");
  }),
};
