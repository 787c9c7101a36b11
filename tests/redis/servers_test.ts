// run: on bun
import { assert, assertEquals, assertRejects } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { Bus, RpcError } from "../../mod.ts";
import { redis } from "../../src/providers/redis/provider.ts";
import { RedisServer } from "../support/redis_server.ts";
import { fresh, open } from "./halves.ts";

describe("a function that is served no more", () => {
  it("has no registration left", async () => {
    await using server = await RedisServer.start();
    await using bus = await open({ port: server.port });
    const filter = { topic: "fn", pattern: false, serves: true };
    await bus.receiver.subscribe(filter, () => {});
    assertEquals(await bus.sender.servers("fn"), [{ inbox: bus.receiver.inbox }]);
    await bus.receiver.unsubscribe(filter);
    assertEquals(await bus.sender.servers("fn"), []);
  });
});

describe("a registration whose name is too long for an inbox", () => {
  it("is not sent to callers, and the server of the function is called", async () => {
    await using server = await RedisServer.start();
    await using bus = await open({ port: server.port });
    const filter = { topic: "fn", pattern: false, serves: true };
    await bus.receiver.subscribe(filter, () => {});
    const { inbox } = bus.receiver;
    for (const name of ["x".repeat(1_000_000), `${inbox}x`]) {
      await server.run("zadd", `__tsmq:servers:__eventbus:${bus.namespace}:fn`, `${Date.now() + 10_000}`, name);
    }
    const found = (await bus.sender.servers("fn")).map(({ inbox }) => inbox);
    assertEquals(found.toSorted(), ["", "", inbox]);
    assertEquals(await bus.sender.post("", "x"), false);
    await bus.receiver.unsubscribe(filter);
  });
});

describe("a function with more servers than a call asks for", () => {
  let server: RedisServer;
  beforeAll(async () => server = await RedisServer.start());
  afterAll(() => server.stop());

  /** Registers a number of inboxes. */
  async function register(namespace: string, count: number): Promise<void> {
    const entries = Array.from({ length: count }, (_, i) => [`${Date.now() + 20_000 + i / 1_000}`, `inbox ${i}`])
      .flat();
    await server.run("zadd", `__tsmq:servers:__eventbus:${namespace}:fn`, ...entries);
  }

  it("spreads single calls over all of them", async () => {
    const namespace = fresh();
    await register(namespace, 100);
    const { sender, close } = await open({ port: server.port }, { namespace });
    assertEquals((await sender.servers("fn")).length, 100);
    assertEquals((await sender.servers("fn", { max: 100 })).length, 100);
    const found = new Set<string>();
    for (let i = 0; i < 200; i++) {
      const sample = await sender.servers("fn", { max: 64 });
      assertEquals(new Set(sample.map(({ inbox }) => inbox)).size, 64);
      for (const { inbox } of sample) found.add(inbox);
    }
    assertEquals(found.size, 100);
    const listening = (await sender.servers("fn", { listening: true })).map(({ listening }) => listening);
    assertEquals(listening, Array(100).fill(false));
    await close();
  });

  it("is looked up in a short time, and without registrations that have expired or would last too long", async () => {
    const namespace = fresh();
    const { sender, close } = await open({ port: server.port }, { namespace });
    const forge = "for i = 1, ARGV[1] do redis.call('zadd', KEYS[1], ARGV[2], ARGV[3] .. i) end";
    const add = (topic: string, count: number, kind: string, score: number) =>
      server.run("eval", forge, "1", `__tsmq:servers:__eventbus:${namespace}:${topic}`, `${count}`, `${score}`, kind);
    /** Returns the microseconds for which the server runs 50 lookups. */
    const lookUp = async (topic: string) => {
      await server.run("config", "resetstat");
      const found = new Set<string>();
      for (let i = 0; i < 50; i++) {
        for (const { inbox } of await sender.servers(topic, { max: 64 })) found.add(inbox);
      }
      assert([...found].every((inbox) => inbox.startsWith("live")), [...found].join());
      const time = /cmdstat_evalsha:calls=\d+,usec=(\d+)/.exec(String(await server.run("info", "commandstats")))![1];
      return { count: found.size, time: Number(time) };
    };
    for (const topic of ["few", "many"]) {
      await add(topic, 100, "expired", Date.now() - 1);
      await add(topic, 100, "forged", Date.now() + 3_600_000);
    }
    assertEquals((await lookUp("few")).count, 0);
    const live = () => Date.now() + 29_000; // the longest time that counts, because a busy machine needs some of it
    await add("many", 200_000, "live", live());
    const many = await lookUp("many");
    await add("few", 60, "live", live());
    const few = await lookUp("few");
    assertEquals(few.count, 60);
    assert(many.count > 1_000, `${many.count} were found`);
    assert(many.time < 10 * few.time, `${many.time} µs of many, ${few.time} µs of few`);
    await close();
  });

  it("rejects a multi-call before anything is sent", async () => {
    const namespace = fresh();
    await register(namespace, 10_001);
    await using bus = await Bus.open(redis({ port: server.port }), { namespace });
    const seen: unknown[] = [];
    await bus.subscribe("fn", (request) => seen.push(request)).ready;
    const error = await assertRejects(() => bus.stub("fn", { multi: true, timeout: 10_000 })(), RpcError);
    assertEquals(error.code, "too_large");
    assert(seen.length === 0);
  });
});
