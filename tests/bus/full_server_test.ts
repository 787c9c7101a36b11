/** A server at its limit of calls refuses a request before it restores the types of the arguments, which take far more memory than their text. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Bus, type BusError, type BusOptions, currentCall, memory, RpcError } from "../../mod.ts";
import { RawClient } from "../../src/conformance/raw_client.ts";
import { until } from "../support/until.ts";
import { KEYS } from "./attacked.ts";
import { fresh } from "./grounds.ts";
import { runsHere, share } from "../support/share.ts";
import { schema } from "../support/schema.ts";

const LIMIT = 10_000;

/** A server that runs as many calls as it accepts, and the numbers of arguments that it has revived and validated. */
async function full(options: BusOptions = {}) {
  let [running, revived, validated] = [0, 0, 0];
  class Mark {
    static readonly topic = "shop.Mark";
    static revive(): Mark {
      revived++;
      return new Mark();
    }
  }
  class Slow {
    static readonly topic = "shop.Slow";
    static readonly schema = schema((value) => {
      validated++;
      return Promise.resolve({ value });
    });
  }
  const provider = memory();
  const all = { namespace: fresh(), timeout: 600_000, types: [Mark, Slow] };
  const server = await Bus.open(provider, { ...all, ...options, encrypt: false });
  const caller = await Bus.open(provider, { ...all, ...options });
  // its calls only count, so they need no encryption
  const filler = options.encrypt ? await Bus.open(provider, { ...all, ...options, encrypt: false }) : caller;
  const errors: BusError[] = [];
  server.addEventListener("error", ({ error }) => errors.push(error as BusError));
  const gate = Promise.withResolvers<void>();
  const cancelled = Promise.withResolvers<void>();
  await server.expose("fn", async (what: unknown) => {
    if (what === "cancelled") currentCall()!.signal.addEventListener("abort", () => cancelled.resolve());
    if (typeof what !== "string") return;
    running++;
    await Promise.race([gate.promise, what === "cancelled" ? cancelled.promise : gate.promise]);
    running--;
  });
  const abort = new AbortController();
  const calls = [caller.stub("fn", { signal: abort.signal })("cancelled").catch(() => {})];
  for (let i = 1; i < LIMIT; i++) calls.push(filler.stub("fn")("waits"));
  await until("all run", () => running === LIMIT, 120_000);
  return {
    fn: caller.stub("fn"),
    values: () => [new Mark(), new Slow()],
    counts: () => [revived, validated],
    errors,
    attacker: () => RawClient.open(provider, all.namespace),
    /** Cancels one of the calls. */
    cancel: async () => {
      abort.abort();
      await until("it has ended", () => running === LIMIT - 1);
    },
    [Symbol.asyncDispose]: async () => {
      gate.resolve();
      await Promise.all(calls);
      await Promise.all([server, caller, filler].map((bus) => bus.close()));
    },
  };
}

describe("a server that is at its limit of calls", () => {
  const ways = [["without keys", {}], ["with encryption", { keys: KEYS, encrypt: true }]] as const;
  // each runtime makes 10,000 calls in one way
  for (const [how, options] of share(ways)) {
    it(`refuses requests as busy and does not revive or validate their arguments, until a call is cancelled: ${how}`, async () => {
      await using all = await full(options);
      const { fn, counts, values } = all;
      for (const value of values()) {
        const error = await assertRejects(() => fn(value), RpcError, "every server is at its limit of calls");
        assertEquals(error.code, "busy");
      }
      assertEquals(counts(), [0, 0]);
      await all.cancel();
      for (const value of values()) assertEquals(await fn(value), undefined);
      // on a busy machine the caller repeats its request, and the repeated one is read too
      assert(counts().every((count) => count > 0));
      assertEquals(all.errors.map(({ code }) => code), ["busy"]);
    });
  }

  if (!runsHere(1)) return;

  it("does the same with a request of PyMQ", async () => {
    await using all = await full();
    const attacker = await all.attacker();
    const args = '[{"__type": "shop.Mark"}, {"__type": "shop.Slow"}]';
    const request = `{"__obj": ["fn", "__rpc_${crypto.randomUUID()}", ${args}, {}], "__type": "pymq.core.RpcRequest"}`;
    await attacker.publish("fn", request);
    await until("it is refused", () => all.errors.length > 0);
    assertEquals([all.errors[0]!.code, all.counts()], ["busy", [0, 0]]);
    await attacker.close();
  });
});
