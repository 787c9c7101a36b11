/**
 * Reads the bus's own queue with long polls. It runs several polls at once while the queue is long, and deletes messages in batches.
 *
 * @module
 */
import {
  ChangeMessageVisibilityBatchCommand,
  DeleteMessageBatchCommand,
  type Message,
  ReceiveMessageCommand,
} from "@aws-sdk/client-sqs";
import { backoff, pause, RETRY } from "../../internal/time.ts";
import { type AwsClient, BATCH, REPEATABLE } from "./client.ts";
import type { BusQueue } from "./bus_queue.ts";
import { noQueue, toBusError } from "./errors.ts";
import { ATTRIBUTE, type Content, read } from "./message.ts";
import type { Settings } from "./options.ts";

/** The largest number of polls that run at once, while each returns a full batch. */
const PARALLEL = 4;
/** Milliseconds for which delivered messages wait to be deleted in one batch. It is less than their visibility timeout. */
const LINGER = 1_000;
/** Seconds until SQS delivers an event again that the bus has no room for. */
const DEFER = 5;
/** Milliseconds between polls while the bus has no room for events. It still polls, because it needs the answers between them. */
const CONGESTED_PAUSE = 100;
/** Milliseconds after which a long poll without an answer shows that the queue is empty. */
const EMPTY_AFTER = 40;
/** Milliseconds between checks whether the queue is empty. */
const CHECK = 5;
/** The largest number of remembered ids of delivered messages whose deletion is not confirmed. */
const REMEMBERED = 10_000;

/** The callbacks of a reader. */
export interface ReaderEvents {
  /** Delivers a message; returns false if there is no room for it now. */
  deliver(content: Content): boolean;
  /** Called when the queue was deleted. Resolves with true when the queue exists again, with false when the bus closes. */
  deleted(): Promise<boolean>;
  /** Called when SQS becomes unreachable, and when it is reachable again. */
  state(connected: boolean, error?: unknown): void;
  /** Reports an error that belongs to no message. */
  fault(error: unknown): void;
}

/** Reads one queue until it is closed. */
export class BusQueueReader {
  readonly #polls: AwsClient;
  readonly #client: AwsClient;
  readonly #queue: BusQueue;
  readonly #seconds: number;
  readonly #enveloped: boolean;
  readonly #events: ReaderEvents;
  readonly #closing = new AbortController();
  /** Message id → receipt, of messages to delete. */
  #toDelete = new Map<string, string>();
  /** The ids of delivered messages whose deletion is not confirmed. If SQS redelivers one, it is deleted and not delivered again. */
  readonly #delivered = new Set<string>();
  #flush: ReturnType<typeof setTimeout> | undefined;
  #extraPolls = 0;
  #connected = true;
  /** The time when the running long poll began, in milliseconds of `performance.now()`. */
  #pollingSince: number | undefined;
  /** The time when the last message was read. */
  #readAt = -Infinity;

  /** Starts to read. It polls with `polls`, and deletes with `client`. */
  constructor(polls: AwsClient, client: AwsClient, queue: BusQueue, settings: Settings, events: ReaderEvents) {
    this.#polls = polls;
    this.#client = client;
    this.#queue = queue;
    this.#seconds = settings.poll;
    this.#enveloped = !settings.rawDelivery;
    this.#events = events;
    void this.#run();
  }

  /**
   * Resolves when the queue seems empty, because the running poll has waited for a while and no message was read for `quiet` ms, or after
   * `limit` ms.
   */
  async empty(limit: number, quiet: number): Promise<void> {
    const deadline = performance.now() + limit;
    const { signal } = this.#closing;
    while (performance.now() < deadline && !signal.aborted) {
      const now = performance.now();
      if (this.#pollingSince !== undefined && this.#pollingSince + EMPTY_AFTER < now && this.#readAt + quiet < now) {
        return;
      }
      await pause(CHECK, signal);
    }
  }

  /** Stops reading. It deletes no more messages, because the queue itself is deleted. */
  close(): void {
    this.#closing.abort();
    clearTimeout(this.#flush);
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    let failures = 0;
    while (!signal.aborted) {
      try {
        this.#pollingSince = performance.now();
        // after a failure, a short poll shows soon that SQS is reachable again
        const count = await this.#poll(this.#connected ? this.#seconds : 0);
        failures = 0;
        this.#state(true);
        if (count === BATCH && this.#extraPolls === 0) {
          for (let poll = 1; poll < PARALLEL; poll++) void this.#pollMore();
        }
      } catch (error) {
        if (signal.aborted) return;
        this.#state(false, error);
        if (noQueue(error)) {
          if (!await this.#events.deleted()) return;
        } else {
          await pause(backoff(RETRY.restore, ++failures), signal);
        }
      }
    }
  }

  /** Adds polls, one at a time, until one returns less than a full batch. */
  async #pollMore(): Promise<void> {
    this.#extraPolls++;
    try {
      while (this.#connected && !this.#closing.signal.aborted && await this.#poll(0) === BATCH);
    } catch {
      // the first poll reports the error
    } finally {
      this.#extraPolls--;
    }
  }

  #state(connected: boolean, error?: unknown): void {
    if (connected === this.#connected) return;
    this.#connected = connected;
    this.#events.state(connected, error === undefined ? undefined : toBusError("read the queue of the bus", error));
  }

  async #poll(WaitTimeSeconds: number): Promise<number> {
    const { signal } = this.#closing;
    const command = new ReceiveMessageCommand({
      QueueUrl: this.#queue.url,
      MaxNumberOfMessages: BATCH,
      WaitTimeSeconds,
      MessageAttributeNames: [ATTRIBUTE],
    });
    const { Messages = [] } = await this.#polls.call(
      "read the queue of the bus",
      (http) => this.#polls.sqs.send(command, http),
      { repeatable: true, attempts: 1, signal, wait: WaitTimeSeconds * 1_000 },
    );
    this.#pollingSince = undefined;
    if (signal.aborted) return 0;
    if (Messages.length > 0) this.#readAt = performance.now();
    const deferred = Messages.filter((message) => !this.#deliver(message));
    if (deferred.length > 0) {
      await this.#defer(deferred);
      await pause(CONGESTED_PAUSE, signal);
    }
    return Messages.length;
  }

  #deliver(message: Message): boolean {
    const id = message.MessageId!;
    if (!this.#delivered.has(id) && !this.#events.deliver(read(message, this.#enveloped))) return false;
    this.#delivered.add(id);
    this.#toDelete.set(id, message.ReceiptHandle!);
    if (this.#toDelete.size >= BATCH) this.#delete();
    else this.#flush ??= setTimeout(() => this.#delete(), LINGER);
    return true;
  }

  #delete(): void {
    clearTimeout(this.#flush);
    this.#flush = undefined;
    const deleted = [...this.#toDelete];
    this.#toDelete = new Map();
    const QueueUrl = this.#queue.url;
    void this.#client.batch("delete messages that were read", deleted, async (entries, http) => {
      const Entries = entries.map(({ Id, item: [, ReceiptHandle] }) => ({ Id, ReceiptHandle }));
      return (await this.#client.sqs.send(new DeleteMessageBatchCommand({ QueueUrl, Entries }), http))
        .Failed;
    }, REPEATABLE).then((results) => {
      if (this.#delivered.size > REMEMBERED) this.#delivered.clear();
      results.forEach((error, index) => {
        if (!error) this.#delivered.delete(deleted[index]![0]);
      });
      const error = results.find((error) => error !== undefined);
      if (error && !this.#closing.signal.aborted && !noQueue(error.cause)) this.#events.fault(error);
    });
  }

  /** Makes SQS deliver these events again later. */
  async #defer(messages: readonly Message[]): Promise<void> {
    const QueueUrl = this.#queue.url;
    await this.#client.batch("delay events", messages, async (entries, http) => {
      const Entries = entries.map(({ Id, item }) => (
        { Id, ReceiptHandle: item.ReceiptHandle, VisibilityTimeout: DEFER }
      ));
      const command = new ChangeMessageVisibilityBatchCommand({ QueueUrl, Entries });
      return (await this.#client.sqs.send(command, http)).Failed;
    }, REPEATABLE);
  }
}
