// run: on deno, waiting
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { Buffer } from "node:buffer";
import { BusError, ProviderError } from "../../src/errors.ts";
import { Command } from "../../src/providers/redis/command.ts";
import { Connection } from "../../src/providers/redis/connection.ts";
import { parseOptions } from "../../src/providers/redis/options.ts";
import { text } from "../../src/providers/redis/replies.ts";
import { freePort } from "../support/port.ts";
import { RedisServer } from "../support/redis_server.ts";
import { type Direction, TcpProxy } from "../support/tcp_proxy.ts";
import { pause, timed, until, within } from "../support/until.ts";
import { assertWoken, type Halves, NOW, open } from "./halves.ts";

const topic = (topic: string) => ({ topic, pattern: false, serves: false });

async function rejection(promise: Promise<unknown>): Promise<BusError> {
  return await assertRejects(() => promise, ProviderError) as BusError;
}

/** Publishes until an event arrives, which shows that the subscription is restored. */
async function arrives(bus: Halves, seen: string[]): Promise<void> {
  await until("an event arrives", async () => {
    await bus.sender.publish("t", "again").catch(() => {});
    return seen.includes("again");
  });
}

describe("Redis faults", () => {
  let server: RedisServer;
  beforeAll(async () => server = await RedisServer.start());
  afterAll(() => server.stop());
  const here = () => ({ port: server.port });

  it("open() rejects at once if no server listens, and stops trying", async () => {
    const port = await freePort();
    const error = await within("it rejects", rejection(open({ port }, { connectTimeout: 120_000 })));
    assertEquals([error.code, error.retryable], ["unavailable", true]);
    assertMatch(
      error.message,
      /^Cannot connect to Redis: Redis at 127\.0\.0\.1:\d+ refused the connection \(ECONNREFUSED\)$/,
    );
  });

  it("open() times out at a server that accepts and never answers", async () => {
    const wire = await TcpProxy.to(server.port);
    wire.dead = true;
    const error = await within("it rejects", rejection(open({ port: wire.port }, { connectTimeout: 300 })));
    assertEquals(error.code, "unavailable");
    assertMatch(error.message, /no reply within 300 ms/);
    await wire.close();
  });

  it("open() waits for a server that answers the first commands later than a command may take", async () => {
    await using slow = await RedisServer.start();
    await slow.run("client", "pause", "1000", "all");
    await using bus = await open({ port: slow.port }, { sendTimeout: 250, connectTimeout: 30_000 });
    assertEquals(await bus.sender.publish("t", "x"), 0);
  });

  it("open() is denied with a wrong password, without one, and without rights", async () => {
    const safe = await RedisServer.start();
    await safe.run("acl", "setuser", "good", "on", ">right", "~*", "&*", "+@all");
    await safe.run("acl", "setuser", "poor", "on", ">right", "~*", "resetchannels", "+@all");
    // the server now refuses connections without a user name
    await safe.run("config", "set", "requirepass", "secret");
    try {
      const port = safe.port;
      for (
        const [options, says] of [
          [{ port, username: "good", password: "wrong" }, /WRONGPASS/],
          [{ port }, /NOAUTH/],
          [{ url: `redis://good:wr%40ng@127.0.0.1:${port}` }, /WRONGPASS/],
          [{ port, username: "poor", password: "right" }, /NOPERM/],
        ] as const
      ) {
        const error = await rejection(open(options));
        assertEquals([error.code, error.retryable], ["denied", false]);
        assertMatch(error.message, says);
        assert(!/wr.?.?.?ng@|right/.test(error.message), "the message has no password");
      }
      const bus = await open({ url: `redis://good:right@127.0.0.1:${port}/0` });
      assertEquals(await bus.sender.publish("t", "x"), 0);
      await bus.close();
    } finally {
      await safe.stop();
    }
  });

  it("open() rejects for a database that does not exist, or that the user may not select", async () => {
    await server.run("acl", "setuser", "first", "on", ">pw", "~*", "&*", "+@all", "-select");
    const none = await rejection(open({ ...here(), db: 99 }));
    assertEquals([none.code, none.message], [
      "internal",
      "Cannot select database 99 of Redis: ERR DB index is out of range",
    ]);
    assertEquals((await rejection(open({ ...here(), db: 1, username: "first", password: "pw" }))).code, "denied");
  });

  it("a denied topic rejects alone", async () => {
    await server.run(
      "acl",
      "setuser",
      "few",
      "on",
      ">pw",
      "~*",
      "resetchannels",
      "&*:ok*",
      "&__tsmq:*",
      "&__redis__:*",
      "+@all",
    );
    await using bus = await open({ ...here(), username: "few", password: "pw" });
    const seen: string[] = [];
    await bus.receiver.subscribe(topic("ok"), (_, body) => seen.push(body));
    const refused = [
      await rejection(bus.receiver.subscribe(topic("no"), () => {})),
      await rejection(bus.sender.publish("no", "x")),
    ];
    assertEquals(refused.map(({ code }) => code), ["denied", "denied"]);
    assertMatch(refused[0]!.message, /^Cannot subscribe to "no": NOPERM/);
    assertMatch(refused[1]!.message, /^Cannot publish to "no": NOPERM/);
    assertEquals(await bus.sender.publish("ok", "x"), 1);
    await until("it has come", () => seen.length === 1);
  });

  it("a server killed and started again: waiting gets continue, sends in progress reject", async () => {
    const mortal = await RedisServer.start({ args: ["--appendonly", "yes", "--appendfsync", "always"] });
    try {
      await using bus = await open({ port: mortal.port }, { sendTimeout: 10_000 });
      const seen: string[] = [];
      await bus.receiver.subscribe(topic("t"), (_, body) => seen.push(body));
      await bus.sender.send("p", "kept", NOW);
      const waits = bus.bodies("q", { wait: 30_000 });
      await pause(50);
      await mortal.kill();
      await until("both halves know", () => bus.said.length > 0 && bus.senderSaid.length > 0);
      // not sent yet: it waits for the connection
      const sent = bus.sender.send("q", "meanwhile", NOW);
      const looks = bus.bodies("p");
      await pause(300);
      await mortal.start();
      await sent;
      assertEquals(await waits, ["meanwhile"]);
      assertEquals(await looks, ["kept"]);
      await arrives(bus, seen);
      await until("it is up and the gap is reported", () => bus.said.includes("up"));
      assertEquals(bus.said, ["down", "gap", "up"]);
    } finally {
      await mortal.stop();
    }
  });

  it("commands that wait for a connection reject by their deadline", async () => {
    const mortal = await RedisServer.start();
    await using bus = await open({ port: mortal.port }, { sendTimeout: 300 });
    await mortal.stop();
    await until("the sender knows", () => bus.senderSaid.length > 0);
    const start = performance.now();
    const error = await within("it rejects", rejection(bus.sender.publish("t", "x")));
    const waited = performance.now() - start;
    assertEquals(error.code, "unavailable");
    assert(waited >= 299, `${waited} ms`);
    assertEquals(await bus.receive("q", { wait: 200 }), []);
    await within("it closes", bus.close());
  });

  it("commands without a reply reject at once when the connection breaks, and are never sent again", async () => {
    const wire = await TcpProxy.to(server.port);
    await using bus = await open({ port: wire.port }, { sendTimeout: 20_000 });
    wire.deaf = true;
    const sent = Promise.allSettled([
      bus.sender.send("q", "x", NOW),
      bus.sender.send("q", "y", NOW),
      bus.sender.publish("t", "z"),
    ]);
    await until(
      "the server has it",
      async () => Number(await server.run("llen", `__eventbus:${bus.namespace}:q`)) === 2,
    );
    wire.deaf = false;
    wire.cut();
    for (const result of await sent) {
      assert(result.status === "rejected" && (result.reason as BusError).code === "unavailable");
    }
    await until("it is up again", () => bus.senderSaid.includes("up"));
    assertEquals(await bus.sender.size("q"), 2);
    await bus.close();
    await wire.close();
  });

  for (const lease of [undefined, 60_000]) {
    it(`a lost reply neither loses nor duplicates items${lease ? ", with a lease" : ""}`, async () => {
      const wire = await TcpProxy.to(server.port);
      await using bus = await open(here(), { receiver: { port: wire.port } });
      const list = `__eventbus:${bus.namespace}:q`;
      assertEquals(await bus.bodies("q", { lease }), []); // from now on, the server knows the script
      const got: string[] = [];
      for (let round = 0; round < 10; round++) {
        const before = got.length;
        await bus.sender.send("q", `${round}a`, NOW);
        await bus.sender.send("q", `${round}b`, NOW);
        wire.deaf = true;
        const waits = bus.receive("q", { max: 1 + round % 2, wait: 20_000, lease });
        await until("the server has handed it out", async () => Number(await server.run("llen", list)) < 2);
        wire.deaf = false;
        wire.cut();
        for (const { body, attempt } of await waits) {
          got.push(body);
          assertEquals(attempt, 1);
        }
        while (got.length < before + 2) got.push(...await bus.bodies("q", { wait: 5_000, lease }));
      }
      assertEquals(got, Array.from({ length: 20 }, (_, n) => `${n >> 1}${"ab"[n & 1]}`));
      assertEquals(await bus.bodies("q"), []);
      await bus.close();
      await wire.close();
    });
  }

  it("the items of a lost reply go back to the queue if no receive() waits any more", async () => {
    const wire = await TcpProxy.to(server.port);
    await using bus = await open(here(), { receiver: { port: wire.port } });
    const list = `__eventbus:${bus.namespace}:q`;
    assertEquals(await bus.receive("q"), []); // from now on, the server knows the script
    for (const body of ["a", "b", "c"]) await bus.sender.send("q", body, NOW);
    wire.deaf = true;
    const cancel = new AbortController();
    const waits = bus.receive("q", { max: 2, wait: 20_000, signal: cancel.signal });
    await until("the server has handed it out", async () => Number(await server.run("llen", list)) === 1);
    cancel.abort();
    wire.deaf = false;
    wire.cut();
    assertEquals(await waits, []);
    await until("it is back", async () => Number(await server.run("llen", list)) === 3);
    assertEquals(await server.run("lrange", list, "0", "-1"), ["c", "b", "a"]);
    await bus.close();
    assertEquals((await server.keys()).filter((key) => key.includes(bus.namespace)), [list]);
    await wire.close();
  });

  it("the items of a late reply go back to the queue, though the connection works", async () => {
    await using wire = await TcpProxy.to(server.port);
    await using bus = await open(here(), { receiver: { port: wire.port } });
    assertEquals(await bus.receive("q"), []);
    await bus.sender.send("q", "x", NOW);
    // its first byte comes in time, so the server is not silent
    let late: Uint8Array | undefined = new Uint8Array();
    const others = (chunk: Uint8Array, direction: Direction) =>
      direction === "up" || /^\*[23]/.test(`${Buffer.from(chunk)}`);
    wire.alter = (chunk, direction) => {
      if (others(chunk, direction) || !late) return chunk;
      const first = late.length === 0 ? 1 : 0;
      late = Buffer.concat([late, chunk]);
      return chunk.subarray(0, first);
    };
    const error = await rejection(bus.receive("q"));
    assertEquals(error.code, "unavailable");
    const rest = late.subarray(1);
    late = undefined;
    wire.alter = (chunk, direction) => {
      if (others(chunk, direction)) return chunk;
      wire.alter = undefined;
      return Buffer.concat([rest, chunk]);
    };
    await until("it is back", async () => await bus.sender.size("q") === 1);
  });

  it("receive() does not return items that are being given back", async () => {
    await using wire = await TcpProxy.to(server.port);
    await using bus = await open(here(), { receiver: { port: wire.port } });
    const list = `__eventbus:${bus.namespace}:q`;
    assertEquals(await bus.receive("q"), []);
    await bus.sender.send("q", "x", NOW);
    wire.deaf = true;
    const cancel = new AbortController();
    const waits = bus.receive("q", { wait: 20_000, signal: cancel.signal });
    await until("the server has handed it out", async () => Number(await server.run("llen", list)) === 0);
    cancel.abort();
    const fetched = Promise.withResolvers<void>();
    wire.alter = (chunk, direction) => {
      if (direction === "up" && new TextDecoder().decode(chunk).includes("record:")) {
        wire.delay = 100;
        fetched.resolve();
      }
      return chunk;
    };
    wire.deaf = false;
    wire.cut();
    assertEquals(await waits, []);
    await fetched.promise;
    assertEquals(await bus.bodies("q", { wait: 20_000 }), ["x"]);
    wire.delay = 0;
    await until("it is up", () => bus.said.includes("up"));
    assertEquals(await bus.sender.size("q"), 0);
  });

  it("restore() repeats until the server has the items, once", async () => {
    const wire = await TcpProxy.to(server.port);
    await using bus = await open(here(), { receiver: { port: wire.port } });
    for (const body of ["a", "b"]) await bus.sender.send("q", body, NOW);
    await bus.receiver.restore("q", await bus.receive("q", { max: 2 })); // the server has the script now
    const taken = await bus.receive("q", { max: 2 });
    wire.deaf = true;
    const restored = bus.receiver.restore("q", taken);
    await until("the server has it", async () => await bus.sender.size("q") === 2);
    wire.deaf = false;
    wire.cut();
    await restored;
    assertEquals(await bus.sender.size("q"), 2);
    assertEquals(await bus.bodies("q", { max: 5 }), ["a", "b"]);
    await bus.close();
    await wire.close();
  });

  it("a frozen server: everything ends by its deadline, and continues when it thaws", async () => {
    const frozen = await RedisServer.start();
    try {
      await using bus = await open({ port: frozen.port }, { sendTimeout: 500 });
      const seen: string[] = [];
      await bus.receiver.subscribe(topic("t"), (_, body) => seen.push(body));
      const waits = bus.bodies("q", { wait: 30_000 });
      await pause(50);
      frozen.signal("SIGSTOP");
      const ended = [bus.sender.publish("t", "x"), bus.sender.send("p", "x", NOW), bus.receive("p")].map(rejection);
      for (const { code } of await within("all reject", Promise.all(ended))) assertEquals(code, "unavailable");
      frozen.signal("SIGCONT");
      await arrives(bus, seen);
      await bus.sender.send("q", "x", NOW);
      assertEquals(await waits, ["x"]);
    } finally {
      frozen.signal("SIGCONT");
      await frozen.stop();
    }
  });

  it("close() ends by its deadline though the server is frozen", async () => {
    const frozen = await RedisServer.start();
    try {
      const bus = await open({ port: frozen.port });
      await bus.receiver.subscribe({ topic: "t", pattern: false, serves: true }, () => {});
      const waits = bus.receive("q", { wait: Infinity });
      await pause(50);
      frozen.signal("SIGSTOP");
      const sent = assertRejects(() => bus.sender.publish("t", "x"), BusError);
      await pause(50);
      await within("it closes", bus.close());
      assertEquals(await waits, []);
      assertEquals((await sent).code, "unavailable", "Redis may execute it when it thaws");
    } finally {
      frozen.signal("SIGCONT");
      await frozen.stop();
    }
  });

  it("a half-open connection is detected while nothing is sent", async () => {
    const wire = await TcpProxy.to(server.port);
    const said: string[] = [];
    const link = new Connection(parseOptions({ port: wire.port }), 1_000, {
      up: (again) => said.push(again ? "again" : "up"),
      down: () => said.push("down"),
    });
    await link.open(2_000);
    wire.dead = true;
    await until("it is noticed", () => said.includes("down"));
    wire.dead = false;
    await until("it is back", () => said.includes("again"));
    assertEquals(await link.call(text, "ping"), "PONG");
    await link.close();
    await wire.close();
  });

  it("killed connections reconnect, subscribe and register again, and the gap is reported", async () => {
    await using bus = await open(here());
    const seen: string[] = [];
    await bus.receiver.subscribe({ topic: "t", pattern: false, serves: true }, (_, body) => seen.push(body));
    await bus.receiver.subscribe({ topic: "t?", pattern: true, serves: false }, (topic) => seen.push(topic));
    const waits = bus.bodies("q", { wait: 20_000 });
    await pause(50);
    for (const type of ["pubsub", "normal"]) await server.run("client", "kill", "type", type, "skipme", "yes");
    await arrives(bus, seen);
    await until("it is up and the gap is reported", () => bus.said.includes("up"));
    assertEquals(bus.said, ["down", "gap", "gap", "up"]);
    await until("the sender is up", () => bus.senderSaid.length === 2);
    assertEquals(bus.senderSaid, ["down", "up"]);
    assertEquals(await bus.sender.servers("t"), [{ inbox: bus.receiver.inbox }]);
    await bus.sender.publish("tt", "x");
    await until("the pattern is back", () => seen.includes("tt"));
    await bus.sender.send("q", "x", NOW);
    assertEquals(await waits, ["x"]);
    await assertWoken(server, bus, () => bus.sender.send("q", "x", NOW));
  });

  it("a waiting receive() still wakes soon if only the events' connection breaks", async () => {
    await using bus = await open(here());
    for (let round = 0; round < 3; round++) {
      const waits = bus.bodies("q", { wait: 20_000 });
      await pause(30);
      await server.run("client", "kill", "type", "pubsub");
      if (round > 0) await pause(100 * round);
      const took = await timed(async () => {
        await server.run("lpush", `__eventbus:${bus.namespace}:q`, "x");
        assertEquals(await waits, ["x"]);
      });
      assert(took < 2_500, `${took} ms`);
    }
  });

  it("a thread that was busy does not mistake its delay for a silent server", async () => {
    const said: string[] = [];
    const link = new Connection(parseOptions(here()), 1_000, { down: () => said.push("down") });
    await link.open(2_000);
    const replies = Promise.all([link.call(text, "ping"), link.call(text, "ping")]);
    await Promise.resolve();
    const end = performance.now() + 2_500;
    while (performance.now() < end) { /* busy */ }
    assertEquals(await replies, ["PONG", "PONG"]);
    await pause(1_500);
    assertEquals(said, []);
    await link.close();
  });

  it("a command that could not be added, because the stack was full, is not awaited", async () => {
    const link = new Connection(parseOptions(here()), 1_000);
    await link.open(2_000);
    const { push } = Array.prototype;
    let refused = 0;
    Array.prototype.push = function (...items: unknown[]) {
      if (!(items[0] instanceof Command) || refused++ > 0) return push.apply(this, items);
      throw new RangeError("Maximum call stack size exceeded");
    };
    try {
      await assertRejects(() => link.call(text, "ping"), RangeError);
    } finally {
      Array.prototype.push = push;
    }
    assertEquals(await link.call(text, "ping"), "PONG");
    assertEquals([refused, link.waiting], [1, false]);
    await link.close();
  });

  it("opening and closing two hundred times leaves nothing", async () => {
    const before = (await server.keys()).length;
    for (let n = 0; n < 200; n++) {
      const bus = await open(here());
      await bus.sender.publish("t", "x");
      await bus.close();
    }
    await until("nobody is connected", async () => (await server.clients()).length === 0);
    assertEquals((await server.keys()).length, before);
  });
});
