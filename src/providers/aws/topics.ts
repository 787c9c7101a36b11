/**
 * The topics that a bus's queue is subscribed to: made by the first subscriber, deleted by the last.
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
import type { AwsClient } from "./client.ts";
import type { BusQueue } from "./bus_queue.ts";
import { noTopic } from "./errors.ts";
import { nameOf } from "./arns.ts";
import { subscriptionsOf, type TopicSubscription } from "./registry.ts";

/** Marks the topics that tsmq made and may delete. Always the same: SNS refuses a topic that exists with other tags. */
export const TOPIC_TAG = { Key: "tsmq", Value: "topic" };

const REPEATABLE = { repeatable: true };
/** Milliseconds after which a new subscription is looked after: whoever deleted the topic just before has done so by then. */
const LOOK_AFTER = 5_000;
/** Topics worked on at once. SNS grants 30 to 100 requests a second. */
const PARALLEL = 20;
/** Subscribing is tried so often while others delete the topic. */
const ATTEMPTS = 5;

interface Joined {
  /** How many filters of ours need it; none of one that could not be subscribed to, or ended: it is to be ended yet. */
  count: number;
  /** The ARN of the subscription. */
  arn?: string;
  /** Others than us made the topic. */
  foreign: boolean;
  /** Why events may have been missed since this was subscribed to last. */
  missed?: string;
  timer?: ReturnType<typeof setTimeout>;
}

/** What happens to the events of a topic while its subscription is renewed. */
export interface Events {
  /** Holds the events of a topic. */
  hold(name: string): void;
  /** Passes on what was held, after a gap if events were `missed` for that reason. */
  release(name: string, missed?: string): Promise<void>;
}

/** The SNS subscriptions of one bus. */
export class Topics {
  readonly #client: AwsClient;
  readonly #queue: BusQueue;
  readonly #raw: boolean;
  readonly #events: Events;
  readonly #joined = new Map<string, Joined>();
  /** The last thing under way for each topic: one after the other. */
  readonly #turns = new Map<string, Promise<void>>();
  readonly #waiting: (() => void)[] = [];
  #running = 0;
  #closed = false;

  /** Subscribes this queue. */
  constructor(client: AwsClient, queue: BusQueue, raw: boolean, events: Events) {
    this.#client = client;
    this.#queue = queue;
    this.#raw = raw;
    this.#events = events;
  }

  /** Subscribes to an SNS topic; to one that nothing is published to, if it is `silent`. False: it was subscribed already. */
  join(name: string, silent = false): Promise<boolean> {
    let fresh = false;
    return this.#turn(name, async () => {
      if (this.#closed) throw new ClosedError();
      const joined = this.#joined.get(name);
      if (joined?.count) return void joined.count++;
      fresh = true;
      if (!silent) await this.#queue.allow(this.#arnOf(name));
      await this.#subscribe(name);
      this.#joined.get(name)!.count = 1;
      this.#lookAfter(name);
    }).then(() => fresh);
  }

  /** Ends what one `join` began. */
  leave(name: string): Promise<void> {
    return this.#turn(name, async () => {
      const joined = this.#joined.get(name);
      if (joined?.count && --joined.count === 0) await this.#end(name, joined);
    });
  }

  /**
   * Subscribes to everything again, after events were missed for that reason; what fails is tried again later. Rejects with the first
   * such error.
   */
  async again(missed: string): Promise<void> {
    for (const joined of this.#joined.values()) joined.missed = missed;
    await Promise.all(
      [...this.#joined.keys()].map((name) =>
        this.#turn(name, () => this.#renew(name)).catch((error) => {
          this.#lookAfter(name);
          throw error;
        })
      ),
    );
  }

  /** Ends all subscriptions; one that cannot be ended does not keep the others. Rejects with the first such error. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const { timer } of this.#joined.values()) clearTimeout(timer);
    // what is under way may subscribe yet
    const names = new Set([...this.#joined.keys(), ...this.#turns.keys()]);
    const ended = await Promise.allSettled([...names].map((name) =>
      this.#turn(name, async () => {
        const joined = this.#joined.get(name);
        if (joined) await this.#end(name, joined);
      })
    ));
    for (const result of ended) if (result.status === "rejected") throw result.reason;
  }

  #arnOf(name: string): string {
    return this.#queue.arns.topicArn + name;
  }

  async #subscribe(name: string): Promise<void> {
    const RawMessageDelivery = String(this.#raw);
    for (let attempt = 1;; attempt++) {
      const foreign = await this.#create(name);
      const joined: Joined = Object.assign(this.#joined.get(name) ?? { count: 0 }, { foreign });
      this.#joined.set(name, joined);
      const command = new SubscribeCommand({
        TopicArn: this.#arnOf(name),
        Protocol: "sqs",
        Endpoint: this.#queue.arn,
        Attributes: { RawMessageDelivery },
        ReturnSubscriptionArn: true,
      });
      try {
        const { SubscriptionArn } = await this.#call(
          `subscribe to topic ${name}`,
          (abortSignal) => this.#client.sns.send(command, { abortSignal }),
        );
        joined.arn = SubscriptionArn;
        return;
      } catch (error) {
        // its last subscriber deleted it in between
        if (!noTopic(error) || attempt === ATTEMPTS) throw error;
      }
    }
  }

  /** Makes the topic if there is none; true if it is not ours. */
  async #create(name: string): Promise<boolean> {
    const create = (Tags?: typeof TOPIC_TAG[]) =>
      this.#call(
        `make topic ${name}`,
        (abortSignal) => this.#client.sns.send(new CreateTopicCommand({ Name: name, Tags }), { abortSignal }),
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

  /** Ends a subscription; one that cannot be ended now is ended by `close`. */
  async #end(name: string, joined: Joined): Promise<void> {
    clearTimeout(joined.timer);
    const topicArn = this.#arnOf(name);
    await leaveTopic(this.#client, topicArn, this.#queue.arn, () => !joined.foreign, joined.arn);
    this.#joined.delete(name);
    this.#queue.disallow(topicArn);
  }

  /** A bus that saw no subscriber may delete the topic right after we subscribed: one later look mends that. */
  #lookAfter(name: string): void {
    const joined = this.#joined.get(name);
    if (!joined?.count || this.#closed) return;
    clearTimeout(joined.timer);
    joined.timer = setTimeout(() => {
      this.#turn(name, async () => {
        if (this.#joined.get(name) === joined) await this.#renew(name);
      }).catch(() => this.#lookAfter(name));
    }, LOOK_AFTER);
  }

  /** Subscribes once more, which changes nothing if we still are. */
  async #renew(name: string): Promise<void> {
    const joined = this.#joined.get(name);
    if (!joined?.count || this.#closed) return;
    const { arn } = joined;
    // an event that comes before the answer may be the first after a gap
    this.#events.hold(name);
    let missed: string | undefined;
    try {
      await this.#subscribe(name);
      if (joined.arn !== arn) joined.missed ??= `another bus deleted topic ${name} while it was subscribed to`;
      missed = joined.missed;
      joined.missed = undefined;
    } finally {
      await this.#events.release(name, missed);
    }
  }

  #call<O>(doing: string, run: (abortSignal: AbortSignal) => Promise<O>): Promise<O> {
    return this.#client.call(doing, run, { repeatable: true });
  }

  /** Runs it after what is under way for this topic, and not beside too many others. */
  async #turn<O>(name: string, run: () => Promise<O>): Promise<O> {
    const before = this.#turns.get(name);
    const { promise: done, resolve: finish } = Promise.withResolvers<void>();
    this.#turns.set(name, done);
    await before;
    if (this.#running >= PARALLEL) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#running++;
    try {
      return await run();
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#running--;
      if (this.#turns.get(name) === done) this.#turns.delete(name);
      finish();
    }
  }
}

/**
 * Ends the subscription of `queueArn` to a topic, and deletes the topic if nobody else subscribes to it and it is `ours`; true if
 * it did. `arn` is the ARN of the subscription where it is known. A topic that is gone already is fine.
 */
export async function leaveTopic(
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
      await client.call(
        `unsubscribe from topic ${name}`,
        (abortSignal) => client.sns.send(unsubscribe, { abortSignal }),
        REPEATABLE,
      );
      // another bus that leaves at this moment still saw this subscription: the last to look deletes the topic
      if (!alone(await subscriptionsOf(client, TopicArn)) || !await ours()) return false;
    }
    const remove = new DeleteTopicCommand({ TopicArn });
    await client.call(`delete topic ${name}`, (abortSignal) => client.sns.send(remove, { abortSignal }), REPEATABLE);
    return true;
  } catch (error) {
    if (!noTopic(error)) throw error;
    return false;
  }
}

/** True for topics that tsmq made; rejects if there is none. */
export async function madeByUs(client: AwsClient, ResourceArn: string): Promise<boolean> {
  const command = new ListTagsForResourceCommand({ ResourceArn });
  const { Tags } = await client.call(
    "read tags",
    (abortSignal) => client.sns.send(command, { abortSignal }),
    REPEATABLE,
  );
  return Tags?.some(({ Key, Value }) => Key === TOPIC_TAG.Key && Value === TOPIC_TAG.Value) ?? false;
}
