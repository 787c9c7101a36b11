// run: on deno, waiting
import { assert, assertEquals, assertRejects } from "@std/assert";
import { CreateTopicCommand } from "@aws-sdk/client-sns";
import { CreateQueueCommand } from "@aws-sdk/client-sqs";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { Bus } from "../../src/bus.ts";
import { NoSuchRemoteError, ProviderError, ValidationError } from "../../src/errors.ts";
import { nameOf } from "../../src/providers/aws/arns.ts";
import { cleanUp, cleanUpAll } from "../../src/providers/aws/cleanup.ts";
import type { AwsClient } from "../../src/providers/aws/client.ts";
import { topicsOf } from "../../src/providers/aws/bus_queue.ts";
import { TOPIC_TAG } from "../../src/providers/aws/topics.ts";
import { Names } from "../../src/providers/aws/names.ts";
import { aws, reap } from "../../src/providers/aws/provider.ts";
import { MAX_LISTED } from "../../src/provider/listing.ts";
import { memory } from "../../src/providers/memory/provider.ts";
import { ALL } from "../support/share.ts";
import { pause, until } from "../support/until.ts";
import { warnings } from "../support/warnings.ts";
import { Admin, NOTHING } from "./admin.ts";
import { startDoomed } from "./doomed.ts";
import { type Emulator, itProxied, startEmulator } from "./emulator.ts";
import { fresh, open } from "./halves.ts";
import { HttpProxy } from "./http_proxy.ts";

const LEASE = 6_000;
const serves = (topic: string) => ({ topic, pattern: false, serves: true });
const FN = serves("fn");

describe("the remains of dead buses", () => {
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

  it("after SIGKILL: servers count as dead when their lease expires, the item is redelivered, the next bus removes the rest", async () => {
    const namespace = fresh();
    const bus = await Bus.open(aws(emulator.options), { namespace });
    try {
      await bus.queue("jobs").put("item");
      const options = { ...emulator.options, lease: LEASE, poll: 2_000 };
      const { peer, item } = await startDoomed({ options, namespace, topics: ["topic"] });
      assertEquals(item, "item");
      assertEquals(await bus.stub("fn")(), "served");
      await peer.kill();
      assertEquals((await admin.leftovers(namespace)).queues.length, 2);
      await until("its lease has expired", async () => {
        const error = await bus.stub("fn", { timeout: 500 })().catch((error) => error);
        return error instanceof NoSuchRemoteError;
      });
      assertEquals(await bus.stub("fn", { multi: true })(), []);
      const lease = await bus.queue("jobs").receive({ timeout: 10_000 });
      assertEquals({ item: lease.item, attempt: lease.attempt }, { item: "item", attempt: 2 });
      await lease.ack();
      await using next = await Bus.open(aws(emulator.options), { namespace });
      await until("the next bus has cleaned up", async () => {
        const { queues, topics, subscriptions } = await admin.leftovers(namespace);
        return queues.length === 2 && topics.length === 0 && subscriptions.length === 0;
      });
      assertEquals(next.health().state, "up");
      await bus.queue("jobs").free();
    } finally {
      await bus.close();
    }
    assertEquals(await admin.leftovers(namespace), NOTHING);
  });

  /** The queue of a bus that has just died, with an expired lease. */
  async function deadBus(namespace: string, topics: readonly string[]): Promise<string> {
    const before = (await admin.leftovers(namespace)).queues;
    const { peer } = await startDoomed({ options: emulator.options, namespace, topics });
    await peer.kill();
    const queue = (await admin.leftovers(namespace)).queues.find((name) => !before.includes(name))!;
    await admin.tag(queue, { "tsmq-lease": "1" });
    return queue;
  }

  it("a false queue with an expired lease does not keep the remains of other buses", async () => {
    const names = new Names("n");
    const account = "eu-west-1:123456789012:";
    const topics: Record<string, string[]> = {
      [names.bus()]: ["arn:aws:sns:eu-west-1:999999999999:other", "nonsense", `arn:aws:sns:${account}another-program`],
      [names.bus()]: [`arn:aws:sns:${account}${names.topic("refused")}`],
      [names.bus()]: [`arn:aws:sns:${account}${names.topic("t")}`],
    };
    const unlisted = names.bus(); // its policy allows all topics of the namespace
    const subscribed = [
      `${account}another-program`,
      `${account}${new Names("m").topic("t")}`,
      `${account}${names.topic("u")}`,
    ];
    const [first, refused, last] = Object.keys(topics);
    const asked = new Set<string>();
    const deleted: string[] = [];
    const answers: Record<string, (input: { QueueUrl: string; TopicArn: string }) => unknown> = {
      ListQueuesCommand: () => ({
        QueueUrls: [...Object.keys(topics), unlisted].map((name) => `https://sqs/1/${name}`),
      }),
      ListSubscriptionsCommand: () => ({
        Subscriptions: subscribed.map((topic) => (
          { TopicArn: `arn:aws:sns:${topic}`, Endpoint: `arn:aws:sqs:${account}${unlisted}` }
        )),
      }),
      ListQueueTagsCommand: () => ({ Tags: { "tsmq-lease": "1" } }),
      GetQueueAttributesCommand: ({ QueueUrl }) => {
        const listed = topics[nameOf(QueueUrl)];
        const Condition = listed ? { ArnEquals: { "aws:SourceArn": listed } } : { ArnLike: { "aws:SourceArn": "*" } };
        const Policy = JSON.stringify({ Statement: [{ Condition }] });
        return { Attributes: { QueueArn: `arn:aws:sqs:${account}${nameOf(QueueUrl)}`, Policy } };
      },
      ListSubscriptionsByTopicCommand: ({ TopicArn }) => {
        asked.add(TopicArn);
        if (!TopicArn.endsWith("refused")) return { Subscriptions: [] };
        throw Object.assign(new Error("not authorized"), { name: "AuthorizationErrorException" });
      },
      DeleteQueueCommand: ({ QueueUrl }) => void deleted.push(nameOf(QueueUrl)),
    };
    const send = (command: { input: never }) =>
      Promise.resolve(answers[command.constructor.name]?.(command.input) ?? {});
    const call = async (_: string, run: (http: unknown) => Promise<unknown>) => await run({});
    const client = { call, sns: { send }, sqs: { send } } as unknown as AwsClient;
    await assertRejects(() => cleanUp(client, names), Error, "not authorized");
    assertEquals(deleted, [first, last, unlisted]);
    assert(asked.has(`arn:aws:sns:${account}${names.topic("u")}`));
    assert(!deleted.includes(refused!));
    assertEquals([...asked].filter((arn) => !arn.startsWith(`arn:aws:sns:${account}${names.prefix}`)), []);
  });

  it("of many queues, a bus that opens looks at no more than an admin lists, and reap() at all", async () => {
    const names = new Names("n");
    const [page, all] = [1_000, MAX_LISTED + 2_000];
    let asked = 0;
    const answers: Record<string, (input: { NextToken?: string }) => unknown> = {
      ListQueuesCommand: ({ NextToken = "0" }) => {
        const end = Number(NextToken) + page;
        const QueueUrls = Array.from({ length: page }, () => `https://sqs/1/${names.bus()}`);
        return { QueueUrls, NextToken: end < all ? String(end) : undefined };
      },
      ListQueueTagsCommand: () => void asked++,
    };
    const send = (command: { input: never }) =>
      Promise.resolve(answers[command.constructor.name]?.(command.input) ?? {});
    const call = async (_: string, run: (http: unknown) => Promise<unknown>) => await run({});
    const client = { call, sns: { send }, sqs: { send } } as unknown as AwsClient;
    const warned = await warnings(() => cleanUp(client, names));
    const text =
      `There are more than ${MAX_LISTED} queues whose names begin with "${names.busPrefix}": the others are not listed or counted`;
    assertEquals([asked, warned], [MAX_LISTED, [text]]);
    asked = 0;
    assertEquals([await cleanUpAll(client, names), asked], [{ queues: [], topics: [] }, all]);
  });

  it("reap() keeps live buses, queues of other programs, and topics with other subscribers", async () => {
    const namespace = fresh();
    await using alive = await open(emulator.options, { namespace });
    const names = new Names(namespace);
    await alive.receiver.subscribe(FN, () => {});
    for (const item of ['"held"', '"kept"']) await alive.sender.send("jobs", item, { wait: 0 });
    const dead = await deadBus(namespace, ["own"]);
    assertEquals((await admin.leftovers(namespace)).subscriptions.length, 6);
    const swept = await reap(aws(emulator.options), namespace);
    assertEquals(swept.queues, [dead]);
    assertEquals(swept.topics.toSorted(), [names.topic("own"), names.all].toSorted());
    const shared = [names.topic("fn"), names.registry("fn")].toSorted();
    assertEquals(await admin.leftovers(namespace), {
      queues: [alive.receiver.inbox],
      topics: shared,
      subscriptions: shared,
    });
    assertEquals(await alive.sender.servers("fn"), [{ inbox: alive.receiver.inbox }]);
    assertEquals(await alive.sender.size("jobs"), 1);
    assertEquals(await reap(aws(emulator.options), namespace), { queues: [], topics: [] });
    await alive.sender.drop("jobs");
  });

  it("reap() finds the topics of a bus whose policy could not list them", async () => {
    const namespace = fresh();
    await using alive = await open(emulator.options, { namespace });
    await alive.sender.send("jobs", '"held"', { wait: 0 });
    const dead = await deadBus(namespace, Array.from({ length: 60 }, (_, i) => `${"long".repeat(20)}-${i}`));
    const condition = await admin.allowed(dead) as { ArnLike?: Record<string, string> };
    assert(condition.ArnLike !== undefined, JSON.stringify(condition));
    const { topics } = await admin.leftovers(namespace);
    assertEquals(topics.length, 63);
    const swept = await reap(aws(emulator.options), namespace);
    assertEquals({ ...swept, topics: swept.topics.toSorted() }, { queues: [dead], topics });
    assertEquals(await admin.leftovers(namespace), { ...NOTHING, queues: [alive.receiver.inbox] });
    await alive.sender.drop("jobs");
  });

  it("reap() finds unused topics that no queue lists", async () => {
    const namespace = fresh();
    await using alive = await open(emulator.options, { namespace });
    await alive.receiver.subscribe(FN, () => {});
    const names = new Names(namespace);
    const [idle, orphaned, foreign] = ["idle", "orphaned", "foreign"].map((topic) => names.topic(topic)) as [
      string,
      string,
      string,
    ];
    for (const Name of [idle, orphaned, new Names(fresh()).topic("idle")]) {
      await admin.sns.send(new CreateTopicCommand({ Name, Tags: [TOPIC_TAG] }));
    }
    const lost = (await admin.topic(foreign)).replace("sns", "sqs").replace(foreign, names.bus());
    for (const topic of [orphaned, foreign]) await admin.subscribe(topic, lost);
    const swept = await reap(aws(emulator.options), namespace);
    assertEquals({ ...swept, topics: swept.topics.toSorted() }, { queues: [], topics: [idle, orphaned] });
    const used = [names.topic("fn"), names.registry("fn")];
    const { topics, subscriptions } = await admin.leftovers(namespace);
    assertEquals({ topics, subscriptions }, { topics: [...used, foreign].toSorted(), subscriptions: used });
    await admin.deleteTopic(foreign);
    assertEquals((await reap(aws(emulator.options))).topics.length, 1);
  });

  it("a bus renews its lease", async () => {
    await using halves = await open({ ...emulator.options, lease: LEASE });
    const end = async () => Number((await admin.tags(halves.receiver.inbox))["tsmq-lease"]);
    const first = await end();
    assert(first > Date.now() && first <= Date.now() + LEASE, `${first}`);
    await until("it is renewed", async () => await end() > first);
    await pause(LEASE);
    assert(await end() > Date.now());
    assertEquals(await halves.sender.servers("none"), []);
  });

  it("servers() returns live servers only; post() to a server that is gone returns false", async () => {
    const namespace = fresh();
    await using caller = await open(emulator.options, { namespace });
    const one = await open(emulator.options, { namespace });
    await using two = await open(emulator.options, { namespace });
    for (const { receiver } of [one, two]) await receiver.subscribe(FN, () => {});
    // a plain subscriber of the function's topic is not a server
    await caller.receiver.subscribe({ topic: "fn", pattern: false, serves: false }, () => {});
    const inboxes = (await caller.sender.servers("fn")).map(({ inbox }) => inbox);
    assertEquals(inboxes.toSorted(), [one.receiver.inbox, two.receiver.inbox].toSorted());
    assertEquals(await caller.sender.post(one.receiver.inbox, "x"), true);
    await one.close();
    assertEquals(await caller.sender.servers("fn"), [{ inbox: two.receiver.inbox }]);
    assertEquals(await caller.sender.post(one.receiver.inbox, "x"), false);
    await two.receiver.unsubscribe(FN);
    assertEquals(await caller.sender.servers("fn"), []);
  });

  it("opening and closing many buses leaves nothing", async () => {
    const namespace = fresh();
    for (let i = 0; i < (ALL ? 50 : 15); i++) {
      const halves = await open(emulator.options, { namespace });
      await halves.receiver.subscribe(FN, () => {});
      await halves.close();
    }
    assertEquals(await admin.leftovers(namespace), NOTHING);
  });

  it("the last users of a topic that end at the same time leave no topic", async () => {
    const namespace = fresh();
    for (let i = 0; i < 6; i++) {
      const users = await Promise.all([1, 2, 3].map(() => open(emulator.options, { namespace })));
      await Promise.all(users.map(({ receiver }) => receiver.subscribe(FN, () => {})));
      const [first, ...others] = users;
      await Promise.all([first!.receiver.unsubscribe(FN), ...others.map((user) => user.close())]);
      assertEquals((await admin.leftovers(namespace)).topics, []);
      await first!.close();
    }
    assertEquals(await admin.leftovers(namespace), NOTHING);
  });

  it("a bus that is closed while it subscribes leaves nothing", async () => {
    const namespace = fresh();
    for (let i = 0; i < 5; i++) {
      const halves = await open(emulator.options, { namespace });
      const topics = ["a", "b", "c"].map((topic) => halves.receiver.subscribe(serves(topic), () => {}));
      const subscribed = Promise.allSettled(topics);
      await pause(5 * i);
      await halves.close();
      await subscribed;
    }
    assertEquals(await admin.leftovers(namespace), NOTHING);
  });

  itProxied(
    "a subscription that could not be ended keeps its queue, so that a later cleanup removes both",
    async () => {
      await using proxy = await HttpProxy.to(emulator.port);
      const ending = ["sns:DeleteTopic", "sns:Unsubscribe"];
      const fail = () =>
        void (proxy.fault = ({ action }) => ending.includes(action) ? { status: 503, name: "Busy" } : undefined);
      for (const how of ["close", "unsubscribe"] as const) {
        proxy.fault = () => undefined;
        const halves = await open({ ...emulator.through(proxy.port), attempts: 2 });
        const { namespace, receiver } = halves;
        await receiver.subscribe(FN, () => {});
        fail();
        if (how === "unsubscribe") {
          await assertRejects(() => receiver.unsubscribe(FN), ProviderError);
          proxy.fault = () => undefined;
          await receiver.subscribe({ topic: "other", pattern: false, serves: false }, () => {}); // sets the policy again
          await halves.close();
        } else {
          await assertRejects(() => halves.close(), ProviderError);
          await admin.tag(receiver.inbox, { "tsmq-lease": "1" });
          await reap(aws(emulator.options), namespace);
        }
        assertEquals(await admin.leftovers(namespace), NOTHING, how);
      }
    },
  );

  it("a server that ends before it was registered is not found", async () => {
    await using halves = await open(emulator.options);
    const { receiver, sender } = halves;
    const exposed = receiver.subscribe(FN, () => {});
    await receiver.unsubscribe(FN);
    await exposed;
    assertEquals(await sender.servers("fn"), []);
    assertEquals((await admin.leftovers(halves.namespace)).topics, []);
  });

  it("reap() keeps a queue that only has a name like a bus's", async () => {
    const namespace = fresh();
    const names = new Names(namespace);
    const [queue, dead] = [names.bus(), names.bus()];
    for (const QueueName of [queue, dead]) await admin.sqs.send(new CreateQueueCommand({ QueueName }));
    await admin.tag(dead, { "tsmq-lease": "1" });
    assertEquals(await reap(aws(emulator.options), namespace), { queues: [dead], topics: [] });
    assertEquals(await admin.queues(names.busPrefix), [queue]);
    await admin.deleteQueue(queue);
  });

  itProxied("a throttled cleanup is left to the next bus and reported by no error", async () => {
    await using proxy = await HttpProxy.to(emulator.port);
    const namespace = fresh();
    await using _other = await open(emulator.options, { namespace });
    proxy.fault = ({ action }) =>
      action === "sqs:ListQueueTags" ? { status: 400, name: "ThrottlingException" } : undefined;
    await using halves = await open({ ...emulator.through(proxy.port), attempts: 2 }, { namespace });
    await until("the sweep has been throttled", () => proxy.count("sqs:ListQueueTags") === 2);
    await pause(200);
    assertEquals(halves.said, []);
  });

  it("topicsOf() reads a policy with lists and with single values", () => {
    const policy = (Statement: unknown) => topicsOf(JSON.stringify({ Version: "2012-10-17", Statement }));
    const arns = (value: unknown) => ({ Effect: "Allow", Condition: { ArnEquals: { "aws:SourceArn": value } } });
    assertEquals(policy([arns(["a", "b"])]), ["a", "b"]);
    assertEquals(policy(arns("a")), ["a"]);
    assertEquals(policy([{ Effect: "Deny" }]), undefined);
    assertEquals(topicsOf("{}"), undefined);
    assertEquals(topicsOf(undefined), []);
    for (const text of ["", "{", "null", "[]", '{"Statement":null}']) assertEquals(topicsOf(text), undefined);
    for (const value of [1, null, { a: 1 }, ["a", null]]) assertEquals(policy(arns(value)), undefined);
  });

  it("reap() refuses a provider that aws() did not make", async () => {
    await assertRejects(() => reap(memory()), ValidationError);
  });
});
