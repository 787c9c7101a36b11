/**
 * The queues of a receiver: waiting for items, waking up, and recovering lost replies.
 *
 * @module
 */
import { mark } from "../../provider/delivery_mark.ts";
import { writeTopic } from "../../provider/topic_mark.ts";
import { BusError, isUnavailable } from "../../errors.ts";
import { TextMap } from "../../internal/text_map.ts";
import type { Delivery, Outcome, ReceiveOptions, ReceiverContext } from "../../provider/provider.ts";
import type { Client } from "./client.ts";
import { retryUnavailable } from "./errors.ts";
import type { Names } from "./names.ts";
import { count, flags } from "./replies.ts";
import { readHandedOver } from "./hand_over.ts";
import { ACK, EXTEND, NACK, RECORD_LIFE, RESTORE, run, START } from "./scripts.ts";
import { LosslessTaker, type Taken } from "./lossless_take.ts";

/** Milliseconds between polls while the server reports changes, in case a report is lost. */
const SLOW_POLL = 5_000;
/** Milliseconds between polls while the server does not report changes. Items that PyMQ puts must arrive within 250 ms. */
const FAST_POLL = 200;
/**
 * Milliseconds for which items may be handed over to a waiting call. A live call polls earlier, so a process that has stopped receives no
 * more items.
 */
const HAND_OVER = 1.5 * SLOW_POLL;
/** Milliseconds within which several changes of leases count as one. */
const LEASE_CHANGES = 50;
/** The largest number of receipts in one command. The arguments of a call overflow the stack at about 120,000. */
const PART = 4_096;
/** Milliseconds after which an unused taker is removed. */
const IDLE = 5_000;
/** Milliseconds for which a `receive` continues after its wait while it finds only items that it puts aside. */
const PUTTING_ASIDE = 1_000;
/** Milliseconds for which a cancelled `receive` waits for the reply to its take. */
const CANCELLED = 250;

/** Takes, settles and returns items. */
export class Queues {
  #client: Client;
  #names: Names;
  #id: string;
  #fault: ReceiverContext["fault"];
  #count = 0;
  #takers = new Map<string, LosslessTaker>();
  /** Ids and keys come from messages. On Deno, even a search for one in a `Map` can add it to the engine's table, whose hash is public. */
  #byId = new TextMap<LosslessTaker>();
  #byKey = new TextMap<Set<LosslessTaker>>();
  #sweeper: ReturnType<typeof setInterval> | undefined;
  #tracking = false;
  /** The running removals of records. */
  #removals = new Set<Promise<unknown>>();
  #stopped = false;
  #handOver: number;
  #longest: number;

  /**
   * Creates the queues of a receiver. `id` must be unguessable, because it is part of every receipt, and a receipt is enough to settle an
   * item. Items of more than `longest` bytes are put aside. With `handsOver`, the receiver passes the messages of `Names.handedOver` to {@linkcode handOver}.
   */
  constructor(
    client: Client,
    names: Names,
    id: string,
    longest: number,
    fault: ReceiverContext["fault"],
    handsOver = false,
  ) {
    this.#longest = longest;
    this.#handOver = handsOver ? HAND_OVER : 0;
    this.#client = client;
    this.#names = names;
    this.#id = id;
    this.#fault = fault;
  }

  /** Sets whether the server reports changes of empty queues. All waiting calls poll again. */
  setTracking(tracking: boolean): void {
    this.#tracking = tracking;
    this.#wakeAll();
  }

  /** Receives items, as `Receiver.receive` describes. */
  async receive(queue: string, { max, wait, lease, signal }: ReceiveOptions): Promise<Delivery[]> {
    const deadline = performance.now() + wait;
    const taker = this.#taker(queue, lease);
    taker.active++;
    try {
      while (!this.#stopped) {
        let next = Infinity;
        // a call that can wait sends nothing while the connection is down; the reconnect wakes it
        if (this.#client.up || wait <= 0) {
          try {
            const taken = await this.#take(taker, max, signal, wait > 0);
            if (taken.deliveries.length > 0) {
              this.keyChanged(taker.keys.due, taker);
              return this.#atMost(max, taker, taken.deliveries);
            }
            next = taken.next;
            if (next === 0 && !signal.aborted && performance.now() < deadline + PUTTING_ASIDE) continue;
          } catch (error) {
            if (this.#stopped) break;
            if (wait <= 0 || !isUnavailable(error)) throw error;
          }
        }
        const left = deadline - performance.now();
        if (left <= 0 || signal.aborted) break;
        await taker.sleep(Math.min(left, next, this.#tracking ? SLOW_POLL : FAST_POLL), signal);
        const handedOver = taker.arrived();
        if (handedOver) return handedOver.deliveries;
      }
      return [];
    } finally {
      taker.used = performance.now();
      this.#release(taker);
    }
  }

  /** Accepts a message to the channel on which items are handed over. */
  handOver(message: string): void {
    const handedOver = readHandedOver(message);
    const number = handedOver?.number ?? "";
    if (handedOver) this.#byId.get(number.slice(0, number.lastIndexOf(".")))?.handOver(handedOver);
  }

  /** Puts items back to the head of the queue, once, even if the connection breaks meanwhile. */
  async restore(queue: string, deliveries: readonly Delivery[]): Promise<void> {
    const { list, prefix } = this.#names.queue(queue);
    const record = `${prefix}restored:${this.#id}.${this.#count++}`;
    const bodies = deliveries.map(({ body, topic, attempt }) => {
      const item = writeTopic(body, topic);
      return attempt > 1 ? item + mark(attempt - 1) : item;
    }).reverse();
    const end = performance.now() + RECORD_LIFE / 2;
    await retryUnavailable(() => {
      // later, the record may have expired, and the items would be put back twice
      if (performance.now() > end) {
        throw new BusError(
          "internal",
          `Cannot tell whether items of queue "${queue}" were put back: Redis was unreachable for too long`,
        );
      }
      return run(this.#client, count, RESTORE, [list, record], [RECORD_LIFE, ...bodies], () => this.keyChanged(list));
    });
    const removed: Promise<unknown> = retryUnavailable(() => this.#client.call(count, "unlink", record)).catch(() => {})
      .finally(() => this.#removals.delete(removed));
    this.#removals.add(removed);
  }

  /** Records starts, as `Receiver.start` describes. */
  start(queue: string, receipts: readonly string[]): Promise<boolean[]> {
    const { due } = this.#names.queue(queue);
    const sent = () => this.keyChanged(due);
    return inParts(receipts, (part) => run(this.#client, flags(part.length), START, [due], part, sent));
  }

  /** Settles leases, as `Receiver.settle` describes. */
  settle(queue: string, receipts: readonly string[], outcome: Outcome, delay: number): Promise<boolean[]> {
    const { due, items, list } = this.#names.queue(queue);
    const sent = () => this.keyChanged(outcome === "ack" || delay > 0 ? due : list);
    return inParts(receipts, (part) => {
      const held = flags(part.length);
      if (outcome === "ack") return run(this.#client, held, ACK, [due, items], part, sent);
      return run(this.#client, held, NACK, [due, items, list], [Math.ceil(delay), outcome, ...part], sent);
    });
  }

  /** Extends leases, as `Receiver.extend` describes. */
  extend(queue: string, receipts: readonly string[], lease: number): Promise<boolean[]> {
    const { due } = this.#names.queue(queue);
    const sent = () => this.keyChanged(due);
    return inParts(
      receipts,
      (part) => run(this.#client, flags(part.length), EXTEND, [due], [Math.ceil(lease), ...part], sent),
    );
  }

  /** Accepts the server's report of a list of changed keys. If it is null, all may have changed. */
  keysChanged(keys: unknown): void {
    if (Array.isArray(keys)) { for (const key of keys) this.keyChanged(String(key)); }
    else if (keys === null) this.#wakeAll();
  }

  /**
   * Wakes the calls that wait for a key that changed. The server reports changes by others only. It also stops
   * watching a key that this connection changes, so each own change must be passed here, and the calls take again.
   */
  keyChanged(key: string, by?: LosslessTaker): void {
    for (const taker of this.#byKey.get(key) ?? []) {
      if (taker !== by) taker.wake(key === taker.keys.list ? 0 : LEASE_CHANGES);
    }
  }

  /** Gives back the items of lost replies for which no call waits any more. */
  async recover(): Promise<void> {
    const orphans = [...this.#takers.values()].filter((taker) => taker.lost && taker.active === 0);
    await Promise.all(orphans.map(async (taker) => {
      taker.active++;
      try {
        await taker.block(this.#recover(taker));
      } finally {
        taker.active--;
      }
    }));
  }

  async #recover(taker: LosslessTaker): Promise<void> {
    if (taker.lease === undefined) await this.#giveBackLast(taker);
    else await this.#giveBack(taker, await taker.recover());
  }

  async #giveBackLast(taker: LosslessTaker): Promise<void> {
    await taker.giveBack();
    this.keyChanged(taker.keys.list);
  }

  /** Makes all waiting calls return. */
  stop(): void {
    this.#stopped = true;
    clearInterval(this.#sweeper);
    this.#wakeAll();
  }

  /** Gives back the items of lost replies, and removes all records from the server. */
  async close(): Promise<void> {
    const ended = [...this.#takers.values()].map(async (taker) => {
      // the server may not have executed the take yet, or it may have to be sent again
      if (taker.uncertain > 0) await taker.giveBack();
      await taker.idle();
      if (taker.lost) await retryUnavailable(() => this.#recover(taker));
      await retryUnavailable(() => taker.removeRecord());
    });
    await Promise.all([...ended, ...this.#removals]);
  }

  /** The largest number of items that may be lost because a take has no reply. */
  get uncertain(): number {
    return [...this.#takers.values()].reduce((sum, taker) => sum + taker.uncertain, 0);
  }

  /** Takes items. If the signal aborts and the reply is late, it returns nothing, and gives the items back when they arrive. */
  async #take(taker: LosslessTaker, max: number, signal: AbortSignal, waits: boolean): Promise<Taken> {
    // an item without a lease would be lost with this process
    const taking = taker.take(max, signal, waits && taker.lease !== undefined ? this.#handOver : 0);
    const late = Promise.withResolvers<void>();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const abort = () => timer = setTimeout(late.resolve, CANCELLED);
    signal.addEventListener("abort", abort);
    if (signal.aborted) abort();
    try {
      const taken = await Promise.race([taking, late.promise]);
      if (taken) return taken;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
    }
    taker.active++;
    const back = taking.then(({ deliveries }) => {
      if (deliveries.length === 0) return;
      return taker.lease === undefined ? this.#giveBackLast(taker) : this.#giveBack(taker, deliveries);
    });
    taker.block(back).catch(() => {}).finally(() => this.#release(taker));
    return { deliveries: [], next: Infinity };
  }

  /** Ends a use of a taker. If it was the last one, no item may be handed over any more. */
  #release(taker: LosslessTaker): void {
    taker.active--;
    // if this fails, the sweep repeats it
    if (taker.waiting && taker.active === 0 && this.#client.up) this.recover().catch(() => {});
  }

  /** Limits the items to `max`, and gives the rest of a lost reply back. */
  async #atMost(max: number, taker: LosslessTaker, deliveries: Delivery[]): Promise<Delivery[]> {
    await this.#giveBack(taker, deliveries.splice(max));
    return deliveries;
  }

  async #giveBack({ queue, lease }: LosslessTaker, deliveries: Delivery[]): Promise<void> {
    if (deliveries.length === 0) return;
    if (lease === undefined) await this.restore(queue, deliveries);
    else await this.settle(queue, deliveries.map(({ receipt }) => receipt), "untried", 0);
  }

  #taker(queue: string, lease: number | undefined): LosslessTaker {
    const id = `${lease ?? ""}:${queue}`;
    let taker = this.#takers.get(id);
    if (taker) return taker;
    const unique = `${this.#id}.${this.#count++}`;
    taker = new LosslessTaker(this.#client, this.#names.queue(queue), unique, queue, lease, this.#longest, this.#fault);
    this.#takers.set(id, taker);
    this.#byId.set(unique, taker);
    for (const key of [taker.keys.list, taker.keys.due]) {
      const takers = this.#byKey.get(key);
      if (takers) takers.add(taker);
      else this.#byKey.set(key, new Set([taker]));
    }
    this.#sweeper ??= setInterval(() => this.#sweep(), IDLE);
    return taker;
  }

  /** Recovers lost replies, and removes old records and unused takers. */
  #sweep(): void {
    // a reply may be late even while the connection is up
    if (this.#client.up) this.recover().catch(this.#fault);
    const before = performance.now() - IDLE;
    for (const [id, taker] of this.#takers) {
      if (taker.recorded) taker.removeRecord().catch(this.#fault);
      if (taker.lost || taker.recorded || taker.active > 0 || taker.used > before) continue;
      this.#takers.delete(id);
      this.#byId.delete(taker.id);
      for (const key of [taker.keys.list, taker.keys.due]) {
        const takers = this.#byKey.get(key);
        takers?.delete(taker);
        if (takers?.size === 0) this.#byKey.delete(key);
      }
    }
    if (this.#takers.size > 0) return;
    clearInterval(this.#sweeper);
    this.#sweeper = undefined;
  }

  #wakeAll(): void {
    for (const taker of this.#takers.values()) taker.wake();
  }
}

/** Runs a script for the leases of all receipts. The last part is sent first, because the server puts items back at the head of the list. */
async function inParts(
  receipts: readonly string[],
  act: (part: readonly string[]) => Promise<boolean[]>,
): Promise<boolean[]> {
  const parts: boolean[][] = [];
  for (let at = Math.floor((receipts.length - 1) / PART) * PART; at >= 0; at -= PART) {
    parts.unshift(await act(receipts.slice(at, at + PART))); // all at once would take longer than a command may
  }
  return parts.flat();
}
