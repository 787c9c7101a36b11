/**
 * Receives the items of named queues: first the returned items, then those in the kernel queue.
 *
 * @module
 */
import { BusError } from "../../errors.ts";
import type { Delivery, ReceiveOptions, ReceiverContext } from "../../provider/provider.ts";
import { ItemBatch, MAX_UNREADABLE, type Taken, UNREADABLE } from "./item_batch.ts";
import { check } from "./errors.ts";
import { readItem, writeItem } from "./frames.ts";
import { bodyDirectory, hasFiles, type ItemFile, nameOfItem, parseItem, queueDirectory } from "./items.ts";
import { type Leases, READING } from "./leases.ts";
import type { CrashSlot } from "./crash_slot.ts";
import type { PollLoop } from "./poll_loop.ts";
import { Errno } from "./errno.ts";
import { DUE, type OpenQueue, WAITS } from "./mqueues.ts";
import type { Moves } from "./moves.ts";
import type { Namespace } from "./namespace.ts";
import { TakenBodies } from "./taken_bodies.ts";

/**
 * Milliseconds between two checks for returned items, while the queue has leased or returned items. All waits check at the same moments.
 */
const CHECK_INTERVAL = 200;
/** Milliseconds between two such checks while the queue has no leased or returned items. Another bus may lease one meanwhile. */
const IDLE_INTERVAL = 1_000;
/** Milliseconds between two checks whether a missing queue exists now: a quarter of the time waited so far, within these bounds. */
const MISSING_INTERVAL = { min: 5, max: 500 };

/** The number of consecutive checks without a pause that may find overflow, but no item, because other buses take the items first. */
const QUICK = 16;
/** Milliseconds between two such checks after that. */
const UNTAKEN_INTERVAL = 10;

/** Takes items for one bus. */
export class ItemReceiver {
  #namespace: Namespace;
  #bus: string;
  #moves: Moves;
  #leases: Leases;
  #crashSlot: CrashSlot;
  #pollLoop: PollLoop;
  #messageSize: number;
  #fault: ReceiverContext["fault"];
  #bodies: TakenBodies;
  #buffer = new Uint8Array(8_192);

  /** Creates the receiver of a bus. `fault` reports an item that could not be read. */
  constructor(
    namespace: Namespace,
    bus: string,
    moves: Moves,
    leases: Leases,
    crashSlot: CrashSlot,
    pollLoop: PollLoop,
    messageSize: number,
    fault: ReceiverContext["fault"],
  ) {
    this.#namespace = namespace;
    this.#bus = bus;
    this.#moves = moves;
    this.#leases = leases;
    this.#crashSlot = crashSlot;
    this.#pollLoop = pollLoop;
    this.#messageSize = messageSize;
    this.#fault = fault;
    this.#bodies = new TakenBodies(namespace.bodyFiles);
    leases.onLost = (receipt) => this.#bodies.lost(receipt);
  }

  /** Removes the files of the bodies that were just taken. */
  close(): void {
    this.#bodies.remove();
  }

  /** Takes items, as `Receiver.receive` does. */
  async receive(queue: string, { max, wait, lease, signal }: ReceiveOptions): Promise<Delivery[]> {
    const name = this.#namespace.names.queue(queue);
    const start = performance.now();
    const deadline = start + wait;
    const { delayed, overflow, queues, waiting } = this.#namespace;
    let [idle, checked] = [0, start]; // the checks in a row that found nothing although the queue has overflow, and the last one
    while (!signal.aborted && !this.#pollLoop.closed) {
      // it is not created here: a queue that was freed must not come back because a bus waits for its items
      const open = queues.use(name);
      if (open) queues.hold(open);
      const probe = () => {
        waiting.add(name, this.#bus);
        const files = hasFiles(this.#namespace.directories, name);
        if ((files && this.#leases.due(name).length > 0) || queues.use(name) !== open) return 0;
        const next = files ? delayed.wait(name) : Infinity;
        // without room in the directory, an item cannot be taken
        const now = performance.now();
        const any = files && (next === 0 || overflow.any(name));
        if (any) return idle < QUICK ? 0 : Math.max(0, checked + UNTAKEN_INTERVAL - now);
        idle = 0;
        const { min, max: most } = MISSING_INTERVAL;
        if (!open) return Math.min(next, most, Math.max(min, (now - start) / 4));
        const every = files && this.#leases.any(name) ? CHECK_INTERVAL : IDLE_INTERVAL;
        return Math.min(next, every - now % every);
      };
      let deliveries: Delivery[] = [];
      try {
        deliveries = this.#take(name, open, max, lease);
        const now = performance.now();
        if (deliveries.length > 0 || now >= deadline) return deliveries;
        [idle, checked] = [idle + 1, now];
        await this.#pollLoop.wait(open?.descriptor, "in", deadline - now, { probe, signal });
      } finally {
        if (open) {
          queues.release(open);
          // a queue that another bus removes counts towards the limits as long as it is open here; one with items is soon used again
          if (deliveries.length === 0) queues.closeIdle(open);
        }
      }
    }
    return [];
  }

  /** Gives items back, as `Receiver.restore` does. */
  restore(queue: string, deliveries: readonly Delivery[]): void {
    const name = this.#namespace.names.queue(queue);
    const { bodyFiles } = this.#namespace;
    const all = deliveries.map((delivery) => ({ ...delivery, key: this.#leases.key() }));
    // the last one first, so that they are at the head in their order
    for (const { body, attempt, unconfirmed, key } of all.reverse()) {
      try {
        let message = writeItem(body, false);
        if (message.length > this.#messageSize) {
          const file = this.#bodies.keep(name, body) ??
            bodyFiles.write(bodyDirectory(name), body, true, `give an item back to queue "${queue}"`);
          message = writeItem(file, true);
        }
        this.#leases.restore(name, key, message, attempt - 1, unconfirmed);
      } catch (error) {
        this.#fault(error); // the other items still go back
      }
    }
  }

  #take(name: string, open: OpenQueue | undefined, max: number, lease: number | undefined): Delivery[] {
    const read = (receipt: string) => this.#readHeld(name, receipt, lease);
    const batch = new ItemBatch<Delivery>(max);
    const files = hasFiles(this.#namespace.directories, name);
    if (files) {
      this.#moves.settle(name);
      this.#leases.take(name, batch, lease, read);
    }
    const { delayed, queues } = this.#namespace;
    if (open && this.#buffer.length < open.size) this.#buffer = new Uint8Array(open.size);
    try {
      if (files && !batch.full && delayed.wait(name) === 0) this.#takeDue(name, open, lease, batch);
      let untaken: string | undefined;
      while (!batch.full) {
        // the overflow is read first: its oldest item at this time is the next one once the kernel's queue is empty
        const oldest = files ? this.#oldest(name) : undefined;
        if (open) this.#takeMessages(name, open, lease, batch);
        if (!oldest || batch.full || oldest.path === untaken) break;
        if (queues.use(name) !== open) break; // it was created meanwhile, and has older items
        untaken = this.#takeOverflow(name, oldest, lease, batch);
      }
    } catch (error) {
      if (batch.items.length === 0) throw error;
      this.#fault(error);
    }
    return batch.items;
  }

  /** Takes messages of the kernel's queue until it is empty, or the next one has a lower priority than `least`. */
  #takeMessages(
    name: string,
    open: OpenQueue,
    lease: number | undefined,
    batch: ItemBatch<Delivery>,
    least = 0,
  ): void {
    while (!batch.full) {
      const delivery = lease === undefined && least === 0
        ? this.#takeForGood(name, open)
        : this.#hold(name, open, lease, least);
      if (!delivery) return;
      batch.push(delivery);
    }
  }

  /** Takes items whose delay is over: first those that were moved into the kernel's queue, which were due earlier. */
  #takeDue(name: string, open: OpenQueue | undefined, lease: number | undefined, batch: ItemBatch<Delivery>): void {
    const { delayed } = this.#namespace;
    const read = (receipt: string) => this.#readHeld(name, receipt, lease);
    const takeMoved = () => open && this.#takeMessages(name, open, lease, batch, DUE);
    takeMoved();
    for (const item of delayed.due(name, batch.left + MAX_UNREADABLE)) {
      if (batch.full) return;
      const claim = () => this.#leases.claim(name, item.path, item.name, lease, read);
      let delivery = claim();
      if (delivery) delayed.taken(name);
      else {
        delayed.refresh(name);
        this.#moves.settle(name, true); // another bus moves it, or has taken it
        takeMoved();
        if (batch.full) return;
        delivery = claim(); // it is here again if the kernel's queue had no room for it
        if (!delivery) delayed.postpone(name, item.name); // if it is still here, it cannot be taken now
      }
      batch.push(delivery ?? UNREADABLE);
    }
  }

  /** Returns the oldest item of the overflow at a time when no other bus moved one. Returns undefined if others move one each time. */
  #oldest(name: string): ItemFile | undefined {
    const { overflow } = this.#namespace;
    if (!overflow.any(name)) return undefined;
    for (let i = 0; i < QUICK; i++) {
      const oldest = overflow.oldest(name);
      if (!oldest || !this.#moves.settle(name, true)) return oldest;
      overflow.refresh(name); // the item that was being moved is here again if the kernel's queue had no room for it
    }
    return undefined;
  }

  /** Takes items from the overflow. Returns the path of an item that it could not take, if any. */
  #takeOverflow(
    name: string,
    first: ItemFile,
    lease: number | undefined,
    batch: ItemBatch<Delivery>,
  ): string | undefined {
    const { overflow } = this.#namespace;
    const read = (receipt: string) => this.#readHeld(name, receipt, lease);
    for (let oldest: ItemFile | undefined = first; oldest && !batch.full; oldest = overflow.next(name)) {
      // the item gets a new key, as a message does when it is taken, because items that are given back are ordered by their keys
      const taking = nameOfItem({ ...parseItem(oldest.name)!, key: this.#leases.key() });
      const delivery = this.#leases.claim(name, oldest.path, taking, lease, read);
      if (!delivery) {
        overflow.refresh(name);
        return oldest.path;
      }
      overflow.taken(name);
      batch.push(delivery);
    }
    return undefined;
  }

  #takeForGood(name: string, { descriptor }: OpenQueue): Taken<Delivery> | undefined {
    while (true) {
      const length = this.#namespace.posix.receive(descriptor, this.#buffer);
      if (length === -Errno.EINTR) continue;
      if (length < 0) return this.#none(name, length);
      const message = this.#buffer.subarray(0, length);
      const item = readItem(message);
      const attempt = item.deliveries + 1;
      let body: string | undefined;
      try {
        body = this.#body(name, item, "", true);
      } catch (error) {
        this.#leases.restore(name, this.#leases.key(), message, item.deliveries);
        throw error;
      }
      return body === undefined ? UNREADABLE : { receipt: "", body, attempt };
    }
  }

  #hold(name: string, open: OpenQueue, lease: number | undefined, least: number): Taken<Delivery> | undefined {
    const { posix, queues } = this.#namespace;
    while (true) {
      const key = this.#leases.key();
      const { length, message } = this.#crashSlot.receive(name, key, open.descriptor, open.size);
      if (length === -Errno.EINTR) continue;
      if (length < 0) return this.#none(name, length);
      const item = readItem(message);
      if (posix.priority < least && posix.send(open.descriptor, message, message.length, WAITS) === 0) {
        this.#crashSlot.clear();
        return undefined;
      }
      let receipt: string;
      try {
        receipt = this.#leases.hold(name, key, message, item.deliveries, lease ?? READING);
      } catch (error) {
        // there is no room for the lease: it goes back into its queue, or stays in the crash slot
        if (queues.putFirst(open, message)) this.#crashSlot.clear();
        throw error;
      }
      this.#crashSlot.clear();
      const body = this.#body(name, item, receipt, lease === undefined);
      if (body === undefined) return UNREADABLE;
      const attempt = item.deliveries + 1;
      if (lease !== undefined) return { receipt, body, attempt };
      if (this.#leases.ack(name, receipt, true)) return { receipt: "", body, attempt };
      this.#bodies.lost(receipt); // it took too long, and was given back
    }
  }

  /** Returns undefined after a read that found no item. Throws if it failed. */
  #none(name: string, result: number): undefined {
    check(result, `Cannot get from ${this.#namespace.names.title(name)}`, Errno.EAGAIN);
  }

  #readHeld(queue: string, receipt: string, lease: number | undefined): string | undefined {
    const { bodyFiles, directories } = this.#namespace;
    const held = `${queueDirectory(queue)}/held`;
    let item: Uint8Array;
    try {
      item = bodyFiles.readItem(held, receipt);
    } catch (error) {
      this.#throwIfLater(error, held, receipt, queue, receipt);
      if (tooLarge(error)) this.#leases.putAside(queue, receipt);
      else directories.unlink(`${held}/${receipt}`); // otherwise it would come back forever
      this.#fault(error, true);
      return undefined;
    }
    return this.#body(queue, readItem(item), receipt, lease === undefined);
  }

  /** If a later read of an item's file may succeed, gives the item back and throws. */
  #throwIfLater(error: unknown, directory: string, file: string, queue: string, receipt: string): void {
    if (!this.#namespace.bodyFiles.later(error, directory, file)) return;
    if (receipt !== "") this.#leases.giveBack(queue, [receipt], 0, true);
    throw error;
  }

  /** Moves an item whose body is too large to the directory of such items. The item is held, or was taken without a lease. */
  #putAside(queue: string, { text, deliveries }: ReturnType<typeof readItem>, receipt: string): void {
    const leases = this.#leases;
    const held = () => leases.hold(queue, leases.key(), writeItem(text, true), deliveries, READING);
    leases.putAside(queue, receipt || held());
  }

  /** Returns the body of an item. Returns undefined if the body is in a file that does not exist, or is too large. */
  #body(queue: string, item: ReturnType<typeof readItem>, receipt: string, removed: boolean): string | undefined {
    const { text, file } = item;
    if (!file) return text;
    const { bodyFiles } = this.#namespace;
    try {
      const body = bodyFiles.read(bodyDirectory(queue), text);
      if (removed) this.#bodies.add(receipt, queue, body, text);
      return body;
    } catch (error) {
      this.#throwIfLater(error, bodyDirectory(queue), text, queue, receipt);
      if (tooLarge(error)) this.#putAside(queue, item, receipt);
      else if (receipt !== "") this.#leases.ack(queue, receipt);
      this.#fault(error, true);
      return undefined;
    }
  }
}

function tooLarge(error: unknown): boolean {
  return error instanceof BusError && error.code === "too_large";
}
