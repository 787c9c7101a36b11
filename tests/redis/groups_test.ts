// run: on bun, waiting
/** The commands that groups need on Redis, and when publishers read the bindings. */
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { Buffer } from "node:buffer";
import { Redis } from "ioredis";
import { Bus, BusError } from "../../mod.ts";
import { MAX_BINDINGS, MAX_TOTAL, writeBinding } from "../../src/provider/bindings.ts";
import { MAX_BYTES, RedisBinder } from "../../src/providers/redis/bindings.ts";
import type { Client } from "../../src/providers/redis/client.ts";
import { Connection } from "../../src/providers/redis/connection.ts";
import { Names } from "../../src/providers/redis/names.ts";
import { parseOptions } from "../../src/providers/redis/options.ts";
import { redis } from "../../src/providers/redis/provider.ts";
import { RedisServer } from "../support/redis_server.ts";
import { TcpProxy } from "../support/tcp_proxy.ts";
import { pause, until } from "../support/until.ts";

describe("groups on Redis", () => {
  let server: RedisServer;
  beforeAll(async () => server = await RedisServer.start());
  afterAll(() => server.stop());

  const provider = () => redis({ port: server.port });
  const open = () => Bus.open(provider(), { namespace: crypto.randomUUID() });

  /** Returns how often the server has executed a command. */
  async function calls(command: string): Promise<number> {
    const stats = String(await server.run("info", "commandstats"));
    return Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)?.[1] ?? 0);
  }

  it("publishers read the bindings at most once a second, and only while they publish", async () => {
    await using bus = await open();
    const [reads, puts] = [await calls("hlen"), await calls("lpush")];
    const since = performance.now();
    for (let i = 0; performance.now() - since < 2_200; i++) {
      await Promise.all([bus.publish(i, "orders"), bus.publish(i, "bills")]);
      await pause(1);
    }
    const seconds = (performance.now() - since) / 1_000;
    const used = await calls("hlen") - reads;
    assertEquals(used >= 2 && used <= Math.ceil(seconds), true, `${used} reads in ${seconds} s`);
    await pause(1_100);
    assertEquals(await calls("hlen") - reads, used);
    assertEquals(await calls("lpush"), puts);
  });

  it("members bind their queues again after FLUSHALL, and report a gap; a freed group stays free", async () => {
    await using server = await RedisServer.start(); // it loses everything
    const provider = redis({ port: server.port });
    const namespace = crypto.randomUUID();
    await using bus = await Bus.open(provider, { namespace });
    await using other = await Bus.open(provider, { namespace });
    const [seen, gaps] = [[] as unknown[], [] as unknown[]];
    bus.addEventListener("gap", ({ detail: { topic, lost } }) => gaps.push([topic, lost]));
    const members = ["orders", "shop.*", "freed"].map((topic) =>
      bus.subscribe(topic, (event) => seen.push(event), { group: "g", pattern: topic === "shop.*" })
    );
    for (const { ready } of members) await ready;
    await other.subscribe("freed", () => {}, { group: "g" }).free();
    const { bindings } = new Names(namespace);
    const [key] = await server.run("keys", `${bindings}?*`) as string[];
    await server.run("pexpire", key!, 14_000);
    await until("the marker is renewed", async () => Number(await server.run("pttl", key!)) > 14_000);
    assertEquals([await server.run("hlen", bindings), gaps], [2, []]);
    await members[2]!.unsubscribe();
    await server.run("flushall");
    await until("both groups have a gap", () => gaps.length === 2);
    assertEquals(gaps, [["orders", undefined], ["shop.*", undefined]]);
    await other.publish(1, "orders");
    await other.publish(2, "shop.a");
    await until("both events are handled", () => seen.length === 2);
    assertEquals([seen.toSorted(), await server.run("hlen", bindings), gaps.length], [[1, 2], 2, 2]);
    await bus.close();
    assertEquals(await server.run("keys", `${bindings}?*`), []);
  });

  it("an item with a topic that is too long is a dead letter, and is not matched", async () => {
    await using bus = await open();
    const seen: unknown[] = [];
    const member = bus.subscribe("shop.*", (event) => seen.push(event), { pattern: true, group: "g" });
    await member.ready;
    const queue = bus.queue("shop.*@g");
    const { list } = new Names(bus.namespace).queue(queue.name);
    await server.run("lpush", list, `\0shop.${"é".repeat(20_000)}\0{}`);
    await until("it is a dead letter", async () => await queue.dead.size() === 1);
    await bus.publish(1, "shop.a");
    await until("the next event is handled", () => seen.length > 0);
    assertEquals(seen, [1]);
    await member.free();
  });

  it("publishes reject while there are more than 10,000 bindings, and no further group is bound", async () => {
    await using bus = await open();
    const { bindings } = new Names(bus.namespace);
    const write = "for i = 2, tonumber(ARGV[1]) do redis.call('HSET', KEYS[1], i, '') end";
    const orders = () => bus.subscribe("orders", () => {}, { group: "billing" });
    const member = orders();
    await member.ready;
    await member.unsubscribe();
    await server.run("eval", write, "1", bindings, MAX_BINDINGS);
    await bus.publish(1, "orders");
    const further = () => bus.subscribe("bills", () => {}, { group: "billing" }).ready;
    const refused = await assertRejects(
      further,
      BusError,
      `Cannot subscribe to "bills": the hash "${bindings}" has 10000`,
    );
    assertEquals(refused.code, "busy");
    assertEquals(await server.run("hlen", bindings), MAX_BINDINGS);
    await server.run("hset", bindings, "one more", "");
    let [stored, fault] = [1, undefined as BusError | undefined];
    await until("a publish rejects", async () => {
      await bus.publish(1, "orders").then(() => stored++, (error) => fault = error);
      return fault !== undefined;
    });
    assertEquals(fault!.code, "busy");
    assertMatch(
      fault!.message,
      /^Cannot publish to "orders": the hash "__tsmq:bindings:.*" has 10001 .*tsmq groups free/,
    );
    const [reads, since] = [await calls("hlen"), performance.now()];
    for (let i = 0; i < 100; i++) await assertRejects(() => bus.publish(1, i % 2 ? "orders" : "no group"), BusError);
    assert(await calls("hlen") - reads <= 1 + (performance.now() - since) / 1_000);
    await server.run("hdel", bindings, "one more");
    await until("a publish resolves", () => bus.publish(1, "orders").then(() => ++stored > 0, () => false));
    assert(await bus.queue("orders@billing").qsize() >= stored); // one that rejected while the bindings expired may be stored
    await orders().free(); // its binding is one of them
  });

  it("bindings that are too long are refused, and while there is one, publishes reject", async () => {
    await using bus = await open();
    const long = "x".repeat(MAX_BYTES / 2);
    const member = () => bus.subscribe(long, () => {}, { group: "billing" }).ready;
    const refused = await assertRejects(member, BusError, "and the limit is 4096");
    assertEquals(refused.code, "too_large");
    const names = new Names(bus.namespace);
    const filter = { topic: long, pattern: false };
    const texts = [writeBinding(filter, `${long}@billing`), writeBinding({ ...filter, topic: "t" }, "t@billing")];
    for (const text of texts) await server.run("hset", names.bindings, text, "");
    const admin = await provider().admin!.open(bus.namespace);
    try {
      assertEquals((await admin.groups!())!.map(({ target }) => target), ["t"]);
    } finally {
      await admin.close();
    }
    for (const topic of [long, "t"]) {
      const fault = await assertRejects(
        () => bus.publish(1, topic),
        BusError,
        `the hash "${names.bindings}" has bindings`,
      );
      assertEquals([fault.code, /\(1 of 2\)/.test(fault.message)], ["busy", true]);
    }
    await server.run("hdel", names.bindings, texts[0]!);
    await until("a publish resolves", () => bus.publish(1, "t").then(() => true, () => false));
    assertEquals(await bus.queue("t@billing").qsize(), 1);
  });

  it("publishes reject while the bindings have more than 1 MiB together, and no further group is bound", async () => {
    await using bus = await open();
    const { bindings } = new Names(bus.namespace);
    const member = (topic: string) => bus.subscribe(topic, () => {}, { group: "billing" }).ready;
    const text = "[a]".repeat(1_000);
    const fill = "for i = 1, 348 do redis.call('HSET', KEYS[1], '*' .. i .. ARGV[1] .. '\\0q', '') end";
    await server.run("eval", fill, "1", bindings, text);
    await member("t");
    await bus.publish(1, "t");
    const refused = await assertRejects(() => member("x".repeat(1_300)), BusError, 'Cannot subscribe to "xxx');
    assertEquals([refused.code, refused.message.includes(`${MAX_TOTAL} bytes`)], ["busy", true]);
    assertEquals(await server.run("hlen", bindings), 349);
    await server.run("hset", bindings, `*${"y".repeat(3_000)}\0q`, "");
    let fault: BusError | undefined;
    await until("a publish rejects", async () => {
      await bus.publish(1, "t").catch((error) => fault = error);
      return fault !== undefined;
    });
    assertEquals([fault!.code, fault!.message.includes(`${MAX_TOTAL} bytes`)], ["busy", true]);
  });

  it("a publisher that may not read the bindings is refused", async () => {
    for (const command of ["hlen", "hscan"]) {
      const [username, namespace] = [command.slice(0, 4), crypto.randomUUID()];
      await server.run("acl", "setuser", username, "on", ">pw", "~*", "&*", "+@all", `-${command}`);
      await server.run("hset", new Names(namespace).bindings, "=bills\0bills@g", "");
      await using bus = await Bus.open(redis({ port: server.port, username, password: "pw" }), { namespace });
      const refused = await assertRejects(() => bus.publish(1, "orders"), BusError, 'Cannot publish to "orders": ');
      assertEquals(refused.code, "denied");
    }
  });

  it("a publisher that may not ask for the memory of the bindings reads them", async () => {
    await server.run("acl", "setuser", "nomemory", "on", ">pw", "~*", "&*", "+@all", "-memory");
    const [namespace, got] = [crypto.randomUUID(), [] as unknown[]];
    await using bus = await Bus.open(redis({ port: server.port, username: "nomemory", password: "pw" }), { namespace });
    const member = bus.subscribe("bills", (bill) => got.push(bill), { group: "g" });
    await member.ready;
    await bus.publish(1, "bills");
    await until("the event arrives", () => got.length > 0);
    assertEquals(got, [1]);
    await member.free();
  });

  it("no name that others choose comes into Lua: each script has numbers, and the binding that it adds", async () => {
    await using bus = await open();
    const { bindings } = new Names(bus.namespace);
    const monitor = await new Redis({ port: server.port }).monitor();
    const commands = new Set<string>();
    let [scans, last] = [0, ""];
    monitor.on("monitor", (_: string, [name, ...args]: string[], source: string) => {
      if (source === "lua" && (args.includes(bindings) || name === "pubsub")) commands.add(name!.toLowerCase());
      else if (name === "hscan") scans++;
      last = args[0]!;
    });
    await server.run("hset", bindings, ...Array.from({ length: 100 }, (_, i) => [`=t${i}\0t${i}@g`, ""]).flat());
    await bus.subscribe("orders", () => {}).ready;
    const member = bus.subscribe("bills", () => {}, { group: "g" });
    await member.ready;
    await bus.publish(1, "orders");
    const admin = await provider().admin!.open(bus.namespace);
    try {
      assertEquals((await admin.groups!())!.length, 101);
      const topics = (await admin.topics!())!.map(({ name }) => name);
      assertEquals(topics.includes("orders"), true);
      assertEquals((await admin.buses!())!.length, 1);
    } finally {
      await admin.close();
    }
    await member.free();
    await server.run("echo", "end");
    await until("all commands are seen", () => last === "end");
    monitor.disconnect();
    assertEquals([[...commands].toSorted(), scans], [["hlen", "hset", "memory"], 3]);
  });

  it("a large field is not sent to publishers, whatever it contains", async () => {
    await using bus = await open();
    const { bindings } = new Names(bus.namespace);
    const sent = async () => Number(/total_net_output_bytes:(\d+)/.exec(String(await server.run("info", "stats")))![1]);
    const write =
      "redis.call('HSET', KEYS[1], ARGV[1] == 'field' and string.rep('x', 2 ^ 25) or 'x', string.rep('y', 2 ^ 25))";
    for (const place of ["field", "value"]) {
      await server.run("eval", write, "1", bindings, place);
      const before = await sent();
      let fault: BusError | undefined;
      await until("a publish rejects", async () => {
        await bus.publish(1, "orders").catch((error) => fault = error);
        return fault !== undefined;
      });
      assertEquals([fault!.code, fault!.message.includes('" has 1 bindings of groups')], ["busy", true]);
      await assertRejects(() => bus.subscribe("bills", () => {}, { group: "g" }).ready, BusError, "has 1 bindings");
      assert(await sent() - before < 100_000, "what the server has sent");
      await server.run("del", bindings);
      await until("a publish resolves", () => bus.publish(1, "orders").then(() => true, () => false));
    }
  });

  describe("a queue that is bound while others bind queues", () => {
    /** Binds a queue after others have written these bindings: the first ones before, further ones between each look and the write that follows it. */
    async function bind(before: readonly (string | Buffer)[], ...meanwhile: readonly string[][]) {
      const names = new Names(crypto.randomUUID());
      const write = (bindings: readonly (string | Buffer)[]) =>
        server.run("hset", names.bindings, ...bindings.flatMap((binding) => [binding, ""]));
      await write(before);
      const settings = parseOptions({ port: server.port });
      const connection = new Connection(settings, 5_000);
      await connection.open(5_000);
      let [looks, writes] = [0, 0];
      const client: Client = {
        up: true,
        close: () => connection.close(),
        call: async (read, name, ...args) => {
          if (name === "hscan") looks++;
          if (args[3]?.startsWith("=")) {
            if (writes === 100) throw new Error("it tries again and again");
            const further = meanwhile[writes++];
            if (further) await write(further);
          }
          return await connection.call(read, name, ...args);
        },
      };
      const binder = new RedisBinder(client, names, () => {});
      try {
        const outcome = await binder.bind({ topic: "t", pattern: false }, "t@g").catch(({ message }) =>
          String(message)
        );
        return { outcome, looks, bound: await server.run("hexists", names.bindings, "=t\0t@g") };
      } finally {
        binder.stop();
        await binder.close();
        await client.close();
      }
    }
    const bindings = (count: number, length: number, from = 0) =>
      Array.from({ length: count }, (_, i) => `=${String(from + i).padStart(length - 3, "x")}\0q`);
    /** Returns fields that are not UTF-8, and of which all become the same text. */
    const strange = (count: number, length: number) =>
      Array.from({ length: count }, (_, i) => {
        const bytes = Buffer.alloc(length, 0x80);
        bytes.writeUInt16BE(0x8080 | (i & 0x3f) | (i >> 6 & 0x3f) << 8);
        if (length > 2) bytes[2] = 0x80 | i >> 12;
        return bytes;
      });

    it("is bound after another look, if they may have left no room", async () => {
      assertEquals(await bind(bindings(1, 10), bindings(300, 11)), { outcome: true, looks: 2, bound: 1 });
    });

    it("is not bound if they have left no room", async () => {
      const { outcome, ...rest } = await bind(bindings(260, 4_000), bindings(3, 4_001));
      assertMatch(String(outcome), /^Cannot subscribe to "t": .* has 263 bindings of groups/);
      assertEquals(rest, { looks: 2, bound: 0 });
    });

    it("is not bound if they may have left no room after ten looks", async () => {
      const meanwhile = Array.from({ length: 30 }, (_, i) => bindings(300, 20, 300 * i));
      const { outcome, ...rest } = await bind(bindings(1, 10), ...meanwhile);
      assertMatch(
        String(outcome),
        /^Cannot subscribe to "t": others add bindings of groups to the hash ".*" all the time/,
      );
      assertEquals(rest, { looks: 10, bound: 0 });
    });

    it("is bound beside fields that are not UTF-8, which count", async () => {
      assertEquals(await bind(strange(300, 2)), { outcome: true, looks: 1, bound: 1 });
      const { outcome, ...rest } = await bind(strange(9_700, 1_000));
      assertMatch(String(outcome), /^Cannot subscribe to "t": .* has 9700 bindings of groups.* 1048576 bytes/);
      assertEquals(rest, { looks: 1, bound: 0 });
    });
  });

  it("keep the order of events while the bindings are read again", async () => {
    await using bus = await open();
    const member = bus.subscribe("orders", () => {}, { group: "billing" });
    await member.ready;
    await member.unsubscribe();
    const sent: Promise<unknown>[] = [];
    const since = performance.now();
    while (performance.now() - since < 2_200) {
      for (let i = 0; i < 5; i++) {
        const n = sent.length;
        // an event that is published as soon as another one was accepted
        sent.push(bus.publish(n, "orders"));
      }
      await pause(1);
    }
    await Promise.all(sent);
    const seen: number[] = [];
    const reader = bus.subscribe<number>("orders", (n) => void seen.push(n), { group: "billing" });
    await until("all events are handled", () => seen.length >= sent.length, 20_000);
    assertEquals(seen, sent.map((_, i) => i));
    await reader.free();
  });

  it("store an event whose replies took so long that a group was bound meanwhile", async () => {
    const namespace = crypto.randomUUID();
    await using wire = await TcpProxy.to(server.port);
    await using publisher = await Bus.open(redis({ port: wire.port }), { namespace });
    await using bus = await Bus.open(redis({ port: server.port }), { namespace });
    await publisher.publish(0, "orders"); // it has read that there is no group
    wire.delay = 1_500;
    const published = publisher.publish(1, "orders");
    const member = bus.subscribe("orders", () => {}, { group: "billing" });
    await member.ready;
    await member.unsubscribe();
    wire.delay = 0;
    await published;
    assertEquals(await bus.queue("orders@billing").qsize(), 1);
    await member.free();
  });

  it("are bound again when the server has lost the bindings, and its clients have reconnected", async () => {
    await using bus = await open();
    bus.addEventListener("error", () => {});
    const seen: number[] = [];
    const member = bus.subscribe<number>("orders", (n) => void seen.push(n), { group: "billing" });
    await member.ready;
    await server.run("flushall");
    for (const type of ["normal", "pubsub"]) await server.run("client", "kill", "type", type);
    let n = 0;
    await until("an event reaches the group", async () => {
      await bus.publish(n++, "orders").catch(() => {}); // the connection may be down
      return seen.length > 0;
    }, 20_000);
    await member.free();
  });

  it("miss no event that is published after the group was bound, whichever bus publishes", async () => {
    const namespace = crypto.randomUUID();
    const buses = await Promise.all([1, 2].map(() => Bus.open(redis({ port: server.port }), { namespace })));
    const [publisher, bus] = buses as [Bus, Bus];
    const seen = new Set<number>();
    let next = 0;
    let publishing = true;
    const published = (async () => {
      for (; publishing; await pause(2)) await publisher.publish(next++, "orders");
    })();
    await until("it publishes", () => next > 10);
    const member = bus.subscribe<number>("orders", (n) => void seen.add(n), { group: "billing" });
    await member.ready;
    const first = next;
    await until("it publishes further events", () => next > first + 100, 20_000);
    publishing = false;
    await published;
    await until("the last event is handled", () => seen.has(next - 1), 20_000);
    assertEquals(Array.from({ length: next - first }, (_, i) => first + i).filter((n) => !seen.has(n)), []);
    await member.free();
    for (const each of buses) await each.close();
    assertEquals(await server.run("keys", `*${namespace}*`), []);
  });
});
