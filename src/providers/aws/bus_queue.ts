/**
 * The queue that a bus makes for itself: its events and its inbox. A tag says until when the bus lives.
 *
 * @module
 */
import {
  CreateQueueCommand,
  DeleteQueueCommand,
  GetQueueAttributesCommand,
  SetQueueAttributesCommand,
  TagQueueCommand,
} from "@aws-sdk/client-sqs";
import { backoff, pause, RETRY } from "../../internal/time.ts";
import { type AwsClient, soon } from "./client.ts";
import { noQueue } from "./errors.ts";
import { type Arns, arnsOf } from "./arns.ts";
import { LEASE_TAG } from "./registry.ts";

/** Seconds after which a message that was not deleted comes again, as do those that went down with a broken connection. */
const VISIBILITY = 5;
/** Bytes that SQS allows a queue policy. */
const MAX_POLICY = 8_192;

/** A bus's own queue. */
export class BusQueue {
  /** Its name, which is the address of the bus. */
  readonly name: string;
  /** Where it is; known once it is open. */
  arns!: Arns;
  readonly #client: AwsClient;
  readonly #lease: number;
  readonly #topics = new Set<string>();
  readonly #fault: (error: unknown) => void;
  readonly #closing = new AbortController();
  #renewing: ReturnType<typeof setInterval> | undefined;
  /** The queue as it was made last, and the policy that it has. */
  #made: { policy?: string } = {};
  #opening: Promise<void> | undefined;
  #setting: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  /** A queue of this name with a lease of so many milliseconds; `fault` hears of renewals that failed. */
  constructor(client: AwsClient, name: string, lease: number, fault: (error: unknown) => void) {
    this.#client = client;
    this.name = name;
    this.#lease = lease;
    this.#fault = fault;
  }

  /** Its URL. */
  get url(): string {
    return this.arns.queueUrl + this.name;
  }

  /** Its ARN. */
  get arn(): string {
    return this.arns.queueArn + this.name;
  }

  /** Makes it. */
  async open(timeout: number): Promise<void> {
    const options = { repeatable: true, timeout };
    const { QueueUrl } = await this.#client.call("make the queue of the bus", (abortSignal) =>
      this.#client.sqs.send(
        new CreateQueueCommand({
          QueueName: this.name,
          Attributes: { VisibilityTimeout: String(VISIBILITY) },
          tags: this.#tags(),
        }),
        { abortSignal },
      ), options);
    const command = new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ["QueueArn"] });
    const read = () =>
      this.#client.call(
        "read the ARN of the queue of the bus",
        (abortSignal) => this.#client.sqs.send(command, { abortSignal }),
        options,
      );
    const { Attributes } = await soon(read, this.#closing.signal);
    this.arns = arnsOf(Attributes!.QueueArn!, QueueUrl!);
    if (!this.#closing.signal.aborted) this.#renewing ??= setInterval(() => void this.#renew(), this.#lease / 3);
  }

  /** Makes it again after somebody deleted it, under the same name, however long that takes. False: it was closed. */
  async reopen(timeout: number): Promise<boolean> {
    for (let attempt = 1; !this.#closing.signal.aborted; attempt++) {
      try {
        await (this.#opening = this.open(timeout));
        this.#made = {};
        await this.#sync();
        return !this.#closing.signal.aborted;
      } catch {
        await pause(backoff(RETRY.restore, attempt), this.#closing.signal);
      }
    }
    return false;
  }

  /** Lets a topic send to it. */
  allow(topicArn: string): Promise<void> {
    this.#topics.add(topicArn);
    return this.#sync();
  }

  /** No longer lets a topic send to it; takes effect with the next topic that is allowed, for it is no harm until then. */
  disallow(topicArn: string): void {
    this.#topics.delete(topicArn);
  }

  /** Keeps it no longer: it is dead when its lease has lapsed. */
  stop(): void {
    this.#closing.abort();
    clearInterval(this.#renewing);
  }

  /** Deletes it. */
  async close(): Promise<void> {
    this.stop();
    // one that is made again at this moment would stay
    await this.#opening?.catch(() => {});
    await deleteQueue(this.#client, this.url);
  }

  #tags(): Record<string, string> {
    return { [LEASE_TAG]: String(Math.ceil(Date.now() + this.#lease)) };
  }

  async #renew(): Promise<void> {
    const command = new TagQueueCommand({ QueueUrl: this.url, Tags: this.#tags() });
    try {
      await this.#client.call(
        "renew the lease of the bus",
        (abortSignal) => this.#client.sqs.send(command, { abortSignal }),
        { repeatable: true },
      );
    } catch (error) {
      // whoever polls the queue finds out that it is gone
      if (!this.#closing.signal.aborted && !noQueue(error)) this.#fault(error);
    }
  }

  /** Resolves when a policy with all topics of now is set: at most one request is under way, and one waits. */
  #sync(): Promise<void> {
    this.#next ??= (this.#setting ?? Promise.resolve()).catch(() => {}).then(() => {
      this.#setting = this.#next;
      this.#next = undefined;
      return this.#set();
    });
    return this.#next;
  }

  async #set(): Promise<void> {
    const Policy = policyOf(this.arn, [...this.#topics], this.arns.topicArn);
    const made = this.#made;
    if (this.#topics.size === 0 || Policy === made.policy) return;
    const command = new SetQueueAttributesCommand({ QueueUrl: this.url, Attributes: { Policy } });
    await this.#client.call(
      "let topics send to the queue of the bus",
      (abortSignal) => this.#client.sqs.send(command, { abortSignal }),
      { repeatable: true },
    );
    made.policy = Policy;
  }
}

/** Deletes a queue; nothing happens if it is gone already. */
export async function deleteQueue(client: AwsClient, QueueUrl: string): Promise<void> {
  try {
    await client.call(
      "delete the queue of a bus",
      (abortSignal) => client.sqs.send(new DeleteQueueCommand({ QueueUrl }), { abortSignal }),
      { repeatable: true },
    );
  } catch (error) {
    if (!noQueue(error)) throw error;
  }
}

/** What we read of a policy, in which a list of one may be written as that one. */
interface Policy {
  readonly Statement?: OneOrMore<{ readonly Condition?: { readonly ArnEquals?: Record<string, OneOrMore<string>> } }>;
}
type OneOrMore<T> = T | readonly T[];

/** The ARNs of the topics that a policy of ours lets send; `undefined` if it does not list them. */
export function topicsOf(policy: string | undefined): string[] | undefined {
  if (policy === undefined) return [];
  const [statement] = [(JSON.parse(policy) as Policy).Statement ?? []].flat();
  const arns = statement?.Condition?.ArnEquals?.["aws:SourceArn"];
  return arns === undefined ? undefined : [arns].flat();
}

/** Lets exactly these topics send; where their ARNs do not fit into a policy, all topics of the account and region. */
function policyOf(queueArn: string, topicArns: readonly string[], all: string): string {
  const exact = policyWith(queueArn, { ArnEquals: { "aws:SourceArn": topicArns } });
  return exact.length <= MAX_POLICY ? exact : policyWith(queueArn, { ArnLike: { "aws:SourceArn": `${all}*` } });
}

function policyWith(Resource: string, Condition: object): string {
  const Principal = { Service: "sns.amazonaws.com" };
  const statement = { Sid: "tsmq", Effect: "Allow", Principal, Action: "sqs:SendMessage", Resource, Condition };
  return JSON.stringify({ Version: "2012-10-17", Statement: [statement] });
}
