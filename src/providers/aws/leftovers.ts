/**
 * Finds what buses left that died: their queues, and topics of ours without a user.
 *
 * @module
 */
import { ListSubscriptionsCommand, ListTopicsCommand } from "@aws-sdk/client-sns";
import { GetQueueUrlCommand, ListQueuesCommand } from "@aws-sdk/client-sqs";
import type { Api } from "./client.ts";
import { noQueue } from "./errors.ts";
import { madeByUs } from "./leave.ts";
import { BUS_PREFIX, type Names, ownedByBus } from "./names.ts";
import { nameOf } from "./arns.ts";
import { hasLapsed } from "./registry.ts";

const REPEATABLE = { repeatable: true };

/** A page of a list of AWS. */
interface Page {
  readonly NextToken?: string | undefined;
}

/** The URLs of the queues of dead buses of these names; without names, of all namespaces. */
export async function* deadQueues(api: Api, names: Names | undefined): AsyncGenerator<string> {
  for (const url of await busQueues(api, names)) if (await hasLapsed(api, url)) yield url;
}

/** A subscription of the account. */
export interface Subscription {
  /** The ARN of its topic. */
  readonly topicArn: string;
  /** The ARN of the queue, for subscriptions of queues. */
  readonly endpoint: string;
}

/** All subscriptions of the account and region. */
export async function* subscriptions(api: Api): AsyncGenerator<Subscription> {
  const list = (NextToken?: string) =>
    api.call(
      "list subscriptions",
      (abortSignal) => api.sns.send(new ListSubscriptionsCommand({ NextToken }), { abortSignal }),
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
export async function* idleTopics(api: Api, names: Names | undefined): AsyncGenerator<Subscription> {
  const subscribed = new Set<string>();
  const owns = (topicArn: string) => !names || names.ownsTopic(nameOf(topicArn));
  const gone = new Map<string, Promise<boolean>>();
  const isGone = (bus: string) => {
    if (!ownedByBus(bus)) return false;
    if (!gone.has(bus)) gone.set(bus, hasNoQueue(api, bus));
    return gone.get(bus)!;
  };
  for await (const subscription of subscriptions(api)) {
    subscribed.add(subscription.topicArn);
    if (owns(subscription.topicArn) && await isGone(nameOf(subscription.endpoint))) yield subscription;
  }
  const list = (NextToken?: string) =>
    api.call(
      "list topics",
      (abortSignal) => api.sns.send(new ListTopicsCommand({ NextToken }), { abortSignal }),
      REPEATABLE,
    );
  for await (const { Topics = [] } of pages(list)) {
    for (const { TopicArn = "" } of Topics) {
      if (owns(TopicArn) && !subscribed.has(TopicArn) && await madeByUs(api, TopicArn)) {
        yield { topicArn: TopicArn, endpoint: "" };
      }
    }
  }
}

/** Asked for by its name: a list of queues may lack one that was just made. */
async function hasNoQueue(api: Api, QueueName: string): Promise<boolean> {
  try {
    const command = new GetQueueUrlCommand({ QueueName });
    await api.call("look for the queue of a bus", (abortSignal) => api.sqs.send(command, { abortSignal }), REPEATABLE);
    return false;
  } catch (error) {
    if (noQueue(error)) return true;
    throw error;
  }
}

/** The URLs of the queues that buses made for themselves. */
async function busQueues(api: Api, names: Names | undefined): Promise<string[]> {
  const QueueNamePrefix = names?.busPrefix ?? BUS_PREFIX;
  const list = (NextToken?: string) => {
    const command = new ListQueuesCommand({ QueueNamePrefix, MaxResults: 1_000, NextToken });
    return api.call("list queues", (abortSignal) => api.sqs.send(command, { abortSignal }), REPEATABLE);
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
