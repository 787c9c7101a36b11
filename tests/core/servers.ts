/** Cases about servers in which the transport makes no difference. */
import type { Bus } from "../../src/bus.ts";
import { BusError, NoSuchRemoteError, RpcError, TimeoutError, ValidationError } from "../../src/errors.ts";
import type { Authorize } from "../../src/hooks.ts";
import { procedure } from "../../src/rpc/procedure.ts";
import { each, equal, ok, rejects } from "../../src/conformance/assert.ts";
import { type Cases, slow } from "../../src/conformance/cases.ts";
import { schema } from "../../src/conformance/schemas.ts";

/** Cases about servers in which the transport makes no difference. */
export const servers: Cases = {
  "unexpose() ends a name, a function or a procedure; an unknown one has no effect": async (t) => {
    const [server, caller] = await t.buses(2) as [Bus, Bus];
    const contract = procedure<() => string>("contract");
    function named(): string {
      return "named";
    }
    await server.expose("name", () => "name");
    await server.expose(named);
    await server.expose(contract, () => "contract");
    for (const [name, target] of [["name", "name"], ["named", named], ["contract", contract]] as const) {
      equal(await caller.stub(name)(), name);
      await server.unexpose(target);
      await rejects(() => caller.stub(name, { timeout: 5_000 })(), NoSuchRemoteError, "no_such_remote", `"${name}"`);
      await server.unexpose(target);
    }
    await server.unexpose("never");
    await server.expose("name", () => "again");
    equal(await caller.stub("name")(), "again");
  },

  "a second function under a name that the bus serves is refused, and the first one stays": async (t) => {
    const [server, other] = await t.buses(2) as [Bus, Bus];
    await server.expose("fn", () => "first");
    await rejects(() => server.expose("fn", () => "second"), BusError, "invalid");
    equal(await other.stub("fn")(), "first");
    await other.expose("fn", () => "another bus may");
  },

  "a server that validates a request for a long time, and closes meanwhile, refuses it, so that another one runs it":
    slow(
      40_000,
      async (t) => {
        const { promise: validated, resolve: pass } = Promise.withResolvers<void>();
        let validating = false;
        class Order {
          static readonly topic = "Order";
          static readonly schema = schema<{ id: number }>(async (value) => {
            validating = true;
            await validated;
            return value as { id: number };
          });
          constructor(readonly id: number) {}
        }
        const slow = await t.open({ types: [Order] });
        const [caller, other] = await t.buses(2) as [Bus, Bus];
        await slow.expose("ship", () => "slow");
        const shipped = caller.stub("ship", { timeout: 30_000 })(new Order(1));
        await t.until(() => validating, "the arguments are being validated");
        const closing = slow.close({ timeout: 30_000 });
        await other.expose("ship", () => "other");
        await t.pause(4_500); // a server that is missed for three seconds is gone
        pass();
        equal(await shipped, "other");
        equal((await closing).clean, true);
      },
    ),

  "only calls that authorize allows run; the others reject with the code denied": async (t) => {
    const caller = await t.open();
    const hooks: Record<string, [ofBus: Authorize | undefined, ofFunction: Authorize | undefined, runs: boolean]> = {
      none: [undefined, undefined, true],
      both: [() => true, () => Promise.resolve(true), true],
      "the bus refuses": [() => false, () => true, false],
      "the function refuses": [() => true, () => false, false],
      "it refuses later": [() => Promise.resolve(false), undefined, false],
      "it returns something else": [undefined, () => "yes" as never, false],
      "it returns nothing": [(() => {}) as never, undefined, false],
    };
    await each(hooks, async ([authorize, ofFunction, runs], what) => {
      const server = await t.open({ authorize });
      let ran = 0;
      await server.expose(what, () => ++ran, { authorize: ofFunction, concurrency: 1 });
      const settled = await caller.stub(what, { multi: true })();
      equal(settled.map(({ status }) => status), [runs ? "fulfilled" : "rejected"], `a call of all servers, ${what}`);
      if (runs) equal(await caller.stub(what)(), 2, what);
      else await rejects(() => caller.stub(what)(), RpcError, "denied", what);
      equal((await caller.stub(what).rpc()).isError, !runs);
      equal(ran, runs ? 3 : 0, `the number of runs, ${what}`);
    });
    await rejects(() => t.open({ authorize: true as never }), ValidationError);
    await rejects(() => caller.expose("fn", () => {}, { authorize: 7 as never }), ValidationError);
  },

  "authorize receives the function and the headers; if it throws, that is reported, and the call is denied": async (
    t,
  ) => {
    const [caller, server] = [await t.open(), await t.open()];
    const errors = t.errors(server);
    const asked: unknown[] = [];
    const authorize: Authorize = (call) => {
      asked.push([call.fn, { ...call.headers }]);
      throw new Error("on purpose");
    };
    class Accounts {
      close(): string {
        return "closed";
      }
      list(): string[] {
        return [];
      }
    }
    await server.expose(new Accounts(), ["close"], { authorize });
    const error = await rejects(() => caller.stub(Accounts, { headers: { tenant: "a" } }).close(), RpcError, "denied");
    ok(!error.message.includes("on purpose"), "the caller does not receive the error");
    equal(asked, [["Accounts.close", { tenant: "a" }]]);
    equal((await errors.count(1))[0]!.message, "on purpose");
  },

  "a call that its caller gives up while authorize decides does not run": async (t) => {
    const [caller, server] = [await t.open(), await t.open()];
    const { passed, open } = t.gate();
    let ran = 0;
    await server.expose("fn", () => ++ran, { authorize: () => passed.then(() => true) });
    await rejects(() => caller.stub("fn", { timeout: 50 })(), TimeoutError);
    await server.expose("other", () => "answer");
    equal(await caller.stub("other")(), "answer", "a later call: the cancellation has arrived");
    open();
    await t.until(() => server.health().pending.handlers === 0, "the call has ended");
    equal(ran, 0);
  },
};
