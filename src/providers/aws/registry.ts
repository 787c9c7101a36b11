/**
 * Who serves a function: the subscriptions of its registry topic, less those of buses whose lease has lapsed.
 *
 * @module
 */
import { ListSubscriptionsByTopicCommand } from "@aws-sdk/client-sns";
import { ListQueueTagsCommand } from "@aws-sdk/client-sqs";
import type { AwsClient } from "./client.ts";
import { noQueue, noTopic } from "./errors.ts";
import { BUS_PREFIX } from "./names.ts";
import { type Arns, nameOf } from "./arns.ts";

/** The tag of a bus's queue that says until when the bus lives, in milliseconds since 1970. */
export const LEASE_TAG = "tsmq-lease";

/** What SNS lists for a while as the ARN of a subscription that was ended. */
const ENDED = "Deleted";

/** A subscription of a topic. */
export interface TopicSubscription {
  /** Its own ARN. */
  readonly arn: string;
  /** The ARN of the queue, for subscriptions of queues. */
  readonly endpoint: string;
}

/** Who has subscribed to a topic; nobody if there is no such topic. */
export async function subscriptionsOf(client: AwsClient, topicArn: string): Promise<TopicSubscription[]> {
  const found: TopicSubscription[] = [];
  let NextToken: string | undefined;
  do {
    const input = { TopicArn: topicArn, NextToken };
    try {
      const page = await client.call(
        "list the subscriptions of a topic",
        (abortSignal) => client.sns.send(new ListSubscriptionsByTopicCommand(input), { abortSignal }),
        { repeatable: true },
      );
      for (const { SubscriptionArn = "", Endpoint = "" } of page.Subscriptions ?? []) {
        if (SubscriptionArn !== ENDED) found.push({ arn: SubscriptionArn, endpoint: Endpoint });
      }
      NextToken = page.NextToken;
    } catch (error) {
      if (noTopic(error)) return [];
      throw error;
    }
  } while (NextToken);
  return found;
}

/** Until when the bus of this queue lives, in milliseconds since 1970; 0 if there is no such queue, or no lease on it. */
async function leaseOf(client: AwsClient, queueUrl: string): Promise<number> {
  try {
    const { Tags } = await client.call(
      "read the lease of a bus",
      (abortSignal) => client.sqs.send(new ListQueueTagsCommand({ QueueUrl: queueUrl }), { abortSignal }),
      { repeatable: true },
    );
    return Number(Tags?.[LEASE_TAG] ?? 0);
  } catch (error) {
    if (noQueue(error)) return 0;
    throw error;
  }
}

/** True if the bus of this queue is dead; a queue without a lease is no bus's. */
export async function hasExpired(client: AwsClient, queueUrl: string): Promise<boolean> {
  const lease = await leaseOf(client, queueUrl);
  return lease !== 0 && lease < Date.now();
}

/** Looks up servers. Lookups of one function that are asked for while one is under way share the next one. */
export class Registry {
  readonly #client: AwsClient;
  readonly #leases = new Map<string, number>();
  /** The lookup that is under way for each registry. */
  readonly #running = new Map<string, Promise<string[]>>();
  /** The lookup that has not begun: its answer is of a time after all that asked for it. */
  readonly #next = new Map<string, Promise<string[]>>();
  /** How often a bus was reported gone. */
  #reports = 0;

  /** Looks with these clients. */
  constructor(client: AwsClient) {
    this.#client = client;
  }

  /** The inboxes of the live servers that subscribed to this registry. */
  look(registry: string, arns: Arns): Promise<string[]> {
    const next = this.#next.get(registry) ?? this.#lookNext(registry, arns);
    this.#next.set(registry, next);
    return next;
  }

  /** The bus is gone, whatever its lease said. */
  gone(inbox: string): void {
    this.#leases.delete(inbox);
    this.#reports++;
  }

  async #lookNext(registry: string, arns: Arns): Promise<string[]> {
    // at least a microtask: all that is asked in one turn shares one lookup
    await this.#running.get(registry)?.catch(() => {});
    this.#next.delete(registry);
    const running = this.#look(registry, arns);
    this.#running.set(registry, running);
    try {
      return await running;
    } finally {
      if (this.#running.get(registry) === running) this.#running.delete(registry);
    }
  }

  async #look(registry: string, arns: Arns): Promise<string[]> {
    const subscribed = await subscriptionsOf(this.#client, arns.topicArn + registry);
    const inboxes = subscribed.map(({ endpoint }) => nameOf(endpoint)).filter((name) => name.startsWith(BUS_PREFIX));
    for (const [inbox, lease] of this.#leases) if (lease < Date.now()) this.#leases.delete(inbox);
    const live = await Promise.all(inboxes.map((inbox) => this.#lives(inbox, arns)));
    return inboxes.filter((_, index) => live[index]);
  }

  /** A lease is read again only when the one that is known has lapsed. */
  async #lives(inbox: string, arns: Arns): Promise<boolean> {
    const known = this.#leases.get(inbox) ?? 0;
    if (known > Date.now()) return true;
    const reports = this.#reports;
    const lease = await leaseOf(this.#client, arns.queueUrl + inbox);
    // a lease that was read before a bus was reported gone is not remembered: it may be the lease of that bus
    if (lease > Date.now() && reports === this.#reports) this.#leases.set(inbox, lease);
    else this.#leases.delete(inbox);
    return lease > Date.now();
  }
}
