/**
 * The queue of the events that wait for one handler.
 *
 * @module
 */
import type { Decoded } from "../codec/codec.ts";
import type { Core } from "../core.ts";
import { BusError } from "../errors.ts";
import type { Gap } from "../events.ts";
import { Fifo } from "../internal/fifo.ts";
import { STALLED } from "../internal/time.ts";
import { Work } from "../internal/work.ts";
import type { Operation } from "../telemetry/telemetry.ts";
import { type Accepted, acceptEvent } from "./accept.ts";
import type { Message } from "./topic.ts";

/** One handler, and the topic or pattern that it subscribes to. */
export interface Subscriber extends Accepted {
  readonly pattern: boolean;
  readonly concurrency: number;
  readonly handler: (event: never, message: Message) => unknown;
  /** Called once when the subscription has ended. */
  readonly ended?: () => void;
}

/** A decoded event. */
export interface Event {
  readonly decoded: Decoded;
  readonly message: Message;
  /** The size of the event, as flow control counts it. */
  readonly cost: number;
  /** About how many bytes it takes. */
  readonly bytes: number;
  /** The number of handlers that have not started. When it is 0, the credit of the event is returned. */
  waiting: number;
}

/** A gap between waiting events. Further gaps at the same place are added to it. `lost` is 0 if the number of events is not known. */
export type PendingGap = Gap & { lost: number };

/** The events that wait for one handler. They start in order, at most `concurrency` at once. */
export class HandlerQueue {
  #core: Core;
  #subscriber: Subscriber;
  /** The work that all runs share if they run one at a time, so that it is entered once for many events. */
  #work: Work | undefined;
  #started: (event: Event) => void;
  #waiting = new Fifo<Event | PendingGap>();
  /** The last waiting entry, if it is a gap. */
  #gap: PendingGap | undefined;
  #running = 0;
  /** True while the next event is validated asynchronously. Later events wait, so that handlers start in order. */
  #preparing = false;
  #ended = false;
  #since = 0;
  #stalled = false;

  /** Creates an empty queue. It calls `started` when it starts the handler of an event that had to wait. */
  constructor(
    core: Core,
    subscriber: Subscriber,
    started: (event: Event) => void,
  ) {
    this.#core = core;
    this.#subscriber = subscriber;
    if (subscriber.concurrency === 1) this.#work = new Work([core.handlers]);
    this.#started = started;
  }

  /** Runs code that may start handlers. */
  enter<T>(offer: () => T): T {
    return this.#work ? this.#work.enter(offer) : offer();
  }

  /** Starts the handler, or queues the event. Returns true if the event does not wait. Must be called within {@linkcode enter}. */
  offer(event: Event): boolean {
    if (this.#ended) return true;
    if (this.#running < this.#subscriber.concurrency && !this.#preparing && this.#waiting.length === 0) {
      this.#start(event);
      return true;
    }
    this.#gap = undefined;
    this.#waiting.push(event);
    if (!this.#stalled && this.#running > 0 && performance.now() - this.#since > STALLED.after) {
      this.#stalled = true;
      const text =
        `Cannot handle events on "${this.#subscriber.topic}": the handler has been running for ${STALLED.after} ms`;
      this.#core.report(new BusError("stalled", text), this.#subscriber.topic);
    }
    return false;
  }

  /** Reports a gap after the events that wait now. */
  reportGap(gap: PendingGap): void {
    if (this.#gap?.reason === gap.reason) return void (this.#gap.lost += gap.lost);
    this.#waiting.push(this.#gap = { ...gap });
    this.#next();
  }

  /** Starts no more handlers. Returns the number of events that it drops. */
  end(): number {
    if (this.#ended) return 0;
    this.#ended = true;
    const dropped = this.#waiting.drain().filter((each) => "message" in each);
    for (const event of dropped) this.#started(event);
    this.#subscriber.ended?.();
    return dropped.length;
  }

  #start(event: Event): void {
    if (this.#ended) return;
    const { type, schema } = this.#subscriber;
    if (!type && !schema) return this.#run(event.decoded.value, event);
    try {
      const prepared = acceptEvent(this.#core, this.#subscriber, event.decoded.value);
      if (!(prepared instanceof Promise)) return this.#run(prepared, event);
      this.#preparing = true;
      prepared.then(
        (value) => {
          this.#preparing = false;
          if (!this.#ended) this.#run(value, event);
        },
        (error) => {
          this.#preparing = false;
          this.#report(event.message, event.decoded.value, error, true);
        },
      ).then(() => this.#next());
    } catch (error) {
      this.#report(event.message, event.decoded.value, error, true);
    }
  }

  #run(value: unknown, { message }: Event): void {
    const { pattern, topic } = this.#subscriber;
    const { traceparent } = message.headers;
    const glob = pattern ? topic : undefined;
    const operation = this.#core.telemetry.begin("process", message.topic, traceparent, undefined, glob);
    const work = this.#work ?? new Work([this.#core.handlers]);
    let done: Promise<unknown> | undefined;
    work.begin();
    this.#running++;
    try {
      const result = operation || !this.#work
        ? this.#handle(value, message, work, operation)
        : this.#subscriber.handler(value as never, message);
      if (isThenable(result)) done = Promise.resolve(result);
    } catch (error) {
      return this.#fail(message, value, work, operation, error);
    }
    if (!done) return this.#finish(work, operation);
    this.#since = performance.now();
    // the `then` of a user's object may throw, or return nothing
    done.then(
      () => this.#finish(work, operation),
      (error: unknown) => this.#fail(message, value, work, operation, error),
    ).then(() => this.#next());
  }

  #handle(value: unknown, message: Message, work: Work, operation: Operation | undefined): unknown {
    const handle = () => this.#subscriber.handler(value as never, message);
    return work.enter(operation ? () => operation.run(handle) : handle);
  }

  #fail(message: Message, value: unknown, work: Work, operation: Operation | undefined, error: unknown): void {
    this.#report(message, value, error, false);
    this.#finish(work, operation, error);
  }

  #report({ topic, headers }: Message, item: unknown, error: unknown, rejected: boolean): void {
    this.#core.report(error, topic, rejected, { verb: "subscribe", next: "drop", item, headers });
  }

  #finish(work: Work, operation: Operation | undefined, error?: unknown): void {
    operation?.end(error);
    this.#running--;
    this.#stalled = false;
    work.end();
  }

  #next(): void {
    while (!this.#preparing && this.#running < this.#subscriber.concurrency) {
      const event = this.#waiting.shift();
      if (!event) return;
      if (!("message" in event)) {
        if (this.#gap === event) this.#gap = undefined;
        this.#core.gap(event);
        continue;
      }
      this.#start(event);
      this.#started(event);
    }
  }
}

function isThenable(value: unknown): value is PromiseLike<void> {
  return typeof value === "object" && value !== null && typeof (value as PromiseLike<void>).then === "function";
}
