/** The connection on which the user's thread receives the answers of calls. */
// run: on deno
import { assert, assertEquals, assertRejects } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { TrafficMeter } from "../../cli/traffic.ts";
import { Bus, type BusOptions, ClosedError, currentCall, RpcError } from "../../mod.ts";
import { UntrustedError } from "../../src/errors.ts";
import { redis } from "../../src/providers/redis/provider.ts";
import { writeCancel, writeRequest } from "../../src/rpc/wire.ts";
import { RedisServer } from "../support/redis_server.ts";
import { TcpProxy } from "../support/tcp_proxy.ts";
import { until, within } from "../support/until.ts";
import { fresh, open } from "./halves.ts";

describe("the inbox for answers", () => {
  let server: RedisServer;
  beforeAll(async () => server = await RedisServer.start());
  afterAll(() => server.stop());

  /** The ids of the connections that are subscribed and have no name: those of receivers have one. */
  async function inboxes(): Promise<string[]> {
    const lines = (await server.clients()).filter((line) => / name= /.test(line) && / sub=1 /.test(line));
    return lines.map((line) => /\bid=(\d+)/.exec(line)![1]!);
  }

  /** Opens a bus that serves "echo" to itself, and makes calls until their answers come to the inbox for answers. */
  async function caller(options: BusOptions = {}, port = server.port) {
    const bus = await Bus.open(redis({ port }), { namespace: fresh(), timeout: 20_000, ...options });
    await bus.expose("echo", (value: unknown) => value);
    assertEquals(await inboxes(), [], "it is opened by the first call");
    assertEquals(await bus.stub<(value: unknown) => unknown>("echo")(1), 1);
    await until("it is open", async () => (await inboxes()).length === 1);
    return bus;
  }

  it("has an address only when its messages arrive, and the same one after its connection broke", async () => {
    await using proxy = await TcpProxy.to(server.port);
    const namespace = fresh();
    await using halves = await open({ port: proxy.port }, { namespace });
    await using other = await open({ port: server.port }, { namespace });
    const received: string[] = [];
    proxy.delay = 50;
    const inbox = await halves.sender.answerInbox!.open((body) => received.push(body));
    assertEquals(await other.sender.post(inbox, "first"), true);
    await until("it arrives", () => received.length === 1);
    proxy.cut();
    await until("it is lost and restored", () => halves.senderSaid.join() === "down,up");
    assertEquals(await other.sender.post(inbox, "second"), true);
    await until("it arrives", () => received.length === 2);
    assertEquals(received, ["first", "second"]);
    await halves.close();
    assertEquals(await other.sender.post(inbox, "third"), false);
    await assertRejects(() => halves.sender.answerInbox!.open(() => {}), ClosedError);
  });

  it("does not delay a close while it opens", async () => {
    await using proxy = await TcpProxy.to(server.port);
    const halves = await open({ port: proxy.port }, { connectTimeout: 60_000 });
    proxy.dead = true;
    const opening = assertRejects(() => halves.sender.answerInbox!.open(() => {}));
    await halves.close();
    await within("it ends", opening);
  });

  it("is opened once, by a bus that makes calls, whose answers come to it", async () => {
    await using bus = await caller();
    const echo = bus.stub<(value: unknown) => unknown>("echo");
    const values = Array.from({ length: 100 }, (_, i) => ({ i, text: "ä".repeat(i * 100) }));
    assertEquals(await Promise.all(values.map((value) => echo(value))), values);
    assertEquals((await inboxes()).length, 1);
  });

  it("breaks while calls run: each of them is answered, and calls that begin meanwhile too", async () => {
    await using bus = await caller();
    const states: string[] = [];
    bus.addEventListener("state", () => states.push(bus.health().state));
    const gate = Promise.withResolvers<void>();
    let runs = 0;
    await bus.expose("wait", async (n: number) => {
      runs++;
      await gate.promise;
      return n;
    });
    const wait = bus.stub<(n: number) => number>("wait");
    const calls = Array.from({ length: 20 }, (_, n) => wait(n));
    await until("they run", () => runs === 20);
    await server.run("client", "kill", "id", (await inboxes())[0]!);
    gate.resolve();
    const later = Array.from({ length: 20 }, (_, n) => wait(20 + n));
    assertEquals(await Promise.all([...calls, ...later]), Array.from({ length: 40 }, (_, n) => n));
    assertEquals(runs, 40, "none runs twice");
    await until("the bus is up", () => states.length === 2);
    assertEquals(states, ["down", "up"]);
    assertEquals(await wait(7), 7);
  });

  it("is not listed as a bus, and is not asked for the activity of its bus", async () => {
    await using bus = await caller();
    const errors: unknown[] = [];
    bus.addEventListener("error", ({ error }) => errors.push(error));
    const provider = redis({ port: server.port });
    const admin = await provider.admin!.open(bus.namespace);
    try {
      assertEquals([(await admin.buses())?.length, (await admin.inboxes())?.length], [1, 1]);
      await using asking = await Bus.open(provider, { namespace: bus.namespace });
      const meter = new TrafficMeter(asking, admin, 10);
      for (let i = 0; i < 3; i++) await meter.look(() => Promise.resolve({ queues: [], complete: true }));
      assertEquals(await bus.stub<(value: number) => number>("echo")(3), 3);
      assertEquals(errors, []);
    } finally {
      await admin.close();
    }
  });

  it("was opened by a served function: later messages of the bus do not belong to that call", async () => {
    await using bus = await Bus.open(redis({ port: server.port }), { namespace: fresh(), timeout: 20_000 });
    await bus.expose("inner", () => 1);
    await bus.expose("outer", () => bus.stub("inner")());
    const calls: unknown[] = [];
    bus.addEventListener("state", () => calls.push(currentCall()));
    // from elsewhere, so that the first call of this bus is the one inside
    await using other = await Bus.open(redis({ port: server.port }), { namespace: bus.namespace });
    await other.stub("outer")();
    await until("both are open", async () => (await inboxes()).length === 2);
    for (const id of await inboxes()) await server.run("client", "kill", "id", id);
    await until("it was lost and restored", () => calls.length === 2);
    assertEquals(calls, [undefined, undefined]);
  });

  it("has lost answers: the calls ask for them again, and the functions do not run again", async () => {
    await using proxy = await TcpProxy.to(server.port);
    await using bus = await caller({}, proxy.port);
    const gate = Promise.withResolvers<void>();
    let runs = 0;
    const namespace = bus.namespace;
    await using serving = await Bus.open(redis({ port: server.port }), { namespace });
    await serving.expose("wait", async () => {
      runs++;
      await gate.promise;
      return "answer";
    });
    const call = bus.stub("wait")();
    await until("it runs", () => runs === 1);
    proxy.forget(); // what arrives now is lost, though the server has sent it
    gate.resolve();
    await until("the answer is sent", () => serving.health().pending.handlers === 0);
    proxy.cut();
    assertEquals(await call, "answer");
    assertEquals(runs, 1);
  });

  for (const keys of [undefined, [{ id: "k", secret: "0123456789abcdef0123456789abcdef" }]]) {
    it(`takes nothing but answers, ${keys ? "with" : "without"} keys`, async () => {
      await using bus = await caller({ keys });
      const errors: unknown[] = [];
      bus.addEventListener("error", ({ error }) => errors.push(error));
      let runs = 0;
      await bus.expose("run", () => ++runs);
      const channels = await server.run("pubsub", "channels", `__tsmq:inbox:*${bus.namespace}:*`) as string[];
      await using other = await open({ port: server.port }, { namespace: bus.namespace });
      const inbox = channels.find((channel) => channel.endsWith(":answers"))!;
      const call = { id: crypto.randomUUID(), inbox: other.receiver.inbox, deadline: Date.now() + 60_000 };
      const hostile = ["", "{", "null", writeRequest("run", "", { json: "[]" }, call), writeCancel("id")];
      for (const body of hostile) await other.sender.post(inbox, body);
      await until("each is reported", () => errors.length >= hostile.length);
      assertEquals(await bus.stub<(value: number) => number>("echo")(3), 3);
      assertEquals([runs, other.inbox], [0, []]);
      assert(errors.some((error) => keys ? error instanceof UntrustedError : error instanceof RpcError));
    });
  }
});
