/**
 * Requests to SNS and SQS: with a deadline, and tried again where that is harmless.
 *
 * @module
 */
import { SNSClient } from "@aws-sdk/client-sns";
import { SQSClient } from "@aws-sdk/client-sqs";
import { type BusError, ClosedError, ProviderError } from "../../errors.ts";
import { type Backoff, backoff, pause, RETRY } from "../../internal/time.ts";
import { OnceHttpAgent, OnceHttpsAgent } from "./http_agents.ts";
import { fateOf, noQueue, toBusError } from "./errors.ts";
import type { AwsCredentials, Settings } from "./options.ts";

/** Gets a key, where main has a function for it. */
export type AskCredentials = () => Promise<AwsCredentials>;

/** How a request is made. */
export interface CallOptions {
  /** True if doing it twice is doing it once; otherwise it is only tried again if it was surely not done. */
  readonly repeatable: boolean;
  /** How often it is tried at most. Default: as the options say. */
  readonly attempts?: number;
  /** Milliseconds that it may take with all attempts, beyond `wait`. Default: that of the API. */
  readonly timeout?: number;
  /** Milliseconds for which the service is asked to wait before it answers. Default 0. */
  readonly wait?: number;
  /** Gives it up; it rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** An entry of a batch that AWS did not take. */
export interface FailedEntry {
  readonly Id?: string;
  readonly Code?: string;
  readonly Message?: string;
  readonly SenderFault?: boolean;
}

/** SQS and SNS take so many entries in one request, and give so many messages in one answer. */
export const BATCH = 10;
/** Milliseconds between attempts that AWS throttles, as the SDK's own retries have them. */
const THROTTLED: Backoff = { min: 200, max: 5_000 };
/** Attempts to use a queue that was just made: with the pauses of `RETRY.send` more than the second that SQS may need. */
const NEW_QUEUE_ATTEMPTS = 7;
/** Milliseconds to connect. */
const CONNECT = 5_000;

/** The two clients of the SDK, on sockets of their own. */
export class AwsClient {
  /** The client of SQS. */
  readonly sqs: SQSClient;
  /** The client of SNS. */
  readonly sns: SNSClient;
  readonly #attempts: number;
  readonly #timeout: number;
  readonly #closing = new AbortController();

  /** Clients with these settings; requests may take `timeout` ms. */
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
      // the attempts are counted here, where it is known what is harmless
      maxAttempts: 1,
    };
    for (const [key, value] of Object.entries(config)) {
      if (value === undefined) delete config[key as keyof typeof config];
    }
    // TLS guards what MD5 would; a mismatch after the fact would only hide that the message is there
    this.sqs = new SQSClient({ ...config, md5: false, useQueueUrlAsEndpoint: false });
    this.sns = new SNSClient(config);
    this.#attempts = settings.attempts;
    this.#timeout = timeout;
  }

  /**
   * Makes a request; `doing` completes "Cannot …". Rejects with what AWS said, for {@linkcode toBusError} and the like.
   */
  async call<O>(doing: string, run: (abortSignal: AbortSignal) => Promise<O>, options: CallOptions): Promise<O> {
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
    const unknown = `Cannot ${doing}: the bus was closed before the answer came; whether it was done is unknown`;
    const closed = () => end(new ProviderError("unavailable", unknown));
    const aborted = () => end(signal!.reason);
    const timer = setTimeout(late, timeout);
    closing.addEventListener("abort", closed);
    signal?.addEventListener("abort", aborted);
    try {
      // the SDK does not look at the signal while it waits for credentials
      return await Promise.race([this.#attempt(run, options, abort.signal), over.promise]);
    } catch (error) {
      throw abort.signal.aborted ? abort.signal.reason : error;
    } finally {
      clearTimeout(timer);
      closing.removeEventListener("abort", closed);
      signal?.removeEventListener("abort", aborted);
    }
  }

  async #attempt<O>(run: (signal: AbortSignal) => Promise<O>, options: CallOptions, signal: AbortSignal): Promise<O> {
    const { repeatable, attempts = this.#attempts, timeout = this.#timeout, wait = 0 } = options;
    for (let attempt = 1;; attempt++) {
      try {
        // what is never answered leaves time for another attempt
        if (repeatable && attempt < attempts) return await within(wait + timeout / attempts, run, signal);
        return await run(signal);
      } catch (error) {
        const fate = fateOf(error);
        const harmless = fate !== "refused" && (fate !== "unknown" || repeatable);
        if (signal.aborted || !harmless) throw error;
        if (fate === "expired") await this.#refresh();
        // at once, and where there is to be one attempt only too
        if (attempt === 1 && (fate === "expired" || fate === "skewed")) continue;
        if (attempt >= attempts) throw error;
        await pause(spread(backoff(fate === "throttled" ? THROTTLED : RETRY.send, attempt)), signal);
      }
    }
  }

  /** Has the key asked for again, although it did not look expired. */
  async #refresh(): Promise<void> {
    const force = { forceRefresh: true };
    await Promise.all([this.sqs.config.credentials(force), this.sns.config.credentials(force)]);
  }

  /**
   * Makes a request of up to {@linkcode BATCH} entries; one result for each: the error, or nothing if it was done.
   * Entries that AWS says it failed to take are tried again, for they were surely not done.
   */
  async batch<T>(
    doing: string,
    items: readonly T[],
    run: (entries: { Id: string; item: T }[], abortSignal: AbortSignal) => Promise<readonly FailedEntry[] | undefined>,
    options: CallOptions,
  ): Promise<(BusError | undefined)[]> {
    const results: (BusError | undefined)[] = items.map(() => undefined);
    let entries = items.map((item, index) => ({ Id: String(index), item }));
    for (let attempt = 1; entries.length > 0; attempt++) {
      let failed: readonly FailedEntry[];
      try {
        failed = await this.call(doing, (signal) => run(entries, signal), options) ?? [];
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

  /** Gives up what is under way, and closes the sockets. */
  close(): void {
    this.#closing.abort(new ClosedError());
    this.sqs.destroy();
    this.sns.destroy();
  }
}

/** Runs a request that is given up after so many milliseconds, or when the signal aborts. */
async function within<O>(ms: number, run: (signal: AbortSignal) => Promise<O>, signal: AbortSignal): Promise<O> {
  const abort = new AbortController();
  const end = () => abort.abort(signal.reason);
  const timer = setTimeout(end, ms);
  signal.addEventListener("abort", end);
  try {
    return await run(abort.signal);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", end);
  }
}

/** Makes a request to a queue that was just made: SQS may need a second to know it. */
export async function soon<O>(request: () => Promise<O>, signal: AbortSignal): Promise<O> {
  for (let attempt = 1;; attempt++) {
    try {
      return await request();
    } catch (error) {
      if (!noQueue(error) || signal.aborted || attempt === NEW_QUEUE_ATTEMPTS) throw error;
      await pause(spread(backoff(RETRY.send, attempt)), signal);
    }
  }
}

/** Shortens a pause by up to half, at random, so that buses that were throttled together do not come back together. */
function spread(ms: number): number {
  return ms * (0.5 + Math.random() / 2);
}
