/**
 * ARNs and URLs: once the partition, region and account are known, they are built without asking AWS.
 *
 * @module
 */

/** The prefixes of ARNs and URLs in one account and region, as plain data. The receiver reads them from its queue, and the sender asks the receiver. */
export interface Arns {
  /** The text before a queue's name in its ARN: `arn:aws:sqs:eu-central-1:123456789012:`. */
  readonly queueArn: string;
  /** The text before a topic's name in its ARN: `arn:aws:sns:eu-central-1:123456789012:`. */
  readonly topicArn: string;
  /** The text before a queue's name in its URL: `https://sqs.eu-central-1.amazonaws.com/123456789012/`. */
  readonly queueUrl: string;
}

/** Reads the prefixes from the ARN and the URL of a queue. */
export function arnsOf(queueArn: string, queueUrl: string): Arns {
  const [arn, partition, , region, account] = queueArn.split(":");
  return {
    queueArn: `${arn}:${partition}:sqs:${region}:${account}:`,
    topicArn: `${arn}:${partition}:sns:${region}:${account}:`,
    queueUrl: queueUrl.slice(0, queueUrl.lastIndexOf("/") + 1),
  };
}

/** Returns the name at the end of an ARN or of a queue's URL. */
export function nameOf(arnOrUrl: string): string {
  return arnOrUrl.slice(Math.max(arnOrUrl.lastIndexOf(":"), arnOrUrl.lastIndexOf("/")) + 1);
}
