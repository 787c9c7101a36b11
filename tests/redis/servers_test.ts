// run: on bun
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { Redis } from "ioredis";
import { Bus, BusError, RpcError } from "../../mod.ts";
import type { Client } from "../../src/providers/redis/client.ts";
import { Connection } from "../../src/providers/redis/connection.ts";
import { Names } from "../../src/providers/redis/names.ts";
import { parseOptions } from "../../src/providers/redis/options.ts";
import { redis } from "../../src/providers/redis/provider.ts";
import { LEASE, servers } from "../../src/providers/redis/registry.ts";
import { RedisServer } from "../support/redis_server.ts";
import { until } from "../support/until.ts";
import { warnings } from "../support/warnings.ts";
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

describe("a lookup of more servers than a single call needs", () => {
  let server: RedisServer;
  beforeAll(async () => server = await RedisServer.start());
  afterAll(() => server.stop());

  const inboxes = (names: Names, count: number) =>
    Array.from({ length: count }, (_, i) => `${names.inboxes}${i.toString(16).padStart(32, "0")}`);
  const register = (names: Names, inboxes: readonly string[], left = LEASE, fn = "fn") =>
    server.run("zadd", names.servers(fn), ...inboxes.flatMap((inbox) => [`${Date.now() + left}`, inbox]));

  it("brings no name that others choose into Lua", async () => {
    const namespace = fresh();
    const names = new Names(namespace);
    await register(names, inboxes(names, 100));
    const monitor = await new Redis({ port: server.port }).monitor();
    const commands = { lua: new Set<string>(), client: [] as string[] };
    let last = "";
    monitor.on("monitor", (_: string, [name, ...args]: string[], source: string) => {
      if (source !== "lua" && /^z/i.test(name!)) commands.client.push(name!);
      else if (source === "lua" && args.includes(names.servers("fn"))) commands.lua.add(name!.toLowerCase());
      last = args[0]!;
    });
    await using bus = await Bus.open(redis({ port: server.port }), { namespace });
    assertEquals(await bus.stub("fn", { multi: true, timeout: 10_000 })(), []);
    const admin = await redis({ port: server.port }).admin!.open(namespace);
    try {
      assertEquals(await admin.functions(), []);
    } finally {
      await admin.close();
    }
    await server.run("echo", "end");
    await until("all commands are seen", () => last === "end");
    monitor.disconnect();
    assertEquals([...commands.lua].toSorted(), ["memory", "zcard", "zcount"]);
    assert(commands.client.length >= 2 && commands.client.every((name) => name === "zrangebyscore"));
  });

  /** Looks up to `max` servers up while others change their registrations, just before they are read. */
  async function lookUp(names: Names, max: number, change: () => Promise<unknown>) {
    const connection = new Connection(parseOptions({ port: server.port }), 5_000);
    await connection.open(5_000);
    const reads: string[] = [];
    const client: Client = {
      up: true,
      close: () => connection.close(),
      call: async (read, name, ...args) => {
        if (name.startsWith("z") && reads.push(name) === 1) await change();
        return await connection.call(read, name, ...args);
      },
    };
    const found = await servers(client, names, "fn", max);
    await client.close();
    return { found, reads };
  }

  it("finds a server that renews its registration meanwhile, and none whose registration would last too long", async () => {
    const names = new Names(fresh());
    const all = inboxes(names, 100);
    await register(names, all, 10_000);
    await register(names, ["forged"], 3_600_000);
    await server.run("zadd", names.servers("fn"), "+inf", "endless", `${Date.now() - 1}`, "expired");
    const { found, reads } = await lookUp(names, 10_001, () => register(names, all.slice(0, 50)));
    assertEquals([found.toSorted(), reads], [all, ["zrangebyscore"]]);
  });

  it("of a part of them finds all that are left, if so many have ended meanwhile", async () => {
    const names = new Names(fresh());
    const all = inboxes(names, 100);
    await register(names, all);
    const part = await lookUp(names, 99, () => Promise.resolve());
    assertEquals([new Set(part.found).size, part.reads], [99, ["zrange"]]);
    const end = () => server.run("zrem", names.servers("fn"), ...all.slice(2));
    const { found, reads } = await lookUp(names, 99, end);
    assertEquals([found.toSorted(), reads], [all.slice(0, 2), ["zrange", "zrangebyscore"]]);
  });

  it("is refused if they take too much memory, or are too many; an admin lists other functions, with a warning", async () => {
    const namespace = fresh();
    const names = new Names(namespace);
    await using bus = await Bus.open(redis({ port: server.port }), { namespace });
    await bus.expose("other", () => {});
    const forge = "for i = 1, ARGV[1] do redis.call('ZADD', KEYS[1], ARGV[2], i .. string.rep('x', ARGV[3])) end";
    const sent = async () => Number(/total_net_output_bytes:(\d+)/.exec(String(await server.run("info", "stats")))![1]);
    for (const [count, length] of [[65, 300_000], [100_001, 0]]) {
      await server.run("eval", forge, "1", names.servers("fn"), `${count}`, `${Date.now() + 25_000}`, `${length}`);
      const before = await sent();
      const error = await assertRejects(() => bus.stub("fn", { multi: true, timeout: 10_000 })(), BusError);
      assertEquals(error.code, "busy");
      assertMatch(
        error.message,
        /^Cannot call "fn": the sorted set "__tsmq:servers:.*:fn" takes more/,
      );
      const admin = await redis({ port: server.port }).admin!.open(namespace);
      try {
        let listed: unknown;
        const written = await warnings(async () => listed = (await admin.functions())?.map(({ name }) => name));
        assertEquals(listed, ["other"]);
        const warned = /than \d servers of functions in the namespace .*: the others are not listed or counted$/;
        assert(length === 0 || warned.test(written.join()), written.join()); // each namespace has one warning
      } finally {
        await admin.close();
      }
      assert(await sent() - before < 100_000, "what the server has sent");
      await server.run("del", names.servers("fn"));
    }
  });
});
