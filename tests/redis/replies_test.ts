// run: on bun, waiting
import { assert, assertEquals } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { Buffer } from "node:buffer";
import { ProviderError } from "../../src/errors.ts";
import { Connection } from "../../src/providers/redis/connection.ts";
import { parseOptions } from "../../src/providers/redis/options.ts";
import { text } from "../../src/providers/redis/replies.ts";
import { Random, SEED } from "../support/random.ts";
import { RedisServer } from "../support/redis_server.ts";
import { TcpProxy } from "../support/tcp_proxy.ts";
import { pause, until } from "../support/until.ts";
import { type Halves, NOW, open } from "./halves.ts";

const encoder = new TextEncoder();
/** Replies of every kind. */
const KINDS: Record<string, string> = {
  "a status": "+OK\r\n",
  "a text": "$5\r\ntexts\r\n",
  "a number": ":7\r\n",
  "a number below zero": ":-7\r\n",
  "no text": "$-1\r\n",
  "no array": "*-1\r\n",
  "an empty array": "*0\r\n",
  "an array of numbers": "*3\r\n:1\r\n:2\r\n:3\r\n",
  "an array of texts": "*2\r\n$1\r\na\r\n$1\r\nb\r\n",
};
/** The reply to `ECHO same`. */
const SAME = encoder.encode("$4\r\nsame\r\n");

/** Both halves, and the wire that they share. */
interface Place extends AsyncDisposable {
  readonly bus: Halves;
  readonly wire: TcpProxy;
}

describe(`Redis replies that were altered on the way (seed ${SEED})`, () => {
  let server: RedisServer;
  beforeAll(async () => server = await RedisServer.start());
  afterAll(() => server.stop());

  async function place(): Promise<Place> {
    const wire = await TcpProxy.to(server.port);
    const bus = await open({ port: wire.port });
    await bus.receiver.subscribe({ topic: "f", pattern: false, serves: true }, () => {});
    const end = async () => {
      wire.alter = undefined;
      await bus.close();
      await wire.close();
    };
    return { bus, wire, [Symbol.asyncDispose]: end };
  }

  /** Uses every operation, and checks the result. */
  async function works(bus: Halves): Promise<void> {
    await until("everything is up", async () => {
      const servers = await bus.sender.servers("f", { listening: true });
      assertEquals(servers, [{ inbox: bus.receiver.inbox, listening: true }]);
      assertEquals(await bus.sender.post(bus.receiver.inbox, "{}"), true);
      return true;
    });
    // a queue of its own: an earlier attempt may have ended between its send and its settle
    const queue = crypto.randomUUID();
    await bus.sender.send(queue, "item", NOW);
    assertEquals(await bus.sender.size(queue), 1);
    const [item] = await bus.receive(queue, { wait: 5_000, lease: 60_000 });
    assertEquals(item?.body, "item");
    assertEquals(await bus.receiver.extend(queue, [item!.receipt], 60_000), [true]);
    assertEquals(await bus.receiver.settle(queue, [item!.receipt], "ack", 0), [true]);
  }

  /** Alters the next chunk that comes down. */
  function once(wire: TcpProxy, alter: (chunk: Uint8Array) => Uint8Array): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    wire.alter = (chunk, direction) => {
      if (direction === "up") return chunk;
      wire.alter = undefined;
      resolve();
      return alter(chunk);
    };
    return promise;
  }

  /** Alters the reply to the next command that has this text. Other replies on its connection do not begin with `begin`. */
  function replyTo(wire: TcpProxy, asks: string, begin: string, reply: string): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    let asked: unknown;
    wire.alter = (chunk, direction, client) => {
      const text = Buffer.from(chunk).toString("latin1");
      if (direction === "up" && text.includes(asks)) asked ??= client;
      const at = direction === "up" || client !== asked ? -1 : `\n${text}`.indexOf(`\n${begin}`);
      if (at < 0) return chunk;
      wire.alter = undefined;
      resolve();
      return Buffer.from(text.slice(0, at) + reply, "latin1");
    };
    return promise;
  }

  /** Each act, a text that only its command has, and the beginning of its reply: PINGs have texts, renewed leases have numbers. */
  const acts: Record<string, [asks: string, begin: string, act: (bus: Halves) => Promise<unknown>]> = {
    publish: ["publish", ":", ({ sender }) => sender.publish("t", "x")],
    candidates: ["numsub", "*", ({ sender }) => sender.replies!.candidates("f")],
    servers: [String(Number.MAX_SAFE_INTEGER), "*", ({ sender }) => sender.servers("f")],
    size: [":q", ":", ({ sender }) => sender.size("q")],
    receive: [":q", "*", (bus) => bus.receive("q")],
    settle: [":q", "*", ({ receiver }) => receiver.settle("q", ["x", "y"], "ack", 0)],
  };
  for (const [name, [asks, begin, act]] of Object.entries(acts)) {
    it(`${name} with a reply of another kind rejects, and the connection is replaced`, async () => {
      await using scene = await place();
      const { bus, wire } = scene;
      for (const [kind, reply] of Object.entries(KINDS)) {
        // the reply may have been altered to this
        if (kind === "a number" && (name === "publish" || name === "size")) continue;
        if (name === "servers" && (kind === "an empty array" || kind === "an array of texts")) continue;
        const before = wire.accepted;
        const altered = replyTo(wire, asks, begin, reply);
        const error = await act(bus).then(() => undefined, (error) => error);
        await altered;
        assert(error instanceof ProviderError && error.code === "unavailable", `${kind}: ${error}`);
        await until("there is a new connection", () => wire.accepted > before);
        await works(bus);
      }
    });
  }

  it("an item whose reply was altered is received again, once", async () => {
    await using scene = await place();
    const { bus, wire } = scene;
    for (const [kind, reply] of Object.entries(KINDS)) {
      await bus.sender.send("q", kind, NOW);
      const altered = once(wire, () => encoder.encode(reply));
      const waits = bus.bodies("q", { wait: 20_000 });
      await altered;
      assertEquals(await waits, [kind]);
    }
    assertEquals(await bus.bodies("q"), []);
  });

  /** A connection that is never idle, and a function that alters its next replies. */
  async function busy(alter: (chunk: Uint8Array) => Uint8Array): Promise<void> {
    await using wire = await TcpProxy.to(server.port);
    const said: string[] = [];
    const link = new Connection(parseOptions({ port: wire.port }), 1_000, {
      up: (again) => said.push(again ? "again" : "up"),
      down: () => said.push("down"),
    });
    await link.open(2_000);
    // some commands are always pending, and only their order identifies their replies
    wire.delay = 50;
    const traffic = setInterval(() => link.call(text, "echo", "same").catch(() => {}), 2);
    await pause(200);
    assertEquals(said, ["up"]);
    await once(wire, alter);
    await until("it is noticed, though it is busy", () => said.includes("down"));
    await until("it is back", () => said.includes("again"));
    clearInterval(traffic);
    assertEquals(await link.call(text, "echo", "right"), "right");
    await link.close();
  }

  it("a busy connection detects one reply too many", () => busy((chunk) => Buffer.concat([SAME, chunk])));

  it("a busy connection detects one reply too few", () => busy((chunk) => chunk.subarray(SAME.length)));

  it("a busy connection detects a huge length that swallows the next replies", () =>
    busy((chunk) => Buffer.concat([encoder.encode("*99999999999\r\n"), chunk])));

  it("one reply too many to a take delivers no items of another queue", async () => {
    await using scene = await place();
    const { bus, wire } = scene;
    await bus.sender.send("a", "of a", NOW);
    let reply = "";
    wire.alter = (chunk, direction) => {
      if (direction === "down") reply += Buffer.from(chunk).toString();
      return chunk;
    };
    assertEquals(await bus.bodies("a"), ["of a"]);
    await bus.sender.send("b", "of b", NOW);
    const altered = once(wire, () => encoder.encode(reply));
    const waits = bus.bodies("b", { wait: 20_000 });
    await altered;
    assertEquals(await waits, ["of b"]);
  });

  it("random bytes in any place break nothing for good", async () => {
    const random = new Random(SEED);
    await using scene = await place();
    const { bus, wire } = scene;
    for (let round = 0; round < 12; round++) {
      const name = random.pick(Object.keys(acts));
      const altered = once(wire, (chunk) => {
        const at = random.int(0, chunk.length - 1);
        const bytes = random.bytes(random.int(1, chunk.length));
        return Buffer.concat([chunk.subarray(0, at), bytes, chunk.subarray(random.int(at, chunk.length))]);
      });
      await Promise.all([acts[name]![2](bus).catch(() => {}), altered]);
      await until("it works again", () => works(bus).then(() => true));
    }
  });
});
