// run: on bun, waiting
import { assert, assertEquals } from "@std/assert";
import { Bus } from "../../mod.ts";
import { redis } from "../../src/providers/redis/provider.ts";
import { fresh, onRedis } from "../bus/grounds.ts";
import { RedisServer } from "../support/redis_server.ts";
import { TcpProxy } from "../support/tcp_proxy.ts";
import { pause, until } from "../support/until.ts";

/** A bus with every kind of wait, and the received messages. */
async function waiting(port: number, namespace: string): Promise<{ bus: Bus; came: () => unknown[] }> {
  const bus = await Bus.open(redis({ port }), { namespace });
  bus.addEventListener("error", () => {});
  const came: unknown[] = [];
  await bus.subscribe("news", (event) => came.push(event)).ready;
  bus.queue("jobs").consume((item) => void came.push(item));
  bus.queue("got").get().then((item) => came.push(item));
  bus.queue("held").receive().then(async (lease) => {
    came.push(lease.item);
    await lease.ack();
  });
  await bus.expose("echo", (value: unknown) => value);
  return { bus, came: () => came.map(String).sort() };
}

/** The next message of each kind, from another bus. */
async function next(port: number, namespace: string): Promise<void> {
  await using sender = await Bus.open(redis({ port }), { namespace, timeout: 10_000 });
  await sender.queue("jobs").put("consumed");
  await sender.queue("got").put("got");
  await sender.queue("held").put("held");
  assert((await sender.publish("event", "news"))! >= 1); // a server may consider a dropped connection alive
  assertEquals(await sender.stub("echo")("answer"), "answer");
}

const ALL = ["consumed", "event", "got", "held"];

onRedis("a bus that waits for a long time gets the next message", ({ it }) => {
  it("though the server closes connections that were idle for a second", async () => {
    await using server = await RedisServer.start({ args: ["--timeout", "1"] });
    const namespace = fresh();
    const { bus, came } = await waiting(server.port, namespace);
    await until("idle connections were closed, and came back", () => bus.health().reconnects >= 2);
    await until("it is up", () => bus.health().state === "up");
    await next(server.port, namespace);
    await until("all has come", () => came().length === ALL.length);
    assertEquals(came(), ALL);
    await bus.close();
  });

  it("though a router dropped its connections silently", async () => {
    await using server = await RedisServer.start();
    await using wire = await TcpProxy.to(server.port);
    const namespace = fresh();
    const { bus, came } = await waiting(wire.port, namespace);
    await pause(3_000); // longer than the pause between two looks at a silent server
    assertEquals(bus.health().reconnects, 0);
    wire.dead = true;
    await until("it is noticed", () => bus.health().state === "down", 20_000);
    wire.dead = false;
    await until("it is up", () => bus.health().state === "up", 20_000);
    await next(server.port, namespace);
    await until("all has come", () => came().length === ALL.length);
    assertEquals(came(), ALL);
    await bus.close();
  });

  it("though the server returned at another address", async () => {
    await using old = await RedisServer.start();
    await using wire = await TcpProxy.to(old.port);
    const namespace = fresh();
    const { bus, came } = await waiting(wire.port, namespace);
    await old.stop();
    await until("it is noticed", () => bus.health().state === "down");
    await using server = await RedisServer.start();
    assert(server.port !== old.port);
    wire.target = server.port;
    await until("it is up", () => bus.health().state === "up");
    await next(server.port, namespace);
    await until("all has come", () => came().length === ALL.length);
    assertEquals(came(), ALL);
    await bus.close();
  });
});
