/**
 * Requests to SNS and SQS. Each has a deadline, and is retried only when that is safe.
 *
 * @module
 */
import { SNSClient } from "@aws-sdk/client-sns";
import { SQSClient } from "@aws-sdk/client-sqs";
import { type BusError, ClosedError, ProviderError } from "../../errors.ts";
import { rememberSecret } from "../../internal/secrets.ts";
import { type Backoff, backoff, pause, RETRY, spread } from "../../internal/time.ts";
import { OnceHttpAgent, OnceHttpsAgent } from "./http_agents.ts";
import { failureOf, noQueue, toBusError } from "./errors.ts";
import { onlyOurTags } from "./queue_tags.ts";
import type { AwsCredentials, Settings } from "./options.ts";

/** Gets an access key from the user's function. */
export type AskCredentials = () => Promise<AwsCredentials>;

/** Options of a request. */
export interface CallOptions {
  /** Whether the request may be executed twice. If not, it is retried only when it was certainly not executed. */
  readonly repeatable: boolean;
  /** The largest number of attempts. Default: `attempts` of the provider's options. */
  readonly attempts?: number;
  /** Milliseconds that all attempts may take, in addition to `wait`. Default: the timeout of the client. */
  readonly timeout?: number;
  /** Milliseconds for which the service may wait before it answers. Default: 0. */
  readonly wait?: number;
  /** A signal that cancels the request, which then rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** An entry of a batch that AWS rejected. */
export interface FailedEntry {
  readonly Id?: string;
  readonly Code?: string;
  readonly Message?: string;
  readonly SenderFault?: boolean;
}

/** The largest number of entries in a request, and of messages in an answer, of SQS and SNS. */
export const BATCH = 10;
/** Milliseconds between attempts when AWS throttles requests. They are longer than `RETRY.send`, to send fewer requests. */
const THROTTLED: Backoff = { min: 200, max: 5_000 };
/** The number of attempts to use a new queue. With the pauses of `RETRY.send` they take longer than the second that SQS may need. */
const NEW_QUEUE_ATTEMPTS = 7;
/** Milliseconds that connecting may take. */
const CONNECT = 5_000;

/** The options that the SDK's `send` takes for a request. */
export interface HttpOptions {
  /** Cancels the request. */
  readonly abortSignal: AbortSignal;
}

/** The options of a call that is safe to repeat. */
export const REPEATABLE: CallOptions = { repeatable: true };

/** The SDK's clients of SNS and SQS, with their own sockets. */
export class AwsClient {
  /** The SDK's client of SQS. */
  readonly sqs: SQSClient;
  /** The SDK's client of SNS. */
  readonly sns: SNSClient;
  readonly #attempts: number;
  readonly #timeout: number;
  readonly #closing = new AbortController();

  /** Creates clients with these settings. A request may take `timeout` ms. */
  constructor(settings: Settings, ask: AskCredentials, timeout: number, sockets = 50) {
    const { client } = settings;
    const agents = {
      httpAgent: new OnceHttpAgent({ maxSockets: sockets }),
      httpsAgent: new OnceHttpsAgent({ maxSockets: sockets }),
    };
    const config = {
      region: settings.region,
      endpoint: settings.endpoint,
      ...client,
      credentials: settings.credentials === "ask" ? ask : settings.credentials,
      requestHandler: { connectionTimeout: CONNECT, ...client.requestHandler as object, ...agents },
      // this class retries, because it knows which requests are safe to repeat; the SDK's strategy takes up to a tenth of their CPU
      maxAttempts: 1,
      retryStrategy: { retry: <A, R>(next: (args: A) => R, args: A) => next(args) },
    };
    for (const [key, value] of Object.entries(config)) {
      if (value === undefined) delete config[key as keyof typeof config];
    }
    // TLS already protects the message, and an MD5 error after the request would hide that the message was sent
    this.sqs = new SQSClient({ ...config, md5: false, useQueueUrlAsEndpoint: false });
    this.sns = new SNSClient(config);
    this.sqs.middlewareStack.add(rememberToken, { step: "deserialize" });
    this.sns.middlewareStack.add(rememberToken, { step: "deserialize" });
    // of this step, a middleware of low priority sees an answer first
    this.sqs.middlewareStack.add(onlyOurTags(this.sqs.config.streamCollector), {
      step: "deserialize",
      priority: "low",
    });
    this.#attempts = settings.attempts;
    this.#timeout = timeout;
  }

  /**
   * Makes a request. `doing` completes "Cannot …". Rejects with the error of AWS, which {@linkcode toBusError} converts.
   */
  async call<O>(doing: string, run: (http: HttpOptions) => Promise<O>, options: CallOptions): Promise<O> {
    const { wait = 0, signal } = options;
    const timeout = wait + (options.timeout ?? this.#timeout);
    const { signal: closing } = this.#closing;
    closing.throwIfAborted();
    signal?.throwIfAborted();
    const over = Promise.withResolvers<never>();
    over.promise.catch(() => {});
    const abort = new AbortController();
    const end = (reason: unknown) => {
      over.reject(reason);
      abort.abort(reason);
    };
    const late = () => end(new ProviderError("unavailable", `Cannot ${doing}: no answer within ${timeout} ms`));
    const unknown = `Cannot ${doing}: the bus was closed before the answer arrived, so the outcome is unknown`;
    const closed = () => end(new ProviderError("unavailable", unknown));
    const aborted = () => end(signal!.reason);
    const timer = setTimeout(late, timeout);
    closing.addEventListener("abort", closed);
    signal?.addEventListener("abort", aborted);
    try {
      // the SDK ignores the signal while it waits for credentials
      return await Promise.race([this.#attempt(run, options, abort.signal), over.promise]);
    } catch (error) {
      throw abort.signal.aborted ? abort.signal.reason : error;
    } finally {
      clearTimeout(timer);
      closing.removeEventListener("abort", closed);
      signal?.removeEventListener("abort", aborted);
    }
  }

  async #attempt<O>(
    run: (http: HttpOptions) => Promise<O>,
    options: CallOptions,
    abortSignal: AbortSignal,
  ): Promise<O> {
    const { repeatable, attempts = this.#attempts, timeout = this.#timeout, wait = 0 } = options;
    for (let attempt = 1;; attempt++) {
      try {
        // an attempt without an answer must leave time for another one
        if (repeatable && attempt < attempts) return await within(wait + timeout / attempts, run, abortSignal);
        return await run({ abortSignal });
      } catch (error) {
        const failure = failureOf(error);
        const harmless = failure !== "refused" && (failure !== "unknown" || repeatable);
        if (abortSignal.aborted || !harmless) throw error;
        if (failure === "expired") await this.#refresh();
        // retries at once, even when only one attempt is allowed
        if (attempt === 1 && (failure === "expired" || failure === "skewed")) continue;
        if (attempt >= attempts) throw error;
        await pause(spread(backoff(failure === "throttled" ? THROTTLED : RETRY.send, attempt)), abortSignal);
      }
    }
  }

  /** Makes the SDK get the access key again now, without waiting until the cached key expires. */
  async #refresh(): Promise<void> {
    const force = { forceRefresh: true };
    await Promise.all([this.sqs.config.credentials(force), this.sns.config.credentials(force)]);
  }

  /**
   * Makes a request of up to {@linkcode BATCH} entries. Returns an error or `undefined` for each entry. Entries that AWS did not accept
   * are retried, because they were certainly not executed.
   */
  async batch<T>(
    doing: string,
    items: readonly T[],
    run: (entries: { Id: string; item: T }[], http: HttpOptions) => Promise<readonly FailedEntry[] | undefined>,
    options: CallOptions,
  ): Promise<(BusError | undefined)[]> {
    const results: (BusError | undefined)[] = items.map(() => undefined);
    let entries = items.map((item, index) => ({ Id: String(index), item }));
    for (let attempt = 1; entries.length > 0; attempt++) {
      let failed: readonly FailedEntry[];
      try {
        failed = await this.call(doing, (http) => run(entries, http), options) ?? [];
      } catch (error) {
        for (const { Id } of entries) results[Number(Id)] = toBusError(doing, error);
        return results;
      }
      const again = new Set<string>();
      for (const { Id, Code, Message, SenderFault } of failed) {
        const error = Object.assign(new Error(Message ?? "no reason given"), { name: Code ?? "Error" });
        if (attempt < this.#attempts && !SenderFault) again.add(Id!);
        else results[Number(Id)] = toBusError(doing, error);
      }
      entries = entries.filter(({ Id }) => again.has(Id));
      if (entries.length > 0) await pause(spread(backoff(THROTTLED, attempt)), this.#closing.signal);
    }
    return results;
  }

  /** Cancels the running requests and closes the sockets. */
  close(): void {
    this.#closing.abort(new ClosedError());
    this.sqs.destroy();
    this.sns.destroy();
  }
}

/** A middleware of the SDK. Whichever way the SDK found the key, its token is the only secret that a request contains. */
function rememberToken<A extends { request: unknown }, R>(next: (args: A) => R): (args: A) => R {
  return (args) => {
    const { headers } = args.request as { headers: Readonly<Record<string, string>> };
    rememberSecret(headers["x-amz-security-token"]);
    return next(args);
  };
}

/** Runs a request, and cancels it after `ms` milliseconds or when the signal aborts. */
async function within<O>(ms: number, run: (http: HttpOptions) => Promise<O>, signal: AbortSignal): Promise<O> {
  const abort = new AbortController();
  const end = () => abort.abort(signal.reason);
  const timer = setTimeout(end, ms);
  signal.addEventListener("abort", end);
  try {
    return await run({ abortSignal: abort.signal });
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", end);
  }
}

/** Makes a request to a new queue, and retries while SQS does not know the queue yet. */
export async function retryNewQueue<O>(request: () => Promise<O>, signal: AbortSignal): Promise<O> {
  for (let attempt = 1;; attempt++) {
    try {
      return await request();
    } catch (error) {
      if (!noQueue(error) || signal.aborted || attempt === NEW_QUEUE_ATTEMPTS) throw error;
      await pause(spread(backoff(RETRY.send, attempt)), signal);
    }
  }
}
