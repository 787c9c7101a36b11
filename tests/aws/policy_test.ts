// run: waiting
/** The IAM policy of `docs/aws.md`: it allows every request of a bus, and nothing else. */
import { assert, assertEquals } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { CreateTopicCommand } from "@aws-sdk/client-sns";
import { readFileSync } from "node:fs";
import { Bus } from "../../src/bus.ts";
import { TOPIC_TAG } from "../../src/providers/aws/topics.ts";
import { Names, registryOf } from "../../src/providers/aws/names.ts";
import { nameOf } from "../../src/providers/aws/arns.ts";
import { aws, type AwsOptions, reap } from "../../src/providers/aws/provider.ts";
import { runsHere } from "../support/share.ts";
import { until } from "../support/until.ts";
import { Admin, NOTHING } from "./admin.ts";
import { startDoomed } from "./doomed.ts";
import { type Emulator, itProxied, startEmulator } from "./emulator.ts";
import { fresh, open } from "./halves.ts";
import { HttpProxy, type Seen } from "./http_proxy.ts";

interface Statement {
  readonly Sid: string;
  readonly Action: readonly string[];
  readonly Resource: readonly string[];
}

/** The actions of the API that have another name in IAM. */
const IAM: Readonly<Record<string, string>> = {
  "sns:PublishBatch": "sns:Publish",
  "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
  "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
  "sqs:SendMessageBatch": "sqs:SendMessage",
};

/** The policy of the docs, for another namespace. */
function policyFor(namespace: string): Statement[] {
  const text = readFileSync(new URL("../../docs/aws.md", import.meta.url), "utf8");
  const [, json] = /## Permissions in AWS[^]*?```json\n([^]*?)```/.exec(text)!;
  return JSON.parse(json!.replaceAll("shop", namespace)).Statement;
}

/** Returns the IAM actions that a request needs, each with the name of its resource. */
function asked({ action, body }: Seen): { actions: string[]; name: string } {
  const iam = IAM[action] ?? action;
  if (action.startsWith("sqs:")) {
    const { QueueUrl, QueueName, tags } = JSON.parse(body);
    const actions = action === "sqs:CreateQueue" && tags ? [iam, "sqs:TagQueue"] : [iam];
    return { actions, name: nameOf(QueueUrl ?? QueueName ?? "*") };
  }
  const fields = new URLSearchParams(body);
  const actions = action === "sns:CreateTopic" && fields.has("Tags.member.1.Key") ? [iam, "sns:TagResource"] : [iam];
  return { actions, name: nameOf(fields.get("TopicArn") ?? fields.get("ResourceArn") ?? fields.get("Name") ?? "*") };
}

/** True if a resource of the policy has this name, with the wildcards of IAM. The region and the account are placeholders. */
function covers(resource: string, name: string): boolean {
  const pattern = nameOf(resource).replaceAll("*", ".*").replaceAll("?", ".");
  return new RegExp(`^${pattern}$`).test(name);
}

/** Names of every kind that a namespace uses. */
function namesOf(namespace: string): string[] {
  const names = new Names(namespace);
  const topics = ["topic", "NS", "_NS_", "-", "x".repeat(300)].map((name) => names.topic(name));
  const queues = ["queue", "NS", "_NS_", "-", "jobs.fifo", `tsmq-shop-${"0".repeat(32)}`, "_NS_shop_NS_jobs"];
  return [names.bus(), names.all, ...topics, ...topics.map(registryOf), ...queues.map((name) => names.queue(name))];
}

/** Namespaces whose names begin, end or are written almost like "shop". */
const OTHERS = [
  ..."shop- shop-eu shop-- shopping shop-shop shop_eu shop.eu shop_NS_ shop_NS_eu shop.NS.eu shop_NS".split(" "),
  ..."-shop eu-shop sho shoq SHOP NS_shop _NS_shop tsmq-shop tsmq- global".split(" "),
  `shop-${"0".repeat(31)}`,
  `shop-${"long".repeat(30)}`,
  `shop_NS_${"long".repeat(30)}`,
];

describe("the IAM policy of docs/aws.md", () => {
  it("covers all names of its namespace, and none of any other", () => {
    const resources = policyFor("shop").flatMap(({ Resource }) => Resource).filter((resource) => resource !== "*");
    const covered = (name: string) => resources.some((resource) => covers(resource, name));
    assertEquals(namesOf("shop").filter((name) => !covered(name)), []);
    for (const other of OTHERS) assertEquals(namesOf(other).filter(covered), [], other);
    // the start of a name that ends with a hash has to contain the prefix
    assert(covered(new Names("shop").queue("x".repeat(300))));
    assert(!covered(new Names("shop").queue(`${"x".repeat(300)}.fifo`)));
    assert(!new Names("billing").queue("x".repeat(300)).startsWith("_NS_billing_NS_"));
  });

  let emulator: Emulator;
  let proxy: HttpProxy;
  let admin: Admin;
  let options: AwsOptions;
  beforeAll(async () => {
    emulator = await startEmulator();
    proxy = await HttpProxy.to(emulator.port);
    admin = new Admin(emulator.options);
    options = emulator.through(proxy.port);
  });
  afterAll(async () => {
    admin[Symbol.dispose]();
    await proxy.close();
    await emulator.stop();
  });

  /** Uses every operation of a bus: its verbs, with other buses, and after dead buses. */
  async function live(namespace: string): Promise<void> {
    await using bus = await Bus.open(aws({ ...options, poll: 1_000 }), { namespace });
    for (const name of ["jobs", "jobs.fifo"]) {
      const queue = bus.queue<string>(name);
      await queue.put("item");
      await (await queue.receive({ lease: 1_000 })).nack();
      await queue.get({ timeout: 10_000 });
      assertEquals(await queue.qsize(), 0);
      if (name !== "jobs") await queue.free();
    }
    const events: unknown[] = [];
    const subscription = bus.subscribe("topic", (event) => events.push(event));
    await bus.subscribe("to*", (event) => events.push(event), { pattern: true }).ready;
    await bus.publish("event", "topic");
    await until("the events arrive", () => events.length === 2);
    await bus.expose("fn", (value: number) => value);
    assertEquals(await bus.stub("fn")(1), 1);
    assertEquals((await bus.stub("fn", { multi: true })(1)).length, 1);
    await subscription.unsubscribe();
    const member = bus.subscribe("paid", (event) => events.push(event), { group: "billing" });
    await member.ready;
    await bus.publish("paid", "paid");
    await until("the group's event arrives", () => events.length === 3);
    await member.free();

    await using crowded = await open(options, { namespace });
    const got: string[] = [];
    await crowded.receiver.subscribe({ topic: "busy", pattern: false, serves: false }, (_, body) => got.push(body));
    crowded.congested = true;
    await crowded.sender.publish("busy", "later");
    await until("the event is left for later", () => {
      return proxy.seen.some(({ action, body }) =>
        action === "sqs:ChangeMessageVisibilityBatch" && body.includes("tsmq-")
      );
    });
    crowded.congested = false;
    await until("the event arrives", () => got.length > 0);

    for (const topics of [["own"], Array.from({ length: 60 }, (_, i) => `${"long".repeat(20)}-${i}`)]) {
      await bus.queue("jobs").put("held");
      const before = (await admin.leftovers(namespace)).queues;
      const { peer } = await startDoomed({ options, namespace, topics });
      await peer.kill();
      const dead = (await admin.leftovers(namespace)).queues.find((name) => !before.includes(name))!;
      await admin.tag(dead, { "tsmq-lease": "1" });
      assertEquals((await reap(aws(options), namespace)).queues, [dead]);
    }
    // a topic that no queue lists, and a topic of a bus whose queue does not exist
    const names = new Names(namespace);
    await admin.sns.send(new CreateTopicCommand({ Name: names.topic("idle"), Tags: [TOPIC_TAG] }));
    const idle = await admin.topic(names.topic("idle"));
    const lost = await admin.topic(names.topic("lost"));
    await admin.subscribe(nameOf(lost), idle.replace("sns", "sqs").replace(nameOf(idle), names.bus()));
    assertEquals((await reap(aws(options), namespace)).topics, [nameOf(idle)]);
    await admin.deleteTopic(nameOf(lost));
    await bus.queue("jobs").free();
  }

  // which requests a bus sends does not depend on the runtime
  const itHere = runsHere(0) ? itProxied : () => {};
  itHere("allows every request of a bus, and nothing else", async () => {
    const namespace = fresh();
    const policy = policyFor(namespace);
    await live(namespace);
    assertEquals(await admin.leftovers(namespace), NOTHING);
    const needed = new Set<string>();
    for (const seen of proxy.seen) {
      const { actions, name } = asked(seen);
      for (const action of actions) {
        const allowing = policy.filter(({ Action, Resource }) =>
          Action.includes(action) && Resource.some((resource) => covers(resource, name))
        );
        assert(allowing.length > 0, `${action} on ${name} is not allowed`);
        for (const { Sid } of allowing) needed.add(`${Sid}: ${action}`);
      }
    }
    const allowed = policy.flatMap(({ Sid, Action }) => Action.map((action) => `${Sid}: ${action}`));
    assertEquals(allowed.filter((entry) => !needed.has(entry)), [], "what is allowed and never needed");
  });
});
