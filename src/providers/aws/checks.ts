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
import type { Check } from "../../provider/admin.ts";
import { limitedAsync } from "../../provider/listing.ts";
import { BusError } from "../../errors.ts";
import { textOf } from "../../internal/thrown.ts";
import { type AwsClient, type HttpOptions, REPEATABLE } from "./client.ts";
import { toBusError } from "./errors.ts";
import { TOPIC_TAG } from "./topics.ts";
import { type Names, ownedByBus } from "./names.ts";
import { type Arns, arnsOf, nameOf } from "./arns.ts";
import { queuesWith } from "./cleanup.ts";
import { allowsRedrive } from "./redrive.ts";
import { LEASE_TAG } from "./queue_tags.ts";

/** Milliseconds of the lease of the doctor's queue, after which any bus may delete it. */
const LIFE = 60_000;
/** The largest number of queues whose attributes the doctor reads. */
const QUEUES = 100;

/** An action that a bus needs, tried on the doctor's queue and topic. */
type Action = readonly [name: string, attempt: (http: HttpOptions) => Promise<unknown>];

/** Runs the checks of `tsmq doctor` for SNS and SQS. `leftovers` lists the remains of dead buses. */
export async function* checkService(
  client: AwsClient,
  names: Names,
  leftovers: () => Promise<readonly string[]>,
): AsyncGenerator<Check> {
  const first = await checkFirst(client, names);
  yield first;
  if (first.state === "broken") return;
  let refused = 0;
  for await (const check of checkActions(client, names)) {
    refused++;
    yield check;
  }
  if (refused === 0) yield { name: "permissions", state: "ok", detail: "every action of a bus is allowed" };
  yield await checkRedrive(client, names);
  yield await checkLeftovers(leftovers);
}

/** Makes a first request, which checks the address, the region and the key. */
async function checkFirst(client: AwsClient, names: Names): Promise<Check> {
  const start = performance.now();
  try {
    const region = await client.sqs.config.region();
    const command = new ListQueuesCommand({ QueueNamePrefix: names.busPrefix });
    await perform(client, "sqs:ListQueues", (http) => client.sqs.send(command, http));
    const took = Math.round(performance.now() - start);
    return { name: "service", state: "ok", detail: `SQS in ${region} answered in ${took} ms` };
  } catch (error) {
    // a valid key may lack the permission for this list
    if (denied(error) && /not authorized|AccessDenied/i.test(error.message)) return refusal("sqs:ListQueues", error);
    return unreachable(error as Error);
  }
}

async function* checkActions(client: AwsClient, names: Names): AsyncGenerator<Check> {
  const scratch = new Scratch(client, names);
  try {
    for (const [name, attempt] of scratch.actions) {
      try {
        await perform(client, name, attempt);
      } catch (error) {
        yield refusal(name, error as Error);
        // without the queue or the topic the rest cannot be tried
        if (/Create(Queue|Topic)$|GetQueueAttributes$/.test(name)) return;
      }
    }
  } finally {
    for (const [name, attempt] of scratch.cleaning) await perform(client, name, attempt).catch(() => {});
  }
}

/** Checks whether every queue of the account may name a queue of the namespace as its dead-letter queue. */
async function checkRedrive(client: AwsClient, names: Names): Promise<Check> {
  const name = "redrive";
  try {
    const urls = await limitedAsync(
      `queues whose names begin with "${names.prefix}"`,
      queuesWith(client, names.prefix),
    );
    const own = urls.filter((url) => names.ownsTopic(nameOf(url)) && !ownedByBus(nameOf(url)));
    const some = own.slice(0, QUEUES);
    const allow = await Promise.all(some.map((url) => allowsRedrive(client, url)));
    const open = some.filter((_, index) => allow[index]).map(nameOf);
    const of = own.length > QUEUES ? `the first ${QUEUES} of ${own.length}` : own.length;
    const detail = `${open.length} of ${of} queue(s) accept items from every queue of the account`;
    if (open.length === 0) return { name, state: "ok", detail };
    const mend = 'set their RedriveAllowPolicy: "Dead-letter queues of SQS" in docs/aws.md';
    return { name, state: "risk", detail: `${detail}: ${open.slice(0, 6).join(", ")}`, mend };
  } catch (error) {
    return { name, state: "ok", detail: `cannot check: ${textOf(error)}` };
  }
}

async function checkLeftovers(leftovers: () => Promise<readonly string[]>): Promise<Check> {
  const name = "leftovers";
  try {
    const found = await leftovers();
    if (found.length === 0) return { name, state: "ok", detail: "no queues of dead buses and no unused topics" };
    const queues = found.filter((line) => line.startsWith("queue ")).length;
    const counted = `${queues} queue(s) of buses that died, ${found.length - queues} unused topic(s)`;
    const detail = `${counted}: ${found.slice(0, 6).join(", ")}`;
    return { name, state: "risk", detail, mend: "tsmq reap deletes them" };
  } catch (error) {
    return { name, state: "ok", detail: `cannot check: ${textOf(error)}` };
  }
}

async function perform<O>(client: AwsClient, action: string, run: (http: HttpOptions) => Promise<O>): Promise<O> {
  try {
    return await client.call(action, run, REPEATABLE);
  } catch (error) {
    throw toBusError(`perform ${action}`, error);
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
