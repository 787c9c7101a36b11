/** The servers of a function, among subscriptions of which a peer may have forged any number. */
// run: on bun
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { MAX_TIMER } from "../../src/internal/time.ts";
import { arnsOf, nameOf } from "../../src/providers/aws/arns.ts";
import type { AwsClient } from "../../src/providers/aws/client.ts";
import { LEASE_TAG } from "../../src/providers/aws/queue_tags.ts";
import { hasExpired, Registry } from "../../src/providers/aws/registry.ts";

const ARNS = arnsOf("arn:aws:sqs:eu-west-1:123456789012:q", "https://sqs/123456789012/q");
/** The number of subscriptions in an answer of SNS. */
const PAGE = 100;
const SAMPLE = 64;
const ALL = 10_001;

/** A service on which the first of the subscribed queues belong to dead buses, and the others to live ones. */
function service(dead: number, live: number, arn = "arn", lease = () => String(Date.now() + 60_000)) {
  const names = Array.from({ length: dead + live }, (_, i) => `tsmq-n-${String(i).padStart(32, "0")}`);
  const asked: string[] = [];
  let [pages, asking, most] = [0, 0, 0];
  const answers: Record<string, (input: { QueueUrl: string; NextToken?: string }) => unknown> = {
    ListSubscriptionsByTopicCommand: ({ NextToken = "0" }) => {
      pages++;
      const end = Number(NextToken) + PAGE;
      const Subscriptions = names.slice(Number(NextToken), end).map((name) => ({
        SubscriptionArn: arn,
        Endpoint: ARNS.queueArn + name,
      }));
      return { Subscriptions, NextToken: end < names.length ? String(end) : undefined };
    },
    ListQueueTagsCommand: ({ QueueUrl }) => {
      asked.push(nameOf(QueueUrl));
      if (names.indexOf(nameOf(QueueUrl)) >= dead) return { Tags: { [LEASE_TAG]: lease() } };
      throw Object.assign(new Error("no queue"), { name: "QueueDoesNotExist" });
    },
  };
  const send = (command: { input: never }) => {
    const answer = answers[command.constructor.name]!;
    return new Promise((resolve) => resolve(answer(command.input)));
  };
  const call = async (_: string, run: (http: unknown) => Promise<unknown>) => {
    most = Math.max(most, ++asking);
    return await run({}).finally(() => asking--);
  };
  const client = { call, sns: { send }, sqs: { send } } as unknown as AwsClient;
  const registry = new Registry(client);
  return {
    client,
    lives: names.slice(dead),
    asked,
    pages: () => pages,
    /** The largest number of requests at once. */
    most: () => most,
    servers: (max: number) => registry.servers("fn", ARNS, max),
  };
}

describe("the registry of servers on AWS", () => {
  it("asks a sample of the servers only, and each one from time to time", async () => {
    const { asked, lives, servers } = service(0, 200);
    const found = new Set(await servers(SAMPLE));
    assertEquals([found.size, asked.length], [SAMPLE, SAMPLE]);
    while (found.size < lives.length) for (const inbox of await servers(SAMPLE)) found.add(inbox);
    assertEquals([asked.length, (await servers(ALL)).length], [200, 200]);
  });

  it("finds a live server among many dead ones, and does not ask a dead one again at the next lookup", async () => {
    const { asked, lives, servers } = service(600, 1);
    for (let i = 0; i < 3; i++) assertEquals(await servers(SAMPLE), lives);
    assertEquals(asked.length, new Set(asked).size);
  });

  it("asks a limited number of servers at once, and dead ones less and less often", async () => {
    const { asked, most, servers } = service(1_000, 1);
    const { now } = performance;
    const rounds: number[] = [];
    try {
      for (const seconds of [0, 11, 20, 32, 60, 73]) {
        performance.now = () => seconds * 1_000;
        const before = asked.length;
        assertEquals((await servers(ALL)).length, 1);
        rounds.push(asked.length - before);
      }
    } finally {
      performance.now = now;
    }
    assertEquals([rounds, most()], [[1_001, 1_000, 0, 1_000, 0, 1_000], 32]);
  });

  it("does not ask a queue that has not confirmed its subscription, as that of a stranger", async () => {
    const { asked, servers } = service(0, 10, "PendingConfirmation");
    assertEquals([await servers(ALL), asked], [[], []]);
  });

  it("does not take a bus for live, nor for dead, by a lease that no bus sets", async () => {
    const endless = ["1e999", "Infinity", "9".repeat(15), "9".repeat(16), "0x7fffffffffff", "", "never"];
    for (const lease of endless) {
      const { client, lives, servers } = service(0, 1, "arn", () => lease);
      assertEquals([await servers(SAMPLE), await hasExpired(client, ARNS.queueUrl + lives[0])], [[], false], lease);
    }
    const longest = () => String(Date.now() + MAX_TIMER);
    assertEquals((await service(0, 1, "arn", longest).servers(SAMPLE)).length, 1);
  });

  it("does not read all subscriptions for a sample", async () => {
    const { pages, servers } = service(0, 5_000);
    assertEquals((await servers(SAMPLE)).length, SAMPLE);
    assertEquals(pages(), 10);
  });

  it("returns more servers than a multi-call takes without asking them", async () => {
    const { asked, pages, servers } = service(20_000, 0);
    assert((await servers(ALL)).length >= ALL);
    assertEquals([asked.length, pages()], [0, 101]);
  });

  it("does not take a sample for all servers", async () => {
    const { servers } = service(0, 100);
    const [some, all] = await Promise.all([servers(SAMPLE), servers(ALL)]);
    assertEquals([some.length, all.length], [SAMPLE, 100]);
  });
});
