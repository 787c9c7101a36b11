// run: on bun
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { createServer } from "node:net";
import { describe, it } from "@std/testing/bdd";
import { Bus, type BusError, memory, ProviderError } from "../../mod.ts";
import { redis } from "../../src/providers/redis/provider.ts";
import { freePort } from "../support/port.ts";
import { RedisServer } from "../support/redis_server.ts";
import { ALL } from "../support/share.ts";
import { until, within } from "../support/until.ts";
import { fresh, onEach, onRedis } from "./grounds.ts";

/** The size of a message: above the limits of 32 and 64 MiB for bytes that a bus holds, and below the others. */
const MEGABYTES = ALL ? 100 : 70;

async function refusal(promise: Promise<unknown>): Promise<BusError> {
  return await assertRejects(() => promise, ProviderError) as BusError;
}

onRedis("a bus that cannot be opened", ({ it }) => {
  it("soon has the code unavailable if no server listens", async () => {
    const options = { namespace: fresh(), connectTimeout: 120_000 };
    const error = await within("it rejects", refusal(Bus.open(redis({ port: await freePort() }), options)));
    assertEquals([error.code, error.retryable], ["unavailable", true]);
  });

  it("has the code denied if the password is wrong, and contains no password", async () => {
    await using server = await RedisServer.start({ password: "right" });
    for (const password of ["wrong", undefined]) {
      const error = await refusal(Bus.open(redis({ port: server.port, password }), { namespace: fresh() }));
      assertEquals([error.code, error.retryable], ["denied", false]);
      assert(!/\b(wrong|right)\b/.test(error.message), error.message);
    }
  });

  it("names TLS if the server does not answer its handshake, and another program that listens there", async () => {
    await using server = await RedisServer.start();
    const url = `rediss://127.0.0.1:${server.port}`;
    const options = { namespace: fresh(), connectTimeout: 300, waitOnFirstConnect: false };
    assertEquals(
      (await refusal(Bus.open(redis({ url }), options))).message,
      `Cannot connect to Redis: Redis at 127.0.0.1:${server.port} sent no reply within 300 ms; ` +
        "if it does not use TLS, the URL begins with redis://",
    );
    const other = createServer((socket) => void socket.on("error", () => {}).end("HTTP/1.1 400 Bad Request\r\n\r\n"));
    const port = await freePort();
    await new Promise<void>((resolve) => other.listen(port, "127.0.0.1", resolve));
    const { message } = await refusal(Bus.open(redis({ port }), { ...options, connectTimeout: 10_000 }));
    other.close();
    assertMatch(message, /: the server at 127\.0\.0\.1:\d+ sent what is not a reply of Redis; check host and port$/);
  });

  it("rejects with its error, and does not report it too", async () => {
    await using server = await RedisServer.start();
    await server.run("acl", "setuser", "limited", "on", ">pw", "~*", "+@read", "+@connection");
    const printed: unknown[] = [];
    const { error: print } = console;
    console.error = (...all) => void printed.push(all);
    try {
      const opening = Bus.open(redis({ port: server.port, username: "limited", password: "pw" }), {
        namespace: fresh(),
      });
      assertEquals((await refusal(opening)).code, "denied");
    } finally {
      console.error = print;
    }
    assertEquals(printed, []);
  });
});

describe("a subscription that is refused", () => {
  const provider = { ...memory(), worker: new URL("../support/workers/refusing.ts", import.meta.url) };

  it("has ended, and leaves nothing behind", async () => {
    await using bus = await Bus.open(provider);
    const abort = new AbortController();
    const subscription = bus.subscribe("secret", () => {}, { signal: abort.signal });
    assertEquals((await refusal(subscription.ready)).code, "denied");
    await within("it has ended", subscription.closed);
    assertEquals(bus.health().subscriptions, 0);
    abort.abort();
    await subscription.unsubscribe();
  });

  it("ends a loop over its topic with the error, at whichever next()", async () => {
    await using bus = await Bus.open(provider);
    const [early, late] = [0, 1].map(() => bus.topic("secret")[Symbol.asyncIterator]());
    for (const loop of [early!, late!]) {
      assertEquals((await refusal(loop.next())).code, "denied");
      assertEquals(await within("the end", loop.next()), { done: true, value: undefined });
    }
  });
});

onEach(`${MEGABYTES} MB`, ({ it, provider }) => {
  it("arrive completely or are refused as too large, as event, item and argument; later messages arrive", async () => {
    await using bus = await Bus.open(provider(), { namespace: fresh(), sendTimeout: 60_000, maxReceive: 2 ** 27 });
    const errors: unknown[] = [];
    bus.addEventListener("error", ({ error }) => {
      // on a busy machine, the renewal of a registration is late behind them; the bus repeats it
      if (!/^Cannot register .* sent no reply/.test(String((error as Error).message))) errors.push(error);
    });
    const huge = "x".repeat(MEGABYTES * 1_000_000);
    const lengths: number[] = [];
    await bus.subscribe<string>("topic", (text) => lengths.push(text.length)).ready;
    await bus.expose("length", (text: string) => text.length);
    const length = bus.stub<(text: string) => number>("length", { timeout: 60_000 });
    const queue = bus.queue<string>("queue");
    const tooLarge = (error: unknown) => {
      assert(error instanceof ProviderError && error.code === "too_large" && !error.retryable, String(error));
      return undefined;
    };

    const expected: number[] = [];
    if (await bus.publish(huge, "topic").then(() => true, tooLarge)) expected.push(huge.length);
    if (await queue.put(huge).then(() => true, tooLarge)) assertEquals((await queue.get()).length, huge.length);
    const answer = await length(huge).catch(tooLarge);
    assert(answer === undefined || answer === huge.length);

    await bus.publish("small", "topic");
    await until("events arrive", () => lengths.length === expected.length + 1, 60_000);
    assertEquals(lengths, [...expected, 5]);
    await queue.put("small");
    assertEquals(await queue.get(), "small");
    assertEquals(await length("small"), 5);
    assertEquals(errors, []);
    await queue.free();
  });
});
