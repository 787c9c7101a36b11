/**
 * Reads a bus's own queue: long polls, more of them at once while there is much to read, deletes in batches.
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
import { type AwsClient, BATCH } from "./client.ts";
import type { BusQueue } from "./bus_queue.ts";
import { noQueue, toBusError } from "./errors.ts";
import { ATTRIBUTE, type Content, read } from "./message.ts";

/** Polls under way at once while each brings as much as it can. */
const LANES = 4;
/** Milliseconds for which messages that were read wait for others to be deleted with them; less than the visibility. */
const LINGER = 1_000;
/** Seconds after which an event that main has no room for comes again. */
const DEFER = 5;
/** Milliseconds between polls while main has no room: only answers are taken out of what is read. */
const CONGESTED_PAUSE = 100;
/** Milliseconds after which a poll that waits says that there is nothing to read. */
const QUIET = 40;
/** Milliseconds between looks at that. */
const LOOK = 5;
/** Messages remembered at most that may not be deleted yet. */
const TAKEN = 10_000;

/** What a pump does with what it reads. */
export interface ReaderEvents {
  /** Takes a message; false: there is no room for it now. */
  take(content: Content): boolean;
  /** The queue was deleted; resolves when it is there again, or with false when it never will. */
  lost(): Promise<boolean>;
  /** The way to SQS went down, or is up again. */
  state(connected: boolean, error?: unknown): void;
  /** Something that belongs to no message failed. */
  fault(error: unknown): void;
}

/** The reader of one queue. */
export class BusQueueReader {
  readonly #polls: AwsClient;
  readonly #client: AwsClient;
  readonly #queue: BusQueue;
  readonly #seconds: number;
  readonly #events: ReaderEvents;
  readonly #closing = new AbortController();
  /** Receipts of messages to delete, by the message's id. */
  #done = new Map<string, string>();
  /** Messages that were taken and perhaps not deleted yet: those that come again are not taken again. */
  readonly #taken = new Set<string>();
  #flush: ReturnType<typeof setTimeout> | undefined;
  #lanes = 0;
  #connected = true;
  /** When the poll began that is under way, in milliseconds of `performance.now()`. */
  #waiting: number | undefined;

  /** Reads by `polls`, deletes by `api`. */
  constructor(polls: AwsClient, client: AwsClient, queue: BusQueue, seconds: number, events: ReaderEvents) {
    this.#polls = polls;
    this.#client = client;
    this.#queue = queue;
    this.#seconds = seconds;
    this.#events = events;
    void this.#run();
  }

  /** Resolves when the queue looks empty: the poll under way has been waiting for a while. Not later than after `limit` ms. */
  async quiet(limit: number): Promise<void> {
    const deadline = performance.now() + limit;
    const { signal } = this.#closing;
    while (performance.now() < deadline && !signal.aborted) {
      if (this.#waiting !== undefined && this.#waiting + QUIET < performance.now()) return;
      await pause(LOOK, signal);
    }
  }

  /** Stops reading. What was read is not deleted any more: the queue goes. */
  close(): void {
    this.#closing.abort();
    clearTimeout(this.#flush);
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    let failures = 0;
    while (!signal.aborted) {
      try {
        this.#waiting = performance.now();
        // after a failure a short poll tells soon that the way is open again
        const count = await this.#poll(this.#connected ? this.#seconds : 0);
        failures = 0;
        this.#state(true);
        if (count === BATCH && this.#lanes === 0) { for (let lane = 1; lane < LANES; lane++) void this.#lane(); }
      } catch (error) {
        if (signal.aborted) return;
        this.#state(false, error);
        if (noQueue(error)) {
          if (!await this.#events.lost()) return;
        } else {
          await pause(backoff(RETRY.restore, ++failures), signal);
        }
      }
    }
  }

  /** One more at a time, until it brings less than it could. */
  async #lane(): Promise<void> {
    this.#lanes++;
    try {
      while (this.#connected && !this.#closing.signal.aborted && await this.#poll(0) === BATCH);
    } catch {
      // the first lane tells
    } finally {
      this.#lanes--;
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
      (abortSignal) => this.#polls.sqs.send(command, { abortSignal }),
      { repeatable: true, attempts: 1, signal, wait: WaitTimeSeconds * 1_000 },
    );
    this.#waiting = undefined;
    if (signal.aborted) return 0;
    const deferred = Messages.filter((message) => !this.#take(message));
    if (deferred.length > 0) {
      await this.#defer(deferred);
      await pause(CONGESTED_PAUSE, signal);
    }
    return Messages.length;
  }

  #take(message: Message): boolean {
    const id = message.MessageId!;
    if (!this.#taken.has(id) && !this.#events.take(read(message))) return false;
    this.#taken.add(id);
    this.#done.set(id, message.ReceiptHandle!);
    if (this.#done.size >= BATCH) this.#delete();
    else this.#flush ??= setTimeout(() => this.#delete(), LINGER);
    return true;
  }

  #delete(): void {
    clearTimeout(this.#flush);
    this.#flush = undefined;
    const done = [...this.#done];
    this.#done = new Map();
    const QueueUrl = this.#queue.url;
    void this.#client.batch("delete messages that were read", done, async (entries, abortSignal) => {
      const Entries = entries.map(({ Id, item: [, ReceiptHandle] }) => ({ Id, ReceiptHandle }));
      return (await this.#client.sqs.send(new DeleteMessageBatchCommand({ QueueUrl, Entries }), { abortSignal }))
        .Failed;
    }, { repeatable: true }).then((results) => {
      if (this.#taken.size > TAKEN) this.#taken.clear();
      results.forEach((error, index) => {
        if (!error) this.#taken.delete(done[index]![0]);
      });
      const error = results.find((error) => error !== undefined);
      if (error && !this.#closing.signal.aborted && !noQueue(error.cause)) this.#events.fault(error);
    });
  }

  /** Lets events come again later: SQS keeps them meanwhile. */
  async #defer(messages: readonly Message[]): Promise<void> {
    const QueueUrl = this.#queue.url;
    await this.#client.batch("leave events for later", messages, async (entries, abortSignal) => {
      const Entries = entries.map(({ Id, item }) => (
        { Id, ReceiptHandle: item.ReceiptHandle, VisibilityTimeout: DEFER }
      ));
      const command = new ChangeMessageVisibilityBatchCommand({ QueueUrl, Entries });
      return (await this.#client.sqs.send(command, { abortSignal })).Failed;
    }, { repeatable: true });
  }
}
