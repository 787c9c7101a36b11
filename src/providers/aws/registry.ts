/**
 * Servers of functions: the subscriptions of a function's registry topic, without those of buses whose lease has expired.
 *
 * @module
 */
import { ListSubscriptionsByTopicCommand } from "@aws-sdk/client-sns";
import { ListQueueTagsCommand } from "@aws-sdk/client-sqs";
import { TextMap } from "../../internal/text_map.ts";
import { type AwsClient, REPEATABLE } from "./client.ts";
import { noQueue, noTopic } from "./errors.ts";
import { BUS_PREFIX } from "./names.ts";
import { type Arns, nameOf } from "./arns.ts";

/** The tag of a bus's queue that holds the end of the bus's lease, in milliseconds since 1970. */
export const LEASE_TAG = "tsmq-lease";

/** The text that SNS lists for a while instead of the ARN of an ended subscription. */
const ENDED = "Deleted";

/** A subscription of a topic. */
export interface TopicSubscription {
  /** The ARN of the subscription. */
  readonly arn: string;
  /** The ARN of the queue, for subscriptions of queues. */
  readonly endpoint: string;
}

/** Lists the subscriptions of a topic. Returns none if the topic does not exist. */
export async function subscriptionsOf(client: AwsClient, topicArn: string): Promise<TopicSubscription[]> {
  const found: TopicSubscription[] = [];
  let NextToken: string | undefined;
  do {
    const input = { TopicArn: topicArn, NextToken };
    try {
      const page = await client.call(
        "list the subscriptions of a topic",
        (http) => client.sns.send(new ListSubscriptionsByTopicCommand(input), http),
        REPEATABLE,
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

/** Returns the tags of a queue: an empty object if it does not exist. */
export async function tagsOf(client: AwsClient, queueUrl: string): Promise<Record<string, string>> {
  try {
    const { Tags } = await client.call(
      "read the lease of a bus",
      (http) => client.sqs.send(new ListQueueTagsCommand({ QueueUrl: queueUrl }), http),
      REPEATABLE,
    );
    return Tags ?? {};
  } catch (error) {
    if (noQueue(error)) return {};
    throw error;
  }
}

/** Returns the end of a bus's lease in milliseconds since 1970, or 0 if its queue does not exist or has no lease. */
async function leaseOf(client: AwsClient, queueUrl: string): Promise<number> {
  return Number((await tagsOf(client, queueUrl))[LEASE_TAG] ?? 0);
}

/** Returns true if the bus of this queue is dead. A queue without a lease does not belong to a bus. */
export async function hasExpired(client: AwsClient, queueUrl: string): Promise<boolean> {
  const lease = await leaseOf(client, queueUrl);
  return lease !== 0 && lease < Date.now();
}

/** Finds the servers of functions. Requests during a lookup of the same function share the next lookup. */
export class Registry {
  readonly #client: AwsClient;
  readonly #leases = new TextMap<number>();
  /** The running lookup of each registry topic. */
  readonly #running = new Map<string, Promise<string[]>>();
  /** The next lookup of each registry topic, which has not begun yet. Its answer is newer than all requests that wait for it. */
  readonly #next = new Map<string, Promise<string[]>>();
  /** The number of times that a server was reported gone. */
  #reports = 0;

  /** Creates a registry that uses this client. */
  constructor(client: AwsClient) {
    this.#client = client;
  }

  /** Returns the inboxes of the live servers that subscribed to this registry topic. */
  servers(registry: string, arns: Arns): Promise<string[]> {
    const next = this.#next.get(registry) ?? this.#findNext(registry, arns);
    this.#next.set(registry, next);
    return next;
  }

  /** Forgets the lease of a server that is gone. */
  forget(inbox: string): void {
    this.#leases.delete(inbox);
    this.#reports++;
  }

  async #findNext(registry: string, arns: Arns): Promise<string[]> {
    // at least a microtask, so that all requests of one turn share a lookup
    await this.#running.get(registry)?.catch(() => {});
    this.#next.delete(registry);
    const running = this.#find(registry, arns);
    this.#running.set(registry, running);
    try {
      return await running;
    } finally {
      if (this.#running.get(registry) === running) this.#running.delete(registry);
    }
  }

  async #find(registry: string, arns: Arns): Promise<string[]> {
    const subscribed = await subscriptionsOf(this.#client, arns.topicArn + registry);
    const inboxes = subscribed.map(({ endpoint }) => nameOf(endpoint)).filter((name) => name.startsWith(BUS_PREFIX));
    for (const [inbox, lease] of this.#leases) if (lease < Date.now()) this.#leases.delete(inbox);
    const live = await Promise.all(inboxes.map((inbox) => this.#lives(inbox, arns)));
    return inboxes.filter((_, index) => live[index]);
  }

  /** Returns true if a bus lives. Its lease is read again only when the cached lease has expired. */
  async #lives(inbox: string, arns: Arns): Promise<boolean> {
    const known = this.#leases.get(inbox) ?? 0;
    if (known > Date.now()) return true;
    const reports = this.#reports;
    const lease = await leaseOf(this.#client, arns.queueUrl + inbox);
    // a lease that was read before a server was reported gone may be the lease of that server
    if (lease > Date.now() && reports === this.#reports) this.#leases.set(inbox, lease);
    else this.#leases.delete(inbox);
    return lease > Date.now();
  }
}
