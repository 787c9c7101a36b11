/**
 * Sweeps up after buses that died: their queues say until when they lived, and which topics they had subscribed to.
 *
 * @module
 */
import {
  DeleteTopicCommand,
  ListSubscriptionsCommand,
  ListTagsForResourceCommand,
  UnsubscribeCommand,
} from "@aws-sdk/client-sns";
import { GetQueueAttributesCommand, ListQueuesCommand } from "@aws-sdk/client-sqs";
import type { Api } from "./api.ts";
import { deleteQueue, topicsOf } from "./bus_queue.ts";
import { noQueue, noTopic } from "./faults.ts";
import { BUS_PREFIX, type Names, ownedByBus, registryOf } from "./names.ts";
import { nameOf, placeOf } from "./place.ts";
import { hasLapsed, subscriptionsOf } from "./servers.ts";

/** What was found and deleted. */
export interface Swept {
  /** Queues of dead buses. */
  readonly queues: string[];
  /** Topics whose last subscriber was such a queue. */
  readonly topics: string[];
}

const REPEATABLE = { repeatable: true };

/** Deletes what dead buses of these names left; without names, those of all namespaces. */
export async function sweep(api: Api, names: Names | undefined, signal: AbortSignal): Promise<Swept> {
  const swept: Swept = { queues: [], topics: [] };
  const owned = names ? (name: string) => names.ownsBus(name) : ownedByBus;
  for (const url of await queuesWith(api, names?.busPrefix ?? BUS_PREFIX)) {
    if (signal.aborted) break;
    if (owned(nameOf(url)) && await hasLapsed(api, url)) await bury(api, url, swept);
  }
  return swept;
}

async function queuesWith(api: Api, QueueNamePrefix: string): Promise<string[]> {
  const urls: string[] = [];
  let NextToken: string | undefined;
  do {
    const command = new ListQueuesCommand({ QueueNamePrefix, MaxResults: 1_000, NextToken });
    const page = await api.call("list queues", (abortSignal) => api.sqs.send(command, { abortSignal }), REPEATABLE);
    urls.push(...page.QueueUrls ?? []);
    NextToken = page.NextToken;
  } while (NextToken);
  return urls;
}

/** Another sweeper may be at it too: whatever is gone already is no fault. */
async function bury(api: Api, QueueUrl: string, swept: Swept): Promise<void> {
  const command = new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ["QueueArn", "Policy"] });
  let attributes: Record<string, string | undefined>;
  try {
    const found = await api.call("read a queue", (abortSignal) => api.sqs.send(command, { abortSignal }), REPEATABLE);
    attributes = found.Attributes ?? {};
  } catch (error) {
    if (noQueue(error)) return;
    throw error;
  }
  const queueArn = attributes.QueueArn!;
  const { topicArn } = placeOf(queueArn, QueueUrl);
  const listed = topicsOf(attributes.Policy)?.flatMap((arn) => [arn, topicArn + registryOf(nameOf(arn))]);
  for (const arn of listed ?? await topicsWith(api, queueArn)) await leave(api, arn, queueArn, swept);
  await deleteQueue(api, QueueUrl);
  swept.queues.push(nameOf(QueueUrl));
}

/** The topics that a queue is subscribed to, found among all subscriptions of the account: its policy could not list them. */
async function topicsWith(api: Api, queueArn: string): Promise<string[]> {
  const topics: string[] = [];
  let NextToken: string | undefined;
  do {
    const command = new ListSubscriptionsCommand({ NextToken });
    const page = await api.call(
      "list subscriptions",
      (abortSignal) => api.sns.send(command, { abortSignal }),
      REPEATABLE,
    );
    for (const { Endpoint, TopicArn } of page.Subscriptions ?? []) if (Endpoint === queueArn) topics.push(TopicArn!);
    NextToken = page.NextToken;
  } while (NextToken);
  return topics;
}

async function leave(api: Api, TopicArn: string, queueArn: string, swept: Swept): Promise<void> {
  const subscriptions = await subscriptionsOf(api, TopicArn);
  const own = subscriptions.find(({ endpoint }) => endpoint === queueArn);
  const alone = subscriptions.every((subscription) => subscription === own);
  try {
    if (alone && await isOurs(api, TopicArn)) {
      const command = new DeleteTopicCommand({ TopicArn });
      await api.call("delete a topic", (abortSignal) => api.sns.send(command, { abortSignal }), REPEATABLE);
      swept.topics.push(nameOf(TopicArn));
    } else if (own) {
      const command = new UnsubscribeCommand({ SubscriptionArn: own.arn });
      await api.call("unsubscribe", (abortSignal) => api.sns.send(command, { abortSignal }), REPEATABLE);
    }
  } catch (error) {
    if (!noTopic(error)) throw error;
  }
}

/** True for topics that tsmq made; rejects if there is none. */
async function isOurs(api: Api, ResourceArn: string): Promise<boolean> {
  const command = new ListTagsForResourceCommand({ ResourceArn });
  const { Tags } = await api.call("read tags", (abortSignal) => api.sns.send(command, { abortSignal }), REPEATABLE);
  return Tags?.some(({ Key }) => Key === "tsmq") ?? false;
}
