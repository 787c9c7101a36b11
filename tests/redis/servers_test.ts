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
