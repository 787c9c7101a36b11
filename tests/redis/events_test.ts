// run: on bun
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { ProviderError } from "../../src/errors.ts";
import type { Emit } from "../../src/provider/provider.ts";
import { RedisServer } from "../support/redis_server.ts";
import { until } from "../support/until.ts";
import { fresh, open } from "./halves.ts";

const topic = (topic: string) => ({ topic, pattern: false, serves: false });
const glob = (topic: string) => ({ topic, pattern: true, serves: false });
const served = (topic: string) => ({ topic, pattern: false, serves: true });

function record(): { seen: string[]; emit: Emit } {
  const seen: string[] = [];
  return { seen, emit: (topic, body) => seen.push(`${topic}=${body}`) };
}

describe("Redis events", () => {
  let server: RedisServer;
  beforeAll(async () => server = await RedisServer.start());
  afterAll(() => server.stop());
  const here = () => ({ port: server.port });

  it("publish() counts the subscriptions that it reached", async () => {
    await using bus = await open(here());
    const { seen, emit } = record();
    await bus.receiver.subscribe(topic("a"), emit);
    await bus.receiver.subscribe(glob("a*"), emit);
    assertEquals(await bus.sender.publish("a", "1"), 2);
    assertEquals(await bus.sender.publish("ab", "2"), 1);
    assertEquals(await bus.sender.publish("b", "3"), 0);
    await until("all have come", () => seen.length === 3);
    assertEquals(seen, ["a=1", "a=1", "ab=2"]);
  });

  it("publish() sends and keeps the order of ten thousand events of one turn", async () => {
    await using bus = await open(here());
    const { seen, emit } = record();
    await bus.receiver.subscribe(topic("t"), emit);
    const sent = Array.from({ length: 10_000 }, (_, n) => `t=${n}`);
    const counts = await Promise.all(sent.map((text) => bus.sender.publish("t", text.slice(2))));
    assert(counts.every((count) => count === 1));
    await until("all have come", () => seen.length === sent.length);
    assertEquals(seen, sent);
  });

  it("names and bodies may be any string", async () => {
    await using bus = await open(here());
    const names = [
      "a b",
      "ü/€/😀",
      "x\r\ny",
      "{a}",
      "*",
      "[",
      "__proto__",
      "constructor",
      "\\",
      " ",
      "a:b",
      "x".repeat(5_000),
    ];
    const { seen, emit } = record();
    for (const name of names) await bus.receiver.subscribe(topic(name), emit);
    const body = 'ü€😀\r\n$3\r\n\0"';
    for (const name of names) assertEquals(await bus.sender.publish(name, body), 1, name);
    await bus.sender.publish("a b", "");
    await until("all have come", () => seen.length === names.length + 1);
    assertEquals(seen, [...names.map((name) => `${name}=${body}`), "a b="]);
  });

  it("a pattern matches its namespace literally, and no other namespace", async () => {
    await using bus = await open(here(), { namespace: "n[ab]*?\\" });
    await using other = await open(here(), { namespace: "naXY" });
    const { seen, emit } = record();
    await bus.receiver.subscribe(glob("*"), emit);
    await other.sender.publish("t", "theirs");
    assertEquals(await bus.sender.publish("t/u", "ours"), 1);
    await until("it has come", () => seen.length > 0);
    assertEquals(seen, ["t/u=ours"]);
  });

  it("post() reaches one inbox, which no pattern matches", async () => {
    await using bus = await open(here());
    await using other = await open(here(), { namespace: bus.namespace });
    const { seen, emit } = record();
    await other.receiver.subscribe(glob("*"), emit);
    assertEquals(await other.sender.post(bus.receiver.inbox, "hello"), true);
    assertEquals(await other.sender.post(`${bus.receiver.inbox}0`, "nobody"), false);
    await until("it has come", () => bus.inbox.length > 0);
    assertEquals([bus.inbox, other.inbox, seen], [["hello"], [], []]);
    assertMatch(bus.receiver.inbox, /[0-9a-f]{32}$/);
  });

  it("unsubscribe() ends only its own subscription, at once", async () => {
    await using bus = await open(here());
    const plain = record();
    const serving = record();
    await bus.receiver.subscribe(topic("t"), plain.emit);
    await bus.receiver.subscribe(served("t"), serving.emit);
    await bus.receiver.unsubscribe(topic("t"));
    await bus.receiver.unsubscribe(topic("never"));
    assertEquals(await bus.sender.publish("t", "1"), 1);
    await until("it has come", () => serving.seen.length > 0);
    assertEquals(plain.seen, []);
    await bus.receiver.unsubscribe(served("t"));
    assertEquals(await bus.sender.publish("t", "2"), 0);
    assertEquals(serving.seen, ["t=1"]);
  });

  it("servers() returns the inboxes that serve a topic, while they do", async () => {
    await using one = await open(here());
    await using two = await open(here(), { namespace: one.namespace });
    const { emit } = record();
    await one.receiver.subscribe(served("f"), emit);
    await two.receiver.subscribe(served("f"), emit);
    await two.receiver.subscribe(topic("g"), emit);
    const inboxes = (await one.sender.servers("f")).map(({ inbox }) => inbox);
    assertEquals(inboxes.sort(), [one.receiver.inbox, two.receiver.inbox].sort());
    assertEquals(await one.sender.servers("g"), []);
    assertEquals(await one.sender.replies?.candidates("f"), 2);
    await one.receiver.unsubscribe(served("f"));
    assertEquals(await two.sender.servers("f"), [{ inbox: two.receiver.inbox }]);
    await two.close();
    assertEquals(await one.sender.servers("f"), []);
    assertEquals((await server.keys()).filter((key) => key.includes(one.namespace)), []);
  });

  it("a registration and its key expire unless they are renewed", async () => {
    await using bus = await open(here());
    await bus.receiver.subscribe(served("f"), () => {});
    const [key] = (await server.keys()).filter((key) => key.includes(bus.namespace));
    const left = Number(await server.run("pttl", key!));
    assert(left > 0 && left <= 15_000, `${left} ms`);
    // makes the registration expire, instead of waiting for 15 s
    await server.run("zadd", key!, "1", bus.receiver.inbox);
    assertEquals(await bus.sender.servers("f"), []);
  });

  it("ten thousand topics are subscribed in one turn", async () => {
    await using bus = await open(here());
    const { seen, emit } = record();
    await Promise.all(Array.from({ length: 10_000 }, (_, n) => bus.receiver.subscribe(topic(`t${n}`), emit)));
    assertEquals(await bus.sender.publish("t9999", "x"), 1);
    await until("it has come", () => seen.length > 0);
    assertEquals(seen, ["t9999=x"]);
  });

  it("publish() rejects an event that would disconnect its subscribers, and sends nothing", async () => {
    await using bus = await open({ ...here(), maxEvent: 1_000 });
    const error = await assertRejects(() => bus.sender.publish("t", "€".repeat(334)), ProviderError, "1002 bytes");
    assertEquals((error as ProviderError).code, "too_large");
    assertEquals(await bus.sender.publish("t", "€".repeat(333)), 0);
  });

  it("garbage on the channels of tsmq does no harm", async () => {
    await using bus = await open(here());
    const { seen, emit } = record();
    await bus.receiver.subscribe(topic("t"), emit);
    await server.run("publish", "__redis__:invalidate", "\xff\xfe");
    await server.run("publish", bus.receiver.inbox, "\0garbage");
    await server.run("publish", `__eventbus:${bus.namespace}:t`, "{");
    await until("it has come", () => seen.length > 0);
    assertEquals(seen, ["t={"]);
    assertEquals(bus.said, []);
  });

  it("close() leaves no connection, and may be called twice", async () => {
    const before = (await server.clients()).length;
    const bus = await open({ ...here() }, { namespace: fresh() });
    await bus.receiver.subscribe(served("f"), () => {});
    assertEquals((await server.clients()).length, before + 3);
    await Promise.all([bus.close(), bus.close()]);
    assertEquals((await server.clients()).length, before);
    await assertRejects(() => bus.sender.publish("t", "x"), Error, "closed");
  });
});
