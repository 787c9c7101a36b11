/**
 * What becomes of the items that a queue delivers: they are read, held, started, acknowledged, given back, or dead-lettered.
 *
 * @module
 */
import { type MessageHeaders, unwrap } from "../codec/envelope.ts";
import { readMarks, writeMarks } from "../codec/marks.ts";
import type { Core } from "../core.ts";
import { BusError, ValidationError } from "../errors.ts";
import { isA, nameOf, textOf } from "../internal/thrown.ts";
import { checkDelay } from "../internal/arguments.ts";
import type { Delivery, Outcome } from "../provider/provider.ts";
import { type StandardSchemaV1, validate } from "../codec/schema.ts";

/** Milliseconds before an item is offered again that could be neither acknowledged nor dead-lettered. */
const AGAIN = 1_000;
/** Characters of a cause that a dead letter quotes: a letter must not outgrow what the transport takes. */
const CAUSE = 4_096;

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
  /** The number of this attempt: 1, and one more for each handler that has started with this item before. */
  readonly attempt: number;
  /**
   * Removes the item for good.
   *
   * @throws {BusError} "lease_lost" when the lease had ended: somebody else may have the item
   */
  ack(): Promise<void>;
  /**
   * Gives the item back to the head of the queue, after `delay` ms (default 0). A lease that had ended is left alone.
   *
   * @throws {UnsupportedError} when the transport cannot keep an item away for so long; nothing was sent
   */
  nack(options?: { delay?: number }): Promise<void>;
}

/** A lease, and whether its holder has settled it. */
export interface Held<T> extends Lease<T> {
  readonly settled: boolean;
}

/** A delivery whose body is the item's own. */
export interface Opened extends Delivery {
  readonly headers?: MessageHeaders;
  /** Its start was recorded: this attempt counts. */
  started: boolean;
}

/** Takes the body out of what the transport delivered. */
export function open(delivery: Delivery): Opened {
  return { ...delivery, ...unwrap(delivery.body), started: false };
}

/** The deliveries of one queue. */
export class Deliveries {
  readonly queue: string;
  readonly core: Core;
  #schema: StandardSchemaV1 | undefined;

  /** Of the queue of this name, whose items are what the schema says. */
  constructor(queue: string, schema: StandardSchemaV1 | undefined, core: Core) {
    this.queue = queue;
    this.#schema = schema;
    this.core = core;
  }

  /** The item of a body; an error has the body, so that nothing is lost with it. */
  async read(body: string): Promise<unknown> {
    try {
      const { value } = await this.core.codec.decode(body);
      return this.#schema ? await validate(this.#schema, value, `an item of queue "${this.queue}"`) : value;
    } catch (error) {
      if (!isA(error, ValidationError) || error.body !== undefined) throw error;
      throw new ValidationError(error.message, error.issues, { cause: error, body });
    }
  }

  /**
   * Records that this attempt starts; false: the lease was lost. The record is on its way when this resolves. Where the last lease
   * ran out, the item may have killed its holder: then the record is confirmed first.
   */
  async start(delivery: Opened): Promise<boolean> {
    const recorded = this.core.link.start(this.queue, [delivery.receipt]);
    if (delivery.unconfirmed) {
      const [held] = await recorded;
      if (!held) return false;
    } else recorded.catch(() => {}); // a failed attempt is counted when the item goes back
    delivery.started = true;
    return true;
  }

  /** The lease as its holder sees it. */
  lease<T>(delivery: Delivery, item: T): Held<T> {
    let settling: { readonly outcome: Outcome; readonly done: Promise<boolean> } | undefined;
    let tried = false;
    const settle = async (outcome: Outcome, delay: number) => {
      if (settling) return settling.outcome === outcome && await settling.done;
      tried = true;
      settling = { outcome, done: this.settle(delivery, outcome, delay) };
      try {
        return await settling.done;
      } catch (error) {
        settling = undefined; // it may be tried again
        throw error;
      }
    };
    const nack = async (options: { delay?: number } = {}) => {
      await settle("nack", checkDelay("a delay", options.delay ?? 0, this.core.features.maxDelay));
    };
    return {
      item,
      attempt: delivery.attempt,
      get settled() {
        return settling !== undefined;
      },
      ack: async () => {
        if (await settle("ack", 0)) return;
        throw new BusError("lease_lost", `Cannot acknowledge an item of queue "${this.queue}": its lease has ended`);
      },
      nack,
      // settling has already rejected with the reason: a second failure must not hide the first
      [Symbol.asyncDispose]: async () => {
        if (!tried) await nack();
      },
    };
  }

  /** Settles a lease; true if it still held. */
  async settle(delivery: Delivery, outcome: Outcome, delay = 0): Promise<boolean> {
    const [held] = await this.core.link.settle(this.queue, [delivery.receipt], outcome, delay);
    return held === true;
  }

  /** First into the dead-letter queue, then out of this one: a crash in between makes two of it, never none. */
  async bury(delivery: Opened, readable: boolean, error: unknown, deadLetter: string): Promise<void> {
    await this.letter(delivery, readable, error, deadLetter);
    await this.settle(delivery, "ack");
  }

  /** Puts an item into the dead-letter queue, with the error that it failed with. */
  async letter(delivery: Opened, readable: boolean, error: unknown, deadLetter: string): Promise<void> {
    const { sender } = this.core;
    const cause = { name: nameOf(error), message: textOf(error).slice(0, CAUSE) };
    const { body, attempt, started } = delivery;
    // the item as it was put: what a schema or a handler made of it may be another one, and nothing that can be sent
    const letter = `{"queue":${JSON.stringify(this.queue)},"item":${readable ? body : JSON.stringify(body)},` +
      `"attempts":${started ? attempt : attempt - 1},"cause":${JSON.stringify(cause)}}`;
    const item = readable ? readMarks(body) : undefined;
    // one that is full must not hold up the items behind this one: it is tried again
    await sender.send(deadLetter, letter + writeMarks(item && JSON.stringify({ item })), { wait: 0 });
  }

  /** It could be neither acknowledged nor buried: nobody must hold it on. What was acknowledged after all stays so. */
  async giveBack(delivery: Opened, error: unknown): Promise<void> {
    this.core.report(error, this.queue);
    const outcome = delivery.started ? "nack" : "untried";
    await this.settle(delivery, outcome, AGAIN).catch(() => {}); // then its lease ends by itself
  }
}
