/**
 * The queues of a receiver: who waits, what wakes them, and what becomes of a reply that was lost.
 *
 * @module
 */
import { mark } from "../../provider/delivery_mark.ts";
import { BusError } from "../../errors.ts";
import type { Delivery, Outcome, ReceiveOptions } from "../../provider/provider.ts";
import type { Client } from "./client.ts";
import { retryUnavailable, unavailable } from "./errors.ts";
import type { Names } from "./names.ts";
import { count, flags } from "./replies.ts";
import { ACK, EXTEND, NACK, RESTORE, run, START } from "./scripts.ts";
import { REMEMBER, type Taken, Taker } from "./lossless_take.ts";

/** Milliseconds between looks while the server tells us of changes: a safety net. */
const SLOW_POLL = 5_000;
/** Milliseconds between looks while it does not. Items that PyMQ puts are to be found within 250 ms. */
const FAST_POLL = 200;
/** Milliseconds in which several changes of leases count as one. */
const SOON = 50;
/** Milliseconds after which a taker that nobody uses is forgotten. */
const IDLE = 5_000;
/** Milliseconds for which the reply to a take is awaited whose items nobody wants any more. */
const PATIENCE = 250;

/** See the module. */
export class Queues {
  #client: Client;
  #names: Names;
  #id: string;
  #fault: (error: unknown) => void;
  #count = 0;
  #takers = new Map<string, Taker>();
  #byKey = new Map<string, Set<Taker>>();
  #sweeper: ReturnType<typeof setInterval> | undefined;
  #told = false;
  /** Records that are being removed. */
  #cleaning = new Set<Promise<unknown>>();
  #stopped = false;

  /** `id` must be unguessable: whoever knows the receipt of an item can settle it. */
  constructor(client: Client, names: Names, id: string, fault: (error: unknown) => void) {
    this.#client = client;
    this.#names = names;
    this.#id = id;
    this.#fault = fault;
  }

  /** Says whether the server tells us when a queue changes that was found empty. All look again. */
  tell(told: boolean): void {
    this.#told = told;
    this.#wakeAll();
  }

  /** Takes items; see `Receiver.receive`. */
  async receive(queue: string, { max, wait, lease, signal }: ReceiveOptions): Promise<Delivery[]> {
    const deadline = performance.now() + wait;
    const taker = this.#taker(queue, lease);
    taker.active++;
    try {
      while (!this.#stopped) {
        let next = Infinity;
        // one who can wait does not send into the void: the connection's return wakes it
        if (this.#client.up || wait <= 0) {
          try {
            const taken = await this.#take(taker, max, signal);
            if (taken.deliveries.length > 0) return this.#atMost(max, taker, taken.deliveries);
            next = taken.next;
          } catch (error) {
            if (this.#stopped) break;
            if (wait <= 0 || !unavailable(error)) throw error;
          }
        }
        const left = deadline - performance.now();
        if (left <= 0 || signal.aborted) break;
        await taker.sleep(Math.min(left, next, this.#told ? SLOW_POLL : FAST_POLL), signal);
      }
      return [];
    } finally {
      taker.active--;
      taker.used = performance.now();
    }
  }

  /** Puts items back to the head of the queue, once, however often the connection breaks meanwhile. */
  async restore(queue: string, deliveries: readonly Delivery[]): Promise<void> {
    const { list, prefix } = this.#names.queue(queue);
    const record = `${prefix}restored:${this.#id}.${this.#count++}`;
    const bodies = deliveries.map(({ body, attempt }) => attempt > 1 ? body + mark(attempt - 1) : body).reverse();
    const end = performance.now() + REMEMBER / 2;
    await retryUnavailable(() => {
      // later, the server may have forgotten that it did it: it would do it twice
      if (performance.now() > end) {
        throw new BusError("internal", `Cannot tell whether items of queue "${queue}" are back`);
      }
      return run(this.#client, count, RESTORE, [list, record], [REMEMBER, ...bodies]);
    });
    const removed: Promise<unknown> = retryUnavailable(() => this.#client.call(count, "unlink", record)).catch(() => {})
      .finally(() => this.#cleaning.delete(removed));
    this.#cleaning.add(removed);
  }

  /** Records starts; see `Receiver.start`. */
  start(queue: string, receipts: readonly string[]): Promise<boolean[]> {
    return run(this.#client, flags(receipts.length), START, [this.#names.queue(queue).due], receipts);
  }

  /** Settles leases; see `Receiver.settle`. */
  async settle(queue: string, receipts: readonly string[], outcome: Outcome, delay: number): Promise<boolean[]> {
    const { due, items, list } = this.#names.queue(queue);
    const held = flags(receipts.length);
    if (outcome === "ack") return await run(this.#client, held, ACK, [due, items], receipts);
    const back = await run(this.#client, held, NACK, [due, items, list], [Math.ceil(delay), outcome, ...receipts]);
    if (delay <= 0) this.changed(list);
    return back;
  }

  /** Makes leases last; see `Receiver.extend`. */
  extend(queue: string, receipts: readonly string[], lease: number): Promise<boolean[]> {
    const { due } = this.#names.queue(queue);
    return run(this.#client, flags(receipts.length), EXTEND, [due], [Math.ceil(lease), ...receipts]);
  }

  /** The server says that a key changed; an empty one: all may have. */
  changed(key: string): void {
    if (key === "") return this.#wakeAll();
    for (const taker of this.#byKey.get(key) ?? []) taker.wake(key === taker.keys.list ? 0 : SOON);
  }

  /** Gives back what was taken for somebody who waits no more, where the reply was lost. */
  async recover(): Promise<void> {
    const orphans = [...this.#takers.values()].filter((taker) => taker.lost && taker.active === 0);
    await Promise.all(orphans.map(async (taker) => {
      taker.active++;
      try {
        await taker.hold(this.#recover(taker));
      } finally {
        taker.active--;
      }
    }));
  }

  async #recover(taker: Taker): Promise<void> {
    if (taker.lease === undefined) await taker.giveBack();
    else await this.#giveBack(taker, await taker.recover());
  }

  /** Ends all waits. */
  stop(): void {
    this.#stopped = true;
    clearInterval(this.#sweeper);
    this.#wakeAll();
  }

  /** Gives back what may have been taken for nobody, and removes what was ours on the server. */
  async close(): Promise<void> {
    const ended = [...this.#takers.values()].map(async (taker) => {
      // what is under way may be carried out before, or have to be sent again
      if (taker.uncertain > 0) await taker.giveBack();
      await taker.idle();
      if (taker.lost) await retryUnavailable(() => this.#recover(taker));
      await retryUnavailable(() => taker.forget());
    });
    await Promise.all([...ended, ...this.#cleaning]);
  }

  /** How many items may have been taken for nobody, and are not known to be back. */
  get uncertain(): number {
    return [...this.#takers.values()].reduce((sum, taker) => sum + taker.uncertain, 0);
  }

  /** A take that nobody waits for any more is left to itself when its reply is late; what it took goes back. */
  async #take(taker: Taker, max: number, signal: AbortSignal): Promise<Taken> {
    const taking = taker.take(max, signal);
    const late = Promise.withResolvers<void>();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const abort = () => timer = setTimeout(late.resolve, PATIENCE);
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
      return taker.lease === undefined ? taker.giveBack() : this.#giveBack(taker, deliveries);
    });
    taker.hold(back).catch(() => {}).finally(() => taker.active--);
    return { deliveries: [], next: Infinity };
  }

  /** A lost reply may have held more than is wanted now. */
  async #atMost(max: number, taker: Taker, deliveries: Delivery[]): Promise<Delivery[]> {
    await this.#giveBack(taker, deliveries.splice(max));
    return deliveries;
  }

  async #giveBack({ queue, lease }: Taker, deliveries: Delivery[]): Promise<void> {
    if (deliveries.length === 0) return;
    if (lease === undefined) await this.restore(queue, deliveries);
    else await this.settle(queue, deliveries.map(({ receipt }) => receipt), "untried", 0);
  }

  #taker(queue: string, lease: number | undefined): Taker {
    const id = `${lease ?? ""}:${queue}`;
    let taker = this.#takers.get(id);
    if (taker) return taker;
    taker = new Taker(
      this.#client,
      this.#names.queue(queue),
      `${this.#id}.${this.#count++}`,
      queue,
      lease,
      this.#fault,
    );
    this.#takers.set(id, taker);
    for (const key of [taker.keys.list, taker.keys.due]) {
      const takers = this.#byKey.get(key);
      if (takers) takers.add(taker);
      else this.#byKey.set(key, new Set([taker]));
    }
    this.#sweeper ??= setInterval(() => this.#sweep(), IDLE);
    return taker;
  }

  /** Fetches replies that were lost, lets the server forget those that have come, and us the takers that nobody uses. */
  #sweep(): void {
    // a reply may come too late on a connection that holds
    if (this.#client.up) this.recover().catch(this.#fault);
    const before = performance.now() - IDLE;
    for (const [id, taker] of this.#takers) {
      if (taker.recorded) taker.forget().catch(this.#fault);
      if (taker.lost || taker.recorded || taker.active > 0 || taker.used > before) continue;
      this.#takers.delete(id);
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
