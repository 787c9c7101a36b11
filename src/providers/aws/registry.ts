/**
 * Servers of functions: the subscriptions of a function's registry topic, without those of buses whose lease has expired.
 *
 * @module
 */
import { ListSubscriptionsByTopicCommand } from "@aws-sdk/client-sns";
import { ListQueueTagsCommand } from "@aws-sdk/client-sqs";
import { inParallel } from "../../internal/in_parallel.ts";
import { Postponed } from "../../internal/postponed.ts";
import { TextMap } from "../../internal/text_map.ts";
import { type AwsClient, REPEATABLE } from "./client.ts";
import { noQueue, noTopic } from "./errors.ts";
import { BUS_PREFIX } from "./names.ts";
import { leaseIn } from "./queue_tags.ts";
import { type Arns, nameOf } from "./arns.ts";

/** The number of subscriptions after which a lookup reads no more, unless its caller takes more servers. */
const READ = 1_000;
/** The number of leases that a lookup reads at once: others can subscribe any number of queues. */
const PARALLEL = 32;
/**
 * Milliseconds for which the bus of an inbox counts as dead after its lease was missing or had expired, at first and at most, and the largest
 * number of such buses that are remembered.
 */
const DEAD = { first: 10_000, most: 600_000, limit: 20_000 };

/** The text that SNS lists for a while instead of the ARN of an ended subscription. */
const ENDED = "Deleted";
/** The text that SNS lists instead of the ARN of a subscription that its queue has not confirmed. A bus subscribes its own queue, which needs none. */
const PENDING = "PendingConfirmation";

/** A subscription of a topic. */
export interface TopicSubscription {
  /** The ARN of the subscription. */
  readonly arn: string;
  /** The ARN of the queue, for subscriptions of queues. */
  readonly endpoint: string;
}

/** Lists the subscriptions of a topic until there are at least `enough`. Returns none if the topic does not exist. */
export async function subscriptionsOf(
  client: AwsClient,
  topicArn: string,
  enough = Infinity,
): Promise<TopicSubscription[]> {
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
  } while (NextToken && found.length < enough);
  return found;
}

/** Returns those tags of a queue that belong to tsmq: an empty object if it does not exist. */
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
  return leaseIn(await tagsOf(client, queueUrl));
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
  readonly #dead = new Postponed(DEAD.first, DEAD.most, DEAD.limit);
  /** The running lookup of each kind: of a registry topic and a number of servers. */
  readonly #running = new Map<string, Promise<string[]>>();
  /** The next lookup of each kind, which has not begun yet. Its answer is newer than all requests that wait for it. */
  readonly #next = new Map<string, Promise<string[]>>();
  /** The number of times that a server was reported gone. */
  #reports = 0;

  /** Creates a registry that uses this client. */
  constructor(client: AwsClient) {
    this.#client = client;
  }

  /** Returns the inboxes of live servers that subscribed to this registry topic: all of them, or a random sample of at most `max`. */
  servers(registry: string, arns: Arns, max: number): Promise<string[]> {
    const kind = `${max} ${registry}`;
    const next = this.#next.get(kind) ?? this.#findNext(kind, () => this.#find(registry, arns, max));
    this.#next.set(kind, next);
    return next;
  }

  /** Forgets the lease of a server that is gone. */
  forget(inbox: string): void {
    this.#leases.delete(inbox);
    this.#reports++;
  }

  async #findNext(kind: string, find: () => Promise<string[]>): Promise<string[]> {
    // at least a microtask, so that all requests of one turn share a lookup
    await this.#running.get(kind)?.catch(() => {});
    this.#next.delete(kind);
    const running = find();
    this.#running.set(kind, running);
    try {
      return await running;
    } finally {
      if (this.#running.get(kind) === running) this.#running.delete(kind);
    }
  }

  async #find(registry: string, arns: Arns, max: number): Promise<string[]> {
    const subscribed = await subscriptionsOf(this.#client, arns.topicArn + registry, Math.max(max, READ));
    const names = subscribed.filter(({ arn }) => arn !== PENDING).map(({ endpoint }) => nameOf(endpoint));
    // a caller that takes so many wants all, and rejects if there are more: nobody needs to be asked
    if (max > READ && names.length >= max) return names;
    for (const [inbox, lease] of this.#leases) if (lease < Date.now()) this.#leases.delete(inbox);
    const start = performance.now();
    const inboxes = names.filter((name) => name.startsWith(BUS_PREFIX) && this.#dead.until(name) <= start);
    // from a random position, so that each one is asked from time to time; further ones only if none of these lives
    const first = inboxes.length > max ? Math.floor(Math.random() * inboxes.length) : 0;
    const order = [...inboxes.slice(first), ...inboxes.slice(0, first)];
    let live: string[] = [];
    for (let i = 0; i < order.length && live.length === 0; i += max) {
      const some = order.slice(i, i + max);
      const lives = await inParallel(some, PARALLEL, (inbox) => this.#lives(inbox, arns));
      live = some.filter((_, index) => lives[index]);
    }
    return live;
  }

  /** Returns true if a bus lives. Its lease is read again only when the cached lease has expired. */
  async #lives(inbox: string, arns: Arns): Promise<boolean> {
    const known = this.#leases.get(inbox) ?? 0;
    if (known > Date.now()) return true;
    const reports = this.#reports;
    const lease = await leaseOf(this.#client, arns.queueUrl + inbox);
    const lives = lease > Date.now();
    // a lease that was read before a server was reported gone may be the lease of that server
    if (lives && reports === this.#reports) this.#leases.set(inbox, lease);
    else this.#leases.delete(inbox);
    if (lives) this.#dead.delete(inbox);
    else this.#dead.add(inbox, performance.now());
    return lives;
  }
}
