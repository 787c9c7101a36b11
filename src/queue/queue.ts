/**
 * Queues as users hold them: put, get, receive and consume.
 *
 * @module
 */
import { withTrace, wrap } from "../codec/envelope.ts";
import { consume, type ConsumeOptions, type Consumer } from "./consumer.ts";
import { Deliveries, type Lease, open, type Opened } from "./deliveries.ts";
import type { Core } from "../core.ts";
import { BusError, ClosedError, QueueEmptyError, ValidationError } from "../errors.ts";
import { checkName, checkNumber, checkSchema, checkSignal, checkTime } from "../internal/arguments.ts";
import { type StandardSchemaV1, validate } from "../codec/schema.ts";

/** Milliseconds of a lease, unless the taker says otherwise. */
const LEASE = 30_000;

/** Options of `queue`. */
export interface QueueOptions<S extends StandardSchemaV1 | undefined = StandardSchemaV1 | undefined> {
  /** Validates at `put` (its input is what is sent) and when an item is taken (its output is what one gets). */
  readonly schema?: S;
}

/** Options of {@linkcode Queue.put} and {@linkcode Queue.get}. */
export interface WaitOptions {
  /** Whether to wait at all. Default true. */
  readonly block?: boolean;
  /** Milliseconds to wait; 0: do not wait. Default: for ever. */
  readonly timeout?: number;
  /** Ends the wait: it rejects with the signal's reason, and no item is lost. */
  readonly signal?: AbortSignal;
}

/** Options of {@linkcode Queue.receive}. */
export interface ReceiveOptions extends WaitOptions {
  /** Milliseconds after which the item of a dead holder comes back; extended until it is settled. Default 30,000. */
  readonly lease?: number;
}

/** A named queue: each item goes to one taker, oldest first. Iterating over it gets its items until it is closed. */
export class Queue<T = unknown, I = T> implements AsyncIterable<T> {
  /** Its name. */
  readonly name: string;
  #schema: StandardSchemaV1 | undefined;
  #core: Core;
  #deliveries: Deliveries;
  #closing = new AbortController();
  /** Aborts when this handle or the bus takes nothing more. */
  #ended: AbortSignal;

  /** Made by `queue` of a bus. */
  constructor(name: string, options: QueueOptions, core: Core) {
    this.name = checkName("a queue", name);
    this.#schema = checkSchema(options.schema);
    this.#core = core;
    this.#ended = AbortSignal.any([this.#closing.signal, core.closing]);
    this.#deliveries = new Deliveries(this.name, this.#schema, core);
  }

  /**
   * Puts an item at the end; resolves when the transport has it.
   *
   * @throws {QueueFullError} when there was no room in time, on transports whose queues can be full
   * @throws {ValidationError} when the item is not what the schema says, or cannot be sent
   */
  async put(item: I, options: WaitOptions = {}): Promise<void> {
    this.#checkOpen();
    const wait = waitOf(options);
    checkSignal(options.signal);
    await this.#core.telemetry.observe("put", this.name, async (traceparent) => {
      if (this.#schema) await validate(this.#schema, item, `an item of queue "${this.name}"`);
      const body = wrap(this.#core.codec.encode(item), withTrace(undefined, traceparent));
      await this.#core.sender.send(this.name, body, { wait, signal: options.signal });
    });
  }

  /** `put` without waiting for room. */
  putNowait(item: I): Promise<void> {
    return this.put(item, { block: false });
  }

  /**
   * Takes the oldest item, at most once: if this process dies now, it is gone. `receive` is the one that survives that.
   *
   * @throws {QueueEmptyError} when there was none in time
   * @throws {ValidationError} when the item is not what it must be; its `body` has what was taken
   */
  async get(options: WaitOptions = {}): Promise<T> {
    const delivery = await this.#take(options);
    return (await this.#deliveries.read(delivery.body)) as T;
  }

  /** `get` without waiting. */
  getNowait(): Promise<T> {
    return this.get({ block: false });
  }

  /**
   * Holds the oldest item, at least once: it comes back when it is not acknowledged.
   * An item that cannot be read goes to the dead-letter queue, and the error says so.
   *
   * @throws {QueueEmptyError} when there was none in time
   * @throws {ValidationError} when the item is not what it must be
   */
  receive(options: ReceiveOptions = {}): Promise<Lease<T>> {
    return this.#core.receives.track(this.#receive(options));
  }

  /**
   * Handles items one after the other, each under a lease: acknowledged when the handler has finished, given back when it
   * throws (which is reported as an `"error"` event of the bus), and put into a dead-letter queue after `maxAttempts`.
   */
  consume(handler: (item: T, lease: Lease<T>) => unknown, options: ConsumeOptions = {}): Consumer {
    this.#checkNotClosing();
    return consume(this.#deliveries, this.#ended, handler, { ...options, lease: leaseOf(options.lease) });
  }

  /** How many items wait. Approximate where `Features` says so. */
  async qsize(): Promise<number> {
    this.#checkOpen();
    return await this.#core.sender.size(this.name);
  }

  /** Whether no item waits. */
  async empty(): Promise<boolean> {
    return (await this.qsize()) === 0;
  }

  /** Closes this handle: its waiting gets and its consumers end. The queue and its items stay. */
  close(): void {
    this.#closing.abort(new ClosedError(`Cannot use queue "${this.name}": this handle was closed`));
  }

  /** Removes the queue with its items and leases. */
  async free(): Promise<void> {
    this.#checkOpen();
    await this.#core.sender.drop(this.name);
  }

  /**
   * Gets item after item, until the loop is left, or the handle or the bus is closed. An item that cannot be read is reported as an
   * `"error"` event of the bus and goes to the dead-letter queue; the loop goes on.
   */
  [Symbol.asyncIterator](): AsyncIterator<T, undefined> {
    const left = new AbortController();
    const done = { done: true, value: undefined } as const;
    return {
      next: async () => {
        while (!left.signal.aborted) {
          try {
            const delivery = await this.#take({ signal: left.signal });
            const item = await this.#readOrBury(delivery);
            if (item) return { done: false, value: item.value };
          } catch (error) {
            if (left.signal.aborted || error instanceof ClosedError) break;
            // as for a consumer: a dead worker is replaced
            if (!(error instanceof BusError) || error.code !== "worker_died") throw error;
          }
        }
        return done;
      },
      // an item that comes too late goes to the next() that waits for it, or back
      return: () => {
        left.abort();
        return Promise.resolve(done);
      },
    };
  }

  #checkOpen(): void {
    this.#closing.signal.throwIfAborted();
    this.#core.checkOpen();
  }

  #checkNotClosing(): void {
    this.#closing.signal.throwIfAborted();
    this.#core.checkNotClosing();
  }

  async #take(options: WaitOptions, lease?: number): Promise<Opened> {
    this.#checkNotClosing();
    const wait = waitOf(options);
    checkSignal(options.signal);
    const signal = options.signal ? AbortSignal.any([options.signal, this.#ended]) : this.#ended;
    const since = performance.now();
    const [delivery] = await this.#core.link.receive(this.name, { max: 1, wait, lease, signal });
    if (!delivery) throw new QueueEmptyError(this.name);
    const opened = open(delivery);
    this.#core.telemetry.begin("receive", this.name, opened.headers?.traceparent, since)?.end();
    return opened;
  }

  /** The item of a delivery without a lease; undefined: it could not be read, which was reported, and has been dead-lettered. */
  async #readOrBury(delivery: Opened): Promise<{ readonly value: T } | undefined> {
    try {
      return { value: (await this.#deliveries.read(delivery.body)) as T };
    } catch (error) {
      this.#core.report(error, this.name);
      const letter = this.#deliveries.letter({ ...delivery, started: true }, false, error, `${this.name}.dead`);
      await letter.catch((why) => this.#core.report(why, this.name)); // the first report has the body
    }
  }

  async #receive(options: ReceiveOptions): Promise<Lease<T>> {
    const deliveries = this.#deliveries;
    const delivery = await this.#take(options, leaseOf(options.lease));
    try {
      if (!this.#ended.aborted && !(await deliveries.start(delivery))) return await this.#receive(options);
    } catch (error) {
      await deliveries.giveBack(delivery, error);
      throw error;
    }
    try {
      const item = (await deliveries.read(delivery.body)) as T;
      if (!this.#ended.aborted) return deliveries.lease(delivery, item);
    } catch (error) {
      await deliveries.bury(delivery, false, error, `${this.name}.dead`).catch((why) =>
        deliveries.giveBack(delivery, why)
      );
      throw error;
    }
    await deliveries.settle(delivery, "untried");
    throw this.#ended.reason;
  }
}

function waitOf(options: WaitOptions): number {
  const timeout = checkNumber("a timeout", options.timeout ?? Infinity);
  return options.block === false ? 0 : timeout;
}

function leaseOf(lease: number | undefined): number {
  if (lease === Infinity) {
    throw new ValidationError("Cannot use Infinity as a lease: an item of a dead holder must come back");
  }
  return checkTime("a lease", lease ?? LEASE, 1);
}
