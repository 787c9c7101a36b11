/**
 * Delivers events from the port to the handlers: equal subscriptions share one stream, each handler has its own pace.
 *
 * @module
 */
import { Codec, type Decoded, type EventClass } from "../codec/codec.ts";
import { unwrap } from "../codec/envelope.ts";
import type { Core } from "../core.ts";
import { BusError, ValidationError } from "../errors.ts";
import type { Gap } from "../events.ts";
import { Fifo } from "../internal/fifo.ts";
import { cost } from "../port/credit.ts";
import type { Stream } from "../port/streams.ts";
import { type StandardSchemaV1, validate } from "../codec/schema.ts";
import type { Operation } from "../telemetry.ts";
import type { Message } from "./topic.ts";
import { Work } from "../internal/pending_work.ts";

/** Milliseconds that a handler may run while events wait behind it, before the bus says "stalled". */
const STALLED = 30_000;

/** A handler of one topic or pattern. */
export interface Listener {
  readonly topic: string;
  readonly pattern: boolean;
  /** The class of the events. */
  readonly type?: EventClass;
  readonly schema?: StandardSchemaV1;
  readonly concurrency: number;
  readonly handler: (event: never, message: Message) => unknown;
  /** Called once when the listener has ended, whatever ended it. */
  readonly ended?: () => void;
}

interface Event {
  readonly decoded: Decoded;
  readonly message: Message;
  readonly cost: number;
  /** The trace context of the publisher, if known. */
  readonly traceparent: string | undefined;
  /** The number of handlers that have not started the event. Its credit goes back when all have. */
  waiting: number;
}

/** A gap that waits for its turn among the events. Its number grows if more events are lost at the same place. */
type Missing = Gap & { lost: number };

/** All subscriptions of a bus. */
export class Dispatch {
  #core: Core;
  #groups = new Map<string, Group>();
  #patience: number;
  #unready = 0;
  #gate: PromiseWithResolvers<void> | undefined;

  /** Dispatches the events of this link. A publish waits at most `patience` ms for pending subscriptions. */
  constructor(core: Core, patience: number) {
    this.#core = core;
    this.#patience = patience;
  }

  /** The number of transport subscriptions. */
  get size(): number {
    return this.#groups.size;
  }

  /** Settles when all subscriptions that are pending now are ready; undefined if none is pending. */
  get unready(): Promise<void> | undefined {
    return this.#gate?.promise;
  }

  /** Adds a listener. Returns a promise of its subscription, and a function that ends it. */
  add(listener: Listener): { ready: Promise<void>; unsubscribe: () => Promise<void> } {
    const key = `${listener.pattern ? "*" : "="}${listener.topic}`;
    let group = this.#groups.get(key);
    if (!group) {
      group = new Group(this.#core, listener.topic, listener.pattern);
      this.#groups.set(key, group);
      this.#await(group, key);
    }
    const joined = group;
    const pace = new Pace(this.#core, listener, (event) => joined.started(event));
    joined.paces.add(pace);
    return {
      ready: joined.ready,
      unsubscribe: async () => {
        if (!joined.paces.delete(pace)) return;
        pace.end();
        if (joined.paces.size > 0) return;
        if (this.#groups.get(key) === joined) this.#groups.delete(key);
        await joined.close();
      },
    };
  }

  async #await(group: Group, key: string): Promise<void> {
    this.#unready++;
    const gate = this.#gate ??= Promise.withResolvers();
    const timer = setTimeout(gate.resolve, this.#patience);
    try {
      await group.ready;
    } catch {
      if (this.#groups.get(key) === group) this.#groups.delete(key);
      group.end();
    }
    clearTimeout(timer);
    if (--this.#unready > 0) return;
    this.#gate = undefined;
    gate.resolve();
  }

  /** Ends all listeners at once. Returns the number of events that they had not started. */
  stop(): number {
    let dropped = 0;
    for (const group of this.#groups.values()) {
      dropped += group.end();
      group.close().catch(() => {}); // the link is about to be closed, which ends it anyway
    }
    this.#groups.clear();
    return dropped;
  }
}

/** The equal subscriptions that share one stream. */
class Group {
  readonly paces = new Set<Pace>();
  /** The decoded events of this batch. */
  #events: Event[] = [];
  #core: Core;
  #stream: Stream;
  #topic: string;
  /** The events that arrived after one that is still being decoded, because a schema may be asynchronous. */
  #behind: Fifo<[topic: string, body: string] | Gap> | undefined;

  constructor(core: Core, topic: string, pattern: boolean) {
    this.#core = core;
    this.#topic = topic;
    this.#stream = core.link.subscribe(
      { topic, pattern, serves: false },
      (topics, bodies) => this.#receive(topics, bodies),
      (reason, lost) => this.#miss({ reason, lost, topic }),
    );
  }

  get ready(): Promise<void> {
    return this.#stream.ready;
  }

  close(): Promise<void> {
    return this.#stream.close();
  }

  /** Ends the listeners. Returns the number of events that they had not started. */
  end(): number {
    let dropped = 0;
    for (const pace of this.paces) dropped += pace.end();
    this.paces.clear();
    return dropped;
  }

  started(event: Event): void {
    if (--event.waiting === 0) this.#stream.credit(event.cost);
  }

  #receive(topics: string | string[], bodies: string[]): void {
    const single = typeof topics === "string";
    for (let i = 0; i < bodies.length; i++) {
      const topic = single ? topics : topics[i]!;
      if (this.#behind) this.#behind.push([topic, bodies[i]!]);
      else this.#deliver(topic, bodies[i]!);
    }
    this.#offer();
  }

  #miss(gap: Gap): void {
    if (this.#behind) return void this.#behind.push(gap);
    this.#offer(); // the events before it
    for (const pace of [...this.paces]) pace.enter(() => pace.miss(gap));
  }

  #deliver(topic: string, body: string): void {
    const opened = unwrap(body);
    const traceparent = opened?.headers.traceparent;
    let decoded: Decoded | Promise<Decoded>;
    try {
      decoded = this.#core.codec.decode(opened?.body ?? body);
    } catch (error) {
      return this.#refuse(topic, body, error);
    }
    if (!(decoded instanceof Promise)) return this.#add(topic, body, decoded, traceparent);
    this.#behind ??= new Fifo();
    decoded
      .then((decoded) => this.#add(topic, body, decoded, traceparent), (error) => this.#refuse(topic, body, error))
      .then(() => this.#resume());
  }

  #resume(): void {
    const behind = this.#behind!;
    this.#behind = undefined;
    for (let next = behind.shift(); next; next = behind.shift()) {
      if (Array.isArray(next)) this.#deliver(next[0], next[1]);
      else this.#miss(next);
      if (!this.#behind) continue;
      this.#behind = behind; // this one is asynchronous too, so the rest waits for it
      break;
    }
    this.#offer();
  }

  #refuse(topic: string, body: string, error: unknown): void {
    this.#stream.credit(cost(body));
    this.#core.report(error, topic || this.#topic);
  }

  #add(topic: string, body: string, decoded: Decoded, traceparent: string | undefined): void {
    const message: Message = decoded.type === undefined ? { topic } : { topic, type: decoded.type };
    this.#events.push({ decoded, message, cost: cost(body), traceparent, waiting: 1 });
  }

  /** Offers the batch to each pace, which is entered once for all of it. */
  #offer(): void {
    const events = this.#events;
    if (events.length === 0) return;
    this.#events = [];
    for (const pace of [...this.paces]) {
      pace.enter(() => {
        for (const event of events) if (!pace.offer(event)) event.waiting++;
      });
    }
    for (const event of events) this.started(event);
  }
}

/** Runs one handler at its own pace: events start in order, at most `concurrency` at the same time. */
class Pace {
  #core: Core;
  #listener: Listener;
  /** Of a listener that runs one handler at a time: all of them, so that it is entered once for many events. */
  #work: Work | undefined;
  #started: (event: Event) => void;
  #waiting = new Fifo<Event | Missing>();
  /** The last waiting entry, if it is a gap. */
  #gap: Missing | undefined;
  #running = 0;
  /** True while a schema validates the next event. The events after it wait, so that they start in order. */
  #preparing = false;
  #ended = false;
  #since = 0;
  #stalled = false;

  constructor(
    core: Core,
    listener: Listener,
    started: (event: Event) => void,
  ) {
    this.#core = core;
    this.#listener = listener;
    if (listener.concurrency === 1) this.#work = new Work([core.handlers]);
    this.#started = started;
  }

  /** Does what may start its handlers. */
  enter<T>(offer: () => T): T {
    return this.#work ? this.#work.enter(offer) : offer();
  }

  /** Within {@linkcode enter}: takes an event; true if its handler has been started (or refused it) already. */
  offer(event: Event): boolean {
    if (this.#ended) return true;
    if (this.#running < this.#listener.concurrency && !this.#preparing && this.#waiting.length === 0) {
      this.#start(event);
      return true;
    }
    this.#gap = undefined;
    this.#waiting.push(event);
    if (!this.#stalled && this.#running > 0 && performance.now() - this.#since > STALLED) {
      this.#stalled = true;
      const text = `Cannot handle events on "${this.#listener.topic}": the handler has been running for ${STALLED} ms`;
      this.#core.report(new BusError("stalled", text), this.#listener.topic);
    }
    return false;
  }

  /** Adds a gap, which is reported when its turn has come. */
  miss(gap: Gap): void {
    if (this.#gap?.reason === gap.reason) return void (this.#gap.lost += gap.lost);
    this.#waiting.push(this.#gap = { ...gap });
    this.#next();
  }

  /** Starts no more handlers. Returns the number of dropped events. */
  end(): number {
    if (this.#ended) return 0;
    this.#ended = true;
    const dropped = this.#waiting.drain().filter((each) => "message" in each);
    for (const event of dropped) this.#started(event);
    this.#listener.ended?.();
    return dropped.length;
  }

  #start(event: Event): void {
    if (this.#ended) return;
    const { type, schema } = this.#listener;
    if (!type && !schema) return this.#run(event.decoded.value, event);
    try {
      const prepared = this.#prepare(event.decoded.value);
      if (!(prepared instanceof Promise)) return this.#run(prepared, event);
      this.#preparing = true;
      prepared.then(
        (value) => {
          this.#preparing = false;
          if (!this.#ended) this.#run(value, event);
        },
        (error) => {
          this.#preparing = false;
          this.#core.report(error, event.message.topic);
        },
      ).then(() => this.#next());
    } catch (error) {
      this.#core.report(error, event.message.topic);
    }
  }

  /** Converts an event to what its subscriber declared: an instance of the class, the output of the schema. */
  #prepare(value: unknown): unknown {
    const { type, schema, topic } = this.#listener;
    const accept = (value: unknown) => schema ? validate(schema, value, `an event on "${topic}"`) : value;
    if (!type || value instanceof type) return accept(value);
    const revived = this.#core.codec.revive(value, Codec.nameOf(type));
    const check = (value: unknown) => {
      if (value instanceof type) return accept(value);
      throw new ValidationError(`Cannot handle an event on "${topic}": it is no ${type.name}`);
    };
    return revived instanceof Promise ? revived.then(check) : check(revived);
  }

  #run(value: unknown, { message, traceparent }: Event): void {
    const operation = this.#core.telemetry.begin("process", message.topic, traceparent);
    const work = this.#work ?? new Work([this.#core.handlers]);
    let done: Promise<unknown> | undefined;
    work.begin();
    this.#running++;
    try {
      const result = operation || !this.#work
        ? this.#handle(value, message, work, operation)
        : this.#listener.handler(value as never, message);
      if (isThenable(result)) done = Promise.resolve(result);
    } catch (error) {
      return this.#fail(message.topic, work, operation, error);
    }
    if (!done) return this.#finish(work, operation);
    this.#since = performance.now();
    // the `then` of a foreign object may throw (some query builders do), or return nothing
    done.then(
      () => this.#finish(work, operation),
      (error: unknown) => this.#fail(message.topic, work, operation, error),
    ).then(() => this.#next());
  }

  #handle(value: unknown, message: Message, work: Work, operation: Operation | undefined): unknown {
    const handle = () => this.#listener.handler(value as never, message);
    return work.enter(operation ? () => operation.run(handle) : handle);
  }

  #fail(topic: string, work: Work, operation: Operation | undefined, error: unknown): void {
    this.#core.report(error, topic);
    this.#finish(work, operation, error);
  }

  #finish(work: Work, operation: Operation | undefined, error?: unknown): void {
    operation?.end(error);
    this.#running--;
    this.#stalled = false;
    work.end();
  }

  #next(): void {
    while (!this.#preparing && this.#running < this.#listener.concurrency) {
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
