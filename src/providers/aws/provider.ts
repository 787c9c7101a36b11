/**
 * The AWS provider: events over SNS, queues and answers over SQS, with @aws-sdk v3.
 *
 * @module
 */
import { ValidationError } from "../../errors.ts";
import type { Provider, Sender, SenderContext } from "../../provider/provider.ts";
import type { AskCredentials } from "./client.ts";
import { pause } from "../../internal/time.ts";
import { toBusError } from "./errors.ts";
import { posted } from "./posted.ts";
import { Names } from "./names.ts";
import { type AwsCredentials, type AwsOptions, parseOptions, type Settings } from "./options.ts";
import type { Swept } from "./cleanup.ts";
import { MAX_BODY, MAX_PUT_DELAY, MAX_VISIBILITY } from "./message.ts";

export type { AwsCredentials, AwsOptions } from "./options.ts";
export type { Swept } from "./cleanup.ts";

/** Milliseconds until a change is visible everywhere, on an emulator and usually on AWS. */
const LATENCY = 250;
/** Milliseconds that a request of `reap` may take. */
const REAP_TIMEOUT = 30_000;

interface Made {
  readonly settings: Settings;
  readonly ask: AskCredentials;
}

const made = new WeakMap<Provider, Made>();

/**
 * Creates a provider for SNS and SQS in one account and region, or for an emulator.
 *
 * A bus creates one queue for itself, and one SNS topic for each topic that it is the first to subscribe to. It deletes them when it
 * closes. If it dies, other buses delete them. Events and answers arrive in no particular order, and sometimes twice.
 * `docs/aws.md` has the IAM policy, the names, the cost and the delays.
 *
 * @param options `aws()` uses the region and the key that the SDK finds in the environment
 * @throws {ValidationError} when an option is invalid
 *
 * @example
 * ```ts
 * import { init } from "@tsmq/tsmq";
 * import { aws } from "@tsmq/tsmq/aws";
 *
 * await init(aws({ region: "eu-central-1" }));
 * ```
 */
export function aws(options: AwsOptions = {}): Provider {
  const settings = parseOptions(options);
  const { credentials } = options;
  const ask = async () => {
    if (typeof credentials === "function") return await credentials();
    throw new ValidationError("Cannot get AWS credentials: the provider has no function that returns them");
  };
  const provider: Provider = {
    name: "aws",
    features: {
      counts: false,
      ordered: false,
      durable: true,
      shared: true,
      capacity: Infinity,
      maxBody: MAX_BODY,
      exactSize: false,
      exactAttempts: false,
      maxDelay: MAX_VISIBILITY * 1_000,
      maxPutDelay: MAX_PUT_DELAY * 1_000,
      peek: false,
      groups: true,
      latency: LATENCY,
    },
    worker: options.worker ?? new URL("../../../workers/aws.ts", import.meta.url),
    options: posted(settings),
    open: (context) => open(settings, ask, context),
    admin: { open: async (namespace) => new (await import("./admin.ts")).AwsAdmin(settings, ask, namespace) },
    askHandler: {
      answer(verb): Promise<AwsCredentials> | Settings {
        if (verb === "credentials") return ask();
        if (verb === "settings") return settings;
        throw new ValidationError(`Cannot answer "${verb}": the AWS provider has no such request`);
      },
    },
  };
  made.set(provider, { settings, ask });
  return provider;
}

/** Loads the SDK with the first bus: it reads the environment, and a missing permission must be an error of that bus. */
async function open(settings: Settings, ask: AskCredentials, context: SenderContext): Promise<Sender> {
  try {
    await pause(0); // see `Provider.open`
    const { AwsSender } = await import("./sender.ts");
    return new AwsSender(settings, ask, context);
  } catch (error) {
    throw toBusError("open an AWS bus", error);
  }
}

/**
 * Deletes the remains of dead buses in the account and region of a provider: queues whose lease has expired, their subscriptions, and
 * topics of tsmq without another subscription. Each bus does this for its own namespace when it opens. `reap` also finds unused topics that
 * no queue lists, among all topics of the account.
 *
 * @param provider the result of `aws()`
 * @param namespace the namespace to clean up; default: all namespaces
 * @throws {ValidationError} when the provider was not made by `aws()`
 * @throws {ProviderError} when AWS cannot be reached or refuses a request
 */
export async function reap(provider: Provider, namespace?: string): Promise<Swept> {
  const { settings, ask } = made.get(provider) ?? {};
  if (!settings || !ask) throw new ValidationError("Cannot reap: the provider was not made by aws()");
  const [{ AwsClient }, { cleanUpAll }] = await Promise.all([import("./client.ts"), import("./cleanup.ts")]);
  const client = new AwsClient(settings, ask, REAP_TIMEOUT);
  try {
    const names = namespace === undefined ? undefined : new Names(namespace);
    return await cleanUpAll(client, names);
  } catch (error) {
    throw toBusError("reap", error);
  } finally {
    client.close();
  }
}
