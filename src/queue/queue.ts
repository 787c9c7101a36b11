/**
 * The class `Queue`: put, get, receive and consume.
 *
 * @module
 */
import { withTrace } from "../codec/envelope.ts";
import { checkHeaders } from "../codec/headers.ts";
import { checkDepth } from "../codec/plain.ts";
import { DeadLetters } from "./dead_letters.ts";
import { PEEK, peek, type Peeked, type PeekOptions, type Unreadable } from "./peek.ts";
import { ITEM, type ItemOptions, PUT, type PutOptions, withinLimit } from "./put.ts";
import { CONSUME, consume, type ConsumeOptions, type Consumer } from "./consumer.ts";
import { Deliveries, type Opened } from "./deliveries.ts";
import { HeldLease, type Lease, leaseOf } from "./lease.ts";
import type { Core } from "../core.ts";
import { BusError, ClosedError, closedWhile, QueueEmptyError } from "../errors.ts";
import type { QueueStats } from "../provider/provider.ts";
import { checkName, type OptionChecks, optionNames, refuseUnknown } from "../internal/arguments.ts";
import { isA } from "../internal/thrown.ts";
import { checkSchema, type StandardSchemaV1, validate } from "../codec/schema.ts";

/** The number of items in one request of a purge. */
const PURGE_BATCH = 256;

/** Options of `queue`. */
export interface QueueOptions<S extends StandardSchemaV1 | undefined = StandardSchemaV1 | undefined> {
  /** A schema that validates items: `put` sends its input, `get` and `receive` return its output. */
  readonly schema?: S;
  /** The name of the dead-letter queue that `receive`, `consume` and {@linkcode Queue.dead} use. Default: the queue's name plus `.dead`. */
  readonly deadLetter?: string;
}

/** Options of {@linkcode Queue.get}. */
export interface WaitOptions {
  /** Whether to wait. Default true. */
  readonly block?: boolean;
  /** Milliseconds to wait. With 0 it does not wait. Default: no limit. */
  readonly timeout?: number;
  /** A signal that cancels the wait. The promise rejects with the signal's reason, and no item is lost. */
  readonly signal?: AbortSignal;
}

/** Options of {@linkcode Queue.receive}. */
export interface ReceiveOptions extends WaitOptions {
  /** Milliseconds after which the item is redelivered if this process dies. The bus extends the lease until it is settled. Default 30,000. */
  readonly lease?: number;
}

/** The names of the options of a queue, of `get` and of `receive`. */
const QUEUE = optionNames<QueueOptions>({ schema: true, deadLetter: true });
const GET = optionNames<WaitOptions>({ block: true, timeout: true, signal: true });
const RECEIVE = optionNames<ReceiveOptions>({ block: true, timeout: true, signal: true, lease: true });

/** A named queue. Each item goes to one consumer, oldest first. `for await` takes items until the queue is closed. */
export class Queue<T = unknown, I = T> implements AsyncIterable<T> {
  /** The name of the queue. */
  readonly name: string;
  /** The dead letters of the queue. */
  readonly dead: DeadLetters<I>;
  #schema: StandardSchemaV1 | undefined;
  #core: Core;
  #deliveries: Deliveries;
  #closing = new AbortController();
  /** Aborts when this handle or the bus closes. */
  #ended: AbortSignal;

  /** Created by `queue` of a bus. */
  constructor(name: string, options: QueueOptions, core: Core) {
    this.name = checkName("a queue", name);
    const check = refuseUnknown(options, QUEUE, "use queue", "", name);
    this.#schema = checkSchema(check, options.schema);
    this.#core = core;
    this.#ended = AbortSignal.any([this.#closing.signal, core.closing]);
    if (options.deadLetter !== undefined) check.deadLetter(name, options.deadLetter);
    this.#deliveries = new Deliveries(this.name, this.#schema, core, options.deadLetter);
    this.dead = new DeadLetters(this.name, this.#deliveries.deadLetter, core, (doing) => this.#checkOpen(doing));
  }

  /**
   * Puts an item at the end of the queue. Resolves when the transport has accepted it.
   *
   * @throws {QueueFullError} when there was no room in time, on transports whose queues can be full
   * @throws {ProviderError} "too_large"; or "unavailable" when it was not confirmed within `timeout` or `sendTimeout`: it may still arrive
   * @throws {UnsupportedError} when the delay is longer than the transport supports; nothing was sent
   * @throws {ValidationError} when the schema rejects the item, it cannot be encoded, or the headers or the delay are invalid
   */
  async put(item: I, options: PutOptions = {}): Promise<void> {
    this.#checkOpen("put into queue");
    const check = refuseUnknown(options, PUT, "put into queue", "", this.name);
    const wait = waitOf(check, options);
    check.signal(options.signal)?.throwIfAborted();
    const headers = checkHeaders(options.headers, "item");
    const delay = check.delay("delay", options.delay ?? 0, this.#core.features.maxPutDelay, "item");
    const { signal } = options;
    try {
      await this.#core.telemetry.observe(
        "put",
        this.name,
        (traceparent) =>
          withinLimit(this.#core, this.name, { wait, signal }, async (checkLimit) => {
            if (this.#schema) await validate(this.#schema, item, `an item of queue "${this.name}"`, "item");
            checkLimit();
            const { codec, envelopes } = this.#core;
            const encoded = codec.encode(item, `put into queue "${this.name}"`);
            const body = envelopes.seal("item", this.name, encoded, withTrace(headers, traceparent));
            await this.#core.sender.send(this.name, body, { wait, signal, delay });
            this.#core.activity.put(this.name);
          }),
      );
    } catch (error) {
      throw closedWhile(`put into queue "${this.name}"`, error);
    }
  }

  /** Puts an item without waiting for room. */
  async putNowait(item: I, options: ItemOptions = {}): Promise<void> {
    refuseUnknown(options, ITEM, "put into queue", "", this.name);
    return await this.put(item, { ...options, block: false });
  }

  /**
   * Takes the oldest item out of the queue. If this process dies, the item is lost; {@linkcode Queue.receive} prevents that. An item that
   * cannot be read, or is larger than `maxReceive`, is in the `body` of the error and nowhere else; `receive` and `consume` dead-letter it.
   *
   * @throws {QueueEmptyError} when there was no item in time
   * @throws {ProviderError} "unavailable" when the transport was unreachable at the end of that time
   * @throws {ValidationError} when the item cannot be decoded or the schema rejects it
   */
  async get(options: WaitOptions = {}): Promise<T> {
    const check = refuseUnknown(options, GET, "get from queue", "", this.name);
    const delivery = await this.#take("get", waitOf(check, options), check.signal(options.signal));
    return (await this.#deliveries.read(delivery)) as T;
  }

  /** Takes the oldest item without waiting. */
  getNowait(): Promise<T> {
    return this.get({ block: false });
  }

  /**
   * Receives the oldest item under a lease. The item is redelivered unless it is acknowledged. An item that cannot be decoded is moved to
   * the dead-letter queue, and the promise rejects.
   *
   * @throws {QueueEmptyError} when there was no item in time
   * @throws {ProviderError} "unavailable" when the transport was unreachable at the end of that time
   * @throws {ValidationError} when the item cannot be decoded or the schema rejects it
   */
  receive(options: ReceiveOptions = {}): Promise<Lease<T>> {
    return this.#core.receives.track(this.#receive(options));
  }

  /**
   * Runs a handler for each item, under a lease. The item is acknowledged when the handler has finished. If the handler throws, the bus
   * emits an `"error"` event and gives the item back, or moves it to a dead-letter queue after `maxAttempts`. While handlers are fast, the
   * consumer fetches up to 64 items ahead; none of them waits longer than 50 ms for its handler.
   */
  consume(handler: (item: T, lease: Lease<T>) => unknown, options: ConsumeOptions = {}): Consumer {
    this.#checkNotClosing("consume queue");
    const check = refuseUnknown(options, CONSUME, "consume queue", "", this.name);
    return consume(this.#deliveries, this.#ended, handler, options, check);
  }

  /** Resolves with the number of waiting items. Approximate if the transport's `Features` say so. */
  async qsize(): Promise<number> {
    this.#checkOpen("get the size of queue");
    return await this.#core.sender.size(this.name);
  }

  /** Resolves with true if no item waits. */
  async empty(): Promise<boolean> {
    return (await this.qsize()) === 0;
  }

  /**
   * Returns waiting items in the order in which they will be taken, without taking them. Leased and delayed items are not included. An item
   * that cannot be read has an `error` and its `body` in place of `item`. It may return fewer than `limit` items, at least one, if they
   * have more than 16 MiB, or their values take more than 64 MiB of memory.
   *
   * @throws {UnsupportedError} when the transport cannot peek: AWS
   */
  async peek(options: PeekOptions = {}): Promise<(Peeked<T> | Unreadable)[]> {
    this.#checkOpen("peek into queue");
    const check = refuseUnknown(options, PEEK, "peek into queue", "", this.name);
    return await peek<T>(this.#core, this.name, check, options, async (received) => {
      return checkDepth(await this.#deliveries.read(received));
    }, true);
  }

  /**
   * Resolves with the numbers of items that wait, are leased and are delayed; `undefined` for a number that the transport does not know.
   * Where `qsize` is exact, each item counts once. On POSIX queues, an item that a bus is taking at this moment may be missing.
   */
  async stats(): Promise<QueueStats> {
    this.#checkOpen("get the stats of queue");
    const { inspector } = this.#core.sender;
    const stats = inspector ? await inspector.stats(this.name) : { waiting: await this.qsize() };
    return { waiting: stats.waiting, leased: stats.leased, delayed: stats.delayed };
  }

  /**
   * Removes the items that wait, and resolves with their number, if it is known. Leased and delayed items and the queue stay: see `free`.
   */
  purge(): Promise<number | undefined> {
    return this.#core.receives.track(this.#purge());
  }

  /** Closes this handle and ends its waiting gets and its consumers. The queue and its items stay. */
  close(): void {
    this.#closing.abort(new ClosedError(`Cannot use queue "${this.name}": this handle was closed`));
  }

  /** Removes the queue with all its items, also those that are delayed or leased. */
  async free(): Promise<void> {
    this.#checkOpen("free queue");
    await this.#core.sender.drop(this.name);
  }

  /**
   * Yields each item, until the loop ends, or the handle or the bus is closed. If an item cannot be decoded, the bus emits an `"error"`
   * event and puts the item into the dead-letter queue, and the loop continues.
   */
  [Symbol.asyncIterator](): AsyncIterator<T, undefined> {
    const left = new AbortController();
    const done = { done: true, value: undefined } as const;
    return {
      next: async () => {
        while (!left.signal.aborted) {
          try {
            const delivery = await this.#take("get", Infinity, left.signal);
            const item = await this.#readOrDeadLetter(delivery);
            if (item) return { done: false, value: item.value };
          } catch (error) {
            if (left.signal.aborted || error instanceof ClosedError) break;
            // a dead worker is replaced, as for a consumer
            if (!(error instanceof BusError) || error.code !== "worker_died") throw error;
          }
        }
        return done;
      },
      // an item that arrives later goes to a waiting next(), or back to the queue
      return: () => {
        left.abort();
        return Promise.resolve(done);
      },
    };
  }

  #checkOpen(doing: string): void {
    if (this.#closing.signal.aborted) throw this.#closed(doing);
    this.#core.checkOpen(doing, "", this.name);
  }

  #checkNotClosing(doing: string): void {
    if (this.#closing.signal.aborted) throw this.#closed(doing);
    this.#core.checkNotClosing(doing, "", this.name);
  }

  #closed(doing: string): ClosedError {
    const closed = this.#closing.signal.aborted ? "this handle was closed" : "the bus is closed";
    return new ClosedError(`Cannot ${doing} "${this.name}": ${closed}`);
  }

  async #take(verb: "get" | "receive", wait: number, given?: AbortSignal, lease?: number): Promise<Opened> {
    const doing = `${verb} from queue`;
    this.#checkNotClosing(doing);
    given?.throwIfAborted();
    const signal = given ? AbortSignal.any([given, this.#ended]) : this.#ended;
    const since = performance.now();
    try {
      for (let left = wait;; left = Math.max(0, wait - (performance.now() - since))) {
        const [delivery] = await this.#core.link.receive(this.name, { max: 1, wait: left, lease, signal });
        if (!delivery) throw new QueueEmptyError(this.name, verb);
        if (lease === undefined) this.#core.activity.taken(this.name);
        const opened = this.#deliveries.open(delivery);
        if (!opened.refused) {
          this.#core.telemetry.begin("receive", this.name, opened.headers?.traceparent, since)?.end();
          return opened;
        }
        await this.#refuse(opened, lease !== undefined);
      }
    } catch (error) {
      throw isA(error, ClosedError) ? this.#closed(doing) : error;
    }
  }

  /** Moves an item that this bus does not accept to the dead-letter queue. */
  async #refuse(delivery: Opened, leased: boolean): Promise<void> {
    const deliveries = this.#deliveries;
    deliveries.report(delivery, delivery.refused, true, { next: "dead-letter" });
    if (!leased) return await deliveries.deadLetterTaken(delivery, delivery.refused);
    await deliveries.moveToDeadLetters(delivery, false, delivery.refused, this.dead.name).catch((error) =>
      deliveries.giveBack(delivery, error)
    );
  }

  async #purge(): Promise<number> {
    this.#checkNotClosing("purge queue");
    const { link, sender, features } = this.#core;
    let removed = 0;
    // items that are put meanwhile stay, where the size is exact
    let left = features.exactSize ? await sender.size(this.name) : Infinity;
    while (left > 0 && !this.#ended.aborted) {
      const items = await link.receive(this.name, { max: Math.min(PURGE_BATCH, left), wait: 0 });
      if (items.length === 0) break;
      removed += items.length;
      this.#core.activity.taken(this.name, items.length);
      left -= items.length;
    }
    return removed;
  }

  /** Decodes an item without a lease. If that fails, it reports and dead-letters the item, and resolves with undefined. */
  async #readOrDeadLetter(delivery: Opened): Promise<{ readonly value: T } | undefined> {
    try {
      return { value: (await this.#deliveries.read(delivery)) as T };
    } catch (error) {
      this.#deliveries.report(delivery, error, true, { next: "dead-letter" });
      await this.#deliveries.deadLetterTaken({ ...delivery, started: true }, error);
    }
  }

  async #receive(options: ReceiveOptions): Promise<Lease<T>> {
    const check = refuseUnknown(options, RECEIVE, "receive from queue", "", this.name);
    const deliveries = this.#deliveries;
    const [wait, signal, lease] = [waitOf(check, options), check.signal(options.signal), leaseOf(check, options.lease)];
    const delivery = await this.#take("receive", wait, signal, lease);
    try {
      if (!this.#ended.aborted && !(await deliveries.start(delivery))) return await this.#receive(options);
    } catch (error) {
      await deliveries.giveBack(delivery, error);
      throw error;
    }
    try {
      const item = (await deliveries.read(delivery)) as T;
      if (!this.#ended.aborted) return new HeldLease(deliveries, delivery, item);
    } catch (error) {
      await deliveries.moveToDeadLetters(delivery, false, error, this.dead.name).catch((why) =>
        deliveries.giveBack(delivery, why)
      );
      throw error;
    }
    await deliveries.settle(delivery, "untried");
    throw this.#closed("receive from queue");
  }
}

function waitOf(check: OptionChecks, options: Pick<WaitOptions, "block" | "timeout">): number {
  const timeout = check.number("timeout", options.timeout ?? Infinity);
  return options.block === false ? 0 : timeout;
}
