/**
 * A bus's own queue, which receives its events and its inbox messages. A tag of the queue contains the end of the bus's lease.
 *
 * @module
 */
import {
  DeleteQueueCommand,
  GetQueueAttributesCommand,
  SetQueueAttributesCommand,
  TagQueueCommand,
} from "@aws-sdk/client-sqs";
import type { BusOrigin } from "../../provider/admin.ts";
import { elementsOf, membersOf, stringIn } from "../../internal/json.ts";
import { backoff, pause, RETRY } from "../../internal/time.ts";
import { type AwsClient, REPEATABLE, retryNewQueue } from "./client.ts";
import { noQueue } from "./errors.ts";
import { type Arns, arnsOf } from "./arns.ts";
import { writeOrigin } from "./origin_tag.ts";
import { NAMESPACE } from "./names.ts";
import { createQueue } from "./redrive.ts";
import { LEASE_TAG } from "./queue_tags.ts";

/** Seconds until SQS redelivers a message that was not deleted, for example because the connection broke. */
const VISIBILITY = 5;
/** The number of bytes that SQS allows for a queue policy. */
const MAX_POLICY = 8_192;
/** The name of the statement of tsmq in a queue policy. */
const SID = "tsmq";

/** Receives what happens to the lease of a bus. */
export interface LeaseEvents {
  /** A renewal failed. */
  fault(error: unknown): void;
  /** The lease was renewed after it had expired. Another bus may have removed subscriptions of this bus. */
  expired(): void;
}

/** The queue of one bus. */
export class BusQueue {
  /** The queue's name, which is the inbox address of the bus. */
  readonly name: string;
  /** The prefixes of ARNs and URLs in this account and region; known once the queue is open. */
  arns!: Arns;
  readonly #client: AwsClient;
  /** The prefix of the names of the topics of this namespace. */
  readonly #prefix: string;
  readonly #lease: number;
  readonly #origin: BusOrigin;
  readonly #topics = new Set<string>();
  readonly #events: LeaseEvents;
  readonly #closing = new AbortController();
  /** The end of the lease, in milliseconds since 1970. */
  #until = 0;
  #renewing: ReturnType<typeof setInterval> | undefined;
  /** The policy of the queue that was created last. Each creation of the queue makes a new object. */
  #created: { policy?: string } = {};
  #opening: Promise<void> | undefined;
  #setting: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  /** Prepares a queue with this name, for topics whose names have this prefix, with a lease in milliseconds. */
  constructor(
    client: AwsClient,
    name: string,
    prefix: string,
    lease: number,
    origin: BusOrigin,
    events: LeaseEvents,
  ) {
    this.#origin = origin;
    this.#client = client;
    this.name = name;
    this.#prefix = prefix;
    this.#lease = lease;
    this.#events = events;
  }

  /** The queue's URL. */
  get url(): string {
    return this.arns.queueUrl + this.name;
  }

  /** The queue's ARN. */
  get arn(): string {
    return this.arns.queueArn + this.name;
  }

  /** Creates the queue and begins to renew its lease. */
  async open(timeout: number): Promise<void> {
    const options = { repeatable: true, timeout };
    const until = Date.now() + this.#lease;
    const QueueUrl = await createQueue(this.#client, "create the queue of the bus", {
      QueueName: this.name,
      Attributes: { VisibilityTimeout: String(VISIBILITY) },
      tags: { ...tagsOf(until), ...writeOrigin(this.#origin) },
    }, options);
    const command = new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ["QueueArn"] });
    const read = () =>
      this.#client.call(
        "read the ARN of the queue of the bus",
        (http) => this.#client.sqs.send(command, http),
        options,
      );
    const { Attributes } = await retryNewQueue(read, this.#closing.signal);
    this.arns = arnsOf(Attributes!.QueueArn!, QueueUrl);
    this.#until = until;
    if (!this.#closing.signal.aborted) this.#renewing ??= setInterval(() => void this.#renew(), this.#lease / 3);
  }

  /** Creates the queue again, with the same name, after it was deleted. Retries until it succeeds. Resolves with false if the bus was closed. */
  async reopen(timeout: number): Promise<boolean> {
    for (let attempt = 1; !this.#closing.signal.aborted; attempt++) {
      try {
        await (this.#opening = this.open(timeout));
        this.#created = {};
        await this.#sync();
        return !this.#closing.signal.aborted;
      } catch {
        await pause(backoff(RETRY.restore, attempt), this.#closing.signal);
      }
    }
    return false;
  }

  /** Allows a topic to send to the queue. */
  allow(topicArn: string): Promise<void> {
    this.#topics.add(topicArn);
    return this.#sync();
  }

  /** Removes a topic from the policy. The change is sent with the next allowed topic, because until then the permission is harmless. */
  disallow(topicArn: string): void {
    this.#topics.delete(topicArn);
  }

  /** Stops renewing the lease. The bus counts as dead when the lease has expired. */
  stop(): void {
    this.#closing.abort();
    clearInterval(this.#renewing);
  }

  /** Deletes the queue. */
  async close(): Promise<void> {
    this.stop();
    // a queue that is being created again would outlive its deletion
    await this.#opening?.catch(() => {});
    await deleteQueue(this.#client, this.url);
  }

  async #renew(): Promise<void> {
    const until = Date.now() + this.#lease;
    const command = new TagQueueCommand({ QueueUrl: this.url, Tags: tagsOf(until) });
    try {
      await this.#client.call("renew the lease of the bus", (http) => this.#client.sqs.send(command, http), REPEATABLE);
      const expired = Date.now() > this.#until;
      this.#until = until;
      if (expired) this.#events.expired();
    } catch (error) {
      // a missing queue is reported by the poll
      if (!this.#closing.signal.aborted && !noQueue(error)) this.#events.fault(error);
    }
  }

  /** Resolves when the policy contains all current topics. At most one request runs, and at most one more waits. */
  #sync(): Promise<void> {
    this.#next ??= (this.#setting ?? Promise.resolve()).catch(() => {}).then(() => {
      this.#setting = this.#next;
      this.#next = undefined;
      return this.#set();
    });
    return this.#next;
  }

  async #set(): Promise<void> {
    const Policy = policyOf(this.arn, [...this.#topics], this.arns.topicArn, this.#prefix);
    const created = this.#created;
    if (this.#topics.size === 0 || Policy === created.policy) return;
    const command = new SetQueueAttributesCommand({ QueueUrl: this.url, Attributes: { Policy } });
    await this.#client.call(
      "let topics send to the queue of the bus",
      (http) => this.#client.sqs.send(command, http),
      REPEATABLE,
    );
    created.policy = Policy;
  }
}

/** Deletes a queue. Does nothing if the queue does not exist. */
export async function deleteQueue(client: AwsClient, QueueUrl: string): Promise<void> {
  try {
    await client.call(
      "delete the queue of a bus",
      (http) => client.sqs.send(new DeleteQueueCommand({ QueueUrl }), http),
      REPEATABLE,
    );
  } catch (error) {
    if (!noQueue(error)) throw error;
  }
}

/** Returns the ARNs of the topics that a bus's policy allows to send; `undefined` if the policy does not list them. */
export function topicsOf(policy: string | undefined): string[] | undefined {
  if (policy === undefined) return [];
  const [statement] = partsOf(memberOf(policy, "Statement"));
  const arns = memberOf(memberOf(memberOf(statement, "Condition"), "ArnEquals"), "aws:SourceArn");
  const topics = partsOf(arns).map(stringIn);
  // another program has written it
  if (arns === undefined || !topics.every((topic) => topic !== undefined)) return undefined;
  return topics;
}

/** Returns the JSON text of a member of a policy's part. Any peer may choose its other names, which become keys of no table. */
function memberOf(json: string | undefined, name: string): string | undefined {
  return membersOf(json ?? "", [name], Infinity)?.[0];
}

/** Returns the JSON texts of a list's elements. SQS may write a list of one element as that element. */
function partsOf(json: string | undefined): string[] {
  return json === undefined ? [] : elementsOf(json) ?? [json];
}

/** Returns the tags of a lease that ends at this time. */
function tagsOf(until: number): Record<string, string> {
  return { [LEASE_TAG]: String(Math.ceil(until)) };
}

/**
 * Allows exactly these topics to send. If their ARNs do not fit into a policy, it allows all topics of the namespace. Where their names have
 * no prefix, these are all topics of the account, except those of other namespaces.
 */
export function policyOf(queueArn: string, topicArns: readonly string[], topicArn: string, prefix: string): string {
  const exact = policyWith(queueArn, { ArnEquals: { "aws:SourceArn": topicArns } });
  if (exact.length <= MAX_POLICY) return exact;
  const like = { ArnLike: { "aws:SourceArn": `${topicArn}${prefix}*` } };
  const others = { ArnNotLike: { "aws:SourceArn": `${topicArn}${NAMESPACE}*` } };
  return policyWith(queueArn, prefix === "" ? { ...like, ...others } : like);
}

/** Returns a queue's policy with the statement of our policy in place of its earlier one. Statements of other programs stay. */
export function mergePolicies(policy: string | undefined, ours: string): string {
  const theirs = membersOf(policy ?? "", ["Version", "Id", "Statement"], Infinity);
  if (!theirs) return ours; // no service accepts such a policy
  const [version, id, statement] = theirs;
  const others = partsOf(statement).filter((each) => stringIn(memberOf(each, "Sid")) !== SID);
  const members = [
    ...version === undefined ? [] : [`"Version":${version}`],
    ...id === undefined ? [] : [`"Id":${id}`],
    `"Statement":[${[...partsOf(memberOf(ours, "Statement")), ...others]}]`,
  ];
  return `{${members}}`;
}

function policyWith(Resource: string, Condition: object): string {
  const Principal = { Service: "sns.amazonaws.com" };
  const statement = { Sid: SID, Effect: "Allow", Principal, Action: "sqs:SendMessage", Resource, Condition };
  return JSON.stringify({ Version: "2012-10-17", Statement: [statement] });
}
