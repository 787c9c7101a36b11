/**
 * The URLs of named queues, which are requested once. A queue is created when it is first used.
 *
 * @module
 */
import {
  GetQueueAttributesCommand,
  GetQueueUrlCommand,
  type QueueAttributeName,
  SendMessageBatchCommand,
} from "@aws-sdk/client-sqs";
import type { BusError } from "../../errors.ts";
import type { QueueStats } from "../../provider/provider.ts";
import { LimitedMap } from "../../internal/caches.ts";
import { type AwsClient, REPEATABLE, retryNewQueue } from "./client.ts";
import { noQueue } from "./errors.ts";
import { keepsOrder, type Names } from "./names.ts";
import type { Outgoing } from "./message.ts";
import { createQueue, denyRedrive } from "./redrive.ts";

/** The counts of items that wait, are leased or given back with a delay, and were put with a delay. */
const COUNTS = [
  "ApproximateNumberOfMessages",
  "ApproximateNumberOfMessagesNotVisible",
  "ApproximateNumberOfMessagesDelayed",
] as const satisfies readonly QueueAttributeName[];
/** The counts of a queue that does not exist. */
const NONE = { waiting: 0, leased: 0, delayed: 0 };
/** The message group of all items of a FIFO queue. */
const GROUP = "tsmq";
/** The largest number of cached URLs. */
const REMEMBERED = 10_000;

/** The named queues of a namespace. */
export class Queues {
  readonly #client: AwsClient;
  readonly #names: Names;
  readonly #reads: boolean;
  readonly #urls = new LimitedMap<Promise<string>>(REMEMBERED);

  /** Prepares requests to queues with these names. `reads` is true for the half that receives items. */
  constructor(client: AwsClient, names: Names, reads: boolean) {
    this.#client = client;
    this.#names = names;
    this.#reads = reads;
  }

  /**
   * Makes a request with the URL of the queue. Creates the queue if it does not exist, even if it was freed meanwhile and is still `wanted`.
   */
  async withUrl<O>(
    queue: string,
    signal: AbortSignal,
    run: (url: string) => Promise<O>,
    wanted: () => boolean = () => true,
  ): Promise<O> {
    try {
      return await run(await this.#url(queue));
    } catch (error) {
      if (!noQueue(error)) throw error;
      this.forget(queue);
      if (!wanted()) throw error;
      const url = await this.#remember(queue, () => this.#create(queue));
      return await retryNewQueue(() => run(url), signal);
    }
  }

  /** Makes a request with the URL of a queue from which items were received; rejects if the queue was freed since. */
  async withKnownUrl<O>(queue: string, run: (url: string) => Promise<O>): Promise<O> {
    try {
      return await run(await (this.#urls.get(queue) ?? this.#ask(queue)));
    } catch (error) {
      if (noQueue(error)) this.forget(queue);
      throw error;
    }
  }

  /**
   * Puts up to ten items, each after a delay in seconds. Returns an error or `undefined` for each. With `back`, it does not create a queue
   * that was freed.
   */
  put(
    queue: string,
    items: readonly (Outgoing & { readonly delay?: number })[],
    back = false,
  ): Promise<(BusError | undefined)[]> {
    const ordered = keepsOrder(queue);
    const doing = back ? `put back into queue "${queue}"` : `put into queue "${queue}"`;
    // FIFO queues drop duplicates by this id, so a send may be repeated
    const grouped = items.map((item) => (
      { item, order: ordered ? { MessageGroupId: GROUP, MessageDeduplicationId: crypto.randomUUID() } : {} }
    ));
    return this.#client.batch(doing, grouped, (entries, http) => {
      const send = async (QueueUrl: string) => {
        const Entries = entries.map(({ Id, item: { item, order } }) => (
          { Id, MessageBody: item.body, MessageAttributes: item.attributes, DelaySeconds: item.delay, ...order }
        ));
        return (await this.#client.sqs.send(new SendMessageBatchCommand({ QueueUrl, Entries }), http))
          .Failed;
      };
      return back ? this.withKnownUrl(queue, send) : this.withUrl(queue, http.abortSignal, send);
    }, { repeatable: ordered });
  }

  /** Returns the URL of the queue, if it exists. It neither creates nor remembers it. */
  async find(queue: string): Promise<string | undefined> {
    try {
      return await this.#ask(queue);
    } catch (error) {
      if (noQueue(error)) return undefined;
      throw error;
    }
  }

  /** Returns the approximate numbers of items. 0 if the queue does not exist. */
  async count(queue: string): Promise<Required<QueueStats>> {
    const QueueUrl = await this.find(queue);
    return QueueUrl === undefined ? NONE : await countItems(this.#client, QueueUrl, queue);
  }

  /** Forgets the URL of a queue that was freed. */
  forget(queue: string): void {
    this.#urls.delete(queue);
  }

  #url(queue: string): Promise<string> {
    return this.#urls.get(queue) ??
      this.#remember(queue, async () => await this.#prepare(queue) ?? await this.#create(queue));
  }

  #remember(queue: string, get: () => Promise<string>): Promise<string> {
    const url = get();
    this.#urls.set(queue, url);
    url.catch(() => {
      if (this.#urls.get(queue) === url) this.#urls.delete(queue);
    });
    return url;
  }

  async #ask(queue: string): Promise<string> {
    const command = () => new GetQueueUrlCommand({ QueueName: this.#names.queue(queue) });
    const found = await this.#client.call(
      `look for queue "${queue}"`,
      (http) => this.#client.sqs.send(command(), http),
      REPEATABLE,
    );
    return found.QueueUrl!;
  }

  /** Returns the URL of a queue that exists. */
  async #prepare(queue: string): Promise<string | undefined> {
    const url = await this.find(queue);
    if (url !== undefined && this.#reads) await denyRedrive(this.#client, url);
    return url;
  }

  async #create(queue: string): Promise<string> {
    const QueueName = this.#names.queue(queue);
    const Attributes = keepsOrder(QueueName) ? { FifoQueue: "true" } : undefined;
    return await createQueue(this.#client, `create queue "${queue}"`, { QueueName, Attributes });
  }
}

/** Returns the approximate numbers of items of the queue with this URL: zeros if it does not exist. */
export async function countItems(client: AwsClient, QueueUrl: string, queue: string): Promise<Required<QueueStats>> {
  const command = new GetQueueAttributesCommand({ QueueUrl, AttributeNames: [...COUNTS] });
  try {
    const { Attributes } = await client.call(
      `count the items of queue "${queue}"`,
      (http) => client.sqs.send(command, http),
      REPEATABLE,
    );
    const [waiting, leased, delayed] = COUNTS.map((name) => Number(Attributes?.[name] ?? 0)) as [
      number,
      number,
      number,
    ];
    return { waiting, leased, delayed };
  } catch (error) {
    if (noQueue(error)) return NONE;
    throw error;
  }
}
