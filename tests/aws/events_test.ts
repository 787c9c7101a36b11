// run: on bun, waiting
import { assert, assertEquals, assertRejects } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { ProviderError } from "../../src/errors.ts";
import { Names } from "../../src/providers/aws/names.ts";
import type { Arns } from "../../src/providers/aws/arns.ts";
import type { Filter } from "../../src/provider/provider.ts";
import { pause, until } from "../support/until.ts";
import { Admin, NOTHING } from "./admin.ts";
import { type Emulator, itProxied, startEmulator } from "./emulator.ts";
import { fresh, type Halves, open } from "./halves.ts";
import { HttpProxy } from "./http_proxy.ts";

const exact = (topic: string): Filter => ({ topic, pattern: false, serves: false });
const serves = (topic: string): Filter => ({ topic, pattern: false, serves: true });
const glob = (topic: string): Filter => ({ topic, pattern: true, serves: false });

/** Collects the events of a subscription. */
async function collect(halves: Halves, filter: Filter): Promise<string[]> {
  const got: string[] = [];
  await halves.receiver.subscribe(filter, (topic, body) => got.push(`${topic}=${body}`));
  return got;
}

/** Waits until SNS has answered the check of a new subscription. A check that is still on its way would find what happens next. */
async function checked(proxy: HttpProxy): Promise<void> {
  const check = proxy.hold("sns:Subscribe");
  await check.done;
  check.answer();
}

describe("events over SNS", () => {
  let emulator: Emulator;
  let admin: Admin;
  beforeAll(async () => {
    emulator = await startEmulator();
    admin = new Admin(emulator.options);
  });
  afterAll(async () => {
    admin[Symbol.dispose]();
    await emulator.stop();
  });

  it("publish() to a topic without subscribers returns 0 and creates no topic", async () => {
    await using halves = await open(emulator.options);
    assertEquals(await halves.sender.publish("nobody", "x"), 0);
    assertEquals((await admin.leftovers(halves.namespace)).topics, []);
  });

  it("the first subscriber creates a topic, the last one deletes it", async () => {
    const namespace = fresh();
    await using one = await open(emulator.options, { namespace });
    await using two = await open(emulator.options, { namespace });
    const topic = new Names(namespace).topic("a.b");
    const filters = [exact("a.b"), exact("a.b")] as const;
    await one.receiver.subscribe(filters[0], () => {});
    await two.receiver.subscribe(filters[1], () => {});
    assertEquals((await admin.leftovers(namespace)).subscriptions, [topic, topic]);
    await one.receiver.unsubscribe(filters[0]);
    assertEquals((await admin.leftovers(namespace)).topics, [topic]);
    await two.receiver.unsubscribe(filters[1]);
    const { topics, subscriptions } = await admin.leftovers(namespace);
    assertEquals({ topics, subscriptions }, { topics: [], subscriptions: [] });
  });

  it("a server that closes reads what callers send to it meanwhile", async () => {
    const halves = await open(emulator.options);
    await using caller = await open(emulator.options, { namespace: halves.namespace });
    const server = serves("fn");
    await halves.receiver.subscribe(server, () => {});
    const posts: Promise<boolean | undefined>[] = [];
    // callers know the server for a second after it has ended
    const timer = setInterval(() => posts.push(caller.sender.post(halves.receiver.inbox, "request")), 5);
    await until("a request arrives", () => halves.inbox.length > 0);
    await halves.receiver.unsubscribe(server);
    const closed = halves.close();
    await pause(800);
    clearInterval(timer);
    const accepted = (await Promise.all(posts)).filter((there) => there !== false).length;
    await closed;
    assertEquals(halves.inbox.length, accepted);
  });

  it("close() leaves nothing: no queue, no topic, no subscription", async () => {
    const halves = await open(emulator.options);
    await collect(halves, exact("a"));
    await collect(halves, glob("*"));
    await halves.receiver.subscribe({ topic: "f", pattern: false, serves: true }, () => {});
    assertEquals((await admin.leftovers(halves.namespace)).topics.length, 4);
    await halves.close();
    assertEquals(await admin.leftovers(halves.namespace), NOTHING);
  });

  it("a topic with a subscriber of another program stays, with that subscription", async () => {
    const halves = await open(emulator.options);
    const topic = new Names(halves.namespace).topic("shared");
    await collect(halves, exact("shared"));
    const { queueArn } = await halves.receiver.askHandler!.answer("arns", undefined) as Arns;
    const arn = `${queueArn}stranger-${halves.namespace}`;
    await admin.subscribe(topic, arn);
    await halves.close();
    assertEquals(await admin.leftovers(halves.namespace), { ...NOTHING, topics: [topic] });
    await admin.deleteTopic(topic);
  });

  itProxied("a topic that another program created is used, and stays when its last subscriber ends", async () => {
    await using proxy = await HttpProxy.to(emulator.port);
    // the answer of AWS for a topic without the tag of tsmq; fauxqs adds the tag
    const message = "Invalid parameter: Tags Reason: Topic already exists with different tags";
    proxy.fault = ({ action, body }) => {
      const tagged = action === "sns:CreateTopic" && body.includes("Tags.member");
      return tagged ? { status: 400, name: "InvalidParameter", message } : undefined;
    };
    const halves = await open(emulator.through(proxy.port));
    const topic = new Names(halves.namespace).topic("theirs");
    await admin.topic(topic);
    const got = await collect(halves, exact("theirs"));
    await halves.sender.publish("theirs", "event");
    await until("the event arrives", () => got.length > 0);
    await halves.close();
    assertEquals(await admin.leftovers(halves.namespace), { ...NOTHING, topics: [topic] });
    await admin.deleteTopic(topic);
  });

  it("the queue's policy allows exactly the subscribed topics to send", async () => {
    await using halves = await open(emulator.options);
    const { receiver, namespace } = halves;
    assertEquals(await admin.allowed(receiver.inbox), undefined);
    const filters = ["a", "b", "c"].map(exact);
    await Promise.all(filters.map((filter) => collect(halves, filter)));
    const names = new Names(namespace);
    const arns = async () => {
      const { ArnEquals } = await admin.allowed(receiver.inbox) as { ArnEquals: Record<string, string[]> };
      return ArnEquals["aws:SourceArn"]!.map((arn) => arn.split(":").pop()).toSorted();
    };
    assertEquals(await arns(), ["a", "b", "c"].map((topic) => names.topic(topic)));
    await receiver.unsubscribe(filters[1]!);
    await collect(halves, exact("d"));
    assertEquals(await arns(), ["a", "c", "d"].map((topic) => names.topic(topic)));
  });

  it("a policy that cannot list all topics allows the namespace's topics to send, and no others of the account", async () => {
    await using halves = await open(emulator.options);
    await Promise.all(
      Array.from({ length: 60 }, (_, i) => collect(halves, exact(`${"long".repeat(20)}-${i}`))),
    );
    const condition = await admin.allowed(halves.receiver.inbox) as { ArnLike?: Record<string, string> };
    const { prefix } = new Names(halves.namespace);
    assert(condition.ArnLike?.["aws:SourceArn"]?.endsWith(`:${prefix}*`), JSON.stringify(condition));
  });

  it("patterns match in the receiver, and a confirmed pattern misses no event of a publisher that found none before", async () => {
    const namespace = fresh();
    await using publisher = await open(emulator.options, { namespace });
    await using subscriber = await open(emulator.options, { namespace });
    assertEquals(await publisher.sender.publish("shop/order", "early"), 0);
    const matched = await collect(subscriber, glob("shop/*"));
    const others = await collect(subscriber, glob("[x]*"));
    const exactly = await collect(subscriber, exact("shop/order"));
    for (const i of [1, 2, 3]) await publisher.sender.publish("shop/order", String(i));
    await until("the events arrive", () => matched.length >= 3 && exactly.length >= 3);
    const expected = ["shop/order=1", "shop/order=2", "shop/order=3"];
    assertEquals(matched.toSorted(), expected);
    assertEquals(exactly.toSorted(), expected);
    assertEquals(others, []);
  });

  it("a second pattern is confirmed no earlier than the first", async () => {
    const namespace = fresh();
    await using publisher = await open(emulator.options, { namespace });
    await using subscriber = await open(emulator.options, { namespace });
    assertEquals(await publisher.sender.publish("b", "early"), 0); // the publisher assumes for a second that there are no patterns
    const first = collect(subscriber, glob("a*"));
    const got = await collect(subscriber, glob("b*"));
    await publisher.sender.publish("b", "event");
    await until("the event arrives", () => got.length > 0);
    await first;
    assertEquals(got, ["b=event"]);
  });

  itProxied(
    "a slow publish does not prolong the time for which a publisher assumes that there are no patterns",
    async () => {
      await using proxy = await HttpProxy.to(emulator.port);
      const namespace = fresh();
      const names = new Names(namespace);
      await using publisher = await open({ ...emulator.through(proxy.port), attempts: 5 }, { namespace });
      await using subscriber = await open(emulator.options, { namespace });
      // the event itself is throttled for some 2 s; that there is no topic for patterns is known at once
      let left = 4;
      proxy.fault = ({ action, body }) => {
        const event = action === "sns:PublishBatch" && !body.includes(names.all) && left-- > 0;
        return event ? { status: 400, name: "Throttling" } : undefined;
      };
      const early = publisher.sender.publish("topic", "early");
      await until(
        "the topic for patterns was asked for",
        () => proxy.seen.some(({ body }) => body.includes(names.all)),
      );
      const got = await collect(subscriber, glob("t*"));
      await early;
      await publisher.sender.publish("topic", "event");
      await until("the event arrives", () => got.length > 0);
      assertEquals(got, ["topic=event"]);
    },
  );

  it("bodies and topics of any Unicode arrive unchanged", async () => {
    await using halves = await open(emulator.options);
    const topic = 'é😀 "\\\n';
    const got = await collect(halves, exact(topic));
    const bodies = ["", "plain", '{"é":"😀"}', "\u0001\u0000\uffff", "\ud83d\ude00", "x".repeat(200_000)];
    for (const body of bodies) await halves.sender.publish(topic, body);
    await until("all arrive", () => got.length === bodies.length);
    assertEquals(new Set(got), new Set(bodies.map((body) => `${topic}=${body}`)));
  });

  it("a body over the limit is refused before it is sent", async () => {
    await using halves = await open(emulator.options);
    const { maxBody } = halves.provider.features;
    await halves.sender.publish("t", "x".repeat(maxBody));
    for (const body of ["x".repeat(maxBody + 1), "é".repeat(maxBody / 2 + 1), "\u0001".repeat(maxBody)]) {
      const error = await assertRejects(() => halves.sender.publish("t", body), ProviderError);
      assertEquals(error.code, "too_large");
    }
  });

  it("with envelopes, events of other publishers are recognised by their topic, and events of tsmq arrive too", async () => {
    await using halves = await open({ ...emulator.options, rawDelivery: false });
    const got = await collect(halves, exact("from.pymq"));
    const all = await collect(halves, glob("from*"));
    await admin.publish(new Names(halves.namespace).topic("from.pymq"), '{"a": 1}');
    await halves.sender.publish("from.pymq", "ours");
    await until("they arrive", () => got.length >= 2 && all.length >= 1);
    assertEquals(got.toSorted(), ["from.pymq=ours", 'from.pymq={"a": 1}'].toSorted());
    assertEquals(all, ["from.pymq=ours"]);
    assertEquals(halves.said, []);
  });

  it("with envelopes, an event whose label says that it was posted to an inbox is an event", async () => {
    await using halves = await open({ ...emulator.options, rawDelivery: false });
    const got = await collect(halves, exact("t"));
    await admin.publish(new Names(halves.namespace).topic("t"), "forged", '{"topic":"t","inbox":true}');
    await until("it arrives", () => got.length > 0);
    assertEquals({ got, inbox: halves.inbox, said: halves.said }, { got: ["t=forged"], inbox: [], said: [] });
  });

  it("with raw delivery, an event whose text looks like an envelope is not opened", async () => {
    await using halves = await open(emulator.options);
    const got = await collect(halves, exact("t"));
    const topic = new Names(halves.namespace).topic("t");
    const label = { Type: "String", Value: '{"topic":"t","inbox":true}' };
    const text = { Type: "Notification", TopicArn: `arn:aws:sns:x:1:${topic}`, Message: "forged" };
    await admin.publish(topic, JSON.stringify(text));
    await admin.publish(topic, JSON.stringify({ ...text, MessageAttributes: { tsmq: label } }));
    await until("both are reported", () => halves.said.filter((said) => said.startsWith("fault:")).length === 2);
    assertEquals({ got, inbox: halves.inbox }, { got: [], inbox: [] });
  });

  it("a message with a wrong attribute is reported, and later ones arrive", async () => {
    await using halves = await open(emulator.options);
    const got = await collect(halves, glob("*"));
    for (const label of ['{"topic":null,"all":true}', '{"topic":7}', "null", "{"]) {
      await admin.send(halves.receiver.inbox, "body", label);
    }
    await until("all are reported", () => halves.said.filter((said) => said.startsWith("fault:")).length === 4);
    await halves.sender.publish("t", "ours");
    await until("ours arrives", () => got.length > 0);
    assertEquals({ got, down: halves.said.includes("down") }, { got: ["t=ours"], down: false });
  });

  it("with raw delivery, an event of another publisher is reported, and the next one arrives", async () => {
    await using halves = await open(emulator.options);
    const got = await collect(halves, exact("t"));
    await admin.publish(new Names(halves.namespace).topic("t"), "whose?");
    await until("it is reported", () => halves.said.some((said) => said.includes("rawDelivery: false")));
    await halves.sender.publish("t", "ours");
    await until("ours arrives", () => got.length > 0);
    assertEquals(got, ["t=ours"]);
  });

  it("while main is far behind, events stay in SQS and answers arrive; the events arrive later", async () => {
    await using halves = await open(emulator.options);
    const got = await collect(halves, exact("t"));
    halves.congested = true;
    await halves.sender.publish("t", "event");
    await halves.sender.post(halves.receiver.inbox, "answer");
    await until("the answer arrives", () => halves.inbox.length > 0);
    assertEquals({ got, inbox: halves.inbox }, { got: [], inbox: ["answer"] });
    halves.congested = false;
    await until("the event arrives", () => got.length > 0);
    assertEquals(got, ["t=event"]);
  });

  itProxied("a topic that was deleted is subscribed to again, with a gap before the first event after it", async () => {
    await using proxy = await HttpProxy.to(emulator.port);
    await using halves = await open(emulator.through(proxy.port));
    const filter = exact("t");
    const names = new Names(halves.namespace);
    await halves.receiver.subscribe(filter, (_, body) => halves.said.push(body));
    await collect(halves, exact("other"));
    await collect(halves, glob("x*"));
    await halves.receiver.subscribe(serves("fn"), () => {});
    const held = proxy.hold("sns:Subscribe", `${names.topic("t")}&`);
    await admin.deleteTopic(names.topic("t"));
    await admin.deleteTopic(names.registry("fn"));
    await until("both are subscribed to again", async () => {
      return (await admin.leftovers(halves.namespace)).subscriptions.length === 5;
    });
    await held.done;
    await halves.sender.publish("t", "later");
    await until("SQS delivered the event", () => proxy.count("sqs:DeleteMessageBatch") > 0);
    held.answer();
    await until("the event arrives", () => halves.said.length > 1);
    assertEquals(halves.said, [
      `gap: another bus deleted topic ${names.topic("t")} or the subscription to it`,
      "later",
    ]);
    assert(halves.gaps.length === 1 && halves.gaps[0] === filter);
  });

  itProxied(
    "after its queue was deleted, a subscription that cannot be restored at once is restored later",
    async () => {
      await using proxy = await HttpProxy.to(emulator.port);
      await using halves = await open({ ...emulator.through(proxy.port), attempts: 1, poll: 1_000 });
      const got = await collect(halves, exact("t"));
      await checked(proxy);
      proxy.next("sns:CreateTopic", { status: 503, name: "Busy" });
      await admin.deleteTopic(new Names(halves.namespace).topic("t"));
      await admin.deleteQueue(halves.receiver.inbox);
      await until(
        "the failure is reported",
        () => halves.said.some((said) => said.includes("subscribe again")),
        30_000,
      );
      await until("an event arrives", async () => {
        await halves.sender.publish("t", "again");
        return got.length > 0;
      });
      assertEquals(halves.gaps, [exact("t")]);
    },
  );

  itProxied(
    "a subscription that another bus ended while the lease had expired is restored when the lease is renewed",
    async () => {
      await using proxy = await HttpProxy.to(emulator.port);
      await using halves = await open({ ...emulator.through(proxy.port), attempts: 1, poll: 1_000, lease: 1_500 });
      const got = await collect(halves, exact("t"));
      await checked(proxy);
      const renewals = proxy.count("sqs:TagQueue");
      proxy.next("sqs:TagQueue", { status: 503, name: "Busy" }, 4); // the fifth one is later than the end of the lease
      await until("the lease has expired", () => proxy.count("sqs:TagQueue") === renewals + 4);
      await admin.unsubscribe(new Names(halves.namespace).topic("t"), halves.receiver.inbox);
      await until("it is subscribed to again", () => halves.gaps.length > 0);
      await halves.sender.publish("t", "again");
      await until("an event arrives", () => got.length > 0);
      assertEquals(halves.gaps, [exact("t")]);
    },
  );

  it("a deleted queue is created again, and each subscription has a gap", async () => {
    await using halves = await open(emulator.options);
    const filters = [exact("t"), exact("other"), glob("x*")];
    const [got] = await Promise.all(filters.map((filter) => collect(halves, filter)));
    await admin.deleteQueue(halves.receiver.inbox);
    await until("the gap is reported", () => halves.said.some((said) => said.startsWith("gap:")), 30_000);
    await until("it is up", () => halves.said.includes("up"));
    await halves.sender.publish("t", "again");
    await until("the event arrives", () => got!.length > 0);
    assertEquals(got, ["t=again"]);
    assertEquals(new Set(halves.gaps), new Set(filters));
    assertEquals(await halves.sender.post(halves.receiver.inbox, "hello"), true);
  });

  itProxied("a queue that is deleted while its policy is set has the policy when it is created again", async () => {
    await using proxy = await HttpProxy.to(emulator.port);
    await using halves = await open({ ...emulator.through(proxy.port), poll: 1_000 });
    const held = proxy.hold("sqs:SetQueueAttributes");
    const subscribed = collect(halves, exact("t"));
    await held.done;
    await admin.deleteQueue(halves.receiver.inbox);
    await until("it is made again", () => proxy.count("sqs:GetQueueAttributes") === 2);
    held.answer();
    await subscribed;
    await until("it is up", () => halves.said.includes("up"));
    assert(await admin.allowed(halves.receiver.inbox) !== undefined);
  });

  itProxied("a bus that closes while its queue is created again leaves no queue", async () => {
    await using proxy = await HttpProxy.to(emulator.port);
    await using halves = await open({ ...emulator.through(proxy.port), attempts: 1, poll: 1_000 });
    proxy.next("sqs:CreateQueue", { before: pause(1_000) });
    await admin.deleteQueue(halves.receiver.inbox);
    await until("it is made again", () => proxy.count("sqs:CreateQueue") === 2);
    await Promise.all([halves.close(), pause(1_500)]);
    assertEquals(await admin.leftovers(halves.namespace), NOTHING);
  });

  itProxied("a subscription stays when a server of its topic could not be registered and ends", async () => {
    await using proxy = await HttpProxy.to(emulator.port);
    await using halves = await open(emulator.through(proxy.port));
    const got = await collect(halves, exact("t"));
    const server = serves("t");
    const registry = new Names(halves.namespace).registry("t");
    const held = proxy.hold("sns:CreateTopic", registry, { status: 403, name: "AccessDeniedException" });
    const serving = assertRejects(() => halves.receiver.subscribe(server, () => {}), ProviderError);
    await held.done;
    const ended = halves.receiver.unsubscribe(server);
    held.answer();
    await Promise.all([serving, ended]);
    await halves.sender.publish("t", "event");
    await until("the event arrives", () => got.length > 0);
  });

  itProxied("a lookup of servers that began before a registration does not answer a later question", async () => {
    await using proxy = await HttpProxy.to(emulator.port);
    const namespace = fresh();
    await using caller = await open(emulator.through(proxy.port), { namespace });
    await using server = await open(emulator.options, { namespace });
    const held = proxy.hold("sns:ListSubscriptionsByTopic");
    const earlier = caller.sender.servers("fn");
    await held.done;
    await server.receiver.subscribe(serves("fn"), () => {});
    const later = caller.sender.servers("fn");
    held.answer();
    assertEquals(await earlier, []);
    assertEquals(await later, [{ inbox: server.receiver.inbox }]);
  });
});
