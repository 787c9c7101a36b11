/**
 * The number of times that a call of one server runs, counted on all servers.
 *
 * @module
 */
import type { Bus } from "../bus.ts";
import { NoSuchRemoteError } from "../errors.ts";
import type { Provider } from "../provider/provider.ts";
import { equal, rejects } from "./assert.ts";
import { type Cases, slow } from "./cases.ts";
import type { CaseContext } from "./case_context.ts";

/** The number of functions that servers expose while callers call them. */
const FUNCTIONS = 6;
/** The number of calls while the registry looks empty. */
const CALLS = 20;

/** Counts the runs of each call; a call is identified by its number. */
class Runs {
  #counts: number[] = [];

  readonly serve = (n: number): number => {
    this.#counts[n] = this.of(n) + 1;
    return n;
  };

  of(n: number): number {
    return this.#counts[n] ?? 0;
  }
}

/** A provider whose registry of servers looks empty. */
export interface Forgetful {
  readonly provider: Provider;
  /** Whether the registry looks empty. */
  empty: boolean;
  /** True once a sender with answer queues is open. */
  pymq: boolean;
  /** A function that is awaited after each count of the subscribers of a topic, before the caller gets the number. */
  counted: () => unknown;
}

/** Wraps a provider so that its registry of servers looks empty while `empty` is true. */
export function forgetful(provider: Provider): Forgetful {
  const state = { empty: true, pymq: false, counted: (): unknown => undefined };
  const open: Provider["open"] = async (context) => {
    const sender = await provider.open(context);
    const { replies } = sender;
    state.pymq = replies !== undefined;
    const candidates = async (topic: string) => {
      const count = await replies!.candidates(topic);
      await state.counted();
      return count;
    };
    return overridden(sender, {
      servers: (...args) => state.empty ? Promise.resolve([]) : sender.servers(...args),
      replies: replies && overridden(replies, { candidates }),
    });
  };
  return Object.assign(state, { provider: { ...provider, open } });
}

/** Returns an object with the members of another one, some of them replaced. */
export function overridden<T extends object>(object: T, members: Partial<T>): T {
  return new Proxy(object, {
    get: (target, key) => {
      const value: unknown = key in members ? members[key as keyof T] : target[key as keyof T];
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

/** Opens three servers, and a caller that does not find them in the registry. */
async function unregistered(t: CaseContext) {
  const registry = forgetful(t.provider);
  const open = () => t.open({}, registry.provider);
  const [caller, ...servers] = await Promise.all(Array.from({ length: 4 }, open)) as [Bus, ...Bus[]];
  return { registry, caller, servers };
}

/** Cases about the runs of single calls. */
export const runs: Cases = {
  "a call made while two servers expose its function runs once, or rejects because the function has no server": slow(
    60_000,
    async (t) => {
      const [caller, one, two] = await t.buses(3) as [Bus, Bus, Bus];
      const rounds: [Runs, boolean[]][] = [];
      for (let round = 0; round < FUNCTIONS; round++) {
        const fn = `fn ${round}`;
        const runs = new Runs();
        const call = caller.stub<(n: number) => number>(fn, { timeout: 30_000 });
        const answered: Promise<boolean>[] = [];
        let exposed = false;
        const exposing = Promise.all([one, two].map((server) => server.expose(fn, runs.serve)))
          .finally(() => exposed = true);
        while (!exposed) {
          answered.push(
            call(answered.length).then(() => true, (error) => {
              if (error instanceof NoSuchRemoteError) return false;
              throw error;
            }),
          );
          await t.pause(1);
        }
        await exposing;
        await Promise.all(answered); // the next call must not share a look at the registry with these
        answered.push(call(answered.length).then(() => true));
        rounds.push([runs, await Promise.all(answered)]);
      }
      await t.quiet();
      for (const [runs, answered] of rounds) {
        equal(answered.map((_, n) => runs.of(n)), answered.map(Number), "the runs of each call");
      }
    },
  ),

  "calls with an empty registry run once each, or reject because the function has no server": slow(
    40_000,
    async (t) => {
      const { registry, caller, servers } = await unregistered(t);
      const runs = new Runs();
      await Promise.all(servers.map((server) => server.expose("work", runs.serve)));
      // the request reaches subscribers too
      await servers[0]!.subscribe("work", () => {}).ready;
      await caller.subscribe("w*", () => {}, { pattern: true }).ready;
      await t.settle();
      const call = caller.stub<(n: number) => number>("work", { timeout: 30_000 });
      const numbers = Array.from({ length: CALLS }, (_, n) => n);
      if (registry.pymq) equal(await Promise.all(numbers.map((n) => call(n))), numbers);
      else await Promise.all(numbers.map((n) => rejects(() => call(n), NoSuchRemoteError)));
      await t.quiet();
      equal(numbers.map((n) => runs.of(n)), numbers.map(() => Number(registry.pymq)), "the runs of each call");
      registry.empty = false;
      equal(await call(CALLS), CALLS);
    },
  ),

  "a multi-call with an empty registry waits for the slowest server": slow(40_000, async (t) => {
    const { registry, caller, servers } = await unregistered(t);
    await Promise.all(servers.map((server, i) =>
      server.expose("who", async () => {
        if (i === 2) await t.pause(800); // longer than silent subscribers are awaited
        return i;
      })
    ));
    await t.settle();
    const results = await caller.stub("who", { multi: true, timeout: 15_000 })();
    const values = results.map((result) => result.status === "fulfilled" ? result.value : result.reason);
    equal(values.toSorted(), registry.pymq ? [0, 1, 2] : []);
  }),
};
