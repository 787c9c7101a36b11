/**
 * The SNS topics that the bus's queue is subscribed to. The first subscriber creates a topic, the last one deletes it.
 *
 * @module
 */
import {
  CreateTopicCommand,
  DeleteTopicCommand,
  ListTagsForResourceCommand,
  SubscribeCommand,
  UnsubscribeCommand,
} from "@aws-sdk/client-sns";
import { ClosedError } from "../../errors.ts";
import { type AwsClient, REPEATABLE } from "./client.ts";
import type { BusQueue } from "./bus_queue.ts";
import { noTopic } from "./errors.ts";
import { nameOf } from "./arns.ts";
import { subscriptionsOf, type TopicSubscription } from "./registry.ts";

/** Marks the topics that tsmq created and may delete. It never changes: SNS refuses to create an existing topic with other tags. */
export const TOPIC_TAG = { Key: "tsmq", Value: "topic" };

/** Milliseconds after which a new subscription is checked. By then, another bus that was deleting the topic has finished. */
export const CHECK_AFTER = 5_000;
/** The number of topics that are changed at once. SNS allows 30 to 100 requests a second. */
const PARALLEL = 20;
/** The number of attempts to subscribe while other buses delete the topic. */
export const ATTEMPTS = 5;

interface Subscription {
  /** The number of filters that need the subscription. 0 if it could not be created or ended; then `close` ends it. */
  count: number;
  /** The ARN of the subscription. */
  arn?: string;
  /** True if the topic was not created by tsmq. */
  foreign: boolean;
  /** The reason why events may have been missed since the last confirmation of the subscription. */
  missed?: string;
  timer?: ReturnType<typeof setTimeout>;
}

/** Holds the events of a topic while its subscription is renewed. */
export interface TopicEvents {
  /** Holds the events of a topic. */
  hold(name: string): void;
  /** Emits the held events. If `missed` is the reason of a gap, it reports the gap first. */
  release(name: string, missed?: string): Promise<void>;
}

/** The SNS subscriptions of one bus. */
export class Topics {
  readonly #client: AwsClient;
  readonly #queue: BusQueue;
  readonly #raw: boolean;
  readonly #events: TopicEvents;
  readonly #subscriptions = new Map<string, Subscription>();
  /** The last change of each topic: changes of one topic run one after the other. */
  readonly #changes = new Map<string, Promise<void>>();
  readonly #waiting: (() => void)[] = [];
  #running = 0;
  #closed = false;

  /** Prepares subscriptions of this queue. */
  constructor(client: AwsClient, queue: BusQueue, raw: boolean, events: TopicEvents) {
    this.#client = client;
    this.#queue = queue;
    this.#raw = raw;
    this.#events = events;
  }

  /** Subscribes to an SNS topic. `silent`: nothing is published to it. Resolves with false if the queue was already subscribed. */
  add(name: string, silent = false): Promise<boolean> {
    let fresh = false;
    return this.#change(name, async () => {
      if (this.#closed) throw new ClosedError();
      const subscription = this.#subscriptions.get(name);
      if (subscription?.count) return void subscription.count++;
      fresh = true;
      if (!silent) await this.#queue.allow(this.#arnOf(name));
      await this.#subscribe(name);
      Object.assign(this.#subscriptions.get(name)!, { count: 1, missed: undefined });
      this.#checkLater(name);
    }).then(() => fresh);
  }

  /** Undoes one `add`. */
  remove(name: string): Promise<void> {
    return this.#change(name, async () => {
      const subscription = this.#subscriptions.get(name);
      if (subscription?.count && --subscription.count === 0) await this.#end(name, subscription);
    });
  }

  /**
   * Subscribes to all topics again. `missed` is the reason of the gap. Rejects with the first error; failed topics are retried later.
   */
  async restore(missed: string): Promise<void> {
    for (const subscription of this.#subscriptions.values()) subscription.missed = missed;
    await Promise.all(
      [...this.#subscriptions.keys()].map((name) =>
        this.#change(name, () => this.#renew(name)).catch((error) => {
          this.#checkLater(name);
          throw error;
        })
      ),
    );
  }

  /** Checks all subscriptions now, because another bus may have ended them. If it has, there is a gap. */
  check(): void {
    for (const [name, subscription] of this.#subscriptions) this.#check(name, subscription);
  }

  /** Stops checking subscriptions. */
  stop(): void {
    this.#closed = true;
    for (const { timer } of this.#subscriptions.values()) clearTimeout(timer);
  }

  /** Ends all subscriptions, even if some of them fail to end. Rejects with the first error. */
  async close(): Promise<void> {
    this.stop();
    // a change that is running may still subscribe
    const names = new Set([...this.#subscriptions.keys(), ...this.#changes.keys()]);
    const ended = await Promise.allSettled([...names].map((name) =>
      this.#change(name, async () => {
        const subscription = this.#subscriptions.get(name);
        if (subscription) await this.#end(name, subscription);
      })
    ));
    for (const result of ended) if (result.status === "rejected") throw result.reason;
  }

  #arnOf(name: string): string {
    return this.#queue.arns.topicArn + name;
  }

  async #subscribe(name: string): Promise<void> {
    for (let attempt = 1;; attempt++) {
      const foreign = await createTopic(this.#client, name);
      const subscription: Subscription = Object.assign(this.#subscriptions.get(name) ?? { count: 0 }, { foreign });
      this.#subscriptions.set(name, subscription);
      try {
        subscription.arn = await subscribeQueue(this.#client, this.#arnOf(name), this.#queue.arn, this.#raw);
        return;
      } catch (error) {
        // the topic's last subscriber has deleted it meanwhile
        if (!noTopic(error) || attempt === ATTEMPTS) throw error;
      }
    }
  }

  /** Ends a subscription. If that fails, `close` tries again. */
  async #end(name: string, subscription: Subscription): Promise<void> {
    clearTimeout(subscription.timer);
    const topicArn = this.#arnOf(name);
    await unsubscribeQueue(this.#client, topicArn, this.#queue.arn, () => !subscription.foreign, subscription.arn);
    this.#subscriptions.delete(name);
    this.#queue.disallow(topicArn);
  }

  /** Checks a new subscription once, because another bus that saw no other subscriber may have deleted the topic meanwhile. */
  #checkLater(name: string): void {
    const subscription = this.#subscriptions.get(name);
    if (!subscription?.count || this.#closed) return;
    clearTimeout(subscription.timer);
    subscription.timer = setTimeout(() => this.#check(name, subscription), CHECK_AFTER);
  }

  #check(name: string, subscription: Subscription): void {
    this.#change(name, async () => {
      if (this.#subscriptions.get(name) === subscription) await this.#renew(name);
    }).catch(() => this.#checkLater(name));
  }

  /** Subscribes again, which has no effect while the subscription exists. */
  async #renew(name: string): Promise<void> {
    const subscription = this.#subscriptions.get(name);
    if (!subscription?.count || this.#closed) return;
    const { arn } = subscription;
    // events that arrive before the answer may be later than a gap
    this.#events.hold(name);
    let missed: string | undefined;
    try {
      await this.#subscribe(name);
      if (subscription.arn !== arn) {
        subscription.missed ??= `another bus deleted topic ${name} or the subscription to it`;
      }
      missed = subscription.missed;
      subscription.missed = undefined;
    } finally {
      await this.#events.release(name, missed);
    }
  }

  /** Runs a change after the running change of this topic, with at most `PARALLEL` changes at once. */
  async #change<O>(name: string, run: () => Promise<O>): Promise<O> {
    const before = this.#changes.get(name);
    const { promise: done, resolve: finish } = Promise.withResolvers<void>();
    this.#changes.set(name, done);
    await before;
    if (this.#running >= PARALLEL) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#running++;
    try {
      return await run();
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#running--;
      if (this.#changes.get(name) === done) this.#changes.delete(name);
      finish();
    }
  }
}

/** Creates a topic if it does not exist. Returns true for an existing topic that tsmq did not create. */
export async function createTopic(client: AwsClient, name: string): Promise<boolean> {
  const create = (Tags?: typeof TOPIC_TAG[]) =>
    client.call(
      `create topic ${name}`,
      (http) => client.sns.send(new CreateTopicCommand({ Name: name, Tags }), http),
      REPEATABLE,
    );
  try {
    await create([TOPIC_TAG]);
    return false;
  } catch (error) {
    if (!(error instanceof Error) || !/already exists/i.test(error.message)) throw error;
    await create();
    return true;
  }
}

/** Subscribes a queue to a topic, with raw delivery if `raw`. Returns the ARN of the subscription, which may already exist. */
export async function subscribeQueue(
  client: AwsClient,
  TopicArn: string,
  Endpoint: string,
  raw: boolean,
): Promise<string | undefined> {
  const Attributes = { RawMessageDelivery: String(raw) };
  const command = new SubscribeCommand({
    TopicArn,
    Protocol: "sqs",
    Endpoint,
    Attributes,
    ReturnSubscriptionArn: true,
  });
  const { SubscriptionArn } = await client.call(
    `subscribe to topic ${nameOf(TopicArn)}`,
    (http) => client.sns.send(command, http),
    REPEATABLE,
  );
  return SubscriptionArn;
}

/**
 * Ends the subscription of a queue to a topic, and deletes the topic if it is `ours` and has no other subscriber. Returns true if it
 * deleted it. `arn` is the ARN of the subscription, if known. Does nothing if the topic does not exist.
 */
export async function unsubscribeQueue(
  client: AwsClient,
  TopicArn: string,
  queueArn: string,
  ours: () => boolean | Promise<boolean>,
  arn?: string,
): Promise<boolean> {
  const alone = (subscribed: readonly TopicSubscription[]) => subscribed.every(({ endpoint }) => endpoint === queueArn);
  const name = nameOf(TopicArn);
  try {
    const subscribed = await subscriptionsOf(client, TopicArn);
    if (!alone(subscribed) || !await ours()) {
      const SubscriptionArn = subscribed.find(({ endpoint }) => endpoint === queueArn)?.arn ?? arn;
      if (SubscriptionArn === undefined) return false;
      const unsubscribe = new UnsubscribeCommand({ SubscriptionArn });
      await client.call(`unsubscribe from topic ${name}`, (http) => client.sns.send(unsubscribe, http), REPEATABLE);
      // another bus that ends its subscription at this moment still saw this one: the last to check deletes the topic
      if (!alone(await subscriptionsOf(client, TopicArn)) || !await ours()) return false;
    }
    const remove = new DeleteTopicCommand({ TopicArn });
    await client.call(`delete topic ${name}`, (http) => client.sns.send(remove, http), REPEATABLE);
    return true;
  } catch (error) {
    if (!noTopic(error)) throw error;
    return false;
  }
}

/** Returns true for a topic that tsmq created; rejects if the topic does not exist. */
export async function createdByTsmq(client: AwsClient, ResourceArn: string): Promise<boolean> {
  const command = new ListTagsForResourceCommand({ ResourceArn });
  const { Tags } = await client.call("read the tags of a topic", (http) => client.sns.send(command, http), REPEATABLE);
  return Tags?.some(({ Key, Value }) => Key === TOPIC_TAG.Key && Value === TOPIC_TAG.Value) ?? false;
}
