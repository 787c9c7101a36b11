/**
 * Which queues may name a queue of tsmq as their dead-letter queue. By default, SQS allows it to every queue of the account, and then moves
 * items there although their sender has no rights for the queue. tsmq has dead-letter queues of its own, and never uses those of SQS.
 *
 * @module
 */
import {
  CreateQueueCommand,
  type CreateQueueCommandInput,
  GetQueueAttributesCommand,
  SetQueueAttributesCommand,
} from "@aws-sdk/client-sqs";
import { type AwsClient, type CallOptions, REPEATABLE } from "./client.ts";
import { noQueue, refusesAttributes } from "./errors.ts";

/** No queue may name this one as its dead-letter queue. */
const DENY_ALL = { RedriveAllowPolicy: '{"redrivePermission":"denyAll"}' };

/** Creates a queue into which no other queue may move items. Returns its URL. */
export async function createQueue(
  client: AwsClient,
  doing: string,
  input: CreateQueueCommandInput,
  options: CallOptions = REPEATABLE,
): Promise<string> {
  const create = async (Attributes: CreateQueueCommandInput["Attributes"]) => {
    const command = new CreateQueueCommand({ ...input, Attributes });
    return (await client.call(doing, (http) => client.sqs.send(command, http), options)).QueueUrl!;
  };
  try {
    return await create({ ...input.Attributes, ...DENY_ALL });
  } catch (error) {
    // an emulator does not know the attribute, or another program has created the queue meanwhile
    if (!refusesAttributes(error)) throw error;
    return await create(input.Attributes);
  }
}

/**
 * Forbids other queues to move items into a queue that another program or an older tsmq has created, unless somebody has decided otherwise.
 * If that fails, the queue stays as it is: the permissions may not allow it.
 */
export async function denyRedrive(client: AwsClient, QueueUrl: string): Promise<void> {
  const options = { repeatable: true, attempts: 1 };
  const write = new SetQueueAttributesCommand({ QueueUrl, Attributes: DENY_ALL });
  try {
    if (await readPolicy(client, QueueUrl, options)) return;
    await client.call("let no queue move items into a queue", (http) => client.sqs.send(write, http), options);
  } catch {
    // the queue can be used as before
  }
}

/** Returns true if every queue of the account may move items into this one, as it may by default. */
export async function allowsRedrive(client: AwsClient, queueUrl: string): Promise<boolean> {
  try {
    const policy = await readPolicy(client, queueUrl, REPEATABLE);
    return !policy || policy.includes('"allowAll"');
  } catch (error) {
    // another program has deleted it meanwhile
    if (noQueue(error)) return false;
    throw error;
  }
}

async function readPolicy(client: AwsClient, QueueUrl: string, options: CallOptions): Promise<string | undefined> {
  const command = new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ["RedriveAllowPolicy"] });
  const doing = "read who may move items into a queue";
  return (await client.call(doing, (http) => client.sqs.send(command, http), options)).Attributes?.RedriveAllowPolicy;
}
