/** Cases about multi-calls in which the transport makes no difference. */
import type { Bus } from "../../src/bus.ts";
import { procedure } from "../../src/rpc/procedure.ts";
import { equal } from "../../src/conformance/assert.ts";
import type { Cases } from "../../src/conformance/cases.ts";
import { amount } from "./schemas.ts";
import { values } from "../../src/conformance/multi.ts";

/** Cases about multi-calls in which the transport makes no difference. */
export const multi: Cases = {
  "multi: the schema of a procedure validates each result": async (t) => {
    const [caller, good, bad] = await t.buses(3) as [Bus, Bus, Bus];
    const stock = procedure("stock", { returns: amount });
    await good.expose(stock, () => 7);
    await bad.expose("stock", () => -7);
    const results = await caller.stub(stock, { multi: true })();
    equal(results.map(({ status }) => status).toSorted(), ["fulfilled", "rejected"]);
  },

  "multi: stub(Class) calls each method on all servers": async (t) => {
    const [caller, one, two] = await t.buses(3) as [Bus, Bus, Bus];
    class Service {
      readonly #name: string;
      constructor(name: string) {
        this.#name = name;
      }
      name(): string {
        return this.#name;
      }
    }
    await Promise.all([one.expose(new Service("one")), two.expose(new Service("two"))]);
    equal(values(await caller.stub(Service, { multi: true }).name()), ["one", "two"]);
  },
};
