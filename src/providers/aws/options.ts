/**
 * The options of an AWS provider and their checks.
 *
 * @module
 */
import * as v from "valibot";
import {
  callable,
  fields,
  flag,
  milliseconds,
  must,
  parseOptions as parse,
  text,
  whole,
} from "../../internal/options.ts";

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

/** What SQS allows of a long poll, in milliseconds. */
const MAX_POLL = 20_000;

const OPTIONS = fields({
  endpoint: v.optional(
    v.custom<string>(
      (value) => typeof value === "string" && /^https?:/.test(value) && URL.canParse(value),
      must("an http: or https: URL"),
    ),
  ),
  region: v.optional(text()),
  credentials: v.optional(v.union([
    callable<() => AwsCredentials | Promise<AwsCredentials>>(),
    v.custom<AwsCredentials>(isKey),
  ], must("a function or { accessKeyId, secretAccessKey }"))),
  attempts: v.optional(whole("a whole number above 0", 1), 4),
  lease: v.optional(milliseconds(1_000), 120_000),
  poll: v.optional(
    v.pipe(
      milliseconds(1_000, MAX_POLL, "milliseconds from 1_000 to 20_000"),
      v.transform((ms) => Math.round(ms / 1_000)),
    ),
    MAX_POLL,
  ),
  rawDelivery: v.optional(flag(), true),
  client: v.optional(
    v.custom<Readonly<Record<string, unknown>>>(
      (value) => typeof value === "object" && value !== null && postable(value),
      must("an object without functions"),
    ),
    {},
  ),
});

/** Options with every default filled in; what the worker gets. A `poll` is whole seconds. */
export interface Settings extends Omit<v.InferOutput<typeof OPTIONS>, "credentials"> {
  /** `"ask"`: main has a function for it. */
  readonly credentials?: AwsCredentials | "ask";
}

/**
 * Checks the options and fills in the defaults.
 *
 * @throws {ValidationError} with one issue for each thing that is wrong
 */
export function parseOptions(options: AwsOptions): Settings {
  const { credentials, ...rest } = parse(OPTIONS, options, "Cannot make an AWS provider");
  return { ...rest, credentials: typeof credentials === "function" ? "ask" : credentials };
}

function isKey(value: unknown): boolean {
  const { accessKeyId, secretAccessKey } = (value ?? {}) as Record<string, unknown>;
  return typeof accessKeyId === "string" && typeof secretAccessKey === "string" && postable(value);
}

/** Whether a value can be posted to a worker. */
function postable(value: unknown): boolean {
  try {
    structuredClone(value);
    return true;
  } catch {
    return false;
  }
}
