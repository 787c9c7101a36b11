/**
 * Sweeps up after buses that died: their queues say until when they lived, and which topics they had subscribed to.
 *
 * @module
 */
import { ListSubscriptionsCommand, ListTopicsCommand } from "@aws-sdk/client-sns";
import { GetQueueAttributesCommand, GetQueueUrlCommand, ListQueuesCommand } from "@aws-sdk/client-sqs";
import type { AwsClient } from "./client.ts";
import { deleteQueue, topicsOf } from "./bus_queue.ts";
import { noQueue } from "./errors.ts";
import { leaveTopic, madeByUs } from "./topics.ts";
import { hasExpired } from "./registry.ts";
import { BUS_PREFIX, type Names, ownedByBus, registryOf } from "./names.ts";
import { arnsOf, nameOf } from "./arns.ts";

const REPEATABLE = { repeatable: true };

/** What was found and deleted. */
export interface Swept {
  /** Queues of dead buses. */
  readonly queues: string[];
  /** Topics without another subscriber. */
  readonly topics: string[];
}

/** Deletes what dead buses of these names left; without names, those of all namespaces. */
export async function cleanUp(client: AwsClient, names: Names | undefined, signal?: AbortSignal): Promise<Swept> {
  const swept: Swept = { queues: [], topics: [] };
  for await (const url of deadQueues(client, names)) {
    if (signal?.aborted) break;
    await removeDeadBus(client, url, swept);
  }
  return swept;
}

/** `sweep`, and the topics that nobody uses whose bus cannot be found any more: that looks at all topics of the account. */
export async function cleanUpAll(client: AwsClient, names: Names | undefined): Promise<Swept> {
  const swept = await cleanUp(client, names);
  for await (const { topicArn, endpoint } of idleTopics(client, names)) await leave(client, topicArn, endpoint, swept);
  return swept;
}

/** Another sweeper may be at it too: whatever is gone already is no fault. */
async function removeDeadBus(client: AwsClient, QueueUrl: string, swept: Swept): Promise<void> {
  const command = new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ["QueueArn", "Policy"] });
  let attributes: Record<string, string | undefined>;
  try {
    const found = await client.call("read a queue", (abortSignal) => client.sqs.send(command, { abortSignal }), {
      repeatable: true,
    });
    attributes = found.Attributes ?? {};
  } catch (error) {
    if (noQueue(error)) return;
    throw error;
  }
  const queueArn = attributes.QueueArn!;
  const { topicArn } = arnsOf(queueArn, QueueUrl);
  const listed = topicsOf(attributes.Policy)?.flatMap((arn) => [arn, topicArn + registryOf(nameOf(arn))]);
  for (const arn of listed ?? await topicsWith(client, queueArn)) await leave(client, arn, queueArn, swept);
  await deleteQueue(client, QueueUrl);
  swept.queues.push(nameOf(QueueUrl));
}

/** The topics that a queue is subscribed to, found among all subscriptions of the account: its policy could not list them. */
async function topicsWith(client: AwsClient, queueArn: string): Promise<string[]> {
  const topics: string[] = [];
  for await (const { topicArn, endpoint } of subscriptions(client)) if (endpoint === queueArn) topics.push(topicArn);
  return topics;
}

async function leave(client: AwsClient, topicArn: string, queueArn: string, swept: Swept): Promise<void> {
  const deleted = await leaveTopic(client, topicArn, queueArn, () => madeByUs(client, topicArn));
  if (deleted) swept.topics.push(nameOf(topicArn));
}

/** A page of a list of AWS. */
interface Page {
  readonly NextToken?: string | undefined;
}

/** The URLs of the queues of dead buses of these names; without names, of all namespaces. */
export async function* deadQueues(client: AwsClient, names: Names | undefined): AsyncGenerator<string> {
  for (const url of await busQueues(client, names)) if (await hasExpired(client, url)) yield url;
}

/** A subscription of the account. */
export interface Subscription {
  /** The ARN of its topic. */
  readonly topicArn: string;
  /** The ARN of the queue, for subscriptions of queues. */
  readonly endpoint: string;
}

/** All subscriptions of the account and region. */
export async function* subscriptions(client: AwsClient): AsyncGenerator<Subscription> {
  const list = (NextToken?: string) =>
    client.call(
      "list subscriptions",
      (abortSignal) => client.sns.send(new ListSubscriptionsCommand({ NextToken }), { abortSignal }),
      REPEATABLE,
    );
  for await (const { Subscriptions = [] } of pages(list)) {
    for (const { Endpoint = "", TopicArn = "" } of Subscriptions) yield { topicArn: TopicArn, endpoint: Endpoint };
  }
}

/**
 * The topics that tsmq made, of these names or of all namespaces, without a subscription or with one of a bus whose queue is gone,
 * each with that `endpoint`. It lists all topics and subscriptions of the account.
 */
export async function* idleTopics(client: AwsClient, names: Names | undefined): AsyncGenerator<Subscription> {
  const subscribed = new Set<string>();
  const owns = (topicArn: string) => !names || names.ownsTopic(nameOf(topicArn));
  const gone = new Map<string, Promise<boolean>>();
  const isGone = (bus: string) => {
    if (!ownedByBus(bus)) return false;
    if (!gone.has(bus)) gone.set(bus, hasNoQueue(client, bus));
    return gone.get(bus)!;
  };
  for await (const subscription of subscriptions(client)) {
    subscribed.add(subscription.topicArn);
    if (owns(subscription.topicArn) && await isGone(nameOf(subscription.endpoint))) yield subscription;
  }
  const list = (NextToken?: string) =>
    client.call(
      "list topics",
      (abortSignal) => client.sns.send(new ListTopicsCommand({ NextToken }), { abortSignal }),
      REPEATABLE,
    );
  for await (const { Topics = [] } of pages(list)) {
    for (const { TopicArn = "" } of Topics) {
      if (owns(TopicArn) && !subscribed.has(TopicArn) && await madeByUs(client, TopicArn)) {
        yield { topicArn: TopicArn, endpoint: "" };
      }
    }
  }
}

/** Asked for by its name: a list of queues may lack one that was just made. */
async function hasNoQueue(client: AwsClient, QueueName: string): Promise<boolean> {
  try {
    const command = new GetQueueUrlCommand({ QueueName });
    await client.call(
      "look for the queue of a bus",
      (abortSignal) => client.sqs.send(command, { abortSignal }),
      REPEATABLE,
    );
    return false;
  } catch (error) {
    if (noQueue(error)) return true;
    throw error;
  }
}

/** The URLs of the queues that buses made for themselves. */
async function busQueues(client: AwsClient, names: Names | undefined): Promise<string[]> {
  const QueueNamePrefix = names?.busPrefix ?? BUS_PREFIX;
  const list = (NextToken?: string) => {
    const command = new ListQueuesCommand({ QueueNamePrefix, MaxResults: 1_000, NextToken });
    return client.call("list queues", (abortSignal) => client.sqs.send(command, { abortSignal }), REPEATABLE);
  };
  const urls: string[] = [];
  for await (const { QueueUrls = [] } of pages(list)) urls.push(...QueueUrls);
  return urls.filter((url) => names ? names.ownsBus(nameOf(url)) : ownedByBus(nameOf(url)));
}

async function* pages<P extends Page>(list: (token?: string) => Promise<P>): AsyncGenerator<P> {
  let token: string | undefined;
  do {
    const page = await list(token);
    yield page;
    token = page.NextToken;
  } while (token);
}
