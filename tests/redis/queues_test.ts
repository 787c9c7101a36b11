// run: on deno, deadline 240
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { Bus } from "../../src/bus.ts";
import { type BusError, ProviderError } from "../../src/errors.ts";
import type { Delivery } from "../../src/provider/provider.ts";
import { PEEK } from "../../src/providers/redis/inspect_scripts.ts";
import { Names } from "../../src/providers/redis/names.ts";
import { largestText } from "../../src/provider/largest_text.ts";
import { redis } from "../../src/providers/redis/provider.ts";
import { GIVE_BACK, TAKE } from "../../src/providers/redis/scripts.ts";
import { peekAll } from "../../src/queue/peek.ts";
import { assertLargestHeaders, assertLongLetter } from "../support/long_items.ts";
import { reported } from "../support/reports.ts";
import { RedisServer } from "../support/redis_server.ts";
import { ALL } from "../support/share.ts";
import { pause, timed, until, within } from "../support/until.ts";
import { assertWoken, delivery, fresh, NOW, open, SLOW_POLL, takes } from "./halves.ts";

describe("Redis queues", () => {
  let server: RedisServer;
  beforeAll(async () => server = await RedisServer.start());
  afterAll(() => server.stop());
  const here = () => ({ port: server.port });

  it("send() and receive() keep the order; size() counts the items", async () => {
    await using bus = await open(here());
    for (const body of ["a", "b", "", "ü😀"]) await bus.sender.send("q", body, NOW);
    assertEquals(await bus.sender.size("q"), 4);
    assertEquals(await bus.bodies("q", { max: 3 }), ["a", "b", ""]);
    assertEquals(await bus.receive("q", { max: 3 }), [{ receipt: "", body: "ü😀", attempt: 1 }]);
    assertEquals(await bus.receive("q"), []);
    assertEquals(await bus.sender.size("q"), 0);
  });

  it("receive() and peek() return about 16 MiB of items at once, in their order", async () => {
    await using bus = await open(here());
    const list = `__eventbus:${bus.namespace}:q`;
    const lua = "for i = 1, 5 do redis.call('LPUSH', KEYS[1], i .. string.rep(string.rep('x', 1024), 6 * 1024)) end";
    const numbers = (items: readonly { readonly body: string }[]) => items.map(({ body }) => parseInt(body));
    await server.run("eval", lua, "1", list);
    const waiting = async () => [
      numbers(await bus.sender.peeker!.peek("q", 0, 64)),
      numbers(await bus.sender.peeker!.peek("q", 3, 64)),
    ];
    assertEquals(await waiting(), [[1, 2, 3], [4, 5]]);
    for (const back of [0, 1]) {
      const receipts: string[] = [];
      for (const expected of [[1, 2, 3], [4, 5]]) {
        const taken = await bus.receive("q", { max: 64, lease: 60_000 });
        assertEquals(numbers(taken), expected);
        receipts.push(...taken.map(({ receipt }) => receipt));
      }
      await bus.receiver.settle("q", receipts, "nack", back);
      await until("all items wait again", async () => await bus.sender.size("q") === 5);
    }
    assertEquals(await waiting(), [[1, 2, 3], [4, 5]]);
    for (const expected of [[1, 2, 3], [4, 5]]) assertEquals(numbers(await bus.receive("q", { max: 64 })), expected);
  });

  it("receive() reads few large items behind a small one, which the server could only put back", async () => {
    await using bus = await open(here());
    const lua =
      "for i = 1, 7 do redis.call('LPUSH', KEYS[1], i .. string.rep(string.rep('x', 1024), 6 * 1024 * ARGV[i])) end";
    const sizes = ["0", ...Array<string>(6).fill("1")];
    await server.run("eval", lua, "1", `__eventbus:${bus.namespace}:q`, ...sizes);
    const putBack = async () => {
      const stats = String(await server.run("info", "commandstats"));
      return Number(/cmdstat_rpush:calls=(\d+)/.exec(stats)?.[1] ?? 0);
    };
    const before = await putBack();
    assertEquals((await bus.bodies("q", { max: 64 })).map((body) => parseInt(body)), [1, 2, 3, 4]);
    assertEquals(await putBack() - before, 1);
    assertEquals((await bus.bodies("q", { max: 64 })).map((body) => parseInt(body)), [5, 6, 7]);
    await bus.sender.drop("q");
  });

  it("an item that is much larger than maxReceive is put aside and reported once; the others are taken", async () => {
    await using bus = await open(here(), { maxReceive: 500 });
    const list = `__eventbus:${bus.namespace}:q`;
    const aside = `__tsmq:{${list}}aside:${list}`;
    const limit = largestText(500);
    const [fits, large] = ["x".repeat(limit), "x".repeat(limit + 1)];
    const fault = 'fault: ProviderError: Cannot take an item from queue "q": it has ' +
      `${
        limit + 1
      } bytes, and this bus takes items of up to ${limit} (maxReceive). It was moved to the list "${aside}", where it stays until the queue is freed`;
    const faults: string[] = [];
    for (const lease of [undefined, 60_000]) {
      await server.run("lpush", list, "1", large, fits);
      assertEquals(await bus.bodies("q", { max: 64, lease }), ["1", fits]);
      await server.run("lpush", list, large);
      assertEquals(await bus.bodies("q", { max: 64, lease }), []);
      const next = bus.bodies("q", { max: 64, lease, wait: 10_000 });
      await bus.sender.send("q", large, { wait: 0, delay: 1 });
      await until("it is put aside", async () => await server.run("llen", aside) === 3);
      await bus.sender.send("q", "next", NOW);
      assertEquals(await next, ["next"]);
      assertEquals(await server.run("lrange", aside, "0", "-1"), [large, large, large]);
      assertEquals(await bus.sender.size("q"), 0);
      await bus.sender.drop("q");
      assertEquals(await server.run("exists", aside), 0);
      faults.push(fault, fault, fault);
      assertEquals(bus.said, faults);
    }
  });

  it("an item that cannot be put aside, because that key is no list, stays in the queue; the others are taken", async () => {
    await using bus = await open(here(), { maxReceive: 500 });
    const { list, due, aside } = new Names(bus.namespace).queue("q");
    const large = "x".repeat(largestText(500) + 1);
    for (const [i, lease] of [undefined, 60_000].entries()) {
      await server.run("set", aside, "a string");
      await server.run("lpush", list, "1", large, large, "2");
      assertEquals(await bus.bodies("q", { max: 64, lease }), ["1", "2"]);
      const faults = bus.said.splice(0);
      assertEquals(faults.length, 2);
      for (const fault of faults) assertMatch(fault, /It stays in the queue for 60 s: Redis refused to move it to/);
      const kept = (await server.run("zrange", due, "0", "-1") as string[]).filter((member) => member.endsWith("|0"));
      assertEquals(kept.length, 2);
      await server.run("unlink", aside);
      await server.run("zadd", due, ...kept.flatMap((member) => ["0", member]));
      assertEquals(await bus.bodies("q", { max: 64, lease }), []);
      assertEquals(await server.run("lrange", aside, "0", "-1"), [large, large]);
      assertEquals([bus.said.splice(0).length, await bus.sender.size("q")], [2, 0], `${i}`);
      await bus.sender.drop("q");
    }
  });

  it("no item is lost when another client has written a key of the queue as another type", async () => {
    await using bus = await open(here());
    const { list, due, items, receivers } = new Names(bus.namespace).queue("q");
    await server.run("set", receivers, "a string"); // then nothing is handed over
    await bus.sender.send("q", "put", NOW);
    await bus.sender.send("q", "delayed", { wait: 0, delay: 1 });
    await until("its time has come", async () => await bus.sender.size("q") === 2);
    await server.run("lpush", list, "waiting");
    for (const key of [due, items]) {
      await server.run("rename", key, "kept");
      await server.run("set", key, "a string");
      for (const lease of [undefined, 60_000]) {
        await assertRejects(() => bus.receive("q", { max: 64, lease }), ProviderError, "WRONGTYPE");
      }
      await server.run("rename", "kept", key);
    }
    assertEquals(await bus.bodies("q", { max: 64, lease: 60_000 }), ["delayed", "put", "waiting"]);
    await bus.sender.drop("q");
    await server.run("unlink", receivers);
  });

  it("a receive that does not wait returns the item behind those that it puts aside", async () => {
    await using bus = await open(here(), { maxReceive: 500 });
    const large = "x".repeat(largestText(500) + 1);
    for (const lease of [undefined, 60_000]) {
      await server.run("lpush", `__eventbus:${bus.namespace}:q`, large, large, "behind");
      assertEquals(await bus.bodies("q", { lease }), ["behind"]);
      assertEquals(await bus.bodies("q", { lease }), []);
    }
    assertEquals(bus.said.length, 4);
  });

  it("many items that are put aside are reported at a limited rate", async () => {
    const namespace = fresh();
    const bus = await Bus.open(redis(here()), { namespace, maxReceive: 500 });
    const errors: string[] = [];
    bus.addEventListener("error", ({ error }) => errors.push(String(error)));
    const lua = "local item = string.rep('x', ARGV[1]) for i = 1, 1000 do redis.call('LPUSH', KEYS[1], item) end";
    await server.run("eval", lua, "1", `__eventbus:${namespace}:q`, largestText(500) + 1);
    await bus.queue("q").put("last");
    assertEquals(await bus.queue("q").get(), "last");
    await bus.close();
    assertEquals(reported(errors), 1_000);
    assert(errors.length < 1_000, `${errors.length} reports`);
  });

  it("a take that is repeated because its reply was lost reports the items that it has put aside", async () => {
    const { list, due, items, receivers, aside, records } = new Names(fresh()).queue("q");
    const keys = [list, due, items, `${records}id`, receivers, aside];
    for (const lease of ["0", "60000"]) {
      for (const bodies of [["x".repeat(101)], ["1", "x".repeat(101), "2"]]) {
        await server.run("lpush", list, ...bodies);
        const take = async (mode: string) => {
          const args = ["id.1", "10", lease, mode, "60000", "0", "100"];
          const [, , sizes, ...taken] = await server.run("eval", TAKE.lua, "6", ...keys, ...args) as unknown[];
          return [sizes, taken.filter((_, i) => i % 3 === 2)];
        };
        const expected = [[101], bodies.filter((body) => body.length < 101)];
        assertEquals([await take(""), await take("again")], [expected, expected]);
      }
    }
  });

  it("a record of a take that another client has written is no record", async () => {
    const { list, due, items, receivers, aside, records } = new Names(fresh()).queue("q");
    const record = `${records}id`;
    const keys = [list, due, items, record, receivers, aside];
    const forged = ["7", "'x'", "{}", "{'id.1', 5}", "{'id.1', {}, -1}", "{'id.1', {}, {'x', {}}}"];
    forged.push("{'id.1', {7, {}, 'no member', 'x:1'}}", "{'id.1', {'id.1', -1, 0, '', {}, 'a', '', 0/0, {}}}");
    const texts = [...forged.map((value) => `cmsgpack.pack(${value})`), "'\\193'", "''"];
    for (const text of texts) {
      for (const lease of ["0", "60000"]) {
        await server.run("eval", `redis.call('SET', KEYS[1], ${text})`, "1", record);
        await server.run("lpush", list, "a");
        const args = ["id.1", "10", lease, "again", "60000", "0", "100"];
        const take = () => server.run("eval", TAKE.lua, "6", ...keys, ...args) as Promise<unknown[]>;
        const taken = await take();
        // without a lease, an empty record is that of a take that has found nothing; the next take finds the item
        const [number, , sizes, ...rest] = taken.length > 3
          ? taken
          : (await server.run("unlink", record), await take());
        assertEquals([number, sizes, rest.slice(1)], ["id.1", 0, [1, "a"]], `${text}, lease ${lease}`);
        assertEquals(await server.run("eval", GIVE_BACK.lua, "2", list, record, "id.2"), 0);
        await server.run("unlink", list, due, items);
      }
    }
    const counts = "{'id.1', {'id.1', -1, 0, '', 1/0, 'a', '', -1/0, 'b', '', 0/0, 'c'}}";
    await server.run("eval", `redis.call('SET', KEYS[1], cmsgpack.pack(${counts}))`, "1", record);
    const args = ["id.1", "10", "0", "again", "60000", "0", "100"];
    const [, , , ...shown] = await server.run("eval", TAKE.lua, "6", ...keys, ...args) as unknown[];
    assertEquals(shown, ["", 2 ** 31 + 1, "a", "", 1, "b", "", 1, "c"]);
    assertEquals(await server.run("eval", GIVE_BACK.lua, "2", list, record, "id.1"), 3);
    await server.run("unlink", list);
  });

  it("an item that may not be leased stays in the list", async () => {
    await using owner = await open(here());
    const list = `__eventbus:${owner.namespace}:q`;
    await server.run("acl", "setuser", "no-leases", "on", ">secret", "~*", "&*", "+@all", "-hset");
    await using bus = await open({ ...here(), username: "no-leases", password: "secret" }, {
      namespace: owner.namespace,
    });
    await server.run("lpush", list, "1", "2");
    await assertRejects(() => bus.receive("q", { max: 64, lease: 60_000 }), ProviderError);
    assertEquals(await owner.bodies("q", { max: 64 }), ["1", "2"]);
    await server.run("acl", "deluser", "no-leases");
  });

  it("an item with the largest headers is taken, however small maxReceive is", () =>
    assertLargestHeaders(redis(here())));

  it("a dead letter that would be put aside is put as its item", () => assertLongLetter(redis(here())));

  it("large dead letters are shown, retried and removed in several requests", async () => {
    await using bus = await Bus.open(redis(here()), { namespace: fresh() });
    const { dead, name } = bus.queue("q");
    const lua = "local item = string.rep(string.rep('x', 1024), 6 * 1024) " +
      `for i = 1, 5 do redis.call('LPUSH', KEYS[1], '{"queue":"${name}","item":"' .. i .. item .. ` +
      `'","attempts":' .. i .. ',"cause":{"name":"Error","message":"late"}}') end`;
    const put = () => server.run("eval", lua, "1", `__eventbus:${bus.namespace}:${dead.name}`);
    await put();
    assertEquals((await dead.peek()).length, 3);
    const seen: unknown[] = [];
    for await (const { item } of peekAll(dead, 10)) seen.push(item?.attempts);
    assertEquals(seen, [1, 2, 3, 4, 5]);
    assertEquals(await dead.retry(), 5);
    assertEquals(await bus.queue("q").qsize(), 5);
    await put();
    assertEquals(await dead.purge(), 5);
  });

  it("peek() shows a text in place of an item that is too long for any client", async () => {
    await using bus = await open(here());
    const { list, due, items } = new Names(bus.namespace).queue("q");
    await server.run("lpush", list, "1", "x".repeat(101), "2");
    await bus.sender.send("q", "y".repeat(101), { wait: 0, delay: 1 });
    await until("the delay is over", async () => await bus.sender.size("q") === 4);
    const shown = await server.run("eval", PEEK.lua, "3", list, due, items, "0", "10", "100");
    const text = "an item of 101 bytes, which is too long to be shown";
    assertEquals(shown, [1, text, 1, "1", 1, text, 1, "2"]);
  });

  it("peek() reads no item that is much longer than maxReceive", async () => {
    await using bus = await Bus.open(redis(here()), { namespace: fresh(), maxReceive: 1_000 });
    const { list } = new Names(bus.namespace).queue("q");
    await server.run("lpush", list, JSON.stringify("x".repeat(300_000)), "2");
    const [long, short] = await bus.queue("q").peek();
    assertEquals(long!.error && long!.body, "an item of 300002 bytes, which is too long to be shown");
    assertEquals(short!.item, 2);
  });

  it("stats() counts leased and delayed items, of which the server has a part in memory at once", async () => {
    await using bus = await open(here());
    const { due } = new Names(bus.namespace).queue("q");
    const count = 100_000;
    const add = `for i = 1, ${count} do
      local kind = i % 4 == 0 and ':0' or '.:0'
      redis.call('ZADD', KEYS[1], i % 10 == 0 and 1 or 9e15, string.format('%032d.%d', i, i) .. kind)
    end`;
    await server.run("eval", add, "1", due);
    await server.run("script", "flush", "sync");
    const memory = async () => {
      const info = String(await server.run("info", "memory"));
      return Number(/used_memory_(?:vm_eval|lua):(\d+)/.exec(info)![1]);
    };
    const before = await memory();
    const found = await bus.sender.inspector!.stats("q");
    assertEquals(found, { waiting: count / 10, leased: count / 5, delayed: 0.7 * count });
    const grown = await memory() - before;
    assert(grown < 2_000_000, `Lua has ${grown} bytes more`);
  });

  it("a consumer with the default of maxReceive puts an item of 65 MiB aside, and continues", async () => {
    await using bus = await Bus.open(redis(here()), { namespace: fresh() });
    const errors: string[] = [];
    bus.addEventListener("error", ({ error }) => errors.push(String(error)));
    const queue = bus.queue("q");
    const bytes = 65 * 2 ** 20;
    await server.run("setrange", "large", `${bytes - 1}`, "x"); // the server makes it faster than Lua
    const put = "redis.call('LPUSH', KEYS[1], '1', redis.call('GETDEL', 'large'), '2')";
    await server.run("eval", put, "1", `__eventbus:${bus.namespace}:q`);
    const got: unknown[] = [];
    queue.consume((item) => got.push(item), { concurrency: 64 });
    await until("the next item arrives", () => got.length === 2);
    await until("it is reported", () => errors.length > 0);
    assert(errors[0]!.includes(`it has ${bytes} bytes`), errors[0]);
    assertEquals([got, errors.length, await queue.dead.size()], [[1, 2], 1, 0]);
    await queue.free();
  });

  it("a list is PyMQ's: LPUSH puts, RPOP gets, LLEN counts", async () => {
    await using bus = await open(here());
    const list = `__eventbus:${bus.namespace}:q`;
    await bus.sender.send("q", "ours", NOW);
    await server.run("lpush", list, "theirs");
    assertEquals(await server.run("lrange", list, "0", "-1"), ["theirs", "ours"]);
    assertEquals(await bus.bodies("q"), ["ours"]);
    assertEquals(await server.run("rpop", list), "theirs");
  });

  it("receive() wakes when any client puts an item", async () => {
    await using bus = await open(here());
    await assertWoken(server, bus, () => bus.sender.send("q", "x", NOW));
    await assertWoken(server, bus, () => server.run("lpush", `__eventbus:${bus.namespace}:q`, "x"));
  });

  it("another client cannot wake a receive() by messages on the server's channel for changed keys", async () => {
    await using bus = await open(here());
    const list = `__eventbus:${bus.namespace}:q`;
    await assertWoken(server, bus, async () => {
      for (let i = 0; i < 10; i++) {
        for (const key of ["", list]) await server.run("publish", "__redis__:invalidate", key);
      }
      await server.run("lpush", list, "x");
    });
  });

  it("a waiting receive() takes again when all keys were removed", async () => {
    await using bus = await open(here());
    await bus.receive("q"); // from now on, the server knows the script
    const before = await takes(server);
    const waits = bus.bodies("q", { wait: 30_000 });
    await until("it has taken nothing", async () => await takes(server) === before + 1);
    const start = performance.now();
    await server.run("flushall");
    await until("it takes again", async () => await takes(server) === before + 2);
    assert(performance.now() - start < SLOW_POLL, "it was woken, not by the poll that is the safety net");
    await server.run("lpush", `__eventbus:${bus.namespace}:q`, "x");
    assertEquals(await waits, ["x"]);
  });

  it("a thousand queues wait on three connections", async () => {
    const before = (await server.clients()).length;
    await using bus = await open(here());
    const waits = Array.from({ length: 1_000 }, (_, n) => bus.bodies(`q${n}`, { wait: 60_000 }));
    assertEquals((await server.clients()).length, before + 3);
    await Promise.all(waits.map((_, n) => bus.sender.send(`q${n}`, `${n}`, NOW)));
    assertEquals((await Promise.all(waits)).flat(), waits.map((_, n) => `${n}`));
  });

  it("receive() finds new items by polls that are at most 250 ms apart if the ACL forbids tracking", async () => {
    await server.run("acl", "setuser", "narrow", "on", ">pw", "~*", "&*", "+@all", "-client|tracking");
    await using bus = await open({ ...here(), username: "narrow", password: "pw" });
    const put = () => server.run("lpush", `__eventbus:${bus.namespace}:q`, "x");
    const took = await delivery(bus, put, (round) => 60 * round);
    assert(took < 500, `${took} ms`); // polls are 250 ms apart at most
  });

  it("receive() ends when it times out or its signal aborts, and loses nothing", async () => {
    await using bus = await open(here());
    assertEquals(await within("it times out", bus.receive("q", { wait: 100 })), []);
    const cancel = new AbortController();
    const waits = bus.receive("q", { wait: Infinity, signal: cancel.signal });
    await pause(20);
    cancel.abort();
    assertEquals(await waits, []);
    await bus.sender.send("q", "x", NOW);
    assertEquals(await bus.bodies("q"), ["x"]);
  });

  it("many receivers share a queue: each item goes to one", async () => {
    await using one = await open(here());
    await using two = await open(here(), { namespace: one.namespace });
    const got: string[] = [];
    const take = async (bus: typeof one, lease?: number) => {
      while (got.length < 300) got.push(...await bus.bodies("q", { max: 7, wait: 300, lease }));
    };
    const all = Promise.all([take(one), take(one, 60_000), take(two), take(two, 60_000)]);
    for (let n = 0; n < 300; n++) await one.sender.send("q", `${n}`, NOW);
    await all;
    assertEquals(got.map(Number).sort((a, b) => a - b), Array.from({ length: 300 }, (_, n) => n));
  });

  it("a leased item is settled once, and is not in the queue", async () => {
    await using bus = await open(here());
    for (const body of ["a", "b"]) await bus.sender.send("q", body, NOW);
    const [a, b] = await bus.receive("q", { max: 2, lease: 5_000 });
    assertEquals([a!.body, a!.attempt, b!.body], ["a", 1, "b"]);
    assertEquals(await bus.sender.size("q"), 0);
    assertEquals(await bus.receiver.settle("q", [a!.receipt, "1.2.3:1", "nonsense"], "ack", 0), [true, false, false]);
    assertEquals(await bus.receiver.settle("q", [a!.receipt], "ack", 0), [false]);
    assertEquals(await bus.receiver.settle("q", [b!.receipt], "nack", 0), [true]);
    assertEquals(await bus.receiver.settle("q", [b!.receipt], "ack", 0), [false]);
    assertEquals(await bus.sender.size("q"), 1);
    const [again] = await bus.receive("q", { lease: 5_000 });
    assertEquals([again!.body, again!.attempt], ["b", 2]);
    assertEquals(await bus.receiver.settle("q", [b!.receipt], "ack", 0), [false]);
    assertEquals(await bus.receiver.settle("q", [again!.receipt, again!.receipt], "ack", 0), [true, false]);
    assertEquals(await bus.receiver.settle("q", [], "ack", 0), []);
  });

  it("thousands of leases are started, extended and settled at once, and the items keep their order", async () => {
    await using bus = await open(here());
    const bodies = Array.from({ length: 5_000 }, (_, n) => `${n}`);
    await Promise.all(bodies.map((body) => bus.sender.send("q", body, NOW)));
    const taken = await bus.receive("q", { max: 6_000, lease: 60_000 });
    assertEquals(taken.map(({ body }) => body), bodies);
    const receipts = taken.map(({ receipt }) => receipt);
    const valid = receipts.map(() => true);
    assertEquals(await bus.receiver.start("q", receipts), valid);
    assertEquals(await bus.receiver.extend("q", receipts, 60_000), valid);
    assertEquals(await bus.receiver.settle("q", receipts, "nack", 0), valid);
    const again = await bus.receive("q", { max: 6_000, lease: 60_000 });
    assertEquals(again.map(({ body, attempt }) => [body, attempt]), bodies.map((body) => [body, 2]));
    assertEquals(await bus.receiver.settle("q", again.map(({ receipt }) => receipt), "ack", 0), valid);
    // 140,000 are more than a call of a function may have in V8
    const many = Array<string[]>(ALL ? 40 : 28).fill(receipts).flat();
    // `assertEquals` takes longer for as many values than Redis
    const lost = (results: boolean[]) => results.length === many.length && !results.some((held) => held !== false);
    assert(lost(await bus.receiver.start("q", many)));
    assert(lost(await bus.receiver.extend("q", many, 60_000)));
    for (const outcome of ["ack", "nack"] as const) assert(lost(await bus.receiver.settle("q", many, outcome, 0)));
  });

  it("a waiting receive() learns of later changes by others after a change by its own bus", async () => {
    await using bus = await open(here());
    await using other = await open(here(), { namespace: bus.namespace });
    for (const body of ["own", "other"]) await bus.sender.send("q", body, NOW);
    const [own] = await bus.receive("q", { lease: 60_000 });
    const [theirs] = await other.receive("q", { lease: 60_000 });
    const waits = bus.receive("q", { wait: 30_000, lease: 60_000 });
    await bus.receiver.settle("q", [own!.receipt], "ack", 0); // the server stops watching the leases
    await pause(500);
    const start = performance.now();
    await other.receiver.settle("q", [theirs!.receipt], "nack", 100);
    assertEquals((await waits).map(({ body, attempt }) => [body, attempt]), [["other", 2]]);
    const waited = performance.now() - start;
    assert(waited < 3_000, `it was woken after ${waited} ms, not by the poll that is the safety net`);
  });

  it("a waiting receive() learns of leases that its own bus changes", async () => {
    await using bus = await open(here());
    await bus.sender.send("q", "x", NOW);
    const [held] = await bus.receive("q", { lease: 60_000 });
    const start = performance.now();
    const waits = bus.bodies("q", { wait: 30_000, lease: 60_000 });
    await pause(100);
    await bus.receiver.extend("q", [held!.receipt], 400);
    assertEquals(await waits, ["x"]);
    const waited = performance.now() - start;
    assert(waited < 4_000, `it was woken after ${waited} ms, not by the poll that is the safety net`);
  });

  it("items that were put back come first, in their old order, also without a lease", async () => {
    await using bus = await open(here());
    for (const body of ["a", "b", "c", "d"]) await bus.sender.send("q", body, NOW);
    const taken = await bus.receive("q", { max: 3, lease: 5_000 });
    for (const { receipt } of taken.toReversed()) await bus.receiver.settle("q", [receipt], "nack", 0);
    assertEquals(await bus.sender.size("q"), 4);
    assertEquals((await bus.receive("q", { max: 9 })).map(({ body, attempt }) => body + attempt), [
      "a2",
      "b2",
      "c2",
      "d1",
    ]);
  });

  it("items that were put back without a delay are in the list again, with the count of deliveries as white space", async () => {
    await using bus = await open(here());
    for (const body of ['"a"', '"b"', '"c"']) await bus.sender.send("q", body, NOW);
    for (let attempt = 1; attempt <= 5; attempt++) {
      const held = await bus.receive("q", { max: 2, lease: 5_000 });
      assertEquals(held.map(({ body, attempt }) => body + attempt), [`"a"${attempt}`, `"b"${attempt}`]);
      const receipts = held.map(({ receipt }) => receipt);
      assertEquals(await bus.receiver.settle("q", receipts, "nack", 0), [true, true]);
    }
    const list = `__eventbus:${bus.namespace}:q`;
    assertEquals(await server.run("lrange", list, "0", "-1"), ['"c"', '"b"\n\t \t', '"a"\n\t \t']);
    const taken = await bus.receive("q", { max: 2 });
    assertEquals(taken.map(({ body, attempt }) => body + attempt), ['"a"6', '"b"6']);
    await bus.receiver.restore("q", taken);
    assertEquals((await bus.receive("q", { max: 2 })).map(({ body, attempt }) => body + attempt), ['"a"6', '"b"6']);
  });

  it("an item whose lease has expired goes to a waiting receive()", async () => {
    await using holder = await open(here());
    await using bus = await open(here(), { namespace: holder.namespace });
    await bus.sender.send("q", "x", NOW);
    const start = performance.now();
    const [held] = await holder.receive("q", { lease: 1_000 });
    const [again] = await bus.receive("q", { wait: 15_000, lease: 15_000 });
    const waited = performance.now() - start;
    assert(waited >= 999, `${waited} ms`);
    assertEquals([again!.body, again!.attempt, again!.unconfirmed], ["x", 1, true]);
    assertEquals(await holder.receiver.settle("q", [held!.receipt], "ack", 0), [false]);
    assertEquals(await holder.receiver.extend("q", [held!.receipt], 5_000), [false]);
    assertEquals(await holder.receiver.start("q", [held!.receipt]), [false]);
  });

  it("counts starts, not takes: 'untried' counts nothing, nack counts, and so does a lease that started", async () => {
    await using bus = await open(here());
    const { receiver } = bus;
    const list = `__eventbus:${bus.namespace}:q`;
    const take = async (lease = 60_000) => {
      const [{ receipt, attempt, unconfirmed }] = await bus.receive("q", { lease, wait: 10_000 }) as [Delivery];
      return { receipts: [receipt], told: unconfirmed ? [attempt, "unconfirmed"] : [attempt] };
    };
    const back = async (outcome: "nack" | "untried", told: unknown[], start: boolean, delay = 0) => {
      const taken = await take();
      assertEquals(taken.told, told);
      if (start) assertEquals(await receiver.start("q", taken.receipts), [true]);
      assertEquals(await receiver.extend("q", taken.receipts, 60_000), [true]);
      assertEquals(await receiver.settle("q", taken.receipts, outcome, delay), [true]);
      for (const late of ["ack", "nack", "untried"] as const) {
        assertEquals(await receiver.settle("q", taken.receipts, late, 0), [false], `${late} after ${outcome}`);
      }
      assertEquals(await receiver.start("q", taken.receipts), [false]);
    };
    await bus.sender.send("q", '"x"', NOW);
    await back("untried", [1], false);
    await back("untried", [1], true);
    assertEquals(await server.run("lrange", list, "0", "-1"), ['"x"']);
    await back("untried", [1], false, 10);
    await back("nack", [1], false);
    await back("nack", [2], true, 10);
    await take(50); // nobody starts it
    await back("untried", [3, "unconfirmed"], false);
    await back("untried", [3, "unconfirmed"], true);
    await back("untried", [3, "unconfirmed"], true, 10);
    const { receipts } = await take(2_000);
    assertEquals(await receiver.start("q", receipts), [true]);
    await back("nack", [4, "unconfirmed"], true);
    assertEquals((await take()).told, [5]);
    const bodies = (await server.keys()).find((key) => key.includes(bus.namespace) && key.includes("items:"))!;
    assertEquals(await server.run("hlen", bodies), 1, "only the body of the held item is kept");
  });

  it("an expired lease is lost, though no other client took the item yet", async () => {
    await using bus = await open(here());
    await bus.sender.send("q", "x", NOW);
    const [held] = await bus.receive("q", { lease: 50 });
    await until("it waits again", async () => await bus.sender.size("q") === 1);
    assertEquals(await bus.receiver.settle("q", [held!.receipt], "ack", 0), [false]);
    assertEquals(await bus.receiver.extend("q", [held!.receipt], 50), [false]);
  });

  it("extend() extends a lease", async () => {
    await using bus = await open(here());
    await bus.sender.send("q", "x", NOW);
    const [held] = await bus.receive("q", { lease: 3_000 });
    assertEquals(await bus.receiver.extend("q", [held!.receipt], 60_000), [true]);
    await pause(3_500);
    assertEquals(await bus.receive("q"), []);
    assertEquals(await bus.receiver.settle("q", [held!.receipt], "ack", 0), [true]);
  });

  it("nack with a delay: the item comes back not before it, and soon after it, also for another bus", async () => {
    await using bus = await open(here());
    await using other = await open(here(), { namespace: bus.namespace });
    await bus.sender.send("q", "x", NOW);
    const [held] = await bus.receive("q", { lease: 30_000 });
    const waits = other.receive("q", { wait: 15_000 });
    await pause(50);
    const start = performance.now();
    const took = await timed(async () => {
      await bus.receiver.settle("q", [held!.receipt], "nack", 1_000);
      assertEquals(await bus.sender.size("q"), 0);
      assertEquals((await waits).map(({ body, attempt }) => body + attempt), ["x2"]);
    });
    const waited = performance.now() - start;
    assert(waited >= 999 && took < 5_000, `${waited} ms`);
  });

  it("restore() puts items back to the head, in their order", async () => {
    await using bus = await open(here());
    for (const body of ["a", "b", "c"]) await bus.sender.send("q", body, NOW);
    const taken = await bus.receive("q", { max: 2 });
    await bus.receiver.restore("q", taken);
    assertEquals(await bus.bodies("q", { max: 9 }), ["a", "b", "c"]);
  });

  it("drop() removes the queue with items and leases", async () => {
    await using bus = await open(here());
    for (const body of ["a", "b"]) await bus.sender.send("q", body, NOW);
    const [held] = await bus.receive("q", { lease: 5_000 });
    await bus.sender.drop("q");
    assertEquals(await bus.sender.size("q"), 0);
    assertEquals(await bus.receiver.settle("q", [held!.receipt], "nack", 0), [false]);
    assertEquals(await bus.receive("q"), []);
  });

  it("any name is a queue, and its keys share one Cluster slot", async () => {
    await using bus = await open(here());
    for (const name of ["a b", "{x}y", "{}", "a}b", "}{", "a{b", "ü😀", "x\r\ny", "__proto__", "{".repeat(50)]) {
      await bus.sender.send(name, name, NOW);
      await bus.sender.send(name, "2", NOW);
      const [held] = await bus.receive(name, { lease: 5_000 });
      assertEquals(held?.body, name);
      const keys = (await server.keys()).filter((key) => key.includes(bus.namespace) && key.endsWith(name));
      assertEquals(await bus.receiver.settle(name, [held!.receipt], "nack", 0), [true]);
      assert(keys.length >= 3, keys.join());
      assertEquals(await bus.bodies(name, { max: 5 }), [name, "2"]);
    }
  });

  it("an answer expires", async () => {
    await using bus = await open(here());
    await bus.sender.replies!.put("__rpc_1", "answer");
    const left = Number(await server.run("ttl", `__eventbus:${bus.namespace}:__rpc_1`));
    assert(left > 290 && left <= 300);
    assertEquals(await bus.bodies("__rpc_1"), ["answer"]);
  });

  it("another program's value under a queue's name is reported, and loses nothing", async () => {
    await using bus = await open(here());
    await bus.sender.send("q", "x", NOW);
    const [held] = await bus.receive("q", { lease: 5_000 });
    await server.run("set", `__eventbus:${bus.namespace}:q`, "a string");
    await bus.receiver.settle("q", [held!.receipt], "nack", 0);
    assertEquals(await bus.bodies("q", { max: 5 }), ["x"]);
    const error = await assertRejects(() => bus.receive("q", { wait: 1_000 }), ProviderError, "WRONGTYPE");
    assertEquals((error as BusError).code, "internal");
    await server.run("del", `__eventbus:${bus.namespace}:q`);
    await bus.sender.send("q", "y", NOW);
    assertEquals(await bus.bodies("q"), ["y"]);
  });

  it("a server without free memory still hands out, settles and takes back items", async () => {
    const small = await RedisServer.start({ args: ["--maxmemory-policy", "noeviction"] });
    try {
      await using bus = await open({ port: small.port });
      for (const body of ["a", "b", "c", "d"]) await bus.sender.send("q", body, NOW);
      await bus.receive("q");
      await small.run("config", "set", "maxmemory", "1");
      const error = await assertRejects(() => bus.sender.send("q", "e", NOW), ProviderError, "out of memory");
      assertEquals([(error as BusError).code, (error as BusError).retryable], ["unavailable", true]);
      const taken = await bus.receive("q", { max: 2, lease: 5_000 });
      assertEquals(taken.map(({ body }) => body), ["b", "c"]);
      const receipts = taken.map(({ receipt }) => receipt);
      assertEquals(await bus.receiver.extend("q", receipts, 5_000), [true, true]);
      assertEquals(await bus.receiver.settle("q", receipts.slice(0, 1), "nack", 0), [true]);
      assertEquals(await bus.receiver.settle("q", receipts.slice(1), "ack", 0), [true]);
      const rest = await bus.receive("q", { max: 5 });
      assertEquals(rest.map(({ body }) => body), ["b", "d"]);
      await bus.receiver.restore("q", rest);
      assertEquals(await bus.sender.size("q"), 2);
    } finally {
      await small.stop();
    }
  });

  it("close() leaves nothing but the queue", async () => {
    const bus = await open(here());
    for (const body of ["a", "b", "c"]) await bus.sender.send("q", body, NOW);
    await bus.receive("q");
    const [held] = await bus.receive("q", { lease: 5_000 });
    await bus.receiver.settle("q", [held!.receipt], "ack", 0);
    await bus.receiver.restore("q", await bus.receive("q"));
    const waits = bus.receive("p", { wait: Infinity });
    await pause(20);
    await bus.close();
    assertEquals(await waits, []);
    assertEquals((await server.keys()).filter((key) => key.includes(bus.namespace)), [`__eventbus:${bus.namespace}:q`]);
  });
});
