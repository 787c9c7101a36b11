/**
 * Queues as users hold them: put and get, leases, consumers.
 *
 * @module
 */
import type { Codec } from "./codec.ts";
import { BusError, ClosedError, QueueEmptyError, ValidationError } from "./errors.ts";
import {
  checkCount,
  checkFunction,
  checkName,
  checkNumber,
  checkSchema,
  checkSignal,
  checkTime,
  LONGEST,
} from "./names.ts";
import type { Link } from "./port/link.ts";
import type { Delivery, Outcome, Sender } from "./provider.ts";
import { type StandardSchemaV1, validate } from "./schema.ts";
import { stamp, type Telemetry, unstamp } from "./telemetry.ts";

/** Milliseconds of a lease, unless the taker says otherwise. */
const LEASE = 30_000;
/** Milliseconds before a failed item is tried again: doubled with each attempt, up to the second. */
const BACKOFF = { min: 100, max: 30_000 };

/**
 * Milliseconds before an item is offered again that was handled, or hopeless, and of which the queue could not be told so; also
 * before a consumer asks again after a failure that has no name.
 */
const AGAIN = 1_000;

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

/** Options of {@linkcode Queue.consume}. */
export interface ConsumeOptions {
  /** Handlers that may run at once. Default 1. */
  readonly concurrency?: number;
  /** As for {@linkcode Queue.receive}. Default 30,000. */
  readonly lease?: number;
  /** Attempts after which a failing item goes to the dead-letter queue. Default: none, it is tried for ever. */
  readonly maxAttempts?: number;
  /** Milliseconds before the next attempt, by the number of the one that failed. Default: 100, doubled each time, at most 30,000. */
  readonly backoff?: number | ((attempt: number) => number);
  /** The name of the dead-letter queue. Default: the queue's name and `.dead`. */
  readonly deadLetter?: string;
  /** Closes the consumer when it aborts. */
  readonly signal?: AbortSignal;
}

/** What stands in a dead-letter queue. */
export interface DeadLetter<T = unknown> {
  /** The queue it comes from. */
  readonly queue: string;
  /** The item as it was put, or the body as a string where it could not be read. */
  readonly item: T;
  /** How many times it was tried. */
  readonly attempts: number;
  /** Why the last attempt failed. */
  readonly cause: { readonly name: string; readonly message: string };
}

/** An item that is held, not taken: it comes back unless it is acknowledged. `await using` gives it back if it is not settled. */
export interface Lease<T> extends AsyncDisposable {
  /** The item. */
  readonly item: T;
  /** 1 at the first delivery, one more each time it came back. */
  readonly attempt: number;
  /**
   * Removes the item for good.
   *
   * @throws {BusError} "lease_lost" when the lease had ended: somebody else may have the item
   */
  ack(): Promise<void>;
  /** Gives the item back to the head of the queue, after `delay` ms (default 0). A lease that had ended is left alone. */
  nack(options?: { delay?: number }): Promise<void>;
}

interface Held<T> extends Lease<T> {
  readonly settled: boolean;
}

/** A running consumer; `await using` closes it. */
export interface Consumer extends AsyncDisposable {
  /** Resolves when it has ended; with the error if it ended by one. */
  readonly closed: Promise<BusError | undefined>;
  /** Takes no more items, and resolves when the handlers that run have finished. */
  close(): Promise<void>;
}

/** What a queue needs of its bus. */
export interface QueueHome {
  readonly link: Link;
  readonly sender: Sender;
  readonly codec: Codec;
  readonly telemetry: Telemetry;
  /** Throws when the bus is closed (`"send"`), or takes nothing more (`"take"`). */
  check(what: "send" | "take"): void;
  /** Watches a handler until it ends; the bus waits for it when it closes. */
  watch(work: Promise<void>): Promise<void>;
  /** Reports a fault. */
  report(error: unknown, queue: string): void;
  /** Aborts when the bus takes nothing more. */
  readonly closing: AbortSignal;
}

/** A named queue: each item goes to one taker, oldest first. Iterating over it gets its items until it is closed. */
export class Queue<T = unknown, I = T> implements AsyncIterable<T> {
  /** Its name. */
  readonly name: string;
  #schema: StandardSchemaV1 | undefined;
  #home: QueueHome;
  #closing = new AbortController();
  /** Aborts when this handle or the bus takes nothing more. */
  #ended: AbortSignal;

  /** Made by `queue` of a bus. */
  constructor(name: string, options: QueueOptions, home: QueueHome) {
    this.name = checkName("a queue", name);
    this.#schema = checkSchema(options.schema);
    this.#home = home;
    this.#ended = AbortSignal.any([this.#closing.signal, home.closing]);
  }

  /**
   * Puts an item at the end; resolves when the transport has it.
   *
   * @throws {QueueFullError} when there was no room in time, on transports whose queues can be full
   * @throws {ValidationError} when the item is not what the schema says, or cannot be sent
   */
  async put(item: I, options: WaitOptions = {}): Promise<void> {
    this.#check("send");
    const wait = waitOf(options);
    checkSignal(options.signal);
    await this.#home.telemetry.observe("put", this.name, async (traceparent) => {
      if (this.#schema) await validate(this.#schema, item, `an item of queue "${this.name}"`);
      const body = stamp(this.#home.codec.encode(item), traceparent);
      await this.#home.sender.send(this.name, body, { wait, signal: options.signal });
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
    return (await this.#read(delivery.body)) as T;
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
  async receive(options: ReceiveOptions = {}): Promise<Lease<T>> {
    const delivery = await this.#take(options, leaseOf(options.lease));
    try {
      return this.#lease(delivery, (await this.#read(delivery.body)) as T);
    } catch (error) {
      await this.#bury(delivery, false, error, `${this.name}.dead`).catch((why) => this.#giveBack(delivery, why));
      throw error;
    }
  }

  /**
   * Handles items one after the other, each under a lease: acknowledged when the handler has finished, given back when it
   * throws (which is reported as an `"error"` event of the bus), and put into a dead-letter queue after `maxAttempts`.
   */
  consume(handler: (item: T, lease: Lease<T>) => unknown, options: ConsumeOptions = {}): Consumer {
    this.#check("take");
    checkFunction("a handler", handler);
    checkSignal(options.signal);
    const concurrency = checkCount("a concurrency", options.concurrency ?? 1);
    const lease = leaseOf(options.lease);
    const maxAttempts = checkCount("a number of attempts", options.maxAttempts ?? Infinity);
    const deadLetter = checkName("a dead-letter queue", options.deadLetter ?? `${this.name}.dead`);
    const delayOf = backoffOf(options.backoff);
    const stop = new AbortController();
    const signals = [stop.signal, this.#ended];
    if (options.signal) signals.push(options.signal);
    const signal = AbortSignal.any(signals);
    const running = new Set<Promise<void>>();
    let ended = Promise.withResolvers<void>();

    const handle = async (delivery: Opened): Promise<void> => {
      let readable = false;
      let held: Held<T> | undefined;
      try {
        const item = (await this.#read(delivery.body)) as T;
        readable = true;
        if (delivery.attempt <= maxAttempts) {
          const holder = held = this.#lease(delivery, item);
          const work = async () => await handler(item, holder);
          await this.#home.telemetry.observe("process", this.name, work, delivery.traceparent);
        }
      } catch (error) {
        this.#home.report(error, this.name);
        if (held?.settled) return;
        const hopeless = delivery.attempt >= maxAttempts || (!held && error instanceof ValidationError);
        if (hopeless) return await this.#bury(delivery, readable, error, deadLetter);
        return void await this.#settle(delivery, "nack", delayOf(delivery.attempt));
      }
      // beyond the last attempt: nobody could report why
      if (!held) return await this.#bury(delivery, readable, new Error("its last holder died"), deadLetter);
      if (!held.settled) await held.ack();
    };
    const run = async (): Promise<BusError | undefined> => {
      while (!signal.aborted) {
        try {
          const free = concurrency - running.size;
          if (free <= 0) {
            await ended.promise; // a race of all that run would leave a trace in each of them, every time
            continue;
          }
          const max = Math.min(free, 256);
          for (const delivery of await this.#home.link.receive(this.name, { max, wait: Infinity, lease, signal })) {
            const work = this.#home.watch(
              handle(open(delivery)).catch((error) => this.#giveBack(delivery, error)),
            ).finally(() => {
              running.delete(work);
              ended.resolve();
              ended = Promise.withResolvers();
            });
            running.add(work);
          }
        } catch (error) {
          if (signal.aborted) break;
          // a dead worker is replaced, a transport out of reach comes back: the consumer goes on
          if (error instanceof BusError && (error.code === "worker_died" || error.code === "unavailable")) continue;
          const told = error instanceof BusError ? error : new BusError("internal", String(error), { cause: error });
          this.#home.report(told, this.name);
          // what only the transport can name may pass: somebody else's key under our name, for one
          if (told.code !== "internal") return told;
          await pause(AGAIN, signal);
        }
      }
    };
    const closed = run().then(async (error) => {
      await Promise.all(running);
      return error;
    });
    const close = async () => {
      stop.abort();
      await closed;
    };
    return { closed, close, [Symbol.asyncDispose]: close };
  }

  /** How many items wait. Approximate where `Features` says so. */
  async qsize(): Promise<number> {
    this.#check("send");
    return await this.#home.sender.size(this.name);
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
    this.#check("send");
    await this.#home.sender.drop(this.name);
  }

  /** Gets item after item, until the handle or the bus is closed. */
  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    for (;;) {
      let item: T;
      try {
        item = await this.get();
      } catch (error) {
        if (error instanceof ClosedError) return;
        throw error;
      }
      yield item;
    }
  }

  #check(what: "send" | "take"): void {
    this.#closing.signal.throwIfAborted();
    this.#home.check(what);
  }

  async #take(options: WaitOptions, lease?: number): Promise<Opened> {
    this.#check("take");
    const wait = waitOf(options);
    checkSignal(options.signal);
    const signal = options.signal ? AbortSignal.any([options.signal, this.#closing.signal]) : this.#closing.signal;
    const since = performance.now();
    const [delivery] = await this.#home.link.receive(this.name, { max: 1, wait, lease, signal });
    if (!delivery) throw new QueueEmptyError(this.name);
    const opened = open(delivery);
    this.#home.telemetry.begin("receive", this.name, opened.traceparent, since)?.end();
    return opened;
  }

  /** The item of a body; an error has the body, so that nothing is lost with it. */
  async #read(body: string): Promise<unknown> {
    try {
      const { value } = await this.#home.codec.decode(body);
      return this.#schema ? await validate(this.#schema, value, `an item of queue "${this.name}"`) : value;
    } catch (error) {
      if (!(error instanceof ValidationError) || error.body !== undefined) throw error;
      throw new ValidationError(error.message, error.issues, { cause: error, body });
    }
  }

  #lease(delivery: Delivery, item: T): Held<T> {
    let settling: { readonly outcome: Outcome; readonly done: Promise<boolean> } | undefined;
    let tried = false;
    const settle = async (outcome: Outcome, delay: number) => {
      if (settling) return settling.outcome === outcome && await settling.done;
      tried = true;
      settling = { outcome, done: this.#settle(delivery, outcome, delay) };
      try {
        return await settling.done;
      } catch (error) {
        settling = undefined; // it may be tried again
        throw error;
      }
    };
    const nack = async (options: { delay?: number } = {}) => {
      await settle("nack", checkTime("a delay", options.delay ?? 0));
    };
    return {
      item,
      attempt: delivery.attempt,
      get settled() {
        return settling !== undefined;
      },
      ack: async () => {
        if (await settle("ack", 0)) return;
        throw new BusError("lease_lost", `Cannot acknowledge an item of queue "${this.name}": its lease has ended`);
      },
      nack,
      // whoever tried to settle it has heard why that failed: a second failure must not hide the first
      [Symbol.asyncDispose]: async () => {
        if (!tried) await nack();
      },
    };
  }

  async #settle(delivery: Delivery, outcome: Outcome, delay: number): Promise<boolean> {
    const [held] = await this.#home.link.settle(this.name, [delivery.receipt], outcome, delay);
    return held === true;
  }

  /** First into the dead-letter queue, then out of this one: a crash in between makes two of it, never none. */
  async #bury(delivery: Delivery, readable: boolean, error: unknown, deadLetter: string): Promise<void> {
    const { codec, sender } = this.#home;
    const { name, message } = error instanceof Error ? error : new Error(String(error));
    const { body, attempt } = delivery;
    // the item as it was put: what a schema or a handler made of it may be another one, and nothing that can be sent
    const letter = `{"queue":${codec.write(this.name)},"item":${readable ? body : codec.write(body)},` +
      `"attempts":${attempt},"cause":${codec.write({ name, message })}}`;
    // one that is full must not hold up the items behind this one: it is tried again
    await sender.send(deadLetter, letter, { wait: 0 });
    await this.#settle(delivery, "ack", 0);
  }

  /** It could be neither acknowledged nor buried: nobody must hold it on. What was acknowledged after all stays so. */
  async #giveBack(delivery: Delivery, error: unknown): Promise<void> {
    this.#home.report(error, this.name);
    await this.#settle(delivery, "nack", AGAIN).catch(() => {}); // then its lease ends by itself
  }
}

/** A delivery whose body is the item's own. */
interface Opened extends Delivery {
  /** Where its putter was, if that is known. */
  readonly traceparent?: string;
}

function open(delivery: Delivery): Opened {
  const stamped = unstamp(delivery.body);
  return stamped ? { ...delivery, ...stamped } : delivery;
}

function waitOf(options: WaitOptions): number {
  const timeout = checkNumber("a timeout", options.timeout ?? Infinity);
  if (options.block === false) return 0;
  return timeout > LONGEST ? Infinity : timeout;
}

function leaseOf(lease: number | undefined): number {
  if (lease === Infinity) {
    throw new ValidationError("Cannot use Infinity as a lease: an item of a dead holder must come back");
  }
  return checkTime("a lease", lease ?? LEASE, 1);
}

function backoffOf(backoff: ConsumeOptions["backoff"]): (attempt: number) => number {
  if (typeof backoff === "function") return (attempt) => checkTime("a backoff", backoff(attempt));
  if (backoff !== undefined) {
    const delay = checkTime("a backoff", backoff);
    return () => delay;
  }
  return (attempt) => Math.min(BACKOFF.min * 2 ** (attempt - 1), BACKOFF.max);
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener("abort", end);
  });
}
