/**
 * The checks of `tsmq doctor` for SNS and SQS. The doctor creates one queue and one topic, and deletes both. If it dies before that, the
 * queue's lease expires, and any bus deletes it.
 *
 * @module
 */
import {
  CreateTopicCommand,
  DeleteTopicCommand,
  ListSubscriptionsByTopicCommand,
  ListSubscriptionsCommand,
  ListTagsForResourceCommand,
  PublishBatchCommand,
  SubscribeCommand,
  UnsubscribeCommand,
} from "@aws-sdk/client-sns";
import {
  ChangeMessageVisibilityBatchCommand,
  CreateQueueCommand,
  DeleteMessageBatchCommand,
  DeleteQueueCommand,
  GetQueueAttributesCommand,
  GetQueueUrlCommand,
  ListQueuesCommand,
  ListQueueTagsCommand,
  ReceiveMessageCommand,
  SendMessageBatchCommand,
  SetQueueAttributesCommand,
  TagQueueCommand,
} from "@aws-sdk/client-sqs";
import type { Check, Doctor } from "../../provider/admin.ts";
import { BusError } from "../../errors.ts";
import { textOf } from "../../internal/thrown.ts";
import { AwsClient, type HttpOptions, REPEATABLE } from "./client.ts";
import { toBusError } from "./errors.ts";
import { TOPIC_TAG } from "./topics.ts";
import { deadQueues, idleTopics } from "./cleanup.ts";
import { Names } from "./names.ts";
import { type AwsOptions, parseOptions } from "./options.ts";
import { type Arns, arnsOf, nameOf } from "./arns.ts";
import { LEASE_TAG } from "./registry.ts";
import { cleanUpAll } from "./cleanup.ts";

/** Milliseconds that a request may take, with all its attempts. */
const TIMEOUT = 10_000;
/** Milliseconds of the lease of the doctor's queue, for the case that the doctor cannot delete it. */
const LIFE = 60_000;

/** Returns a doctor for a bus of `aws(options)`. Without a key in the options, the SDK finds one. */
export function awsDoctor(options: AwsOptions, namespace: string): Doctor {
  return new AwsDoctor(options, namespace);
}

/** An action that a bus needs, tried on the doctor's queue and topic. */
type Action = readonly [name: string, attempt: (http: HttpOptions) => Promise<unknown>];

class AwsDoctor implements Doctor {
  #client: AwsClient;
  #names: Names;

  constructor(options: AwsOptions, namespace: string) {
    const { credentials } = options;
    const ask = () => typeof credentials === "function" ? Promise.resolve(credentials()) : Promise.reject();
    this.#client = new AwsClient(parseOptions(options), ask, TIMEOUT);
    this.#names = new Names(namespace);
  }

  async *checks(): AsyncGenerator<Check> {
    const first = await this.#first();
    yield first;
    if (first.state === "broken") return;
    const refused = [];
    for await (const check of this.#actions()) {
      refused.push(check);
      yield check;
    }
    if (refused.length === 0) yield { name: "permissions", state: "ok", detail: "every action of a bus is allowed" };
    yield await this.#leftovers();
  }

  queues(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  async reap(): Promise<string[]> {
    try {
      const { queues, topics } = await cleanUpAll(this.#client, this.#names);
      return [...queues.map((name) => `queue ${name}`), ...topics.map((name) => `topic ${name}`)];
    } catch (error) {
      throw toBusError("reap", error);
    }
  }

  close(): Promise<void> {
    this.#client.close();
    return Promise.resolve();
  }

  /** Makes a first request, which checks the address, the region and the key. */
  async #first(): Promise<Check> {
    const start = performance.now();
    try {
      const region = await this.#client.sqs.config.region();
      await this.#do(
        "sqs:ListQueues",
        (http) => this.#client.sqs.send(new ListQueuesCommand({ QueueNamePrefix: this.#names.busPrefix }), http),
      );
      const took = Math.round(performance.now() - start);
      return { name: "service", state: "ok", detail: `SQS in ${region} answered in ${took} ms` };
    } catch (error) {
      // a valid key may lack the permission for this list
      if (denied(error) && /not authorized|AccessDenied/i.test(error.message)) return refusal("sqs:ListQueues", error);
      return unreachable(error as Error);
    }
  }

  async *#actions(): AsyncGenerator<Check> {
    const scratch = new Scratch(this.#client, this.#names);
    try {
      for (const [name, attempt] of scratch.actions) {
        try {
          await this.#do(name, attempt);
        } catch (error) {
          yield refusal(name, error as Error);
          // without the queue or the topic the rest cannot be tried
          if (/Create(Queue|Topic)$|GetQueueAttributes$/.test(name)) return;
        }
      }
    } finally {
      for (const [name, attempt] of scratch.cleaning) await this.#do(name, attempt).catch(() => {});
    }
  }

  async #leftovers(): Promise<Check> {
    const name = "leftovers";
    try {
      const dead = (await Array.fromAsync(deadQueues(this.#client, this.#names))).map(nameOf);
      const idle = (await Array.fromAsync(idleTopics(this.#client, this.#names))).map(({ topicArn }) =>
        nameOf(topicArn)
      );
      if (dead.length + idle.length === 0) {
        return { name, state: "ok", detail: "no queues of dead buses and no unused topics" };
      }
      const counted = [`${dead.length} queue(s) of buses that died`, `${idle.length} unused topic(s)`];
      const detail = `${counted.join(", ")}: ${[...dead.slice(0, 3), ...idle.slice(0, 3)].join(", ")}`;
      return { name, state: "risk", detail, mend: "tsmq reap deletes them" };
    } catch (error) {
      return { name, state: "ok", detail: `cannot check: ${textOf(error)}` };
    }
  }

  async #do<O>(action: string, run: (http: HttpOptions) => Promise<O>): Promise<O> {
    try {
      return await this.#client.call(action, run, REPEATABLE);
    } catch (error) {
      throw toBusError(`perform ${action}`, error);
    }
  }
}

/** A queue and a topic on which the doctor tries every action once. */
class Scratch {
  #arns: Arns | undefined;
  readonly #client: AwsClient;
  readonly #queue: string;
  readonly #topic: string;
  #url: string | undefined;
  #topicArn: string | undefined;
  #subscription: string | undefined;
  #receipt = "none";

  constructor(client: AwsClient, names: Names) {
    this.#client = client;
    this.#queue = names.bus();
    this.#topic = names.topic(`doctor-${crypto.randomUUID()}`);
  }

  get actions(): Action[] {
    const { sns, sqs } = this.#client;
    const entry = () => ({ Id: "0", ReceiptHandle: this.#receipt });
    return [
      ["sqs:CreateQueue", async (http) => {
        const tags = { [LEASE_TAG]: String(Date.now() + LIFE) };
        const made = await sqs.send(new CreateQueueCommand({ QueueName: this.#queue, tags }), http);
        this.#url = made.QueueUrl;
      }],
      ["sqs:GetQueueAttributes", async (http) => {
        const command = new GetQueueAttributesCommand({ QueueUrl: this.#url, AttributeNames: ["QueueArn"] });
        this.#arns = arnsOf((await sqs.send(command, http)).Attributes!.QueueArn!, this.#url!);
      }],
      ["sqs:GetQueueUrl", (http) => sqs.send(new GetQueueUrlCommand({ QueueName: this.#queue }), http)],
      [
        "sqs:SetQueueAttributes",
        (http) =>
          sqs.send(
            new SetQueueAttributesCommand({ QueueUrl: this.#url, Attributes: { VisibilityTimeout: "5" } }),
            http,
          ),
      ],
      [
        "sqs:TagQueue",
        (http) =>
          sqs.send(
            new TagQueueCommand({ QueueUrl: this.#url, Tags: { [LEASE_TAG]: String(Date.now() + LIFE) } }),
            http,
          ),
      ],
      ["sqs:ListQueueTags", (http) => sqs.send(new ListQueueTagsCommand({ QueueUrl: this.#url }), http)],
      [
        "sqs:SendMessage",
        (http) =>
          sqs.send(
            new SendMessageBatchCommand({ QueueUrl: this.#url, Entries: [{ Id: "0", MessageBody: "doctor" }] }),
            http,
          ),
      ],
      ["sqs:ReceiveMessage", async (http) => {
        const command = new ReceiveMessageCommand({ QueueUrl: this.#url, WaitTimeSeconds: 1 });
        this.#receipt = (await sqs.send(command, http)).Messages?.[0]?.ReceiptHandle ?? "none";
      }],
      ["sqs:ChangeMessageVisibility", (http) =>
        sqs.send(
          new ChangeMessageVisibilityBatchCommand({
            QueueUrl: this.#url,
            Entries: [{ ...entry(), VisibilityTimeout: 5 }],
          }),
          http,
        )],
      [
        "sqs:DeleteMessage",
        (http) => sqs.send(new DeleteMessageBatchCommand({ QueueUrl: this.#url, Entries: [entry()] }), http),
      ],
      ["sns:CreateTopic", async (http) => {
        const command = new CreateTopicCommand({ Name: this.#topic, Tags: [TOPIC_TAG] });
        this.#topicArn = (await sns.send(command, http)).TopicArn;
      }],
      [
        "sns:ListTagsForResource",
        (http) => sns.send(new ListTagsForResourceCommand({ ResourceArn: this.#topicArn }), http),
      ],
      ["sns:Subscribe", async (http) => {
        const Endpoint = this.#arns!.queueArn + this.#queue;
        const command = new SubscribeCommand({
          TopicArn: this.#topicArn,
          Protocol: "sqs",
          Endpoint,
          ReturnSubscriptionArn: true,
        });
        this.#subscription = (await sns.send(command, http)).SubscriptionArn;
      }],
      [
        "sns:ListSubscriptionsByTopic",
        (http) => sns.send(new ListSubscriptionsByTopicCommand({ TopicArn: this.#topicArn }), http),
      ],
      ["sns:ListSubscriptions", (http) => sns.send(new ListSubscriptionsCommand({}), http)],
      ["sns:Publish", (http) =>
        sns.send(
          new PublishBatchCommand({
            TopicArn: this.#topicArn,
            PublishBatchRequestEntries: [{ Id: "0", Message: "doctor" }],
          }),
          http,
        )],
      ["sns:Unsubscribe", (http) => this.#unsubscribe(http)],
      ["sns:DeleteTopic", (http) => this.#deleteTopic(http)],
      ["sqs:DeleteQueue", (http) => this.#deleteQueue(http)],
    ];
  }

  /** The actions that clean up. They run even if an earlier action failed, and skip queues and topics that do not exist. */
  get cleaning(): Action[] {
    return this.actions.slice(-3);
  }

  async #unsubscribe(http: HttpOptions): Promise<void> {
    if (!this.#subscription) return;
    await this.#client.sns.send(new UnsubscribeCommand({ SubscriptionArn: this.#subscription }), http);
    this.#subscription = undefined;
  }

  async #deleteTopic(http: HttpOptions): Promise<void> {
    if (!this.#topicArn) return;
    await this.#client.sns.send(new DeleteTopicCommand({ TopicArn: this.#topicArn }), http);
    this.#topicArn = undefined;
  }

  async #deleteQueue(http: HttpOptions): Promise<void> {
    if (!this.#url) return;
    await this.#client.sqs.send(new DeleteQueueCommand({ QueueUrl: this.#url }), http);
    this.#url = undefined;
  }
}

function denied(error: unknown): error is BusError {
  return error instanceof BusError && error.code === "denied";
}

function refusal(action: string, error: Error): Check {
  const mend = denied(error)
    ? `allow ${action} to this user or role: the policy in docs/aws.md`
    : "see the message; the service may be at a quota, or an emulator that lacks this";
  return { name: `may ${action}`, state: "broken", detail: error.message, mend };
}

/** The advice for a first request that failed. */
const CONNECTING: readonly (readonly [RegExp, string, string])[] = [
  [/--allow-(\w+)/, "runtime permission", "run Deno with the permission that it names"],
  [/region/i, "region", "name it in the URL, aws:eu-central-1, or set AWS_REGION"],
  [
    /CredentialsProviderError|Could not load credentials|MissingAuthenticationToken/i,
    "credentials",
    "no credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give the machine a role",
  ],
  [/Expired/i, "credentials", "the credentials have expired: get new ones (aws sso login, a fresh session token)"],
  [
    /InvalidClientTokenId|UnrecognizedClient|InvalidAccessKeyId|AuthFailure/i,
    "credentials",
    "AWS does not know this access key: check that it is active, and that it belongs to this account and partition",
  ],
  [/SignatureDoesNotMatch|InvalidSignature/i, "credentials", "wrong secret key, or this machine's clock is wrong"],
  [/ENOTFOUND|EAI_AGAIN|getaddrinfo/i, "endpoint", "the host does not exist: check the region, the endpoint and DNS"],
  [/ECONNREFUSED/, "endpoint", "no server listens there: start the emulator, or remove the endpoint from the URL"],
  [
    /no answer|timed? ?out|ETIMEDOUT/i,
    "endpoint",
    "no answer: check that this network can reach AWS (proxy, VPC endpoint)",
  ],
];

function unreachable(error: Error): Check {
  const known = CONNECTING.find(([pattern]) => pattern.test(error.message));
  const [, name, mend] = known ?? [undefined, "service", "see the message"];
  return { name, state: "broken", detail: error.message, mend };
}
