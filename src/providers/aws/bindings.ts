/**
 * The queues of groups, which are subscribed to SNS topics themselves. A pattern's queue is subscribed to the topic of all events of the
 * namespace.
 *
 * @module
 */
import { GetQueueAttributesCommand, SetQueueAttributesCommand } from "@aws-sdk/client-sqs";
import { pause } from "../../internal/time.ts";
import type { Binder, TopicFilter } from "../../provider/provider.ts";
import { type BusQueue, mergePolicies, policyOf } from "./bus_queue.ts";
import { type AwsClient, REPEATABLE } from "./client.ts";
import { noTopic, toBusError } from "./errors.ts";
import { PATTERNS_TTL } from "./message.ts";
import type { Names } from "./names.ts";
import type { Queues } from "./queues.ts";
import { ATTEMPTS, CHECK_AFTER, createdByTsmq, createTopic, subscribeQueue, unsubscribeQueue } from "./topics.ts";

/** Binds the queues of groups to SNS topics. */
export class Bindings implements Binder {
  readonly #client: AwsClient;
  readonly #names: Names;
  readonly #queues: Queues;
  readonly #bus: BusQueue;
  readonly #closing: AbortSignal;
  /** The timers of the checks, by SNS topic and queue. */
  readonly #checks = new Map<string, ReturnType<typeof setTimeout>>();
  /** The last change of each queue: changes of one queue run one after the other. */
  readonly #changes = new Map<string, Promise<void>>();

  /** Prepares bindings in the account and region of the bus's own queue. */
  constructor(client: AwsClient, names: Names, queues: Queues, bus: BusQueue, closing: AbortSignal) {
    this.#client = client;
    this.#names = names;
    this.#queues = queues;
    this.#bus = bus;
    this.#closing = closing;
    closing.addEventListener("abort", () => this.#checks.forEach((timer) => clearTimeout(timer)), { once: true });
  }

  bind(filter: TopicFilter, queue: string): Promise<void> {
    return this.#change(queue, () => this.#bind(filter, queue));
  }

  unbind(filter: TopicFilter, queue: string): Promise<void> {
    return this.#change(queue, () => this.#unbind(filter, queue));
  }

  async #bind(filter: TopicFilter, queue: string): Promise<void> {
    try {
      await this.#allow(filter, queue);
      await this.#subscribe(this.#topicOf(filter), queue);
      // publishers that found no topic for patterns do not ask again during this time
      if (filter.pattern) await pause(PATTERNS_TTL, this.#closing);
      this.#closing.throwIfAborted();
      this.#checkLater(this.#topicOf(filter), queue);
    } catch (error) {
      throw toBusError(`subscribe to "${filter.topic}"`, error);
    }
  }

  async #unbind(filter: TopicFilter, queue: string): Promise<void> {
    const name = this.#topicOf(filter);
    clearTimeout(this.#checks.get(keyOf(name, queue)));
    this.#checks.delete(keyOf(name, queue));
    const arn = this.#bus.arns.topicArn + name;
    try {
      await unsubscribeQueue(this.#client, arn, this.#arnOf(queue), () => createdByTsmq(this.#client, arn));
    } catch (error) {
      throw toBusError(`end a group of "${filter.topic}"`, error);
    }
  }

  /** Makes a change after the running change of this queue, so that an `unbind` is not overtaken by an earlier `bind`. */
  #change(queue: string, change: () => Promise<void>): Promise<void> {
    const changed = (this.#changes.get(queue) ?? Promise.resolve()).then(change);
    const settled: Promise<void> = changed.catch(() => {}).then(() => {
      if (this.#changes.get(queue) === settled) this.#changes.delete(queue);
    });
    this.#changes.set(queue, settled);
    return changed;
  }

  #topicOf({ topic, pattern }: TopicFilter): string {
    return pattern ? this.#names.all : this.#names.topic(topic);
  }

  #arnOf(queue: string): string {
    return this.#bus.arns.queueArn + this.#names.queue(queue);
  }

  /** Allows two SNS topics to send to the queue: the topic of this name, and the topic of all events. What users have allowed stays. */
  #allow({ topic }: TopicFilter, queue: string): Promise<unknown> {
    const { topicArn } = this.#bus.arns;
    const topics = [this.#names.topic(topic), this.#names.all].map((name) => topicArn + name);
    const ours = policyOf(this.#arnOf(queue), topics, topicArn, this.#names.prefix);
    const { sqs } = this.#client;
    return this.#client.call(
      `let topics send to queue "${queue}"`,
      (http) =>
        this.#queues.withUrl(queue, http.abortSignal, async (QueueUrl) => {
          const read = new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ["Policy"] });
          const Policy = mergePolicies((await sqs.send(read, http)).Attributes?.Policy, ours);
          await sqs.send(new SetQueueAttributesCommand({ QueueUrl, Attributes: { Policy } }), http);
        }),
      REPEATABLE,
    );
  }

  async #subscribe(name: string, queue: string): Promise<void> {
    for (let attempt = 1;; attempt++) {
      await createTopic(this.#client, name);
      try {
        await subscribeQueue(this.#client, this.#bus.arns.topicArn + name, this.#arnOf(queue), true);
        return;
      } catch (error) {
        // the topic's last subscriber has deleted it meanwhile
        if (!noTopic(error) || attempt === ATTEMPTS) throw error;
      }
    }
  }

  /** Subscribes a queue again later, because a bus that found no other subscriber may have deleted the topic meanwhile. */
  #checkLater(name: string, queue: string): void {
    const key = keyOf(name, queue);
    clearTimeout(this.#checks.get(key));
    const timer = setTimeout(() => {
      this.#change(queue, async () => {
        if (this.#checks.get(key) === timer) await this.#subscribe(name, queue);
      }).catch(() => {
        if (!this.#closing.aborted && this.#checks.get(key) === timer) this.#checkLater(name, queue);
      });
    }, CHECK_AFTER);
    this.#checks.set(key, timer);
  }
}

function keyOf(name: string, queue: string): string {
  return `${name} ${queue}`;
}
