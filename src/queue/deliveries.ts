/**
 * The items that a queue delivers, from decoding to the end of their lease: acknowledged, given back, or dead-lettered.
 *
 * @module
 */
import { type Decoded, exceeds } from "../codec/codec.ts";
import type { Envelopes, Received } from "../codec/envelope.ts";
import { letterHeaders, userHeaders, withTopic } from "../codec/headers.ts";
import type { Core } from "../core.ts";
import { BusError, isUnavailable, QueueFullError, ValidationError } from "../errors.ts";
import type { ErrorContext } from "../events.ts";
import { isA, nameOf, textOf } from "../internal/thrown.ts";
import { backoff, pause, RETRY, spread } from "../internal/time.ts";
import { LeaseWatch, type LostLeases } from "../port/lost_leases.ts";
import { largestText } from "../provider/largest_text.ts";
import { DEAD } from "../provider/queue_names.ts";
import type { Delivery, Outcome } from "../provider/provider.ts";
import { type StandardSchemaV1, validate } from "../codec/schema.ts";
import { tooLong, writeLetter } from "./letter.ts";

/** Milliseconds before an item that could be neither acknowledged nor dead-lettered is redelivered. */
export const REDELIVERY_DELAY = 1_000;
/** The largest number of characters of the class and of the message of an error in a dead letter, so that the letter fits the transport. */
const MAX_CAUSE = 4_096;

/** The parts of a bus that opening a delivery needs. */
interface Opener {
  readonly envelopes: Envelopes;
  readonly link: { readonly leases: LostLeases };
}

/** A delivery without its envelope. */
export interface Opened extends Delivery, Received {
  /** Whether the start of this attempt was recorded. */
  started: boolean;
  /** The item as its handler receives it, or its body until it was read. */
  item: unknown;
  /** The lease, if the item was received with one. */
  watch: LeaseWatch;
}

/** Opens the envelope of a delivery. `stored` is true if its reader is a group, which accepts the events that the group has stored. */
export function open(delivery: Delivery, queue: string, { envelopes, link }: Opener, stored = false): Opened {
  const { receipt, attempt, unconfirmed } = delivery;
  const { body, headers, signed, topic, refused }: Received =
    envelopes.openItem(queue, delivery.body, delivery.topic, stored) ?? { body: delivery.body };
  const watch = new LeaseWatch(link.leases, queue, receipt);
  // each field by its name: to copy both objects takes twice as long
  return { receipt, attempt, unconfirmed, body, headers, signed, topic, refused, started: false, item: body, watch };
}

/** Returns the number of handlers that have started with an item. */
export function attemptsOf({ attempt, started }: Opened): number {
  return started ? attempt : attempt - 1;
}

/** The rules by which a group decodes and selects the items of its queue. */
export interface Reading {
  /** Returns the item of a decoded body, or throws a `ValidationError`. */
  accept(decoded: Decoded): unknown;
  /** Returns the event of an item, for reports. */
  eventOf(item: unknown): unknown;
  /** Returns whether an event on this topic is acknowledged without a handler. */
  skips(topic: string | undefined): boolean;
}

/** The deliveries of one queue. */
export class Deliveries {
  readonly queue: string;
  readonly core: Core;
  /** The name of the dead-letter queue. */
  readonly deadLetter: string;
  /** The verb that the user called, for reports of its handlers. */
  readonly verb: "subscribe" | "consume";
  #schema: StandardSchemaV1 | undefined;
  #reading: Reading | undefined;

  /** Creates the deliveries of the queue of this name, whose items the schema validates. A group passes its own rules for reading them. */
  constructor(
    queue: string,
    schema: StandardSchemaV1 | undefined,
    core: Core,
    deadLetter = queue + DEAD,
    rules?: Reading,
  ) {
    this.#reading = rules;
    this.verb = rules ? "subscribe" : "consume";
    this.queue = queue;
    this.deadLetter = deadLetter;
    this.#schema = schema;
    this.core = core;
  }

  /** Opens the envelope of a delivery of this queue. */
  open(delivery: Delivery): Opened {
    return open(delivery, this.queue, this.core, this.#reading !== undefined);
  }

  /** Decodes the item of a message. If that fails, the error contains the body, so that it is not lost. Rejects if the message is refused. */
  async read({ body, refused }: Received): Promise<unknown> {
    if (refused) throw refused;
    try {
      const decoded = await this.core.codec.decode(body);
      if (this.#reading) return await this.#reading.accept(decoded);
      const { value } = decoded;
      return this.#schema ? await validate(this.#schema, value, `an item of queue "${this.queue}"`, "item") : value;
    } catch (error) {
      if (!isA(error, ValidationError) || error.body !== undefined) throw error;
      throw new ValidationError(error.message, error.issues, { cause: error, body, part: error.part });
    }
  }

  /** Decodes the item of a delivery, and keeps it there for reports. Rejects as {@linkcode read} does. */
  async readOpened(delivery: Opened): Promise<unknown> {
    const item = await this.read(delivery);
    delivery.item = this.#reading ? this.#reading.eventOf(item) : item;
    return item;
  }

  /** Reports an error of an item. `rejected` has the meaning that it has for `Core.report`. */
  report(delivery: Opened, error: unknown, rejected: boolean, context: ErrorContext): void {
    const { item, headers } = delivery;
    this.core.report(error, this.queue, rejected, { ...context, item, headers: userHeaders(headers) });
  }

  /** Returns whether a delivery is acknowledged without a handler. */
  skips({ topic }: Delivery): boolean {
    return this.#reading?.skips(topic) ?? false;
  }

  /**
   * Records the start of this attempt. Resolves with false if the lease was lost. Usually it does not wait for the confirmation. But if the
   * last lease expired, the item may have killed its process, so it waits. With `soon`, the record of a first attempt is sent a moment
   * later, or not at all if the item is settled before.
   */
  async start(delivery: Opened, soon = false): Promise<boolean> {
    const { link } = this.core;
    if (soon && delivery.attempt === 1 && !delivery.unconfirmed) link.startSoon(this.queue, delivery.receipt);
    else {
      const recorded = link.start(this.queue, [delivery.receipt]);
      if (delivery.unconfirmed) {
        const [held] = await recorded;
        if (!held) return false;
      } else recorded.catch(() => {}); // a failed attempt is counted when the item goes back
    }
    delivery.started = true;
    return true;
  }

  /**
   * Records that an item is read that may kill this process, which counts as an attempt only if it does. Resolves with false if the lease
   * was lost.
   */
  async startReading({ receipt }: Opened): Promise<boolean> {
    const [held] = await this.core.link.start(this.queue, [receipt]);
    return held === true;
  }

  /** Settles a lease now or, with `soon`, together with the next request. Resolves with true if the lease was still valid. */
  async settle(delivery: Opened, outcome: Outcome, delay = 0, soon = false): Promise<boolean> {
    const [held] = await this.core.link.settle(this.queue, [delivery.receipt], outcome, delay, soon);
    delivery.watch.end();
    if (held && outcome === "ack") this.core.activity.taken(this.queue);
    return held === true;
  }

  /**
   * Settles a lease as {@linkcode settle} does, and repeats it while the transport is unavailable and the lease holds. So a handled item
   * does not count as a failed attempt because of an outage.
   */
  settleWhileHeld(delivery: Opened, outcome: Outcome, delay = 0, soon = false): Promise<boolean> {
    return this.#whileHeld(delivery, async (again) =>
      // an earlier request may have settled it, although its answer was lost
      await this.settle(delivery, outcome, delay, soon) || again && !delivery.watch.signal.aborted);
  }

  /** Does something safe to repeat with an item, and repeats it while the transport is unavailable and the lease of the item holds. */
  async #whileHeld<T>(delivery: Opened, act: (again: boolean) => Promise<T>): Promise<T> {
    for (let failures = 0;; failures++) {
      try {
        return await act(failures > 0);
      } catch (error) {
        const { signal } = delivery.watch;
        if (!isUnavailable(error)) throw error;
        await pause(spread(backoff(RETRY.send, failures + 1)), signal);
        if (signal.aborted) throw error;
      }
    }
  }

  /** Gives back items whose handlers have not started. */
  untried(deliveries: readonly Delivery[]): Promise<boolean[]> {
    return this.core.link.settle(this.queue, deliveries.map(({ receipt }) => receipt), "untried");
  }

  /**
   * Moves an item to the dead-letter queue. It is put there before it is removed here, so a crash can duplicate it, but not lose it.
   * Rejects if the lease was lost, because another consumer may have the item. Calls `begin` when the lease is known to be valid.
   */
  async moveToDeadLetters(
    delivery: Opened,
    readable: boolean,
    error: unknown,
    deadLetter: string,
    begin?: () => void,
  ): Promise<void> {
    const { link } = this.core;
    // a start counts once, however often it is recorded
    const record = () => link.start(this.queue, [delivery.receipt]);
    const [held] = delivery.started ? await this.#whileHeld(delivery, record) : [true];
    if (!held) throw link.leases.reason(this.queue);
    begin?.();
    await this.putDeadLetter(delivery, readable, error, deadLetter);
    await this.settleWhileHeld(delivery, "ack");
  }

  /**
   * Puts an item into the dead-letter queue, with the error that it failed with. A letter is longer than its item. If it is too long to be
   * put, or to be taken from there, the item is put as it is, because otherwise it would come back forever, or could not be taken.
   */
  async putDeadLetter(delivery: Opened, readable: boolean, error: unknown, deadLetter: string): Promise<void> {
    const { sender, envelopes, codec } = this.core;
    const cause = { name: nameOf(error).slice(0, MAX_CAUSE), message: textOf(error).slice(0, MAX_CAUSE) };
    const { body, headers, topic } = delivery;
    const attempts = attemptsOf(delivery);
    // a full dead-letter queue must not block the next items, so the item is retried later
    const put = (text: string) => sender.send(deadLetter, text, { wait: 0 });
    try {
      const letter = writeLetter(this.queue, body, readable, attempts, cause);
      const text = envelopes.seal("item", deadLetter, letter, letterHeaders(withTopic(headers, topic)));
      if (exceeds(text, largestText(codec.maxBody))) throw new RangeError("The letter is too long");
      await put(text);
    } catch (error) {
      if (!tooLong(error)) throw error;
      await put(envelopes.restore(deadLetter, body, letterHeaders(headers)));
    }
  }

  /**
   * Moves an item that was taken without a lease to the dead-letter queue. If that is full or unreachable, the item goes back to the end of
   * its queue, to be taken a moment later. If it cannot go back, the reported error contains it.
   */
  async deadLetterTaken(delivery: Opened, error: unknown): Promise<void> {
    const { envelopes, features, sender } = this.core;
    try {
      await this.putDeadLetter(delivery, false, error, this.deadLetter);
    } catch (cause) {
      const delay = Math.min(REDELIVERY_DELAY, features.maxPutDelay);
      const { body, headers, topic } = delivery;
      try {
        const returns = topic === undefined && (isUnavailable(cause) || (isA(cause, QueueFullError) && delay > 0));
        if (!returns) throw cause;
        const item = envelopes.restore(this.queue, body, letterHeaders(headers));
        await sender.send(this.queue, item, { wait: 0, delay });
        this.report(delivery, cause, false, { next: "retry", delay });
      } catch {
        const text = `Cannot keep an item of queue "${this.queue}": it can be neither dead-lettered nor put back`;
        this.report(delivery, new ValidationError(text, [], { cause, body }), false, {});
      }
    }
  }

  /**
   * Gives back an item that could be neither acknowledged nor dead-lettered. An acknowledgement that did arrive stays valid. `context` has
   * neither `attempt` nor `next` if the attempt was reported before.
   */
  async giveBack(delivery: Opened, error: unknown, context?: ErrorContext): Promise<void> {
    const { attempt, next } = context ?? { attempt: delivery.attempt, next: "retry" };
    // without the lease, or with a closed bus, the item goes back at a time that this bus does not choose
    const gone = delivery.watch.signal.aborted ||
      isA(error, BusError) && (error.code === "lease_lost" || error.code === "closed");
    const delay = gone || next !== "retry" ? undefined : REDELIVERY_DELAY;
    this.report(delivery, error, false, { verb: this.verb, attempt, next, delay });
    await this.release(delivery, gone);
  }

  /** Gives back an item later. If this fails, its lease expires. A closing bus has given back the items whose leases are `gone`. */
  async release(delivery: Opened, gone: boolean): Promise<void> {
    if (gone && this.core.link.leases.closing) return;
    await this.settle(delivery, delivery.started ? "nack" : "untried", REDELIVERY_DELAY).catch(() => {});
  }
}
