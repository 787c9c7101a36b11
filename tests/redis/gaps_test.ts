/** Gaps and states when the connection for events and the other one break at different times. */
// run: on deno
import { assertEquals } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import type { Socket } from "node:net";
import { Bus } from "../../mod.ts";
import { redis } from "../../src/providers/redis/provider.ts";
import { RedisServer } from "../support/redis_server.ts";
import { TcpProxy } from "../support/tcp_proxy.ts";
import { pause, until } from "../support/until.ts";

/** A proxy that distinguishes the two connections of a receiver by their commands. */
class Wire implements AsyncDisposable {
  readonly proxy: TcpProxy;
  /** Breaks each connection for commands when it begins to restore, before the server receives a command. */
  commandsDown = false;
  /** Called when the connection for commands begins to restore. */
  restores: (() => void) | undefined;
  #events = new WeakSet<Socket>();
  #commands = new WeakSet<Socket>();

  private constructor(proxy: TcpProxy) {
    this.proxy = proxy;
    proxy.breaks = (chunk, client) => {
      const text = new TextDecoder().decode(chunk);
      if (/\r\nsubscribe\r\n/.test(text)) this.#events.add(client);
      if (!/\r\ntracking\r\n/.test(text)) return false;
      this.#commands.add(client);
      this.restores?.();
      return this.commandsDown;
    };
  }

  static async to(server: RedisServer): Promise<Wire> {
    return new Wire(await TcpProxy.to(server.port));
  }

  cutEvents(): void {
    this.proxy.cut((client) => this.#events.has(client));
  }

  cutCommands(): void {
    this.proxy.cut((client) => this.#commands.has(client));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.proxy.close();
  }
}

describe("Redis: a gap", () => {
  let server: RedisServer;
  beforeAll(async () => server = await RedisServer.start());
  afterAll(() => server.stop());

  /** A bus whose halves use the proxy, and another bus that publishes directly. */
  async function open(wire: Wire): Promise<{ bus: Bus; publisher: Bus; seen: unknown[] }> {
    const namespace = `test-${crypto.randomUUID()}`;
    const bus = await Bus.open(redis({ port: wire.proxy.port }), { namespace });
    const publisher = await Bus.open(redis({ port: server.port }), { namespace });
    const seen: unknown[] = [];
    bus.addEventListener("gap", (event) => seen.push(event.detail.topic ?? "gap"));
    bus.addEventListener("state", (event) => seen.push(event.detail));
    bus.addEventListener("error", () => {});
    return { bus, publisher, seen };
  }

  /** Publishes until an event reaches no subscriber, then until one reaches a subscriber again. Returns the missed numbers. */
  async function publishOverTheHole(publisher: Bus, from: number): Promise<number> {
    let n = from;
    while (await publisher.publish(n++, "t") !== 0);
    while (await publisher.publish(n++, "t") === 0) await pause(5);
    return n - 1;
  }

  it("is reported before the events after the loss, even if the other connection is down for a long time", async () => {
    await using wire = await Wire.to(server);
    const { bus, publisher, seen } = await open(wire);
    await bus.subscribe("t", (n) => seen.push(n)).ready;
    for (let n = 0; n < 3; n++) await publisher.publish(n, "t");
    await until("they have come", () => seen.length === 3);
    wire.commandsDown = true;
    wire.cutCommands();
    await until("it is down", () => bus.health().state === "down");
    wire.cutEvents();
    const first = await publishOverTheHole(publisher, 3);
    await until("the first event behind the hole has come", () => seen.includes(first));
    await publisher.publish("later", "t");
    await until("it has come", () => seen.includes("later"));
    assertEquals(bus.health().state, "down", "the other connection is away");
    wire.commandsDown = false;
    await until("it is up", () => bus.health().state === "up");
    assertEquals(seen.filter((each) => typeof each !== "number" || each < 3 || each === first), [
      ...[0, 1, 2, "down", "t", first, "later", "up"],
    ]);
    await Promise.all([bus.close(), publisher.close()]);
  });

  it("is reported after the backlog of a slow handler, for each subscription on its own", async () => {
    await using wire = await Wire.to(server);
    const { bus, publisher, seen } = await open(wire);
    const gate = Promise.withResolvers<void>();
    await bus.subscribe("t", async (n) => {
      seen.push(n);
      await gate.promise;
    }).ready;
    await bus.subscribe("?", (_, { topic }) => seen.push(`${topic}?`), { pattern: true }).ready;
    for (let n = 0; n < 3; n++) await publisher.publish(n, "t");
    await until("they have come", () => seen.filter((each) => each === "t?").length === 3);
    wire.cutEvents();
    const first = await publishOverTheHole(publisher, 3);
    await until("the pattern has it", () => seen.filter((each) => each === "t?").length === 4);
    await until("it is up", () => bus.health().state === "up");
    const order = seen.filter((each) => each !== "up" && each !== "down");
    assertEquals(order, [0, "t?", "t?", "t?", "?", "t?"]);
    gate.resolve();
    await until("the handler has it", () => seen.includes(first));
    assertEquals(seen.filter((each) => each !== "up" && each !== "down").slice(order.length), [1, 2, "t", first]);
    await Promise.all([bus.close(), publisher.close()]);
  });

  it("is reported if the events' connection breaks while the other one restores itself", async () => {
    await using wire = await Wire.to(server);
    const { bus, publisher, seen } = await open(wire);
    await bus.subscribe("t", (n) => seen.push(n)).ready;
    // just then, and for as long as the restoring takes
    wire.restores = () => {
      wire.restores = undefined;
      wire.cutEvents();
      wire.proxy.delay = 20;
    };
    wire.cutCommands();
    const reached: (number | undefined)[] = [];
    const first = (async () => {
      await until("it is up again", async () => {
        if (!seen.includes("up")) return false;
        reached.push(await publisher.publish("x", "t"));
        return true;
      });
    })();
    await first;
    wire.proxy.delay = 0;
    assertEquals(reached, [1], "subscribed when it says that it is up");
    await until("the event has come", () => seen.includes("x"));
    assertEquals(seen, ["down", "t", "up", "x"]);
    await Promise.all([bus.close(), publisher.close()]);
  });

  it("is reported at once by a bus without subscriptions", async () => {
    await using wire = await Wire.to(server);
    const { bus, publisher, seen } = await open(wire);
    wire.cutEvents();
    await until("it is up again", () => seen.includes("up"));
    assertEquals(seen, ["down", "gap", "up"]);
    await Promise.all([bus.close(), publisher.close()]);
  });
});
