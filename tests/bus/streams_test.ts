// run: on deno, kernel-queues
/** Streams whose messages are lost, whose connections break, or whose other end dies. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { afterAll, beforeAll, describe } from "@std/testing/bdd";
import { Bus, memory, ProviderError, type Sender } from "../../mod.ts";
import { overridden } from "../../src/conformance/runs.ts";
import { STREAM_CHECK } from "../../src/internal/time.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { redis } from "../../src/providers/redis/provider.ts";
import { Peer } from "../support/peer.ts";
import { RedisServer } from "../support/redis_server.ts";
import { sideBySide } from "../support/side_by_side.ts";
import { itNeeds } from "../support/skip.ts";
import { missing } from "../support/tools.ts";
import { pause, timed, until } from "../support/until.ts";
import { fresh } from "./grounds.ts";

/** The check of streams in these tests: a keep-alive each second, and a peer that is silent for three seconds is gone. */
const CHECK = 200;
const COUNT = 2_000;
/** The number of times that connections break during one stream, and the number of values between two breaks. */
const CUTS = 10;
const EACH = 600;
/** The peer that serves or reads a stream until it is killed. */
const PEER = new URL("streams_peer.ts", import.meta.url);

type Numbers = () => AsyncIterable<number>;
type Post = Sender["post"];

/** Opens two buses over memory. `posting` posts each message with values; `n` counts them from 1. */
async function pair(posting: (n: number, post: () => ReturnType<Post>) => ReturnType<Post>): Promise<[Bus, Bus]> {
  const provider = memory();
  let n = 0;
  const open: typeof provider.open = async (context) => {
    const sender = await provider.open(context);
    const post: Post = (inbox, body) => {
      const send = () => sender.post(inbox, body);
      return body.includes('"__type":"tsmq:values"') ? posting(++n, send) : send();
    };
    return overridden(sender, { post });
  };
  return [await Bus.open({ ...provider, open }), await Bus.open(provider)];
}

/** Serves numbers up to a limit. The returned function returns how many generators have ended. */
async function serve(bus: Bus, fn: string, limit: number): Promise<() => number> {
  let ended = 0;
  await bus.expose(fn, async function* () {
    try {
      for (let i = 0; i < limit; i++) yield i;
    } finally {
      ended++;
    }
  });
  return () => ended;
}

async function readAll(values: AsyncIterable<number>, each: (seen: number) => unknown = () => {}): Promise<number> {
  let seen = 0;
  for await (const value of values) {
    assertEquals(value, seen++);
    await each(seen);
  }
  return seen;
}

describe("a stream", () => {
  const it = sideBySide(9); // they mostly wait, for checks and for connections
  const before = STREAM_CHECK.every;
  beforeAll(() => void (STREAM_CHECK.every = CHECK));
  afterAll(() => void (STREAM_CHECK.every = before));

  const lacks = missing("redis-server");
  let server: RedisServer | undefined;
  /** A second server, whose connections break. */
  let cut: RedisServer | undefined;
  if (lacks === undefined) {
    beforeAll(async () => void ([server, cut] = await Promise.all([RedisServer.start(), RedisServer.start()])));
    afterAll(async () => void await Promise.all([server?.stop(), cut?.stop()]));
  }
  const itOnRedis = lacks === undefined ? it : itNeeds(lacks);

  it("loses, repeats and swaps nothing, though its messages are lost, repeated and swapped", async () => {
    const faults: Record<number, (post: () => ReturnType<Post>) => ReturnType<Post>> = {
      2: () => Promise.resolve(true), // lost
      5: async (post) => await post() && await post(), // repeated
      7: () => Promise.reject(new ProviderError("unavailable", "not sent")),
      9: async (post) => await post() && Promise.reject(new ProviderError("unavailable", "sent")),
      11: () => Promise.resolve(false), // the caller reconnects
      13: (post) => {
        setTimeout(post, 100); // later than the next ones
        return Promise.resolve(true);
      },
      15: () => Promise.resolve(true),
    };
    const [server, caller] = await pair((n, post) => faults[n] ? faults[n](post) : post());
    await using _ = { [Symbol.asyncDispose]: () => Promise.all([server.close(), caller.close()]).then(() => {}) };
    const ended = await serve(server, "numbers", COUNT);
    assertEquals(await readAll(caller.stream<Numbers>("numbers")()), COUNT);
    await until("the generator has ended", () => ended() === 1);
  });

  it("rejects as unavailable if its values no longer arrive, and its generator ends", async () => {
    const [server, caller] = await pair((n, post) => n > 3 ? Promise.resolve(true) : post());
    await using _ = { [Symbol.asyncDispose]: () => Promise.all([server.close(), caller.close()]).then(() => {}) };
    const ended = await serve(server, "numbers", Infinity);
    let seen = 0;
    const reading = readAll(caller.stream<Numbers>("numbers")(), () => seen++);
    const error = await assertRejects(() => reading, ProviderError);
    assertEquals(error.code, "unavailable");
    assert(seen > 0);
    await until("the generator has ended", () => ended() === 1);
  });

  it("replaces a value that the transport refuses by an error", async () => {
    const refusal = new ProviderError("too_large", "Cannot post: the message is too large");
    const [server, caller] = await pair((n, post) => n === 3 ? Promise.reject(refusal) : post());
    await using _ = { [Symbol.asyncDispose]: () => Promise.all([server.close(), caller.close()]).then(() => {}) };
    const reported: unknown[] = [];
    server.addEventListener("error", ({ error }) => reported.push(error));
    const ended = await serve(server, "numbers", Infinity);
    const error = await assertRejects(() => readAll(caller.stream<Numbers>("numbers")()), Error);
    assert(error.message.includes("too large"), error.message);
    assertEquals(reported, [refusal]);
    await until("the generator has ended", () => ended() === 1);
  });

  it("is kept alive for a reader that takes no value for a long time", async () => {
    const [server, caller] = await pair((_, post) => post());
    await using _ = { [Symbol.asyncDispose]: () => Promise.all([server.close(), caller.close()]).then(() => {}) };
    const ended = await serve(server, "numbers", COUNT);
    const seen = await readAll(caller.stream<Numbers>("numbers")(), async (seen) => {
      if (seen === 10) await pause(30 * CHECK);
    });
    assertEquals([seen, ended()], [COUNT, 1]);
  });

  it("is kept alive, and ends at once, for a slow reader for which a large value waits", async () => {
    const [server, caller] = await pair((_, post) => post());
    await using _ = { [Symbol.asyncDispose]: () => Promise.all([server.close(), caller.close()]).then(() => {}) };
    const large = "x".repeat(300_000); // more than a caller lets wait beside it
    await server.expose("large", async function* () {
      yield* ["first", large, "last"];
    });
    const values = caller.stream<() => AsyncIterable<string>>("large")()[Symbol.asyncIterator]();
    assertEquals(await values.next(), { done: false, value: "first" });
    await pause(20 * CHECK);
    await server.close({ timeout: 500 });
    assertEquals(await values.next(), { done: false, value: large });
    const since = performance.now();
    const { code } = await assertRejects(() => values.next(), ProviderError);
    assertEquals(code, "unavailable");
    const took = performance.now() - since;
    assert(took < 10 * CHECK, `the reader waited ${took} ms for a server that had closed`);
  });

  it("does not stop until the next check, though the types of its values are written once for all of them", async () => {
    const [server, caller] = await pair((_, post) => post());
    await using _ = { [Symbol.asyncDispose]: () => Promise.all([server.close(), caller.close()]).then(() => {}) };
    const typed = (i: number) => Array.from({ length: 30 }, (_, at) => at % 2 === 0 ? BigInt(i) : new Date(at));
    await server.expose("typed", async function* () {
      for (let i = 0; i < 500; i++) yield typed(i);
    });
    let seen = 0;
    const took = await timed(async () => {
      for await (const value of caller.stream("typed")() as AsyncIterable<unknown>) assertEquals(value, typed(seen++));
    });
    assertEquals(seen, 500);
    assert(took < 10 * CHECK, `it took ${took} ms`);
  });

  itOnRedis("has each value once and in order, though its connections break ten times", async () => {
    const shared = redis({ url: cut!.url });
    const namespace = fresh();
    await using serving = await Bus.open(shared, { namespace });
    await using reading = await Bus.open(shared, { namespace });
    for (const bus of [serving, reading]) bus.addEventListener("error", () => {});
    const ended = await serve(serving, "numbers", CUTS * EACH);
    let cutting: Promise<unknown> = Promise.resolve();
    const seen = await readAll(reading.stream<Numbers>("numbers")(), async (seen) => {
      if (seen % EACH !== EACH / 2) return;
      await cutting;
      cutting = cut!.run("client", "kill", "type", "normal").then(() => cut!.run("client", "kill", "type", "pubsub"));
    });
    assertEquals(seen, CUTS * EACH);
    await cutting;
    await until("the generator has ended", () => ended() === 1);
  });

  const grounds = [
    ["Redis", itOnRedis, () => server!.url, () => redis({ url: server!.url })],
    ["POSIX queues", it, () => "ipc", () => ipc()],
  ] as const;
  for (const [name, it, url, providerOf] of grounds) {
    it(`ends if its reader's process is killed, on ${name}`, async () => {
      const namespace = fresh();
      await using bus = await Bus.open(providerOf(), { namespace });
      const ended = await serve(bus, "theirs", Infinity);
      await using reader = Peer.start<number>(PEER, { args: [url(), namespace, "reader", String(CHECK)] });
      for (let i = 0; i < 10; i++) assertEquals(await reader.next(), i);
      assertEquals(ended(), 0);
      await reader.kill();
      await until("the generator has ended", () => ended() === 1);
    });

    it(`rejects as unavailable if its server's process is killed, on ${name}`, async () => {
      const namespace = fresh();
      await using serving = Peer.start<string>(PEER, { args: [url(), namespace, "server", String(CHECK)] });
      assertEquals(await serving.next(), "served");
      await using bus = await Bus.open(providerOf(), { namespace });
      const reading = readAll(bus.stream<Numbers>("numbers")(), (seen) => seen === 10 ? serving.kill() : undefined);
      const { code } = await assertRejects(() => reading, ProviderError);
      assertEquals(code, "unavailable");
    });
  }
});
