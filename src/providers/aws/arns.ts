/**
 * Where a bus is in AWS: partition, region and account, from which every ARN and URL is made without asking.
 *
 * @module
 */

/** A place, as plain data: the worker learns it from its queue and tells it to main. */
export interface Arns {
  /** `arn:aws:sqs:eu-central-1:123456789012:`, to which a queue's name is added. */
  readonly queueArn: string;
  /** `arn:aws:sns:eu-central-1:123456789012:`, to which a topic's name is added. */
  readonly topicArn: string;
  /** `https://sqs.eu-central-1.amazonaws.com/123456789012/`, to which a queue's name is added. */
  readonly queueUrl: string;
}

/** The place of a queue. */
export function arnsOf(queueArn: string, queueUrl: string): Arns {
  const [arn, partition, , region, account] = queueArn.split(":");
  return {
    queueArn: `${arn}:${partition}:sqs:${region}:${account}:`,
    topicArn: `${arn}:${partition}:sns:${region}:${account}:`,
    queueUrl: queueUrl.slice(0, queueUrl.lastIndexOf("/") + 1),
  };
}

/** The name at the end of an ARN or a queue's URL. */
export function nameOf(arnOrUrl: string): string {
  return arnOrUrl.slice(Math.max(arnOrUrl.lastIndexOf(":"), arnOrUrl.lastIndexOf("/")) + 1);
}
