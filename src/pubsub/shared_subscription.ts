/**
 * One subscription of the transport, decoded once for all handlers that share it.
 *
 * @module
 */
import type { Decoded } from "../codec/codec.ts";
import { type MessageHeaders, userHeaders } from "../codec/headers.ts";
import { heldBytes } from "../codec/held_bytes.ts";
import type { Core } from "../core.ts";
import { Fifo } from "../internal/fifo.ts";
import { ownText } from "../internal/utf8.ts";
import { cost } from "../port/credit.ts";
import type { Stream } from "../port/streams.ts";
import { SeenEvents } from "./seen_events.ts";
import { type Event, HandlerQueue, type PendingGap, type Subscriber } from "./handler_queue.ts";
import type { Message } from "./topic.ts";

/**
 * The number of bytes of the decoded events that wait for handlers (`heldBytes`) from which further ones stay text. Ordinary events have far
 * fewer when they have used up the credit.
 */
const MAX_DECODED = 64 * 1024 * 1024;

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
  /** The bytes of the events whose handlers have not all started. */
  #bytes = 0;
  /** Whether an event is being decoded asynchronously. */
  #decoding = false;
  /** The events and gaps that arrived while too many bytes were decoded, or an event was being decoded asynchronously. */
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
    const full = this.#full;
    this.#bytes -= event.bytes;
    if (full && !this.#full) queueMicrotask(() => this.#resume()); // a chain of large events must not be as deep as long
  }

  get #full(): boolean {
    return this.#bytes > MAX_DECODED;
  }

  #receive(topics: string | string[], bodies: string[]): void {
    const single = typeof topics === "string";
    for (let i = 0; i < bodies.length; i++) {
      const topic = single ? topics : topics[i]!;
      if (this.#behind) this.#behind.push([topic, ownText(bodies[i]!)]);
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
    const { typed } = this.#core.codec;
    const held = (bytes = typed) => heldBytes(opened?.body ?? body, bytes);
    if (!(decoded instanceof Promise)) return this.#add(topic, body, decoded, headers, held());
    this.#decoding = true;
    this.#behind ??= new Fifo();
    decoded
      .then(
        (decoded) => this.#add(topic, body, decoded, headers, held(decoded.typed)),
        (error) => this.#refuse(topic, body, error),
      )
      .then(() => {
        this.#decoding = false;
        this.#resume();
      });
  }

  #resume(): void {
    if (this.#decoding || this.#full) return this.#offer();
    const behind = this.#behind ?? new Fifo();
    this.#behind = undefined;
    for (let next = behind.shift(); next; next = behind.shift()) {
      if (Array.isArray(next)) this.#deliver(next[0], next[1]);
      else this.#passGap(next);
      if (!this.#behind) continue;
      this.#behind = behind; // too many bytes are decoded again, or the next event is decoded asynchronously too
      break;
    }
    this.#offer();
  }

  #refuse(topic: string, body: string, error: unknown): void {
    this.#stream.credit(this.#cost(topic, body));
    this.#core.report(error, topic || this.#topic, true, { verb: "subscribe", next: "drop", item: body });
  }

  #add(topic: string, body: string, decoded: Decoded, received: MessageHeaders | undefined, bytes: number): void {
    const headers = userHeaders(received);
    const message: Message = decoded.type === undefined ? { topic, headers } : { topic, type: decoded.type, headers };
    this.#events.push({ decoded, message, cost: this.#cost(topic, body), waiting: 1, bytes });
    this.#bytes += bytes;
    if (this.#full) this.#behind ??= new Fifo();
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
