/**
 * Ends the subscription of a queue: the last user of a topic deletes it.
 *
 * @module
 */
import { DeleteTopicCommand, ListTagsForResourceCommand, UnsubscribeCommand } from "@aws-sdk/client-sns";
import type { Api } from "./client.ts";
import { noTopic } from "./errors.ts";
import { nameOf } from "./arns.ts";
import { type Subscribed, subscriptionsOf } from "./registry.ts";

/** Marks the topics that tsmq made and may delete. Always the same: SNS refuses a topic that exists with other tags. */
export const TOPIC_TAG = { Key: "tsmq", Value: "topic" };

const REPEATABLE = { repeatable: true };

/**
 * Ends the subscription of `queueArn` to a topic, and deletes the topic if nobody else subscribes to it and it is `ours`; true if
 * it did. `arn` is the ARN of the subscription where it is known. A topic that is gone already is fine.
 */
export async function leaveTopic(
  api: Api,
  TopicArn: string,
  queueArn: string,
  ours: () => boolean | Promise<boolean>,
  arn?: string,
): Promise<boolean> {
  const alone = (subscribed: readonly Subscribed[]) => subscribed.every(({ endpoint }) => endpoint === queueArn);
  const name = nameOf(TopicArn);
  try {
    const subscribed = await subscriptionsOf(api, TopicArn);
    if (!alone(subscribed) || !await ours()) {
      const SubscriptionArn = subscribed.find(({ endpoint }) => endpoint === queueArn)?.arn ?? arn;
      if (SubscriptionArn === undefined) return false;
      const unsubscribe = new UnsubscribeCommand({ SubscriptionArn });
      await api.call(
        `unsubscribe from topic ${name}`,
        (abortSignal) => api.sns.send(unsubscribe, { abortSignal }),
        REPEATABLE,
      );
      // another bus that leaves at this moment still saw this subscription: the last to look deletes the topic
      if (!alone(await subscriptionsOf(api, TopicArn)) || !await ours()) return false;
    }
    const remove = new DeleteTopicCommand({ TopicArn });
    await api.call(`delete topic ${name}`, (abortSignal) => api.sns.send(remove, { abortSignal }), REPEATABLE);
    return true;
  } catch (error) {
    if (!noTopic(error)) throw error;
    return false;
  }
}

/** True for topics that tsmq made; rejects if there is none. */
export async function madeByUs(api: Api, ResourceArn: string): Promise<boolean> {
  const command = new ListTagsForResourceCommand({ ResourceArn });
  const { Tags } = await api.call("read tags", (abortSignal) => api.sns.send(command, { abortSignal }), REPEATABLE);
  return Tags?.some(({ Key, Value }) => Key === TOPIC_TAG.Key && Value === TOPIC_TAG.Value) ?? false;
}
