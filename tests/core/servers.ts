/** Cases about servers in which the transport makes no difference. */
import type { Bus } from "../../src/bus.ts";
import { BusError, NoSuchRemoteError } from "../../src/errors.ts";
import { procedure } from "../../src/rpc/procedure.ts";
import { equal, rejects } from "../../src/conformance/assert.ts";
import type { Cases } from "../../src/conformance/cases.ts";

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
};
