/**
 * The servers of a function: how calls spread over them, and what happens when one stops.
 *
 * @module
 */
import type { Bus } from "../bus.ts";
import { ClosedError, NoSuchRemoteError, ProviderError } from "../errors.ts";
import { equal, ok, range, rejects } from "./assert.ts";
import type { CaseContext } from "./case_context.ts";
import { type Cases, slow } from "./cases.ts";
import { forgetful } from "./runs.ts";
import { schema } from "./schemas.ts";

/** The number of times that a server stops serving while calls reach it, for each of two ways to stop. */
const ENDS = { unexpose: 16, close: 16 };
/**
 * The values of `ENDS` for a transport that does not count receivers, where a multi-call waits a second for a server that has just ended.
 */
const UNCOUNTED_ENDS = { unexpose: 4, close: 2 };
/** The number of calls that run at the same time. */
const CALLS_AT_ONCE = 8;

/**
 * Calls a function until its server has `ended`, with single calls by its topic and with multi-calls. Each call must be served or refused:
 * its timeout is longer than the case may take.
 */
async function callUntil(t: CaseContext, ended: Promise<unknown>, fn: string, blind: Bus, caller: Bus): Promise<void> {
  const one = blind.stub(fn, { timeout: 120_000 });
  const all = caller.stub(fn, { timeout: 120_000, multi: true });
  const calls: Promise<unknown>[] = [];
  let [over, pending] = [false, 0];
  void ended.finally(() => over = true);
  const add = (call: Promise<unknown>) => {
    pending++;
    const ended = call.finally(() => pending--);
    ended.catch(() => {}); // the case awaits it later
    calls.push(ended);
  };
  while (!over) {
    if (pending < CALLS_AT_ONCE) {
      add(
        one().then((value) => equal(value, fn), (error) => {
          // "unavailable" if a server of PyMQ may have run the call and then ended
          ok(error instanceof NoSuchRemoteError || error.code === "unavailable", `${error}`);
        }),
      );
      add(all().then((results) => equal(results.filter(({ status }) => status === "rejected"), [])));
    }
    await t.pause(1);
  }
  await Promise.all(calls);
}

/** Cases about servers. */
export const servers: Cases = {
  "post() sends only to inboxes of its own namespace: any other address resolves with false": async (t) => {
    const [client, neighbour] = [await t.rawClient(), await t.rawClient(`${t.namespace}-other`)];
    const foreign = await t.open({ namespace: `${t.namespace}-other` });
    const events = t.collect<unknown>();
    await foreign.subscribe("topic", events.add).ready;
    await foreign.subscribe("*", events.add, { pattern: true }).ready;
    const own = await t.open();
    await own.subscribe("topic", events.add).ready;
    const address = neighbour.address;
    const forged = [
      address,
      `${address}x`,
      address.slice(0, -1),
      `x${address}`,
      "",
      "topic",
      "*",
      "__rpc_1",
      "a b\0c",
      ">",
    ];
    for (const inbox of [...forged, "x".repeat(5_000), `__eventbus:${foreign.namespace}:topic`]) {
      equal(await client.sender.post(inbox, "forged"), false, `the result of a post to ${inbox.slice(0, 80)}`);
    }
    await t.quiet();
    equal([neighbour.inbox, events.values], [[], []], "the messages that arrived elsewhere");
    equal(await client.sender.post(client.address, "right") ?? true, true);
    await t.until(() => client.inbox.length > 0, "the message to an inbox of the namespace arrives");
  },

  "one of ten servers runs each call, and calls are distributed over all": slow(60_000, async (t) => {
    const [caller, ...servers] = await t.buses(11) as [Bus, ...Bus[]];
    const served = servers.map(() => 0);
    await Promise.all(servers.map((server, i) =>
      server.expose("work", () => {
        served[i]!++;
        return i;
      })
    ));
    const work = caller.stub("work");
    const results = [await work(), await work(), ...await Promise.all(range(98).map(() => work()))];
    equal(results.length, 100);
    await t.quiet();
    equal(served.reduce((sum, n) => sum + n), 100, "the number of times that 100 calls were served");
    ok(
      served.filter((n) => n > 0).length >= 5,
      `the calls went to ${served.filter((n) => n > 0).length} servers of ten`,
    );
    ok(Math.max(...served) <= 50, `one server of ten served ${Math.max(...served)} calls of 100`);
  }),

  "unexpose() ends a pending expose(); the function can be exposed again immediately": async (t) => {
    const [server, caller] = await t.buses(2) as [Bus, Bus];
    const first = rejects(() => server.expose("fn", () => "first"), ClosedError, "closed");
    const ended = server.unexpose("fn");
    await server.expose("fn", () => "second");
    await Promise.all([first, ended]);
    await t.settle();
    equal(await caller.stub("fn")(), "second");
  },

  "a server that closes finishes its calls; the next calls go to other servers": slow(60_000, async (t) => {
    const [caller, stays, goes] = await t.buses(3) as [Bus, Bus, Bus];
    const served = new Map<number, number>();
    const serve = async (i: number) => {
      served.set(i, (served.get(i) ?? 0) + 1);
      await t.pause(2);
      return i;
    };
    await Promise.all([stays.expose("work", serve), goes.expose("work", serve)]);
    const work = caller.stub("work");
    const calls: Promise<unknown>[] = [];
    let closing: Promise<unknown> | undefined;
    for (const i of range(300)) {
      calls.push(work(i));
      if (i % 5 === 0) await t.pause(1);
      if (i === 150) closing = goes.close();
    }
    equal(await Promise.all(calls), range(300));
    await closing;
    equal([...served.values()].filter((times) => times !== 1), [], "how often calls were served more than once");
  }),

  "a server that stops serving a function still answers the calls that it runs": slow(60_000, async (t) => {
    const [caller, closes, unexposes] = await t.buses(3) as [Bus, Bus, Bus];
    const begun = t.collect<string>();
    const serve = async (name: string) => {
      begun.add(name);
      await t.pause(6_000); // longer than a server has to be missing to count as gone
      return name;
    };
    await closes.expose("closes", serve);
    await unexposes.expose("unexposes", serve);
    const names = ["closes", "unexposes"];
    const calls = Promise.all(names.map((name) => caller.stub(name, { timeout: 45_000 })(name)));
    await begun.count(2);
    await unexposes.unexpose("unexposes");
    const { clean } = await closes.close({ timeout: 45_000 });
    equal(await calls, names);
    ok(clean, "the bus closed after its last call");
  }),

  "a server that closes while a schema validates a request refuses it, and the call goes to another server": async (
    t,
  ) => {
    const { passed, open } = t.gate();
    const looked = t.collect<unknown>();
    class Slow {
      static readonly topic = "Slow";
      static readonly schema = schema((value) => {
        looked.add(value);
        return passed.then(() => value);
      });
    }
    const goes = await t.open({ types: [Slow] });
    const [stays, caller] = await t.buses(2) as [Bus, Bus];
    await goes.expose("work", () => "goes");
    const answer = caller.stub("work", { timeout: 30_000 })(new Slow());
    await looked.count(1);
    await stays.expose("work", () => "stays");
    const closed = goes.close();
    await t.settle();
    open();
    equal(await answer, "stays");
    await closed;
  },

  "a server that stops serving refuses the calls that still reach it": slow(90_000, async (t) => {
    const [server, caller] = await t.buses(2) as [Bus, Bus];
    const blind = await t.open({}, forgetful(t.provider).provider);
    const { unexpose } = t.features.counts ? ENDS : UNCOUNTED_ENDS;
    for (const fn of range(unexpose).map((round) => `fn ${round}`)) {
      await server.expose(fn, () => fn);
      await callUntil(t, server.unexpose(fn), fn, blind, caller);
    }
  }),

  "a bus that closes refuses the calls that still reach it": slow(90_000, async (t) => {
    const caller = await t.open();
    const blind = await t.open({}, forgetful(t.provider).provider);
    // a pattern subscriber counts as a receiver too, so the count of a publish does not show that the server is missing
    if (t.features.counts) await blind.subscribe("*", () => {}, { pattern: true }).ready;
    const { close } = t.features.counts ? ENDS : UNCOUNTED_ENDS;
    for (const fn of range(close).map((round) => `fn ${round}`)) {
      const server = await t.open();
      await server.expose(fn, () => fn);
      await callUntil(t, server.close(), fn, blind, caller);
    }
  }),

  "calls end if their server closes while they count the servers, although a pattern subscriber receives the request":
    slow(
      40_000,
      async (t) => {
        const registry = forgetful(t.provider);
        const [caller, server] = [await t.open({}, registry.provider), await t.open()];
        await caller.subscribe("*", () => {}, { pattern: true }).ready;
        const serve = async () => {
          registry.counted = () => undefined;
          await server.unexpose("fn"); // where the transport does not count receivers, the server stays
          await server.expose("fn", () => "served");
          await t.settle();
          registry.counted = () => server.unexpose("fn");
        };
        await serve();
        await rejects(caller.stub("fn", { timeout: 120_000 }), NoSuchRemoteError);
        await serve();
        equal(await caller.stub("fn", { timeout: 120_000, multi: true })(), []);
      },
    ),

  "if a server dies without an answer, the call rejects with an unknown outcome": {
    deadline: 30_000,
    run: async (t) => {
      const [caller, goes] = await t.buses(2) as [Bus, Bus];
      const { passed } = t.gate();
      const seen = t.collect<string>();
      await goes.expose("wait", () => {
        seen.add("served");
        return passed;
      });
      const call = rejects(caller.stub("wait", { timeout: 25_000 })(), ProviderError, "unavailable");
      await seen.count(1);
      await goes.close({ timeout: 2_000 });
      await call;
    },
  },
};
