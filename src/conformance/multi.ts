/**
 * Multi-calls: one result from each server.
 *
 * @module
 */
import type { Bus } from "../bus.ts";
import { RemoteInvocationError, TimeoutError } from "../errors.ts";
import type { Provider, Sender } from "../provider/provider.ts";
import { equal, ok, rejects, rejectsWith } from "./assert.ts";
import { type Cases, slow } from "./cases.ts";
import { overridden } from "./runs.ts";

/** Returns the values of the results, and the reasons of the rejected ones, sorted. */
export function values(results: PromiseSettledResult<unknown>[]): unknown[] {
  return results.map((result) => result.status === "fulfilled" ? result.value : result.reason).toSorted();
}

/** Cases about multi-calls. */
export const multi: Cases = {
  "multi resolves with one result for each server": async (t) => {
    const [caller, ...servers] = await t.buses(6) as [Bus, ...Bus[]];
    const calls = servers.map(() => 0);
    await Promise.all(servers.map((server, i) =>
      server.expose("who", (greeting: string) => {
        calls[i]!++;
        return `${greeting} ${i}`;
      })
    ));
    const who = caller.stub<(greeting: string) => string>("who", { multi: true });
    equal(values(await who("I am")), servers.map((_, i) => `I am ${i}`));
    equal(calls, [1, 1, 1, 1, 1]);
  },

  "multi without servers resolves with an empty list at once": async (t) => {
    const bus = await t.open();
    equal(await bus.stub("nobody", { multi: true, timeout: 120_000 })(), []);
    equal(await bus.stub("nobody", { multi: true, timeout: 120_000 }).rpc(), []);
  },

  "multi calls the bus's own function too": async (t) => {
    const [one, two] = await t.buses(2) as [Bus, Bus];
    await one.expose("who", () => "one");
    await two.expose("who", () => "two");
    equal(values(await one.stub("who", { multi: true })()), ["one", "two"]);
  },

  "multi: an error of one server is one of the results": async (t) => {
    const [caller, good, bad] = await t.buses(3) as [Bus, Bus, Bus];
    t.errors(bad); // it reports the error too
    await good.expose("work", () => "done");
    await bad.expose("work", () => Promise.reject(new RangeError("too far")));
    const results = await caller.stub("work", { multi: true })();
    equal(results.map(({ status }) => status).toSorted(), ["fulfilled", "rejected"]);
    const [failed] = results.filter((result) => result.status === "rejected");
    ok(failed!.reason instanceof RemoteInvocationError, "the reason is a RemoteInvocationError");
    equal(failed!.reason.remoteType, "RangeError");
    const raw = await caller.stub("work", { multi: true }).rpc();
    equal(raw.map(({ isError, resultType }) => [isError, resultType]).toSorted(), [[false, "str"], [
      true,
      "RangeError",
    ]]);
  },

  "multi: a server that does not answer in time is one of the results": async (t) => {
    const [caller, good, late] = await t.buses(3) as [Bus, Bus, Bus];
    const { passed } = t.gate();
    await good.expose("work", () => "done");
    await late.expose("work", () => passed);
    const results = await caller.stub("work", { multi: true, timeout: 3_000 })();
    equal(results.map(({ status }) => status).toSorted(), ["fulfilled", "rejected"]);
    const [failed] = results.filter((result) => result.status === "rejected");
    ok(failed!.reason instanceof TimeoutError, `the reason is ${failed!.reason} instead of a TimeoutError`);
  },

  "multi ends when all servers have answered, even if other subscribers are on the function's topic": async (t) => {
    const [caller, server, ...others] = await t.buses(4) as [Bus, Bus, ...Bus[]];
    await server.expose("work", () => "done");
    await others[0]!.subscribe("work", () => {}).ready;
    await others[1]!.subscribe("w*", () => {}, { pattern: true }).ready;
    equal(values(await caller.stub("work", { multi: true, timeout: 120_000 })()), ["done"]);
  },

  "multi does not wait for a dead server": async (t) => {
    const [caller, stays, goes] = await t.buses(3) as [Bus, Bus, Bus];
    await stays.expose("work", () => "stays");
    await goes.expose("work", () => "goes");
    equal(values(await caller.stub("work", { multi: true })()), ["goes", "stays"]);
    await goes.close();
    equal(values(await caller.stub("work", { multi: true })()), ["stays"]);
    await stays.unexpose("work");
    equal(await caller.stub("work", { multi: true })(), []);
  },

  "multi does not wait for servers that ended after it read the registry, if as many servers have started": slow(
    60_000,
    async (t) => {
      let looks = 0;
      const open: Provider["open"] = async (context) => {
        const sender = await t.provider.open(context);
        const servers: Sender["servers"] = async (...look) => {
          const found = await sender.servers(...look);
          if (looks++ === 0) await change();
          return found;
        };
        return overridden(sender, { servers });
      };
      const provider = { ...t.provider, open };
      const buses = await Promise.all(Array.from({ length: 6 }, () => t.open({}, provider)));
      const [caller, stays, closes, unexposes, starts, follows] = buses as [Bus, Bus, Bus, Bus, Bus, Bus];
      const change = async () => {
        await Promise.all([closes.close(), unexposes.unexpose("who")]);
        await Promise.all([starts.expose("who", () => "starts"), follows.expose("who", () => "follows")]);
        await t.settle();
      };
      for (const bus of [stays, closes, unexposes]) await bus.expose("who", () => "before");
      await t.settle();
      const results = await caller.stub("who", { multi: true, timeout: 55_000 })();
      equal(results.filter(({ status }) => status === "rejected"), []);
      // where the transport does not count receivers, the caller does not wait for servers that have just started
      if (t.features.counts) equal(values(results), ["before", "follows", "starts"]);
    },
  ),

  "multi: an aborted call rejects with the reason of the signal": async (t) => {
    const [caller, server] = await t.buses(2) as [Bus, Bus];
    const { passed } = t.gate();
    const seen = t.collect<string>();
    await server.expose("wait", () => {
      seen.add("served");
      return passed;
    });
    const abort = new AbortController();
    const call = rejectsWith(caller.stub("wait", { multi: true, signal: abort.signal })(), "enough");
    await seen.count(1);
    abort.abort("enough");
    await call;
    await rejects(() => caller.stub("wait", { timeout: 100 })(), TimeoutError);
  },

  "multi: a call that is aborted before its request is sent is not served": async (t) => {
    const [caller, server] = await t.buses(2) as [Bus, Bus];
    const seen = t.collect<string>();
    await server.expose("work", () => seen.add("served"));
    const abort = new AbortController();
    const call = rejectsWith(caller.stub("work", { multi: true, signal: abort.signal })(), "enough");
    abort.abort("enough");
    await call;
    await t.quiet();
    equal(seen.values, []);
  },

  "100 multi-calls can run at once": async (t) => {
    const [caller, ...servers] = await t.buses(4) as [Bus, ...Bus[]];
    await Promise.all(servers.map((server, i) => server.expose("who", (n: number) => 10 * n + i)));
    const who = caller.stub<(n: number) => number>("who", { multi: true });
    const results = await Promise.all(Array.from({ length: 100 }, (_, n) => who(n)));
    for (const [n, result] of results.entries()) {
      equal(new Set(values(result)), new Set([10 * n, 10 * n + 1, 10 * n + 2]));
    }
  },
};
