/**
 * Sweeps up after buses that died: their queues say until when they lived, and which topics they had subscribed to.
 *
 * @module
 */
import { GetQueueAttributesCommand } from "@aws-sdk/client-sqs";
import type { Api } from "./client.ts";
import { deleteQueue, topicsOf } from "./bus_queue.ts";
import { noQueue } from "./errors.ts";
import { leaveTopic, madeByUs } from "./leave.ts";
import { deadQueues, idleTopics, subscriptions } from "./leftovers.ts";
import { type Names, registryOf } from "./names.ts";
import { nameOf, placeOf } from "./arns.ts";

/** What was found and deleted. */
export interface Swept {
  /** Queues of dead buses. */
  readonly queues: string[];
  /** Topics without another subscriber. */
  readonly topics: string[];
}

/** Deletes what dead buses of these names left; without names, those of all namespaces. */
export async function sweep(api: Api, names: Names | undefined, signal?: AbortSignal): Promise<Swept> {
  const swept: Swept = { queues: [], topics: [] };
  for await (const url of deadQueues(api, names)) {
    if (signal?.aborted) break;
    await bury(api, url, swept);
  }
  return swept;
}

/** `sweep`, and the topics that nobody uses whose bus cannot be found any more: that looks at all topics of the account. */
export async function sweepAll(api: Api, names: Names | undefined): Promise<Swept> {
  const swept = await sweep(api, names);
  for await (const { topicArn, endpoint } of idleTopics(api, names)) await leave(api, topicArn, endpoint, swept);
  return swept;
}

/** Another sweeper may be at it too: whatever is gone already is no fault. */
async function bury(api: Api, QueueUrl: string, swept: Swept): Promise<void> {
  const command = new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ["QueueArn", "Policy"] });
  let attributes: Record<string, string | undefined>;
  try {
    const found = await api.call("read a queue", (abortSignal) => api.sqs.send(command, { abortSignal }), {
      repeatable: true,
    });
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
  for await (const { topicArn, endpoint } of subscriptions(api)) if (endpoint === queueArn) topics.push(topicArn);
  return topics;
}

async function leave(api: Api, topicArn: string, queueArn: string, swept: Swept): Promise<void> {
  const deleted = await leaveTopic(api, topicArn, queueArn, () => madeByUs(api, topicArn));
  if (deleted) swept.topics.push(nameOf(topicArn));
}
