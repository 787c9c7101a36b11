/**
 * What an AWS bus can be told, and how it is checked: a wrong option is a `ValidationError` at once, not a fault later.
 *
 * @module
 */
import { type Issue, ValidationError } from "../../errors.ts";

/** Who we are: an access key. */
export interface AwsCredentials {
  /** The public half of the key. */
  readonly accessKeyId: string;
  /** The secret half of the key. */
  readonly secretAccessKey: string;
  /** Comes with keys that expire. */
  readonly sessionToken?: string;
  /** When the key expires; it is asked for again five minutes earlier. */
  readonly expiration?: Date;
}

/** Options of `aws()`. All but `credentials` is plain data, for it is posted to the worker. */
export interface AwsOptions {
  /** URL of an emulator or a VPC endpoint that serves SNS and SQS. Default: AWS itself. */
  readonly endpoint?: string;
  /** `"eu-central-1"`. Default: what the SDK finds, such as `AWS_REGION`. */
  readonly region?: string;
  /**
   * The key, or a function that gets one. A function stays on the main thread; it is called again when the key expires.
   * Default: what the SDK finds (environment, profile, instance, container, web identity), once in each thread.
   */
  readonly credentials?: AwsCredentials | (() => AwsCredentials | Promise<AwsCredentials>);
  /** How often a request is tried at most, where trying again is harmless. Default 4. */
  readonly attempts?: number;
  /**
   * Milliseconds of the lease on what a bus makes for itself: its queue and its subscriptions. It is renewed three times
   * in that time; a bus that did not is dead to callers, and what it left is swept. Default 120_000, at least 1_000.
   */
  readonly lease?: number;
  /** Milliseconds of a long poll, in whole seconds; SQS allows 20_000, the default. Shorter ones cost more requests. */
  readonly poll?: number;
  /**
   * False subscribes with SNS's envelope around each event: larger, but it names the topic of events whose publisher is not
   * tsmq (PyMQ, S3, EventBridge). With raw delivery such events cannot be told apart and are reported as errors. Default true.
   */
  readonly rawDelivery?: boolean;
  /** Further options for the SDK's `SNSClient` and `SQSClient`, such as `{ useFipsEndpoint: true }`. No functions. */
  readonly client?: Readonly<Record<string, unknown>>;
}

/** Options with every default filled in; what the worker gets. */
export interface Settings {
  readonly endpoint?: string;
  readonly region?: string;
  /** `"ask"`: main has a function for it. */
  readonly credentials?: AwsCredentials | "ask";
  readonly attempts: number;
  readonly lease: number;
  /** Whole seconds. */
  readonly poll: number;
  readonly rawDelivery: boolean;
  readonly client: Readonly<Record<string, unknown>>;
}

/** What SQS allows of a long poll, in seconds. */
const MAX_POLL = 20;

type Check = [what: string, holds: (value: unknown) => boolean];

const text: Check = ["a non-empty string", (value) => typeof value === "string" && value !== ""];
const CHECKS: Readonly<Record<keyof AwsOptions, Check>> = {
  endpoint: [
    "an http: or https: URL",
    (value) => typeof value === "string" && /^https?:/.test(value) && URL.canParse(value),
  ],
  region: text,
  credentials: ["a function or { accessKeyId, secretAccessKey }", isCredentials],
  attempts: ["a whole number above 0", (value) => Number.isSafeInteger(value) && (value as number) > 0],
  lease: ["milliseconds, at least 1_000", (value) => typeof value === "number" && value >= 1_000 && value < 2 ** 31],
  poll: [
    "milliseconds from 1_000 to 20_000",
    (value) => typeof value === "number" && value >= 1_000 && value <= 20_000,
  ],
  rawDelivery: ["true or false", (value) => typeof value === "boolean"],
  client: ["an object without functions", (value) => typeof value === "object" && value !== null && isPlain(value)],
};

/**
 * Checks the options and fills in the defaults.
 *
 * @throws {ValidationError} with one issue for each thing that is wrong
 */
export function parseOptions(options: AwsOptions): Settings {
  const issues: Issue[] = [];
  if (typeof options !== "object" || options === null) issues.push({ message: "options must be an object", path: [] });
  for (const [name, value] of Object.entries(options ?? {})) {
    const check = Object.hasOwn(CHECKS, name) ? CHECKS[name as keyof AwsOptions] : undefined;
    if (!check) issues.push({ path: [name], message: `${name} is no option of this provider` });
    // no value is shown: it may be a secret
    else if (value !== undefined && !check[1](value)) {
      issues.push({ path: [name], message: `${name} must be ${check[0]}` });
    }
  }
  if (issues.length > 0) {
    const told = issues.map((issue) => issue.message).join("; ");
    throw new ValidationError(`Cannot make an AWS provider: ${told}`, issues);
  }
  const { credentials, poll } = options;
  return {
    endpoint: options.endpoint,
    region: options.region,
    credentials: typeof credentials === "function" ? "ask" : credentials,
    attempts: options.attempts ?? 4,
    lease: options.lease ?? 120_000,
    poll: poll === undefined ? MAX_POLL : Math.round(poll / 1_000),
    rawDelivery: options.rawDelivery ?? true,
    client: options.client ?? {},
  };
}

function isCredentials(value: unknown): boolean {
  if (typeof value === "function") return true;
  const { accessKeyId, secretAccessKey } = (value ?? {}) as Record<string, unknown>;
  return typeof accessKeyId === "string" && typeof secretAccessKey === "string" && isPlain(value);
}

/** True for what can be posted to a worker. */
function isPlain(value: unknown): boolean {
  try {
    structuredClone(value);
    return true;
  } catch {
    return false;
  }
}
