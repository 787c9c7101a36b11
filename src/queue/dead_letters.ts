/**
 * The dead letters of a queue: reading them, putting them back and removing them.
 *
 * @module
 */
import type { Received } from "../codec/envelope.ts";
import { type MessageHeaders, userHeaders } from "../codec/headers.ts";
import { checkDepth } from "../codec/plain.ts";
import type { Core } from "../core.ts";
import { ValidationError } from "../errors.ts";
import { optionNames, refuseUnknown } from "../internal/arguments.ts";
import { TextMap } from "../internal/text_map.ts";
import { isA } from "../internal/thrown.ts";
import { Slices } from "../internal/time.ts";
import { open, type Opened } from "./deliveries.ts";
import { type DeadLetter, itemOf, letterIn } from "./letter.ts";
import { PEEK, peek, type Peeked, type PeekOptions, type Unreadable } from "./peek.ts";

/** Milliseconds of the leases of letters that are put back or removed. They are extended meanwhile. */
const LEASE = 30_000;
/** The number of letters in one request. */
const BATCH = 64;
/**
 * The number of letters that are received before the first is put back, if the size of the queue is approximate. So an item that fails
 * again at once is not put back twice.
 */
const PASS = 1_024;

/** Options of {@linkcode DeadLetters.purge}. */
export interface SelectOptions<T = unknown> {
  /**
   * Selects dead letters: it is called with each letter of this queue and the letter's headers, oldest first, and those for which it
   * returns false stay. A letter whose item could not be read has `unreadable: true`. A letter that cannot itself be read, because it is
   * nested too deep, is not selected. Default: all letters of this queue.
   */
  readonly only?: (letter: DeadLetter<T>, message: { readonly headers: MessageHeaders }) => boolean;
}

/** Options of {@linkcode DeadLetters.retry}. */
export interface RetryOptions<T = unknown> extends SelectOptions<T> {
  /** The largest number of letters that are put back. Default: all. */
  readonly limit?: number;
}

/** The names of the options of `purge` and of `retry`. */
const PURGE = optionNames<SelectOptions>({ only: true });
const RETRY = optionNames<RetryOptions>({ only: true, limit: true });

/** Acts on a letter before it is removed. `item` is the item as it was put. */
type Act = (letter: Opened, item: string) => Promise<void>;

/** The bodies of letters that were read. They identify letters: to write a value again may take seconds. */
const bodies = new WeakMap<DeadLetter, string>();

/** Returns the body of a letter that {@linkcode DeadLetters} has read. */
export function bodyOf(letter: DeadLetter): string {
  return bodies.get(letter)!;
}

/** The dead letters of a queue. Several queues can share one dead-letter queue. */
export class DeadLetters<T = unknown> {
  /** The name of the dead-letter queue. */
  readonly name: string;
  #queue: string;
  #core: Core;
  #check: (doing: string) => void;

  /** Created by {@linkcode Queue}. `check` throws when the queue cannot be used. */
  constructor(queue: string, name: string, core: Core, check: (doing: string) => void) {
    this.name = name;
    this.#queue = queue;
    this.#core = core;
    this.#check = check;
  }

  /**
   * Returns dead letters without taking them, oldest first, including those of other queues that share this dead-letter queue. An entry
   * that is not a dead letter, or is nested too deep to be shown, has an `error` and its `body` in place of `item`. It may return fewer
   * than `limit` letters, at least one, if they have more than 16 MiB, or their values take more than 64 MiB of memory.
   *
   * Each entry is a {@linkcode Peeked} whose `item` is a {@linkcode DeadLetter}. So `entry.item.item` is the item as it was put,
   * `entry.item.attempts` is the number of its attempts, and `entry.headers` are its headers.
   *
   * @throws {UnsupportedError} when the transport cannot peek
   */
  async peek(options: PeekOptions = {}): Promise<(Peeked<DeadLetter<T>> | Unreadable)[]> {
    this.#check("peek into the dead letters of queue");
    const check = refuseUnknown(options, PEEK, "peek into the dead letters of queue", "", this.#queue);
    return await peek<DeadLetter<T>>(
      this.#core,
      this.name,
      check,
      options,
      (received) => this.#read(received),
    );
  }

  async #selects(only: NonNullable<SelectOptions<T>["only"]>, letter: Received): Promise<boolean> {
    let read: DeadLetter<T>;
    try {
      read = await this.#read(letter);
    } catch (error) {
      if (isA(error, ValidationError)) return false;
      throw error;
    }
    return only(read, { headers: userHeaders(letter.headers) });
  }

  async #read({ body, refused }: Received): Promise<DeadLetter<T>> {
    if (refused) throw refused;
    const { value } = await this.#core.codec.decode(body);
    const letter = letterIn(value, body) as DeadLetter<T>;
    checkDepth(letter.item);
    bodies.set(letter, body);
    return letter;
  }

  /** Resolves with the number of dead letters, including those of other queues that share this dead-letter queue. */
  async size(): Promise<number> {
    this.#check("get the number of the dead letters of queue");
    return await this.#core.sender.size(this.name);
  }

  /**
   * Puts the items of dead letters back at the end of this queue, with their headers and without attempts. Resolves with their number.
   * Items keep the signatures that they had. A letter is removed after its item was put, so if this process dies in between, the item
   * exists twice.
   */
  async retry(options: RetryOptions<T> = {}): Promise<number> {
    this.#check("retry the dead letters of queue");
    const check = refuseUnknown(options, RETRY, "retry the dead letters of queue", "", this.#queue);
    const limit = check.count("limit", options.limit ?? Infinity);
    return await this.#each(limit, check.callable("only", options.only), async ({ headers }, item) => {
      await this.#core.sender.send(this.#queue, this.#core.envelopes.restore(this.#queue, item, headers), { wait: 0 });
      this.#core.activity.put(this.#queue);
    });
  }

  /** Removes the dead letters of this queue. Resolves with their number. */
  async purge(options: SelectOptions<T> = {}): Promise<number> {
    this.#check("purge the dead letters of queue");
    const check = refuseUnknown(options, PURGE, "purge the dead letters of queue", "", this.#queue);
    return await this.#each(Infinity, check.callable("only", options.only), () => Promise.resolve());
  }

  /** Removes up to `limit` letters of this queue, each after `act` has resolved. Gives back all others. */
  #each(limit: number, only: SelectOptions<T>["only"], act: Act): Promise<number> {
    return this.#core.receives.track(this.#process(limit, only, act));
  }

  async #process(limit: number, only: SelectOptions<T>["only"], act: Act): Promise<number> {
    const { link, sender, features, closing } = this.#core;
    const held = new TextMap<true>();
    const slices = new Slices();
    let done = 0;
    // letters that arrive meanwhile stay, because a retried item may fail again
    const size = await sender.size(this.name);
    let left = features.exactSize ? size : Math.max(size, PASS);
    const settle = (receipts: string[], outcome: "ack" | "untried") =>
      receipts.length > 0 ? link.settle(this.name, receipts, outcome) : undefined;
    try {
      while (done < limit && left > 0 && !closing.aborted) {
        const most = Math.min(features.exactSize ? BATCH : PASS, only ? Infinity : limit - done, left);
        const letters: Opened[] = [];
        let empty = false;
        while (letters.length < most && !empty && !closing.aborted) {
          const max = Math.min(BATCH, most - letters.length);
          const received = await link.receive(this.name, { max, wait: 0, lease: LEASE });
          empty = received.length === 0;
          for (const delivery of received) {
            held.set(delivery.receipt, true);
            letters.push(open(delivery, this.name, this.#core));
          }
          if (features.exactSize) break; // large letters come in several requests, and are not in memory together
        }
        for (const letter of letters) {
          if (done === limit) break;
          await slices.next();
          if (letter.refused) this.#core.report(letter.refused, this.name, true);
          const item = letter.refused ? undefined : itemOf(letter.body, this.#queue);
          if (item === undefined || (only && !await this.#selects(only, letter))) continue;
          await act(letter, item);
          await settle([letter.receipt], "ack");
          held.delete(letter.receipt);
          done++;
        }
        if (empty) break;
        left -= letters.length;
      }
      return done;
    } finally {
      await settle([...held.keys()], "untried");
    }
  }
}
