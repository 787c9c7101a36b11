/**
 * The sending half: publishes to SNS, and posts and puts to SQS, in batches.
 *
 * @module
 */
import { PublishBatchCommand } from "@aws-sdk/client-sns";
import { DeleteQueueCommand, SendMessageBatchCommand } from "@aws-sdk/client-sqs";
import { type BusError, ClosedError, inWords, UnsupportedError } from "../../errors.ts";
import { within } from "../../internal/time.ts";
import type {
  QueueInspector,
  QueueStats,
  RegisteredServer,
  Sender,
  SenderContext,
  SendOptions,
  ServersOptions,
} from "../../provider/provider.ts";
import { type AskCredentials, AwsClient, REPEATABLE } from "./client.ts";
import { Batcher } from "./batcher.ts";
import { noQueue, noTopic, toBusError } from "./errors.ts";
import { keepsOrder, Names } from "./names.ts";
import type { Settings } from "./options.ts";
import type { Arns } from "./arns.ts";
import { Queues } from "./queues.ts";
import { Registry } from "./registry.ts";
import { type Outgoing, PATTERNS_TTL, write } from "./message.ts";

/** The number of requests of one topic or queue that run at once. More would take sockets from other topics and queues. */
const PARALLEL = 8;
/** Milliseconds that closing waits for running requests. */
const CLOSE_TIMEOUT = 500;

/** An event that is being published. */
interface Event {
  readonly message: Outgoing;
  /** The publish in the user's words: a request can have events of several topics, and SNS has names of its own. */
  readonly doing: string;
  /** True if the topic does not exist. */
  missing: boolean;
}

/** The sending half of a bus. */
export class AwsSender implements Sender {
  readonly inspector: QueueInspector = {
    stats: (queue) => this.#stats(queue),
  };
  readonly #client: AwsClient;
  readonly #names: Names;
  readonly #queues: Queues;
  readonly #registry: Registry;
  readonly #context: SenderContext;
  readonly #events: Batcher<Event>;
  readonly #posts: Batcher<Outgoing>;
  readonly #items: Batcher<Outgoing & { readonly delay?: number }>;
  #arns: Promise<Arns> | undefined;
  #noPatternsUntil = 0;
  #closed = false;

  /** Prepares the half without connecting: the clients connect when they are first used. */
  constructor(settings: Settings, ask: AskCredentials, context: SenderContext) {
    this.#client = new AwsClient(settings, ask, context.sendTimeout);
    this.#names = new Names(context.namespace);
    this.#queues = new Queues(this.#client, this.#names, false);
    this.#registry = new Registry(this.#client);
    this.#context = context;
    const parallel = () => PARALLEL;
    const size = (message: Outgoing) => message.size;
    this.#events = new Batcher((topic, events) => this.#publish(topic, events), {
      parallel,
      size: ({ message }) => message.size,
    });
    this.#posts = new Batcher((inbox, messages) => this.#post(inbox, messages), { parallel, size });
    this.#items = new Batcher((queue, items) => this.#queues.put(queue, items), {
      parallel: (queue) => keepsOrder(queue) ? 1 : PARALLEL,
      size,
    });
    void this.#getArns(); // now, because refusals are posted after the receiver has closed
  }

  async publish(topic: string, body: string): Promise<number | undefined> {
    this.#throwIfClosed();
    const doing = `publish to "${topic}"`;
    const event = { message: write(body, { topic }, doing), doing, missing: false };
    const all = { message: write(body, { topic, all: true }, doing), doing, missing: false };
    const asked = performance.now();
    const patterns = asked >= this.#noPatternsUntil;
    await Promise.all([
      this.#events.add(this.#names.topic(topic), event),
      patterns ? this.#events.add(this.#names.all, all) : undefined,
    ]);
    if (patterns && all.missing) this.#noPatternsUntil = asked + PATTERNS_TTL;
    return event.missing && (all.missing || !patterns) ? 0 : undefined;
  }

  async post(inbox: string, body: string): Promise<boolean | undefined> {
    this.#throwIfClosed();
    if (!this.#names.ownsBus(inbox)) return false;
    const message = write(body, { inbox: true }, `post to inbox ${inbox}`);
    try {
      await this.#posts.add(inbox, message);
      return true;
    } catch (error) {
      if (!noQueue((error as BusError).cause)) throw error;
      this.#registry.forget(inbox);
      return false;
    }
  }

  async servers(topic: string, { max = Infinity }: ServersOptions = {}): Promise<RegisteredServer[]> {
    this.#throwIfClosed();
    try {
      const inboxes = await this.#registry.servers(this.#names.registry(topic), await this.#getArns(), max);
      return inboxes.map((inbox) => ({ inbox }));
    } catch (error) {
      throw toBusError(`look up the servers of "${topic}"`, error);
    }
  }

  async send(queue: string, body: string, options: SendOptions): Promise<void> {
    this.#throwIfClosed();
    options.signal?.throwIfAborted();
    const doing = `put into queue "${queue}"`;
    const message = write(body, {}, doing);
    const { delay = 0 } = options;
    if (delay > 0 && keepsOrder(queue)) {
      throw new UnsupportedError(`Cannot ${doing} with a delay: a FIFO queue of SQS cannot delay a single item`);
    }
    await this.#items.add(queue, delay > 0 ? { ...message, delay: Math.ceil(delay / 1_000) } : message);
  }

  async size(queue: string): Promise<number> {
    return (await this.#stats(queue)).waiting;
  }

  async drop(queue: string): Promise<void> {
    this.#throwIfClosed();
    this.#queues.forget(queue);
    try {
      const QueueUrl = await this.#queues.find(queue);
      if (QueueUrl === undefined) return;
      await this.#client.call(
        `free queue "${queue}"`,
        (http) => this.#client.sqs.send(new DeleteQueueCommand({ QueueUrl }), http),
        REPEATABLE,
      );
    } catch (error) {
      if (!noQueue(error)) throw toBusError(`free queue "${queue}"`, error);
    }
  }

  /** Waits a moment for messages that no caller awaits, such as the refusal of a late call. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await within(CLOSE_TIMEOUT, Promise.all([this.#events.idle(), this.#posts.idle(), this.#items.idle()]));
    this.#client.close();
  }

  async #stats(queue: string): Promise<Required<QueueStats>> {
    this.#throwIfClosed();
    try {
      return await this.#queues.count(queue);
    } catch (error) {
      throw toBusError(`count the items of queue "${queue}"`, error);
    }
  }

  #throwIfClosed(): void {
    if (this.#closed) throw new ClosedError();
  }

  /** Returns the prefixes of ARNs, which the receiver learns from its queue. */
  #getArns(): Promise<Arns> {
    this.#arns ??= this.#context.ask("arns", undefined).then((arns) => arns as Arns);
    this.#arns.catch(() => this.#arns = undefined);
    return this.#arns;
  }

  async #publish(topic: string, events: Event[]): Promise<(BusError | undefined)[]> {
    const doing = `publish to topic ${topic}`;
    try {
      const TopicArn = (await this.#getArns()).topicArn + topic;
      const results = await this.#client.batch(doing, events, async (entries, http) => {
        const PublishBatchRequestEntries = entries.map(({ Id, item: { message } }) => (
          { Id, Message: message.body, MessageAttributes: message.attributes }
        ));
        const command = new PublishBatchCommand({ TopicArn, PublishBatchRequestEntries });
        return (await this.#client.sns.send(command, http)).Failed;
      }, { repeatable: false });
      return results.map((error, index) => {
        if (!error || !noTopic(error.cause)) return error && inWords(events[index]!.doing, error);
        events[index]!.missing = true;
        return undefined;
      });
    } catch (error) {
      return events.map(({ doing }) => inWords(doing, toBusError(doing, error)));
    }
  }

  async #post(inbox: string, messages: Outgoing[]): Promise<(BusError | undefined)[]> {
    const doing = `post to inbox ${inbox}`;
    try {
      const QueueUrl = (await this.#getArns()).queueUrl + inbox;
      return await this.#client.batch(doing, messages, async (entries, http) => {
        const Entries = entries.map(({ Id, item }) => (
          { Id, MessageBody: item.body, MessageAttributes: item.attributes }
        ));
        return (await this.#client.sqs.send(new SendMessageBatchCommand({ QueueUrl, Entries }), http))
          .Failed;
      }, { repeatable: false });
    } catch (error) {
      return messages.map(() => toBusError(doing, error));
    }
  }
}
