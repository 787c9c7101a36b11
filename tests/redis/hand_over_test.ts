/** Items that a sender gives directly to a receiver that waits. */
// run: on bun
import { assert, assertEquals } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import type { Delivery } from "../../src/provider/provider.ts";
import type { Client } from "../../src/providers/redis/client.ts";
import { Names } from "../../src/providers/redis/names.ts";
import { Queues } from "../../src/providers/redis/queues.ts";
import { RedisServer } from "../support/redis_server.ts";
import { TcpProxy } from "../support/tcp_proxy.ts";
import { until, within } from "../support/until.ts";
import { kept } from "../support/spy.ts";
import { fresh, type Halves, NOW, open, type Opening } from "./halves.ts";

const LEASE = 60_000;

describe("Redis: an item is handed over", () => {
  let server: RedisServer;
  beforeAll(async () => server = await RedisServer.start());
  afterAll(() => server.stop());
  const here = (opening?: Opening) => open({ port: server.port }, opening);

  const key = (bus: Halves, kind: string) =>
    `__tsmq:{__eventbus:${bus.namespace}:q}${kind}:__eventbus:${bus.namespace}:q`;
  const waiting = async (bus: Halves) => Number(await server.run("zcard", key(bus, "receivers")));
  const listed = async (bus: Halves) => Number(await server.run("llen", `__eventbus:${bus.namespace}:q`));

  /** Receives one item, and resolves when the server knows that it waits. */
  async function wait(bus: Halves, signal = new AbortController().signal): Promise<{ items: Promise<Delivery[]> }> {
    const before = await waiting(bus);
    const items = bus.receive("q", { lease: LEASE, wait: 30_000, signal });
    await until("it waits", async () => await waiting(bus) > before);
    return { items };
  }

  async function evals(): Promise<number> {
    const stats = String(await server.run("info", "commandstats"));
    return Number(/cmdstat_evalsha:calls=(\d+)/.exec(stats)?.[1] ?? 0);
  }

  it("to the receiver that waits, which asks for nothing", async () => {
    await using bus = await here();
    for (const body of ["a", "ü😀\nb\n", ""]) {
      const { items } = await wait(bus);
      const before = await evals();
      await bus.sender.send("q", body, NOW);
      const [item] = await within("it arrives", items) as [Delivery];
      assertEquals([item.body, item.attempt, item.unconfirmed], [body, 1, undefined]);
      assertEquals(await evals() - before, 0);
      assertEquals([await waiting(bus), await listed(bus)], [0, 0]);
      assertEquals(await bus.receiver.start("q", [item.receipt]), [true]);
      assertEquals(await bus.receiver.extend("q", [item.receipt], LEASE), [true]);
      assertEquals(await bus.receiver.settle("q", [item.receipt], "ack", 0), [true]);
    }
  });

  it("with the attempts that its body has counted", async () => {
    await using bus = await here();
    const { items } = await wait(bus);
    await bus.sender.send("q", "1\n\t \t", NOW);
    const [item] = await items;
    assertEquals([item!.body, item!.attempt], ["1", 6]);
    assertEquals(await bus.receiver.settle("q", [item!.receipt], "nack", 0), [true]);
    assertEquals((await bus.receive("q")).map(({ body, attempt }) => body + attempt), ["17"]);
  });

  it("to one of several that wait", async () => {
    await using one = await here();
    await using two = await here({ namespace: one.namespace });
    const [first, second] = [await wait(one), await wait(two)];
    await one.sender.send("q", "a", NOW);
    await one.sender.send("q", "b", NOW);
    const got = await Promise.all([first.items, second.items]);
    assertEquals(got.map(([item]) => item!.body).sort(), ["a", "b"]); // waits that begin in one millisecond have no order
  });

  it("but not before items that are in the queue, or that are due", async () => {
    await using bus = await here();
    const add = () =>
      server.run("zadd", key(bus, "receivers"), Date.now() + 60_000, `${bus.receiver.inbox.slice(-32)}.0.1 5000`);
    await server.run("lpush", `__eventbus:${bus.namespace}:q`, "a");
    await add();
    await bus.sender.send("q", "b", NOW);
    assertEquals([await waiting(bus), await bus.bodies("q", { max: 3 })], [1, ["a", "b"]]);
    await bus.sender.send("q", "c", { ...NOW, delay: 1 });
    await until("it is due", async () => await bus.sender.size("q") === 1);
    await bus.sender.send("q", "d", NOW);
    assertEquals([await waiting(bus), await bus.bodies("q", { max: 3 })], [1, ["c", "d"]]);
  });

  it("is fetched by the next take if its message was lost with the connection", async () => {
    await using wire = await TcpProxy.to(server.port);
    await using bus = await open({ port: server.port }, { receiver: { port: wire.port } });
    const { items } = await wait(bus);
    wire.deaf = true;
    await bus.sender.send("q", "a", NOW);
    assertEquals(await listed(bus), 0);
    wire.deaf = false;
    wire.cut();
    const [item] = await within("it arrives", items) as [Delivery];
    assertEquals([item.body, item.attempt, item.unconfirmed], ["a", 1, undefined]);
    assertEquals(await bus.receiver.settle("q", [item.receipt], "ack", 0), [true]);
    assertEquals(await bus.receive("q", { lease: LEASE }), []);
  });

  it("goes back uncounted if the receive was cancelled meanwhile", async () => {
    await using bus = await here();
    for (let round = 0; round < 10; round++) {
      const cancel = new AbortController();
      const { items } = await wait(bus, cancel.signal);
      const sent = bus.sender.send("q", "a", NOW);
      if (round % 2) await sent;
      cancel.abort();
      const [item] = await items;
      await sent;
      if (item) assertEquals(await bus.receiver.settle("q", [item.receipt], "untried", 0), [true]);
      const again = await bus.receive("q", { wait: 10_000, lease: LEASE });
      assertEquals(again.map(({ body, attempt }) => body + attempt), ["a1"]);
      assertEquals(await bus.receiver.settle("q", [again[0]!.receipt], "ack", 0), [true]);
      assertEquals(await waiting(bus), 0);
    }
  });

  it("no more after the receive was cancelled, also if the reply to its take came later", async () => {
    await using wire = await TcpProxy.to(server.port);
    await using bus = await open({ port: server.port }, { receiver: { port: wire.port } });
    const cancel = new AbortController();
    wire.delay = 600; // longer than a cancelled receive waits for the reply
    const start = performance.now();
    const { items } = await wait(bus, cancel.signal);
    cancel.abort();
    assertEquals(await items, []);
    wire.delay = 0;
    await until("no receiver waits", async () => await waiting(bus) === 0);
    const took = performance.now() - start;
    assert(took < 4_500, `it took ${took} ms`); // a sweep does it after 5,000
  });

  it("is put into the queue if the receiver has lost its connection, or has not renewed its wait", async () => {
    await using bus = await here();
    const { namespace } = bus;
    const gone = "0".repeat(32);
    const late = (await here({ namespace }).then(async (other) => {
      await using _ = other;
      return other.receiver.inbox;
    })).slice(-32);
    await server.run("zadd", key(bus, "receivers"), Date.now() + 60_000, `${gone}.0.1 5000`);
    await server.run("zadd", key(bus, "receivers"), Date.now() - 1, `${late}.0.1 5000`);
    await bus.sender.send("q", "a", NOW);
    assertEquals([await waiting(bus), await listed(bus)], [0, 1]);
    assertEquals(await bus.bodies("q"), ["a"]);
  });

  it("is put into the queue if the receivers are forged", async () => {
    await using bus = await here();
    const forged = Array.from({ length: 100 }, (_, n) => [Date.now() + 60_000, `x\n${n}`]).flat();
    await server.run("zadd", key(bus, "receivers"), ...forged);
    await bus.sender.send("q", "a", NOW);
    assertEquals(await bus.bodies("q"), ["a"]);
    await server.run("del", key(bus, "receivers"));
    const { items } = await wait(bus);
    const channel = `${bus.receiver.inbox}:items`;
    for (const message of ["", "\n", "\n\n", "x\ny\nz", `${"0".repeat(32)}.0.1\n1.2.3:0\nz`]) {
      await server.run("publish", channel, message);
    }
    await bus.sender.send("q", "b", NOW);
    assertEquals((await items).map(({ body }) => body), ["b"]);
    assertEquals(bus.said, []);
  });

  it("is put into the queue by a user who may not run scripts", async () => {
    await server.run("acl", "setuser", "putter", "on", ">pw", "~*", "&*", "+@all", "-eval");
    await using bus = await open({ port: server.port, username: "putter", password: "pw" });
    for (const body of ["a", "b"]) await bus.sender.send("q", body, NOW);
    assertEquals(await server.run("lrange", `__eventbus:${bus.namespace}:q`, "0", "-1"), ["b", "a"]);
  });

  it("no more when the bus is closed", async () => {
    const namespace = fresh();
    await using sender = await here({ namespace });
    const bus = await here({ namespace });
    const { items } = await wait(bus);
    await bus.close();
    assertEquals(await items, []);
    assertEquals((await server.keys()).filter((key) => key.includes(namespace)), []);
    await sender.sender.send("q", "a", NOW);
    assertEquals(await sender.bodies("q"), ["a"]);
  });

  it("while others put: each item arrives once, those of one sender in order", async () => {
    await using one = await here();
    await using two = await here({ namespace: one.namespace });
    const got: number[] = [];
    const all = new AbortController();
    const take = async (bus: Halves) => {
      const last = { value: -1 };
      while (got.length < 400) {
        for (
          const { body, receipt } of await bus.receive("q", { max: 3, wait: 60_000, lease: LEASE, signal: all.signal })
        ) {
          assert(Number(body) > last.value, `${body} came after ${last.value}`);
          last.value = Number(body);
          if (got.push(last.value) === 400) all.abort();
          assertEquals(await bus.receiver.settle("q", [receipt], "ack", 0), [true]);
        }
      }
    };
    const taken = Promise.all([take(one), take(two)]);
    for (let n = 0; n < 400;) {
      const burst = Array.from({ length: 1 + n % 3 }, () => n++);
      await Promise.all(burst.filter((n) => n < 400).map((n) => one.sender.send("q", `${n}`, NOW)));
    }
    await within("all have come", taken);
    assertEquals(got.toSorted((a, b) => a - b), Array.from({ length: 400 }, (_, n) => n));
  });

  it("and what another client writes there is a key of no table of the engine", () => {
    const queues = new Queues({} as Client, new Names("n"), "id", 1_000, () => {}, true);
    assertEquals(kept(() => queues.handOver("chosen.1\nreceipt:0\nbody")), []);
  });
});
