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
  workerUrl,
} from "../../internal/options.ts";

/** An AWS access key. */
export interface AwsCredentials {
  /** The public half of the key. */
  readonly accessKeyId: string;
  /** The secret half of the key. */
  readonly secretAccessKey: string;
  /** The token of a key that expires. */
  readonly sessionToken?: string;
  /** The time when the key expires. It is requested again five minutes earlier. */
  readonly expiration?: Date;
}

/** Options of `aws()`. All but `credentials` is plain data, which reaches the worker. A printed provider does not show the secrets among them. */
export interface AwsOptions {
  /** URL of an emulator or a VPC endpoint that serves SNS and SQS. Default: AWS itself. */
  readonly endpoint?: string;
  /** The region, such as `"eu-central-1"`. Default: the region that the SDK finds, such as in `AWS_REGION`. */
  readonly region?: string;
  /**
   * The key, or a function that returns one. The function runs on the main thread, and is called again when the key expires.
   * Default: the key that the SDK finds (environment, profile, instance, container, web identity), once in each thread.
   */
  readonly credentials?: AwsCredentials | (() => AwsCredentials | Promise<AwsCredentials>);
  /** The largest number of attempts of a request that is safe to retry. Default: 4. */
  readonly attempts?: number;
  /**
   * Milliseconds of the lease on the queue and the subscriptions of a bus, at least 1_000. A bus renews it three times in that time. When
   * it expires, callers treat the bus as dead and other buses remove its queue and subscriptions. Default: 120_000.
   */
  readonly lease?: number;
  /** Milliseconds of a long poll, in whole seconds, at most 20_000. Shorter polls cost more requests. Default: 20_000. */
  readonly poll?: number;
  /**
   * Whether SNS delivers events without its envelope. The envelope makes events larger, but it contains the topic of events that tsmq did
   * not publish (PyMQ, S3, EventBridge). With raw delivery, each such event is reported as an error. Default: true.
   */
  readonly rawDelivery?: boolean;
  /** More options for the SDK's `SNSClient` and `SQSClient`, such as `{ useFipsEndpoint: true }`. They must not contain functions. */
  readonly client?: Readonly<Record<string, unknown>>;
  /**
   * The worker's module, in a program that is bundled into other files: `new URL("./worker.js", import.meta.url)`, where `worker.ts` imports
   * "@tsmq/tsmq/workers/aws". Default: the module of the package.
   */
  readonly worker?: URL;
}

/** Milliseconds of the longest poll that SQS allows. */
const MAX_POLL = 20_000;

const OPTIONS = fields({
  endpoint: v.optional(v.custom<string>(isEndpoint, must("an http: or https: URL without a user and a password"))),
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
  worker: v.optional(workerUrl()),
});

/** The options with all defaults, as the worker gets them. `poll` is in whole seconds. */
export interface Settings extends Omit<v.InferOutput<typeof OPTIONS>, "credentials" | "worker"> {
  /** `"ask"` if the provider on main has a function that returns the key. */
  readonly credentials?: AwsCredentials | "ask";
}

/**
 * Checks the options and fills in the defaults.
 *
 * @throws {ValidationError} with one issue for each invalid option
 */
export function parseOptions(options: AwsOptions): Settings {
  const { credentials, worker: _, ...rest } = parse(OPTIONS, options, "Cannot create an AWS provider");
  return { ...rest, credentials: typeof credentials === "function" ? "ask" : credentials };
}

function isEndpoint(value: unknown): boolean {
  const url = typeof value === "string" && /^https?:/.test(value) ? URL.parse(value) : null;
  return url !== null && url.username === "" && url.password === "";
}

function isKey(value: unknown): boolean {
  const { accessKeyId, secretAccessKey } = (value ?? {}) as Record<string, unknown>;
  return typeof accessKeyId === "string" && typeof secretAccessKey === "string" && postable(value);
}

/** Returns true if a value can be posted to a worker. */
function postable(value: unknown): boolean {
  try {
    structuredClone(value);
    return true;
  } catch {
    return false;
  }
}
