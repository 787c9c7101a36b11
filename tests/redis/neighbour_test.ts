/** State and requests that another client of the same Redis forges. */
// run: on bun
import { assert, assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import { Redis } from "ioredis";
import { Bus, type BusError } from "../../mod.ts";
import type { Admin } from "../../src/provider/admin.ts";
import { MAX_LISTED, MAX_LISTED_SIZE, MAX_SERVERS } from "../../src/provider/listing.ts";
import { Names } from "../../src/providers/redis/names.ts";
import { fresh, onRedis } from "../bus/grounds.ts";
import { spy } from "../support/spy.ts";
import { PATIENCE, until } from "../support/until.ts";
import { warnings } from "../support/warnings.ts";

/** The number of answers to PyMQ that may be unread. */
const UNREAD = 16_384;

onRedis("a neighbour", ({ it, server, provider }) => {
  const open = (namespace: string) => Bus.open(provider(), { namespace, timeout: PATIENCE });

  /** Runs with another client of the server. */
  async function neighbour<T>(run: (redis: Redis) => Promise<T>): Promise<T> {
    const redis = new Redis({ port: server().port, host: "127.0.0.1" });
    try {
      return await run(redis);
    } finally {
      redis.disconnect();
    }
  }

  /** Sends many commands. */
  async function send(redis: Redis, count: number, command: (i: number) => [string, ...(string | number | Buffer)[]]) {
    for (let i = 0; i < count; i += 1_000) {
      const commands = Array.from({ length: Math.min(1_000, count - i) }, (_, j) => command(i + j));
      await redis.pipeline(commands).exec();
    }
  }

  const address = (namespace: string, i: number) =>
    `__tsmq:inbox:__eventbus:${namespace}:${i.toString(16).padStart(32, "0")}`;

  const requestTo = (inbox: string, channel = "") =>
    JSON.stringify({
      __obj: [
        "fn",
        channel,
        [],
        {},
        ...channel ? [] : [{ id: crypto.randomUUID(), inbox, deadline: Date.now() + 60_000 }],
      ],
      __type: "pymq.core.RpcRequest",
    });

  it("who writes values of other types under the names of queues and functions: all others are listed", async () => {
    const namespace = fresh();
    await using bus = await open(namespace);
    await bus.queue("jobs").put(1);
    await bus.queue("later").put(1, { delay: 60_000 });
    await bus.expose("add", (a: number, b: number) => a + b);
    const names = new Names(namespace);
    await neighbour(async (redis) => {
      const keys = [names.servers("forged"), names.queue("forged").due, names.bindings];
      for (const key of keys) await redis.set(key, "x");
    });
    const admin = await provider().admin!.open(namespace);
    try {
      assertEquals((await admin.queues())!.map(({ name }) => name).toSorted(), ["jobs", "later"]);
      assertEquals((await admin.functions())!.map(({ name }) => name), ["add"]);
      assertEquals(await admin.groups(), []);
      assertEquals(await admin.leftovers(), []);
      for await (const _ of admin.reap());
    } finally {
      await admin.close();
      for (const name of ["jobs", "later"]) await bus.queue(name).free();
    }
  });

  /** Lists with an admin, and returns the warnings about things that are left out, without the name of the namespace. */
  async function leftOut(namespace: string, list: (admin: Admin) => Promise<void>): Promise<string[]> {
    const admin = await provider().admin!.open(namespace);
    const end = ` in the namespace ${namespace}: the others are not listed or counted`;
    try {
      const written = await warnings(() => list(admin));
      return written.map((text) => text.replace("There are more than ", "").replace(end, ""));
    } finally {
      await admin.close();
    }
  }

  it("who creates more queues and functions than are listed: the others are left out, with a warning", async () => {
    const namespace = fresh();
    const names = new Names(namespace);
    const told = await neighbour(async (redis) => {
      await send(redis, MAX_LISTED + 1, (i) => ["lpush", names.list(String(i)), "1"]);
      await send(redis, MAX_LISTED + 1, (i) => ["zadd", names.servers(String(i)), 1, "x"]);
      return await leftOut(namespace, async (admin) => {
        assertEquals((await admin.queues())!.length, MAX_LISTED);
        await admin.functions();
      });
    });
    assertEquals(told.toSorted(), [`${MAX_LISTED} functions`, `${MAX_LISTED} queues`]);
  });

  it("who creates more groups, topics and buses than are listed: the others are left out, with a warning", async () => {
    const namespace = fresh();
    const names = new Names(namespace);
    const told = await neighbour(async (redis) => {
      await send(redis, MAX_LISTED + 100, (i) => ["hset", names.bindings, `=t${i}\0t${i}@g`, ""]);
      await send(redis, MAX_LISTED + 1, (i) => ["subscribe", names.channel(String(i))]);
      await send(redis, MAX_LISTED + 1, (i) => ["subscribe", address(namespace, i)]);
      return await leftOut(namespace, async (admin) => {
        for (const list of [await admin.groups(), await admin.topics(), await admin.buses(), await admin.inboxes()]) {
          assertEquals(list!.length, MAX_LISTED);
        }
      });
    });
    assertEquals(told, ["groups", "topics", "buses"].map((things) => `${MAX_LISTED} ${things}`));
  });

  it("who creates many names that are not UTF-8, which become the same text: they count, and no more are read", async () => {
    const namespace = fresh();
    const names = new Names(namespace);
    /** Returns a key or a channel that ends with three bytes that are not UTF-8. */
    const strange = (prefix: string, i: number) =>
      Buffer.concat([Buffer.from(prefix), Buffer.of(...[12, 6, 0].map((shift) => 0x80 | i >> shift & 0x3f))]);
    const told = await neighbour(async (redis) => {
      await send(redis, 3 * MAX_LISTED, (i) => ["lpush", strange(names.list(""), i), "1"]);
      await send(redis, MAX_LISTED + 1, (i) => ["hset", names.bindings, strange("=t\0", i), ""]);
      await send(redis, MAX_LISTED + 1, (i) => ["subscribe", strange(names.channel(""), i)]);
      await server().run("config", "resetstat");
      const told = await leftOut(namespace, async (admin) => {
        assertEquals([(await admin.queues())!.length, (await admin.topics())!.length], [0, 1]);
        assertEquals((await admin.groups())!.length, 0);
      });
      const stats = String(await server().run("info", "commandstats"));
      const steps = Number(await server().run("dbsize")) / 1_000; // of one scan: that for functions ends, that for queues does not
      const scans = Number(/cmdstat_scan:calls=(\d+)/.exec(stats)![1]);
      assert(scans < 2 * steps, `${scans} steps, and one scan has ${steps}; ${told}`);
      return told;
    });
    assertEquals(told, ["queues", "topics", "groups"].map((things) => `${MAX_LISTED} ${things}`));
  });

  it("who creates groups with long names: their list has a limited size, and so has what the server sends", async () => {
    const namespace = fresh();
    const { bindings } = new Names(namespace);
    await neighbour(async (redis) => {
      const sent = async () => Number(/total_net_output_bytes:(\d+)/.exec(await redis.info("stats"))![1]);
      const forge =
        "for i = 1, 9000 do redis.call('hset', KEYS[1], '=' .. i .. string.rep('t', 3900) .. '\\0q', '') end";
      await redis.eval(forge, 1, bindings);
      const before = await sent();
      const told = await leftOut(namespace, async (admin) => void await admin.groups());
      assert(await sent() - before < 1.1 * MAX_LISTED_SIZE, "what the server has sent");
      assertEquals(told, [`${Math.floor(MAX_LISTED_SIZE / 3_907)} groups`]);
    });
  });

  it("who registers many servers for each of many functions: an admin reads a limited number of them", async () => {
    const namespace = fresh();
    const names = new Names(namespace);
    await neighbour(async (redis) => {
      const forge = "for i = 1, 10000 do redis.call('zadd', KEYS[1], ARGV[1], ARGV[2] .. i) end";
      for (let i = 0; i < 50; i++) {
        await redis.eval(forge, 1, names.servers(String(i)), Date.now() + 25_000, names.inboxes);
      }
      const told = await leftOut(namespace, async (admin) => assertEquals(await admin.functions(), []));
      assertEquals(told, [`${MAX_SERVERS} servers of functions`]);
    });
  });

  it("who writes foreign keys with names of this namespace: they count for the limits, and long ones are not hashed", async () => {
    const namespace = fresh();
    const foreign = `__tsmq:{__eventbus:other:x}due:${new Names(namespace).list("}")}`;
    const encoded: unknown[] = [];
    await neighbour(async (redis) => {
      await redis.zadd(foreign + "x".repeat(MAX_LISTED_SIZE), 1, "x");
      const end = spy(TextEncoder.prototype, "encode", encoded);
      try {
        assertEquals(await leftOut(namespace, async (admin) => assertEquals(await admin.queues(), [])), ["0 queues"]);
      } finally {
        end();
      }
    });
    const sizes = encoded.map((text) => String(text).length).filter((size) => size > MAX_LISTED_SIZE);
    assertEquals(sizes, [], "long texts that were hashed");
    const other = fresh();
    const key = `__tsmq:{__eventbus:other:x}due:${new Names(other).list("")}`;
    await neighbour(async (redis) => {
      await send(redis, MAX_LISTED + 1, (i) => ["zadd", key + i, 1, "x"]);
      assertEquals(await leftOut(other, async (admin) => assertEquals(await admin.queues(), [])), [
        `${MAX_LISTED} queues`,
      ]);
    });
  });

  it("who writes names of this namespace after the tag of another one: they are not queues", async () => {
    const namespace = fresh();
    const names = new Names(namespace);
    await using bus = await open(namespace);
    await bus.queue("later").put(1, { delay: 60_000 });
    const foreign = `__tsmq:{__eventbus:other:x}due:${names.list("")}`;
    await neighbour(async (redis) => {
      await send(redis, 100, (i) => ["zadd", foreign + i, 1, "x"]);
      const admin = await provider().admin!.open(namespace);
      await redis.config("RESETSTAT");
      try {
        assertEquals((await admin.queues())!.map(({ name }) => name), ["later"]);
      } finally {
        await admin.close();
      }
      const stats = await redis.info("commandstats");
      const scripts = [...stats.matchAll(/cmdstat_eval(?:sha)?:calls=(\d+)/g)].reduce(
        (sum, [, n]) => sum + Number(n),
        0,
      );
      assert(scripts < 50, `${scripts} scripts`);
    });
  });

  it("whose requests name channels and keys as the address of the answer: the answers go nowhere", async () => {
    const [namespace, other] = [fresh(), fresh()];
    await using bus = await open(namespace);
    await using foreign = await open(other);
    const events: unknown[] = [];
    await foreign.subscribe("*", (event) => events.push(event), { pattern: true }).ready;
    await bus.subscribe("topic", (event) => events.push(event)).ready;
    let runs = 0;
    await bus.expose("fn", () => ++runs);
    const inboxes = [`__eventbus:${other}:topic`, `__eventbus:${namespace}:topic`, address(other, 1), "x"];
    const channels = ["topic", `__rpc_`, "__rpc_jobs", `__rpc_${crypto.randomUUID()}:x`, "jobs"];
    await neighbour(async (redis) => {
      const seen: string[] = [];
      const watch = redis.duplicate();
      watch.on("pmessage", (_pattern, channel: string) => seen.push(channel));
      await watch.psubscribe(`*${other}*`, `*${namespace}:topic`);
      try {
        await redis.publish(`__eventbus:${namespace}:fn`, requestTo("")); // no address: it is not served
        for (const inbox of inboxes) await redis.publish(`__eventbus:${namespace}:fn`, requestTo(inbox));
        for (const channel of channels) await redis.publish(`__eventbus:${namespace}:fn`, requestTo("", channel));
        await until("all are served", () => runs === inboxes.length + channels.length);
        assertEquals(await bus.stub("fn")(), runs);
        await redis.ping();
      } finally {
        watch.disconnect();
      }
      assertEquals(seen, []);
    });
    assertEquals(events, []);
    assertEquals((await server().keys()).filter((key) => /rpc_|jobs|:topic/.test(key) && key.includes(namespace)), []);
  });

  it(`whose requests name more than ${UNREAD} answer queues of PyMQ: there are never more keys, and PyMQ is served again`, async () => {
    const namespace = fresh();
    await using bus = await open(namespace);
    const errors: string[] = [];
    bus.addEventListener("error", (event) => errors.push((event.error as BusError).code));
    let runs = 0;
    await bus.expose("fn", () => ++runs);
    const channel = `__eventbus:${namespace}:fn`;
    const answers = async () => (await server().keys()).filter((key) => key.includes(`${namespace}:__rpc_`)).length;
    await neighbour(async (redis) => {
      for (let count = 0; count <= UNREAD; count = runs) {
        await send(redis, 5_000, () => ["publish", channel, requestTo("", `__rpc_${crypto.randomUUID()}`)]);
        await until("they are served", () => runs === count + 5_000);
      }
      const own = `__rpc_${crypto.randomUUID()}`;
      await until("a caller of PyMQ gets an answer", async () => {
        await redis.publish(channel, requestTo("", own));
        return await redis.lpop(`__eventbus:${namespace}:${own}`);
      });
      assert(await answers() <= UNREAD, "the number of keys");
    });
    assert(errors.every((code) => code === "busy"), `it reported ${[...new Set(errors)]}`);
  });

  it("that counts the starts of an item beyond 2^53: the item is delivered, and the connection stays", async () => {
    const namespace = fresh();
    await using bus = await open(namespace);
    const keys = (kind: string) => `__tsmq:{__eventbus:${namespace}:jobs}${kind}:__eventbus:${namespace}:jobs`;
    await neighbour(async (redis) => {
      for (const [i, count] of ["9007199254740993", "9".repeat(400), "1e5", "-1"].entries()) {
        for (const state of [":", "|"]) {
          await redis.hset(keys("items"), `stem${i}`, '"forged"');
          await redis.zadd(keys("due"), 0, `stem${i}${state}${count}`);
          await bus.queue("jobs").put("honest");
          await bus.queue("jobs").peek();
          const queue = bus.queue("jobs");
          const seen: unknown[] = [];
          while (!seen.includes("honest")) {
            const lease = await queue.receive({ timeout: 5_000 });
            assert(lease.attempt <= 2 ** 31 + 8, `attempt ${lease.attempt}`);
            if (lease.item === "honest") await lease.ack();
            else if (lease.attempt < 2 ** 31 || !seen.includes("forged")) await lease.nack(); // its count stays within the limit
            else await lease.ack();
            seen.push(lease.item);
          }
          await redis.del(keys("due"), keys("items"), `__eventbus:${namespace}:jobs`);
        }
      }
      // members that are due in the past, and never
      await send(redis, 200, (i) => ["zadd", keys("due"), "-inf", `garbage ${i}:1`]);
      await redis.zadd(keys("due"), "inf", "never:1");
      await redis.hset(keys("items"), "late", '"delayed"');
      await redis.zadd(keys("due"), Date.now() - 1, "late|1");
      assertEquals(await bus.queue("jobs").get({ timeout: PATIENCE }), "delayed");
    });
    assertEquals(bus.health().reconnects, 0);
  });

  for (
    const [what, count, score] of [
      ["100,000 servers that never expire", 100_000, 9e15],
      ["1,000 servers that expire at infinity", 1_000, "inf"],
      ["10,000 servers that look right", 10_000, undefined],
    ] as const
  ) {
    it(`that registers ${what}: calls reach the real server`, async () => {
      const namespace = fresh();
      await using bus = await open(namespace);
      await using caller = await open(namespace);
      await bus.expose("fn", () => "right");
      const key = `__tsmq:servers:__eventbus:${namespace}:fn`;
      await neighbour((redis) =>
        send(redis, count, (i) => ["zadd", key, score ?? Date.now() + 14_000, address(namespace, i)])
      );
      const calls = Array.from({ length: 20 }, () => caller.stub("fn", { timeout: PATIENCE })());
      assertEquals(new Set(await Promise.all(calls)), new Set(["right"]));
    });
  }

  it("whose answers nobody takes: other calls are served meanwhile", async () => {
    const namespace = fresh();
    await using bus = await open(namespace);
    await using caller = await open(namespace);
    let runs = 0;
    await bus.expose("fn", () => ++runs);
    for (const count of [4_000, 8_000, 12_000]) {
      await neighbour((redis) =>
        send(redis, 4_000, (i) => ["publish", `__eventbus:${namespace}:fn`, requestTo(address(namespace, i % 3))])
      );
      await until("they are served", () => runs === count);
    }
    assertEquals(await caller.stub("fn", { timeout: PATIENCE })(), 12_001);
  });
});
