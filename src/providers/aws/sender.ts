/**
 * The sending half: publishes by SNS, posts and puts by SQS, in batches.
 *
 * @module
 */
import { PublishBatchCommand } from "@aws-sdk/client-sns";
import { DeleteQueueCommand, SendMessageBatchCommand } from "@aws-sdk/client-sqs";
import { type BusError, ClosedError } from "../../errors.ts";
import { pause } from "../../internal/time.ts";
import type { RegisteredServer, Sender, SenderContext, SendOptions } from "../../provider/provider.ts";
import { type AskCredentials, AwsClient } from "./client.ts";
import { Batcher } from "./batcher.ts";
import { noQueue, noTopic, toBusError } from "./errors.ts";
import { keepsOrder, Names } from "./names.ts";
import type { Settings } from "./options.ts";
import type { Arns } from "./arns.ts";
import { Queues } from "./queues.ts";
import { Registry } from "./registry.ts";
import { type Outgoing, PATTERNS_TTL, write } from "./message.ts";

/** Requests of one topic or queue under way at once: more only take sockets from others. */
const PARALLEL = 8;
/** Milliseconds that closing waits for what is under way. */
const LAST_MOMENT = 500;

/** An event on its way to a topic. */
interface Event {
  readonly message: Outgoing;
  /** Set when there is no such topic. */
  missing: boolean;
}

/** The sending half. */
export class AwsSender implements Sender {
  readonly #client: AwsClient;
  readonly #names: Names;
  readonly #queues: Queues;
  readonly #registry: Registry;
  readonly #context: SenderContext;
  readonly #events: Batcher<Event>;
  readonly #posts: Batcher<Outgoing>;
  readonly #items: Batcher<Outgoing>;
  #arns: Promise<Arns> | undefined;
  #noPatternsUntil = 0;
  #closed = false;

  /** Opens nothing: clients connect when they are used. */
  constructor(settings: Settings, ask: AskCredentials, context: SenderContext) {
    this.#client = new AwsClient(settings, ask, context.sendTimeout);
    this.#names = new Names(context.namespace);
    this.#queues = new Queues(this.#client, this.#names);
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
  }

  async publish(topic: string, body: string): Promise<number | undefined> {
    this.#check();
    const doing = `publish to "${topic}"`;
    const event = { message: write(body, { topic }, doing), missing: false };
    const all = { message: write(body, { topic, all: true }, doing), missing: false };
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
    this.#check();
    const message = write(body, { inbox: true }, `post to inbox ${inbox}`);
    try {
      await this.#posts.add(inbox, message);
      return true;
    } catch (error) {
      if (!noQueue((error as BusError).cause)) throw error;
      this.#registry.gone(inbox);
      return false;
    }
  }

  async servers(topic: string): Promise<RegisteredServer[]> {
    this.#check();
    try {
      const inboxes = await this.#registry.look(this.#names.registry(topic), await this.#where());
      return inboxes.map((inbox) => ({ inbox }));
    } catch (error) {
      throw toBusError(`look for servers of "${topic}"`, error);
    }
  }

  async send(queue: string, body: string, options: SendOptions): Promise<void> {
    this.#check();
    options.signal?.throwIfAborted();
    await this.#items.add(queue, write(body, {}, `put into queue "${queue}"`));
  }

  async size(queue: string): Promise<number> {
    this.#check();
    try {
      return await this.#queues.count(queue);
    } catch (error) {
      throw toBusError(`count queue "${queue}"`, error);
    }
  }

  async drop(queue: string): Promise<void> {
    this.#check();
    this.#queues.forget(queue);
    try {
      const QueueUrl = await this.#queues.find(queue);
      if (QueueUrl === undefined) return;
      await this.#client.call(
        `free queue "${queue}"`,
        (abortSignal) => this.#client.sqs.send(new DeleteQueueCommand({ QueueUrl }), { abortSignal }),
        { repeatable: true },
      );
    } catch (error) {
      if (!noQueue(error)) throw toBusError(`free queue "${queue}"`, error);
    }
  }

  /** What nobody waited for, such as a refusal of a call that came late, has a last moment to leave. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const late = new AbortController();
    const left = Promise.all([this.#events.idle(), this.#posts.idle(), this.#items.idle()]);
    await Promise.race([left, pause(LAST_MOMENT, late.signal)]);
    late.abort();
    this.#client.close();
  }

  #check(): void {
    if (this.#closed) throw new ClosedError();
  }

  /** The worker knows from its queue where we are. */
  #where(): Promise<Arns> {
    this.#arns ??= this.#context.ask("arns", undefined).then((arns) => arns as Arns);
    this.#arns.catch(() => this.#arns = undefined);
    return this.#arns;
  }

  async #publish(topic: string, events: Event[]): Promise<(BusError | undefined)[]> {
    const doing = `publish to topic ${topic}`;
    try {
      const TopicArn = (await this.#where()).topicArn + topic;
      const results = await this.#client.batch(doing, events, async (entries, abortSignal) => {
        const PublishBatchRequestEntries = entries.map(({ Id, item: { message } }) => (
          { Id, Message: message.body, MessageAttributes: message.attributes }
        ));
        const command = new PublishBatchCommand({ TopicArn, PublishBatchRequestEntries });
        return (await this.#client.sns.send(command, { abortSignal })).Failed;
      }, { repeatable: false });
      return results.map((error, index) => {
        if (!error || !noTopic(error.cause)) return error;
        events[index]!.missing = true;
        return undefined;
      });
    } catch (error) {
      return events.map(() => toBusError(doing, error));
    }
  }

  async #post(inbox: string, messages: Outgoing[]): Promise<(BusError | undefined)[]> {
    const doing = `post to inbox ${inbox}`;
    try {
      const QueueUrl = (await this.#where()).queueUrl + inbox;
      return await this.#client.batch(doing, messages, async (entries, abortSignal) => {
        const Entries = entries.map(({ Id, item }) => (
          { Id, MessageBody: item.body, MessageAttributes: item.attributes }
        ));
        return (await this.#client.sqs.send(new SendMessageBatchCommand({ QueueUrl, Entries }), { abortSignal }))
          .Failed;
      }, { repeatable: false });
    } catch (error) {
      return messages.map(() => toBusError(doing, error));
    }
  }
}
