/** Reads the account, and changes it as other programs do. */
import {
  CreateTopicCommand,
  DeleteTopicCommand,
  ListSubscriptionsCommand,
  ListTopicsCommand,
  PublishCommand,
  SNSClient,
  SubscribeCommand,
  UnsubscribeCommand,
} from "@aws-sdk/client-sns";
import {
  DeleteQueueCommand,
  GetQueueAttributesCommand,
  ListQueuesCommand,
  ListQueueTagsCommand,
  SendMessageCommand,
  SQSClient,
  TagQueueCommand,
} from "@aws-sdk/client-sqs";
import { Names } from "../../src/providers/aws/names.ts";
import { nameOf } from "../../src/providers/aws/arns.ts";
import type { AwsOptions } from "../../src/providers/aws/provider.ts";
import { ATTRIBUTE } from "../../src/providers/aws/message.ts";

/** The resources that buses have created for themselves in a namespace. */
export interface Leftovers {
  readonly queues: string[];
  readonly topics: string[];
  /** The topic of each subscription of such a queue. */
  readonly subscriptions: string[];
}

export const NOTHING: Leftovers = { queues: [], topics: [], subscriptions: [] };

export class Admin implements Disposable {
  readonly sns: SNSClient;
  readonly sqs: SQSClient;

  constructor({ endpoint, region, credentials }: AwsOptions) {
    const config = { endpoint, region, ...(credentials ? { credentials: credentials as never } : {}) };
    this.sns = new SNSClient(config);
    this.sqs = new SQSClient(config);
  }

  /** The buses' own queues, the topics and the subscriptions of a namespace other than `global`. */
  async leftovers(namespace: string): Promise<Leftovers> {
    const names = new Names(namespace);
    const prefix = names.all.slice(0, -"_ALL_".length);
    const queues = await this.queues(names.busPrefix);
    const topics = (await this.#pages((NextToken) => this.sns.send(new ListTopicsCommand({ NextToken })), "Topics"))
      .map(({ TopicArn }) => nameOf(TopicArn!)).filter((name) => name.startsWith(prefix));
    const subscriptions =
      (await this.#pages((NextToken) => this.sns.send(new ListSubscriptionsCommand({ NextToken })), "Subscriptions"))
        .filter(({ Endpoint }) => nameOf(Endpoint!).startsWith(names.busPrefix)).map(({ TopicArn }) =>
          nameOf(TopicArn!)
        );
    return { queues, topics: topics.toSorted(), subscriptions: subscriptions.toSorted() };
  }

  /** Ends the subscription of a queue to a topic. */
  async unsubscribe(topic: string, queue: string): Promise<void> {
    const all = await this.#pages(
      (NextToken) => this.sns.send(new ListSubscriptionsCommand({ NextToken })),
      "Subscriptions",
    );
    const found = all.find((one) => nameOf(one.TopicArn!) === topic && nameOf(one.Endpoint!) === queue);
    await this.sns.send(new UnsubscribeCommand({ SubscriptionArn: found!.SubscriptionArn }));
  }

  /** The names of the queues with this prefix. */
  async queues(QueueNamePrefix: string): Promise<string[]> {
    const { QueueUrls } = await this.sqs.send(new ListQueuesCommand({ QueueNamePrefix }));
    return (QueueUrls ?? []).map(nameOf).toSorted();
  }

  async url(queue: string): Promise<string> {
    const { QueueUrls } = await this.sqs.send(new ListQueuesCommand({ QueueNamePrefix: queue }));
    return QueueUrls!.find((url) => nameOf(url) === queue)!;
  }

  /** The condition of a queue's policy: which topics may send. */
  async allowed(queue: string): Promise<unknown> {
    const command = new GetQueueAttributesCommand({ QueueUrl: await this.url(queue), AttributeNames: ["Policy"] });
    const { Attributes } = await this.sqs.send(command);
    return Attributes?.Policy === undefined ? undefined : JSON.parse(Attributes.Policy).Statement[0].Condition;
  }

  async tags(queue: string): Promise<Record<string, string>> {
    return (await this.sqs.send(new ListQueueTagsCommand({ QueueUrl: await this.url(queue) }))).Tags ?? {};
  }

  async tag(queue: string, Tags: Record<string, string>): Promise<void> {
    await this.sqs.send(new TagQueueCommand({ QueueUrl: await this.url(queue), Tags }));
  }

  async deleteQueue(queue: string): Promise<void> {
    await this.sqs.send(new DeleteQueueCommand({ QueueUrl: await this.url(queue) }));
  }

  /** The ARN of a topic, which is created if it does not exist. */
  async topic(Name: string): Promise<string> {
    return (await this.sns.send(new CreateTopicCommand({ Name }))).TopicArn!;
  }

  async deleteTopic(Name: string): Promise<void> {
    await this.sns.send(new DeleteTopicCommand({ TopicArn: await this.topic(Name) }));
  }

  /** Publishes only a body, as PyMQ does. */
  /** Publishes to an SNS topic, with the attribute of tsmq if there is a label. */
  async publish(Name: string, Message: string, label?: string): Promise<void> {
    const MessageAttributes = label === undefined
      ? undefined
      : { [ATTRIBUTE]: { DataType: "String", StringValue: label } };
    await this.sns.send(new PublishCommand({ TopicArn: await this.topic(Name), Message, MessageAttributes }));
  }

  /** Sends a message with the attribute of tsmq to a queue. */
  async send(queue: string, MessageBody: string, label: string): Promise<void> {
    const MessageAttributes = { [ATTRIBUTE]: { DataType: "String", StringValue: label } };
    await this.sqs.send(new SendMessageCommand({ QueueUrl: await this.url(queue), MessageBody, MessageAttributes }));
  }

  async subscribe(Name: string, Endpoint: string): Promise<void> {
    await this.sns.send(new SubscribeCommand({ TopicArn: await this.topic(Name), Protocol: "sqs", Endpoint }));
  }

  [Symbol.dispose](): void {
    this.sns.destroy();
    this.sqs.destroy();
  }

  async #pages<K extends string, T>(
    get: (token: string | undefined) => Promise<{ NextToken?: string } & { [key in K]?: T[] }>,
    key: K,
  ): Promise<T[]> {
    const all: T[] = [];
    let token: string | undefined;
    do {
      const page = await get(token);
      all.push(...page[key] ?? []);
      token = page.NextToken;
    } while (token);
    return all;
  }
}
