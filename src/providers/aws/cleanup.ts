/**
 * Removes the queues, subscriptions and topics of dead buses. The queue of a bus contains the end of its lease and lists its topics.
 *
 * @module
 */
import { ListSubscriptionsCommand, ListTopicsCommand } from "@aws-sdk/client-sns";
import { GetQueueAttributesCommand, GetQueueUrlCommand, ListQueuesCommand } from "@aws-sdk/client-sqs";
import { TextMap, textSet } from "../../internal/text_map.ts";
import { limitedAsync } from "../../provider/listing.ts";
import { type AwsClient, REPEATABLE } from "./client.ts";
import { deleteQueue, topicsOf } from "./bus_queue.ts";
import { failureOf, noQueue } from "./errors.ts";
import { createdByTsmq, unsubscribeQueue } from "./topics.ts";
import { hasExpired } from "./registry.ts";
import { BUS_PREFIX, type Names, ownedByBus, registryOf } from "./names.ts";
import { arnsOf, nameOf } from "./arns.ts";

/** The deleted queues and topics. */
export interface Swept {
  /** Names of the queues of dead buses. */
  readonly queues: string[];
  /** Names of the topics that had no other subscriber. */
  readonly topics: string[];
}

/**
 * Deletes the queues and topics of the dead buses of a namespace. Each bus that opens does it, so it looks at no more queues than an admin
 * lists: a peer can create any number.
 */
export async function cleanUp(client: AwsClient, names: Names, signal?: AbortSignal): Promise<Swept> {
  const title = `queues whose names begin with "${names.busPrefix}"`;
  return await remove(client, names, await limitedAsync(title, busQueues(client, names)), signal);
}

/**
 * Deletes the queues and topics of all dead buses of one namespace or, without `names`, of all namespaces, and unused topics that no queue
 * lists. It reads all topics and subscriptions of the account.
 */
export async function cleanUpAll(client: AwsClient, names: Names | undefined): Promise<Swept> {
  // all of them first: those that are deleted meanwhile might shift the pages
  const swept = await remove(client, names, await Array.fromAsync(busQueues(client, names)));
  for await (const { topicArn, endpoint } of idleTopics(client, names)) {
    await unsubscribe(client, topicArn, endpoint, swept);
  }
  return swept;
}

/** Deletes those of these queues whose bus is dead, and its topics. */
async function remove(
  client: AwsClient,
  names: Names | undefined,
  urls: readonly string[],
  signal?: AbortSignal,
): Promise<Swept> {
  const swept: Swept = { queues: [], topics: [] };
  const refused: unknown[] = [];
  for await (const url of deadQueues(client, urls)) {
    if (signal?.aborted) break;
    await removeDeadBus(client, names, url, swept).catch((error) => {
      // one queue, perhaps a false one, must not keep the remains of all other buses
      if (failureOf(error) !== "refused") throw error;
      refused.push(error);
    });
  }
  if (refused.length > 0) throw refused[0];
  return swept;
}

/** Deletes the queue of a dead bus with its subscriptions. Another bus may do the same, so missing ones are skipped. */
async function removeDeadBus(
  client: AwsClient,
  names: Names | undefined,
  QueueUrl: string,
  swept: Swept,
): Promise<void> {
  const command = new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ["QueueArn", "Policy"] });
  let attributes: Record<string, string | undefined>;
  try {
    const found = await client.call("read a queue", (http) => client.sqs.send(command, http), REPEATABLE);
    attributes = found.Attributes ?? {};
  } catch (error) {
    if (noQueue(error)) return;
    throw error;
  }
  const queueArn = attributes.QueueArn!;
  const { topicArn } = arnsOf(queueArn, QueueUrl);
  // any peer may have written this policy, or subscribed this queue, so only topics of this account and namespace are touched
  const ours = (arn: string) => arn === topicArn + nameOf(arn) && (!names || names.ownsTopic(nameOf(arn)));
  const listed = topicsOf(attributes.Policy)?.filter(ours).flatMap((arn) => [arn, topicArn + registryOf(nameOf(arn))]);
  const topics = listed ?? (await topicsWith(client, queueArn)).filter(ours);
  for (const arn of topics) await unsubscribe(client, arn, queueArn, swept);
  await deleteQueue(client, QueueUrl);
  swept.queues.push(nameOf(QueueUrl));
}

/** Searches all subscriptions of the account for the topics of a queue. It is for a queue whose policy cannot list all its topics. */
async function topicsWith(client: AwsClient, queueArn: string): Promise<string[]> {
  const topics: string[] = [];
  for await (const { topicArn, endpoint } of subscriptions(client)) if (endpoint === queueArn) topics.push(topicArn);
  return topics;
}

async function unsubscribe(client: AwsClient, topicArn: string, queueArn: string, swept: Swept): Promise<void> {
  const deleted = await unsubscribeQueue(client, topicArn, queueArn, () => createdByTsmq(client, topicArn));
  if (deleted) swept.topics.push(nameOf(topicArn));
}

/** One page of a listing. */
interface Page {
  readonly NextToken?: string | undefined;
}

/** Yields those of these URLs of queues of buses whose bus is dead. */
export async function* deadQueues(client: AwsClient, urls: readonly string[]): AsyncGenerator<string> {
  for (const url of urls) if (await hasExpired(client, url)) yield url;
}

/** A subscription of the account. */
export interface Subscription {
  /** The ARN of the topic. */
  readonly topicArn: string;
  /** The ARN of the queue, for subscriptions of queues. */
  readonly endpoint: string;
}

/** Lists all subscriptions of the account and region. */
export async function* subscriptions(client: AwsClient): AsyncGenerator<Subscription> {
  const list = (NextToken?: string) =>
    client.call(
      "list subscriptions",
      (http) => client.sns.send(new ListSubscriptionsCommand({ NextToken }), http),
      REPEATABLE,
    );
  for await (const { Subscriptions = [] } of pages(list)) {
    for (const { Endpoint = "", TopicArn = "" } of Subscriptions) yield { topicArn: TopicArn, endpoint: Endpoint };
  }
}

/**
 * Finds unused topics that tsmq created, in one namespace or in all: those without a subscription, and those with the subscription of a
 * queue that does not exist (`endpoint`). It lists all topics and subscriptions of the account.
 */
export async function* idleTopics(client: AwsClient, names: Names | undefined): AsyncGenerator<Subscription> {
  const subscribed = textSet([]);
  const owns = (topicArn: string) => !names || names.ownsTopic(nameOf(topicArn));
  const gone = new TextMap<Promise<boolean>>();
  const isGone = (bus: string) => {
    if (!ownedByBus(bus)) return false;
    if (!gone.has(bus)) gone.set(bus, hasNoQueue(client, bus));
    return gone.get(bus)!;
  };
  for await (const subscription of subscriptions(client)) {
    subscribed.set(subscription.topicArn, true);
    if (owns(subscription.topicArn) && await isGone(nameOf(subscription.endpoint))) yield subscription;
  }
  const list = (NextToken?: string) =>
    client.call("list topics", (http) => client.sns.send(new ListTopicsCommand({ NextToken }), http), REPEATABLE);
  for await (const { Topics = [] } of pages(list)) {
    for (const { TopicArn = "" } of Topics) {
      if (owns(TopicArn) && !subscribed.has(TopicArn) && await createdByTsmq(client, TopicArn)) {
        yield { topicArn: TopicArn, endpoint: "" };
      }
    }
  }
}

/** Returns true if the queue does not exist. It asks by name, because a list may lack a queue that was created a moment ago. */
async function hasNoQueue(client: AwsClient, QueueName: string): Promise<boolean> {
  try {
    const command = new GetQueueUrlCommand({ QueueName });
    await client.call("look for the queue of a bus", (http) => client.sqs.send(command, http), REPEATABLE);
    return false;
  } catch (error) {
    if (noQueue(error)) return true;
    throw error;
  }
}

/** Lists the URLs of the queues whose names have this prefix. */
export async function* queuesWith(client: AwsClient, prefix: string): AsyncGenerator<string> {
  const list = (NextToken?: string) => {
    const command = new ListQueuesCommand({ QueueNamePrefix: prefix || undefined, MaxResults: 1_000, NextToken });
    return client.call("list queues", (http) => client.sqs.send(command, http), REPEATABLE);
  };
  for await (const { QueueUrls = [] } of pages(list)) yield* QueueUrls;
}

/** Lists the URLs of the queues that buses created for themselves. */
export async function* busQueues(client: AwsClient, names: Names | undefined): AsyncGenerator<string> {
  for await (const url of queuesWith(client, names?.busPrefix ?? BUS_PREFIX)) {
    if (names ? names.ownsBus(nameOf(url)) : ownedByBus(nameOf(url))) yield url;
  }
}

async function* pages<P extends Page>(list: (token?: string) => Promise<P>): AsyncGenerator<P> {
  let token: string | undefined;
  do {
    const page = await list(token);
    yield page;
    token = page.NextToken;
  } while (token);
}
