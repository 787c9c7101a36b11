/** The record of a take, which the server keeps until the reply has arrived. */
// run: on bun
import { assert, assertEquals } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { Bus } from "../../mod.ts";
import { Connection } from "../../src/providers/redis/connection.ts";
import { LosslessTaker } from "../../src/providers/redis/lossless_take.ts";
import { Names } from "../../src/providers/redis/names.ts";
import { parseOptions } from "../../src/providers/redis/options.ts";
import { redis } from "../../src/providers/redis/provider.ts";
import { Peer } from "../support/peer.ts";
import { RedisServer } from "../support/redis_server.ts";
import { TcpProxy } from "../support/tcp_proxy.ts";
import { pause, until } from "../support/until.ts";
import { type Halves, NOW, open } from "./halves.ts";

describe("Redis: what a take leaves on the server", () => {
  let server: RedisServer;
  beforeAll(async () => server = await RedisServer.start());
  afterAll(() => server.stop());

  const listOf = (bus: Halves) => `__eventbus:${bus.namespace}:q`;
  /** The keys of a bus on the server, without its queue. */
  async function left(bus: Halves, at = server): Promise<string[]> {
    return (await at.keys()).filter((key) => key.includes(bus.namespace) && key !== listOf(bus));
  }
  const text = new TextDecoder();
  const isTake = (chunk: Uint8Array) => text.decode(chunk).includes("record:");
  const waiting = async (bus: Halves, at = server) =>
    (await at.run("lrange", listOf(bus), "0", "-1") as unknown[]).map(String).reverse();

  for (const lease of [undefined, 60_000]) {
    it(`is removed when the reply has arrived${lease ? ", with a lease" : ""}`, async () => {
      await using bus = await open({ port: server.port });
      for (const body of ["a", "b"]) await bus.sender.send("q", body, NOW);
      assertEquals(await bus.bodies("q", { lease }), ["a"]);
      assertEquals(await bus.bodies("q", { lease }), ["b"]);
      await until("it is gone", async () => !(await left(bus)).some((key) => key.includes("record:")));
    });
  }

  it("expires within a minute if the bus cannot remove it", async () => {
    await using bus = await open({ port: server.port });
    await bus.sender.send("q", "a", NOW);
    await server.run("acl", "setuser", "default", "-unlink");
    try {
      assertEquals(await bus.bodies("q"), ["a"]);
      const record = (await left(bus)).find((key) => key.includes("record:"));
      const expires = Number(await server.run("pttl", record!));
      assert(expires > 0 && expires <= 60_000, `it expires in ${expires} ms`);
    } finally {
      await server.run("acl", "setuser", "default", "+unlink");
    }
  });

  it("expires within a minute after its process was killed", async () => {
    await using wire = await TcpProxy.to(server.port);
    await using bus = await open({ port: server.port });
    assertEquals(await bus.bodies("q"), []); // the server has the script now
    const args = [JSON.stringify([wire.port, bus.namespace])];
    await using peer = Peer.start(new URL("get_peer.ts", import.meta.url), { args });
    await peer.next();
    // the process dies after the server has handed out the item, and before the reply comes
    wire.alter = (chunk, direction) => {
      if (direction === "up" && isTake(chunk)) wire.deaf = true;
      return chunk;
    };
    await bus.sender.send("q", "1", NOW);
    const record = await until(
      "the item is handed out",
      async () => (await left(bus)).find((key) => key.includes("record:")),
    );
    await peer.kill();
    const keys = await left(bus);
    assert(keys.includes(record!));
    for (const key of keys) {
      const expires = Number(await server.run("pttl", key));
      assert(expires > 0 && expires <= 60_000, `${key} expires in ${expires} ms`);
    }
  });

  it("is removed by close(), though a command failed just before", async () => {
    for (let round = 0; round < 5; round++) {
      const wire = await TcpProxy.to(server.port);
      const bus = await open({ port: server.port }, { receiver: { port: wire.port } });
      for (const body of ["a", "b", "c"]) await bus.sender.send("q", body, NOW);
      assertEquals(await bus.bodies("q"), ["a"]);
      if (round % 2) assertEquals((await bus.bodies("q", { lease: 60_000 })).length, 1);
      wire.cut();
      await pause(round * 5);
      assertEquals(await bus.receiver.close(), 0);
      await bus.sender.drop("q");
      await bus.sender.close();
      assertEquals(await left(bus), []);
      await wire.close();
    }
  });

  for (const late of [0, 10, 30]) {
    it(`goes back at close() if the reply was lost with its connection ${late} ms before`, async () => {
      const wire = await TcpProxy.to(server.port);
      const bus = await open({ port: server.port }, { receiver: { port: wire.port } });
      const cancel = new AbortController();
      let [asked, answered] = [false, false];
      wire.alter = (chunk, direction) => {
        if (direction === "up") asked ||= isTake(chunk);
        else answered ||= asked;
        return chunk;
      };
      const waits = bus.receive("q", { max: 3, wait: 20_000, signal: cancel.signal });
      await until("it has found the queue empty", () => answered);
      wire.deaf = true;
      for (const body of ["a", "b"]) await bus.sender.send("q", body, NOW);
      // the wake-up is lost too: a take of its own
      await until("the wake-up is lost", async () => Number(await server.run("llen", listOf(bus))) === 2);
      wire.deaf = false;
      wire.cut();
      wire.alter = (chunk, direction) => {
        if (direction === "up" && isTake(chunk)) wire.deaf = true;
        return chunk;
      };
      await until("they are handed out", async () => Number(await server.run("llen", listOf(bus))) === 0);
      wire.alter = undefined;
      wire.deaf = false;
      wire.cut();
      await pause(late);
      cancel.abort();
      assertEquals(await waits, []);
      assertEquals(await bus.receiver.close(), 0);
      assertEquals(await waiting(bus), ["a", "b"]);
      assertEquals(await left(bus), []);
      await bus.sender.close();
      await wire.close();
    });
  }

  it("is put back by a server that was frozen at close(), which returns the number of uncertain items", async () => {
    const frozen = await RedisServer.start();
    try {
      const bus = await open({ port: frozen.port });
      assertEquals(await bus.bodies("q"), []); // the server has the script now
      await bus.sender.send("q", "a", NOW);
      frozen.freeze();
      const cancel = new AbortController();
      const waits = bus.receive("q", { max: 3, wait: 20_000, signal: cancel.signal });
      await pause(20);
      cancel.abort();
      assertEquals(await waits, []);
      assertEquals(await bus.receiver.close(), 3);
      frozen.thaw();
      await until("it is back", async () => (await waiting(bus, frozen)).join() === "a");
      assertEquals(await left(bus, frozen), []);
      await bus.sender.close();
    } finally {
      frozen.thaw();
      await frozen.stop();
    }
  });

  for (const timeout of [5_000, 500]) {
    it(`is reported by bus.close({ timeout: ${timeout} }) while the server is frozen, and put back`, async () => {
      const frozen = await RedisServer.start();
      try {
        const namespace = `test-${crypto.randomUUID()}`;
        await using wire = await TcpProxy.to(frozen.port);
        const bus = await Bus.open(redis({ port: wire.port }), { namespace });
        const list = `__eventbus:${namespace}:q`;
        await bus.queue("q").get({ timeout: 10 }).catch(() => {}); // the server has the script now
        let [asked, answered, woken] = [false, false, false];
        // the server is frozen with its wake-up: the take that follows is not carried out before it thaws
        wire.alter = (chunk, direction) => {
          if (direction === "up") asked ||= isTake(chunk);
          else answered ||= asked;
          if (direction === "up" || !text.decode(chunk).includes(list)) return chunk;
          frozen.freeze();
          woken = true;
          return chunk;
        };
        const waits = bus.queue("q").get().catch((error) => error.code);
        await until("it has found the queue empty", () => answered);
        const pushed = frozen.run("lpush", list, "1"); // its reply may come after the wake-up
        await until("it is woken", () => woken);
        const report = await bus.close({ timeout });
        assertEquals([await waits, report.uncertain], ["closed", 1]);
        frozen.thaw();
        await pushed;
        await until("it is back", async () => Number(await frozen.run("llen", list)) === 1);
      } finally {
        frozen.thaw();
        await frozen.stop();
      }
    });
  }

  describe("that another client has forged", () => {
    const LEASE = 30_000;
    /** A take of this list of members and sizes, whose first reply was lost, and the errors that it reports. */
    const forged = async (prepare: string) => {
      const { port } = server;
      const client = new Connection(parseOptions({ port }), 5_000);
      await client.open(5_000);
      const keys = new Names(crypto.randomUUID()).queue("q");
      let faults = 0;
      const taker = new LosslessTaker(client, keys, "a.0", "q", LEASE, 2_000_000, () => faults++);
      const { signal } = new AbortController();
      await taker.take(1_000, signal, 5_000);
      const script = `${prepare} redis.call('SET', KEYS[1], cmsgpack.pack({'a.0.1', members, sizes}), 'PX', 60000)`;
      await server.run("eval", script, "3", `${keys.records}a.0`, keys.items, keys.due);
      const { deliveries } = await taker.take(1_000, signal, 0);
      await client.close();
      return { deliveries, faults };
    };

    it("replies with few sizes of items that were put aside", async () => {
      const { faults } = await forged("local members, sizes = {}, {} for i = 1, 100000 do sizes[i] = 1 end");
      assertEquals(faults, 1_000);
    });

    it("replies with each stored body once, and with 16 MiB", async () => {
      const lease = `redis.call('ZADD', KEYS[3], ${Date.now() + LEASE}, members[i])`;
      const copies = `redis.call('HSET', KEYS[2], '1.1.x', string.rep('a', 1000000)) local members, sizes = {}, {}
        for i = 1, 100 do members[i] = '1.1.x:' .. i ${lease} end`;
      assertEquals((await forged(copies)).deliveries.length, 1);
      const many = `local members, sizes = {}, {} for i = 1, 100 do members[i] = '1.' .. i .. '.x:1' ${lease}
        redis.call('HSET', KEYS[2], '1.' .. i .. '.x', string.rep('a', 1000000)) end`;
      assertEquals((await forged(many)).deliveries.length, 17);
      const large =
        `redis.call('HSET', KEYS[2], '1.1.x', string.rep('a', 3000000)) local members, sizes, i = {'1.1.x:1'}, {}, 1 ${lease}`;
      assertEquals((await forged(large)).deliveries.length, 0);
    });
  });

  it("is put back once, though the next get runs at the same time", async () => {
    await using bus = await open({ port: server.port });
    for (let round = 0; round < 20; round++) {
      const cancel = new AbortController();
      const waits = bus.receive("q", { max: 1, wait: 20_000, signal: cancel.signal });
      await Promise.all([bus.sender.send("q", "a", NOW), bus.sender.send("q", "b", NOW)]);
      cancel.abort();
      const got = (await waits).map(({ body }) => body);
      while (got.length < 2) got.push(...await bus.bodies("q", { wait: 1_000 }));
      assertEquals(got.sort(), ["a", "b"]);
      assertEquals(await bus.bodies("q"), []);
    }
  });
});
