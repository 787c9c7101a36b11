/** The texts of bindings, the topics in front of stored events, and what a publisher puts. */
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { BusError, ProviderError } from "../mod.ts";
import { TOPIC, topicIn, withTopic } from "../src/codec/headers.ts";
import { readItem, write } from "../src/providers/aws/message.ts";
import { BoundQueues, MAX_BINDINGS, MAX_QUEUES, MAX_TOTAL, writeBinding } from "../src/provider/bindings.ts";
import { GroupPuts } from "../src/provider/group_puts.ts";
import { readTopic, writeTopic } from "../src/provider/topic_mark.ts";

const exact = (topic: string) => ({ topic, pattern: false });
const globbed = (topic: string) => ({ topic, pattern: true });

describe("bindings", () => {
  it("give the queues of a topic, by name and by pattern, each once", () => {
    const bound = new BoundQueues([
      writeBinding(exact("a"), "a@one"),
      writeBinding(exact("a"), "a@two"),
      writeBinding(globbed("*"), "*@all"),
      writeBinding(exact("*"), "*@all"),
      writeBinding(exact("=\n@ é"), "=\n@ é@one"),
    ]);
    assertEquals([...bound.queuesOf("a")], [["*@all", true], ["a@one", false], ["a@two", false]]);
    assertEquals([...bound.queuesOf("*")], [["*@all", false]]);
    assertEquals([...bound.queuesOf("=\n@ é")], [["*@all", true], ["=\n@ é@one", false]]);
    assertEquals(bound.empty, false);
  });

  it("ignore texts that another program has written", () => {
    const bound = new BoundQueues(["", "=", "\0", "=a", "=\0q", "=a\0", "?a\0q", "a\0q", "=a\0q\0r", "*a\0\ud800"]);
    assertEquals(bound.empty, true);
    assertEquals([...bound.queuesOf("a")], []);
  });

  it("are compared with a topic in a limited number of steps, which suffices for as many as may exist", () => {
    const topic = "orders/created/eu-central-1/customer-1234567";
    const usual = Array.from({ length: MAX_BINDINGS }, (_, i) => writeBinding(globbed(`*/[a-z]*/customer-${i}*`), "q"));
    assertEquals(new BoundQueues(usual).queuesOf(topic).size, 1);
    for (const part of ["!", "\\q", "a-b"]) {
      const hostile = Array.from({ length: MAX_TOTAL / 4_096 }, (_, i) => {
        return writeBinding(globbed(`*[^${part.repeat(4_000 / part.length)}${i}]~`), "q");
      });
      const error = assertThrows(() => new BoundQueues(hostile).queuesOf(topic), BusError, "takes too long");
      assertEquals(error.code, "busy");
    }
  });
});

describe("the topic in front of an event", () => {
  for (const body of ["{}", "", "\0", "\0a\0b", " {}\n\t", '"\\u0000"']) {
    it(`leaves the body ${JSON.stringify(body)} as it was, with and without a topic`, () => {
      assertEquals(readTopic(writeTopic(body)), { body });
      assertEquals(readTopic(writeTopic(body, "shop/é *")), { body, topic: "shop/é *" });
    });
  }

  it("is read from an item of SNS too", () => {
    const { body, attributes } = write("{}", { topic: "shop.é", all: true }, "publish");
    assertEquals(readItem({ Body: body, MessageAttributes: attributes }), { body: "{}", attempt: 1, topic: "shop.é" });
  });

  it("has at most 16,384 characters: an item with a longer one is not an event", () => {
    const [longest, longer] = ["é".repeat(16_384), "é".repeat(16_385)];
    assertEquals(readTopic(writeTopic("{}", longest)), { body: "{}", topic: longest });
    assertThrows(() => writeTopic("{}", longer), ProviderError, "16385 characters");
    const item = `\0${longer}\0{}`;
    assertEquals(readTopic(item), { body: item });
    assertEquals(readTopic(writeTopic(item)), { body: item });
    const { body, attributes } = write("{}", { topic: longer, all: true }, "publish");
    assertEquals(readItem({ Body: body, MessageAttributes: attributes }), { body: "{}", attempt: 1 });
    for (const name of [longest, longer, "a".repeat(16_385)]) assertEquals(withTopic(undefined, name), undefined);
    assertEquals(topicIn({ [TOPIC]: "a".repeat(16_385) }), undefined);
  });
});

describe("a publisher", () => {
  it("puts an event into at most 256 queues, and makes no copies of a large event for many", async () => {
    let put = 0;
    let bound = MAX_QUEUES;
    const puts = () =>
      new GroupPuts({
        read: () => Promise.resolve(Array.from({ length: bound }, (_, i) => writeBinding(exact("a"), `a@${i}`))),
        put: () => Promise.resolve(put++),
      });
    await puts().begin("a", "{}").finish();
    assertEquals(put, MAX_QUEUES);
    const large = "x".repeat(2 ** 19 + 1);
    const tooLarge = await assertRejects(
      () => puts().begin("a", large).finish(),
      BusError,
      'Cannot publish to "a": it has',
    );
    bound++;
    const busy = await assertRejects(
      () => puts().begin("a", "{}").finish(),
      BusError,
      'Cannot publish to "a": 257 queues',
    );
    assertEquals([tooLarge.code, busy.code, put], ["too_large", "busy", MAX_QUEUES]);
    bound = 1;
    await puts().begin("a", large).finish();
    assertEquals(put, MAX_QUEUES + 1);
  });

  it("puts events in their order, though the first ones wait for the bindings, and reads them once", async () => {
    const put: string[] = [];
    const read = Promise.withResolvers<string[]>();
    let reads = 0;
    const puts = new GroupPuts({
      read: () => {
        reads++;
        return read.promise;
      },
      put: (queue, item) => Promise.resolve(void put.push(`${queue} ${item}`)),
    });
    assertEquals(puts.noneUntil, -Infinity);
    const early = [1, 2].map((n) => puts.begin("a", String(n)));
    const late = read.promise.then(() => puts.begin("a", "3"));
    read.resolve([writeBinding(exact("a"), "a@one")]);
    for (const { finish } of [...early, await late]) await finish();
    assertEquals(put, ["a@one 1", "a@one 2", "a@one 3"]);
    assertEquals(reads, 1);
    assertEquals(puts.noneUntil, -Infinity);
  });

  it("rejects an event whose topic is too long for the group of a pattern, and stores it in the others", async () => {
    const put: string[] = [];
    const puts = new GroupPuts({
      read: () => Promise.resolve([writeBinding(globbed("*"), "*@all"), writeBinding(exact(topic), "long@g")]),
      put: (queue, item) => Promise.resolve(void put.push(`${queue} ${item}`)),
    });
    const topic = "a".repeat(16_385);
    await assertRejects(puts.begin(topic, "1").finish, ProviderError, "16385 characters");
    assertEquals(put, ["long@g 1"]);
    await puts.begin("a", "2").finish();
    assertEquals(put.length, 2);
  });

  it("rejects for a second with the error that it has read", async () => {
    let reads = 0;
    const puts = new GroupPuts({
      read: () => Promise.resolve(reads++ === 0 ? new Error("too many") : []),
      put: () => Promise.reject(new Error("no group has this event")),
    });
    const end = performance.now() + 900;
    for (let i = 0; i < 3; i++) {
      await assertRejects(puts.begin("a", "1").finish, Error, "too many");
      assertEquals(puts.noneUntil, -Infinity);
    }
    if (performance.now() < end) assertEquals(reads, 1);
  });

  it("rejects an event if the bindings cannot be read, and reads them again for the next event", async () => {
    let failing = true;
    const puts = new GroupPuts({
      read: () => failing ? Promise.reject(new Error("denied")) : Promise.resolve([]),
      put: () => Promise.reject(new Error("no group has this event")),
    });
    const { put, finish } = puts.begin("a", "1");
    await assertRejects(() => put, Error, "denied");
    await assertRejects(finish, Error, "denied");
    failing = false;
    await puts.begin("a", "2").finish();
    assertEquals(puts.noneUntil > performance.now(), true);
    failing = true;
    await puts.begin("a", "3").finish();
    await assertRejects(() => puts.late("a", "4"), Error, "denied");
  });
});
