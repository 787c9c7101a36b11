/**
 * One subscription of the transport, decoded once for all handlers that share it.
 *
 * @module
 */
import type { Decoded } from "../codec/codec.ts";
import { type MessageHeaders, userHeaders } from "../codec/headers.ts";
import { heldSize } from "../codec/places.ts";
import type { Core } from "../core.ts";
import { Fifo } from "../internal/fifo.ts";
import { cost } from "../port/credit.ts";
import type { Stream } from "../port/streams.ts";
import { SeenEvents } from "./seen_events.ts";
import { type Event, HandlerQueue, type PendingGap, type Subscriber } from "./handler_queue.ts";
import type { Message } from "./topic.ts";

/** One subscription of the transport, and the handlers that share it. */
export class SharedSubscription {
  #queues = new Set<HandlerQueue>();
  /** The decoded events of this batch. */
  #events: Event[] = [];
  #core: Core;
  #stream: Stream;
  #topic: string;
  #pattern: boolean;
  #seen: SeenEvents | undefined;
  /** The event that takes far more memory than its text, until all handlers have started. */
  #large: Event | undefined;
  /** The events and gaps that arrived after a large event, or after one that is being decoded asynchronously. */
  #behind: Fifo<[topic: string, body: string] | PendingGap> | undefined;

  /** Subscribes at the transport. */
  constructor(core: Core, topic: string, pattern: boolean) {
    this.#core = core;
    this.#topic = topic;
    this.#pattern = pattern;
    if (core.envelopes.signed) this.#seen = new SeenEvents();
    this.#stream = core.link.subscribe(
      { topic, pattern, serves: false },
      (topics, bodies) => this.#receive(topics, bodies),
      (reason, lost) => this.#passGap({ reason, lost, topic }),
    );
  }

  /** The number of handlers. */
  get size(): number {
    return this.#queues.size;
  }

  /** Resolves when the transport has the subscription. */
  get ready(): Promise<void> {
    return this.#stream.ready;
  }

  /** Adds a handler. */
  add(subscriber: Subscriber): HandlerQueue {
    const queue = new HandlerQueue(this.#core, subscriber, (event) => this.#started(event));
    this.#queues.add(queue);
    return queue;
  }

  /** Removes a handler. Returns false if it was already removed. */
  remove(queue: HandlerQueue): boolean {
    if (!this.#queues.delete(queue)) return false;
    queue.end();
    return true;
  }

  /** Ends the subscription at the transport. */
  close(): Promise<void> {
    return this.#stream.close();
  }

  /** Removes all handlers. Returns the number of events whose handlers had not started. */
  end(): number {
    let dropped = 0;
    for (const queue of this.#queues) dropped += queue.end();
    this.#queues.clear();
    return dropped;
  }

  #started(event: Event): void {
    if (--event.waiting > 0) return;
    this.#stream.credit(event.cost);
    if (event !== this.#large) return;
    this.#large = undefined;
    queueMicrotask(() => this.#resume()); // a chain of large events must not be as deep as long
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

  #passGap(gap: PendingGap): void {
    if (this.#behind) return void this.#behind.push(gap);
    this.#offer(); // the events before the gap are handled first
    for (const queue of [...this.#queues]) queue.enter(() => queue.reportGap(gap));
  }

  #deliver(topic: string, body: string): void {
    const opened = this.#core.envelopes.open("event", topic, body);
    if (opened?.refused) return this.#refuse(topic, body, opened.refused);
    if (opened?.signed && this.#seen?.add(opened.signed.nonce) === false) {
      this.#stream.credit(this.#cost(topic, body));
      return this.#core.repeated();
    }
    const headers = opened?.headers;
    let decoded: Decoded | Promise<Decoded>;
    try {
      decoded = this.#core.codec.decode(opened?.body ?? body);
    } catch (error) {
      return this.#refuse(topic, body, error);
    }
    const size = heldSize(opened?.body ?? body);
    if (!(decoded instanceof Promise)) return this.#add(topic, body, decoded, headers, size);
    this.#behind ??= new Fifo();
    decoded.then((decoded) => {
      this.#add(topic, body, decoded, headers, size);
      this.#resume();
    }, (error) => {
      this.#refuse(topic, body, error);
      this.#resume();
    });
  }

  #resume(): void {
    if (this.#large) return this.#offer();
    const behind = this.#behind!;
    this.#behind = undefined;
    for (let next = behind.shift(); next; next = behind.shift()) {
      if (Array.isArray(next)) this.#deliver(next[0], next[1]);
      else this.#passGap(next);
      if (!this.#behind) continue;
      this.#behind = behind; // the next event is large, or decoded asynchronously too
      break;
    }
    this.#offer();
  }

  #refuse(topic: string, body: string, error: unknown): void {
    this.#stream.credit(this.#cost(topic, body));
    this.#core.report(error, topic || this.#topic, true, { verb: "subscribe", next: "drop", item: body });
  }

  #add(topic: string, body: string, decoded: Decoded, received: MessageHeaders | undefined, size: number): void {
    const headers = userHeaders(received);
    const message: Message = decoded.type === undefined ? { topic, headers } : { topic, type: decoded.type, headers };
    const event = { decoded, message, cost: this.#cost(topic, body), waiting: 1 };
    this.#events.push(event);
    if (size <= body.length) return;
    this.#large = event;
    this.#behind ??= new Fifo();
  }

  /** Returns the credit that an event costs. For a pattern, the topic of each event is sent too, and counts. */
  #cost(topic: string, body: string): number {
    return cost(body, this.#pattern ? topic : "");
  }

  /** Offers the batch to each handler. To enter a handler's queue once for a batch is cheaper than once for each event. */
  #offer(): void {
    const events = this.#events;
    if (events.length === 0) return;
    this.#events = [];
    for (const queue of [...this.#queues]) {
      queue.enter(() => {
        for (const event of events) if (!queue.offer(event)) event.waiting++;
      });
    }
    for (const event of events) this.#started(event);
  }
}
