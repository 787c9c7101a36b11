/**
 * Headers: they arrive with the event, the item or the call that they were sent with. `currentCall` has those of a call.
 *
 * @module
 */
import type { Bus } from "../bus.ts";
import { type CurrentCall, currentCall } from "../rpc/current_call.ts";
import { ClosedError, ProviderError, TimeoutError } from "../errors.ts";
import type { MessageHeaders } from "../codec/headers.ts";
import type { Lease } from "../queue/lease.ts";
import type { DeadLetter } from "../queue/letter.ts";
import { equal, ok, rejects } from "./assert.ts";
import type { Cases } from "./cases.ts";
import { TRIED } from "./claims.ts";

/** Headers that a transport or an envelope could change. */
const HEADERS: MessageHeaders = {
  tenant: "acme",
  Tenant: "with another case",
  "!#$%&'*+-.^_`|~": "every token",
  constructor: "no prototype",
  text: 'quotes ", braces {}, "}, backslash \\, ☃ 🧊 \u2028',
  empty: "",
};

class Paid {
  static readonly topic = "kit.paid";
  constructor(readonly id: number) {}
}

/** Cases about headers. */
export const headers: Cases = {
  "the headers of an event arrive at each handler, by name and by pattern": async (t) => {
    const [sender, receiver] = await t.buses(2) as [Bus, Bus];
    const seen = t.collect<unknown[]>();
    receiver.subscribe(Paid, (event, message) => seen.add(["class", event.id, plain(message.headers)]));
    await receiver.subscribe<{ id: number }>(
      "kit.*",
      ({ id }, message) => seen.add(["pattern", id, plain(message.headers)]),
      { pattern: true },
    ).ready;
    await t.settle();
    await sender.publish(new Paid(1), { headers: HEADERS });
    await sender.publish(new Paid(2), "kit.paid", { headers: HEADERS });
    await sender.topic("kit.paid").publish(new Paid(3), { headers: HEADERS });
    await sender.publish(new Paid(4));
    const expected = ["class", "pattern"].flatMap((by) =>
      [1, 2, 3, 4].map((id) => [by, id, id < 4 ? HEADERS : {}].map((part) => JSON.stringify(part)).join())
    );
    equal(
      new Set((await seen.count(8)).map((each) => each.map((part) => JSON.stringify(part)).join())),
      new Set(expected),
    );
  },

  "the headers of an item arrive with each lease and with its dead letter": async (t) => {
    const [sender, receiver] = await t.buses(2) as [Bus, Bus];
    t.errors(receiver);
    const queue = t.queue<unknown>(sender, "work");
    const item = { at: new Date(0) };
    await queue.put(item, { headers: HEADERS });
    const first = await receiver.queue("work").receive();
    equal([first.item, plain(first.headers)], [item, HEADERS]);
    await first.nack();
    receiver.queue("work").consume((_, lease) => {
      equal(plain(lease.headers), HEADERS);
      throw new Error("failed");
    }, { maxAttempts: 2, backoff: 0 });
    const letter: Lease<DeadLetter> = await t.queue<DeadLetter>(sender, "work.dead").receive();
    equal([letter.item.item, plain(letter.headers)], [item, HEADERS]);
    await letter.ack();
    await queue.putNowait("bare");
    const bare = await sender.queue<DeadLetter>("work.dead").receive();
    equal([bare.item.item, plain(bare.headers)], ["bare", {}]);
    await bare.ack();
  },

  "a body with headers is at most as long as the transport allows": {
    skip: ({ maxBody }) => maxBody > TRIED ? `a body of more than ${TRIED} bytes is not tried` : undefined,
    run: async (t) => {
      const bus = await t.open();
      const queue = t.queue<string>(bus, "work");
      const item = "x".repeat(t.features.maxBody - 500);
      await queue.put(item);
      const headers = { long: "y".repeat(1_000) };
      await rejects(() => queue.put(item, { headers }), ProviderError, "too_large", "a put with headers");
      equal((await queue.get()).length, item.length);
      await queue.putNowait("next", { headers });
      equal(await queue.get(), "next");
    },
  },

  "a served function reads its call: the name, the headers, the deadline": async (t) => {
    const [caller, server] = await t.buses(2) as [Bus, Bus];
    const calls = t.collect<CurrentCall>();
    await server.expose("fn", async () => {
      await t.pause(1);
      calls.add(currentCall()!);
    });
    await t.settle();
    const before = Date.now();
    await caller.stub("fn", { headers: HEADERS, timeout: 60_000 })();
    await caller.stub("fn", { headers: HEADERS, timeout: 60_000, multi: true })();
    await caller.stub("fn")();
    const seen = await calls.count(3);
    equal(seen.map(({ fn, headers }) => [fn, plain(headers)]), [["fn", HEADERS], ["fn", HEADERS], ["fn", {}]]);
    for (const { deadline, signal } of seen) {
      ok(deadline > before && deadline < before + 120_000, `the deadline is ${deadline - before} ms after the call`);
      ok(!signal.aborted, "the signal of a call that was answered aborted");
    }
    equal(currentCall(), undefined);
  },

  "the signal of a served call aborts when the caller cancels, at the deadline, and when the server's bus closes":
    async (t) => {
      const [caller, server] = await t.buses(2) as [Bus, Bus];
      const calls = t.collect<AbortSignal>();
      const ended = t.collect<unknown>();
      await server.expose("fn", async () => {
        const { signal } = currentCall()!;
        calls.add(signal);
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
        ended.add(signal.reason);
      });
      await t.settle();
      const abort = new AbortController();
      const cancelled = caller.stub("fn", { signal: abort.signal })();
      await calls.count(1);
      abort.abort("changed my mind");
      await cancelled.catch(() => {});
      await ended.count(1);
      await caller.stub("fn", { timeout: 500 + t.features.latency })().catch(() => {}); // both ends stop at the same time
      await ended.count(2);
      const closed = caller.stub("fn")();
      await calls.count(3);
      const [{ abandoned }] = await Promise.all([
        server.close({ timeout: 2_000 }),
        rejects(() => closed, ProviderError, "unavailable"),
      ]);
      equal(abandoned, 1, "handlers that the end of close() has cut off");
      const [first, late, last] = await ended.count(3);
      equal((first as Error).name, "AbortError");
      // by the server's clock, a caller that has timed out may seem to cancel early
      ok(late instanceof TimeoutError || (late as Error).name === "AbortError", "the reason at the deadline");
      ok(last instanceof ClosedError, "the reason when the bus closes");
    },

  "a served function that its closing bus has ended fails as one whose server goes away": async (t) => {
    const [caller, server] = await t.buses(2) as [Bus, Bus];
    const started = t.collect<string>();
    const errors = t.errors(server);
    await server.expose("obeys", async () => {
      const { signal } = currentCall()!;
      started.add("obeys");
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      throw signal.reason;
    });
    const get = () => {
      started.add("uses");
      return server.queue("none").get();
    };
    await server.expose("uses", get);
    await server.expose("streams", async function* () {
      yield await get();
    });
    await t.settle();
    const calls = [
      caller.stub("obeys")(),
      caller.stub("uses")(),
      caller.stream("streams")()[Symbol.asyncIterator]().next(),
    ];
    const lost = calls.map((call) => rejects(() => call, ProviderError, "unavailable"));
    await started.count(3);
    await server.close({ timeout: 2_000 });
    await Promise.all(lost);
    t.frees("none");
    equal(errors.values.length, 2, "reports: those of the functions that used the bus");
  },
};

function plain(headers: MessageHeaders): Record<string, string> {
  return { ...headers };
}
