/**
 * Shows waiting items. Files are read in place. The kernel shows a message only to the process that receives it, so the bus receives all
 * messages of the queue and sends them back with their priorities, in their order. Meanwhile they are files in the directory of moved items
 * (see `moves.ts`), so other buses wait for them, and new items are put behind them. If the process is killed, they are redelivered.
 *
 * @module
 */
import type { WaitingItem } from "../../provider/provider.ts";
import { ItemBatch, MAX_UNREADABLE, UNREADABLE } from "./item_batch.ts";
import type { CrashSlot } from "./crash_slot.ts";
import { Errno } from "./errno.ts";
import { check } from "./errors.ts";
import { readItem } from "./frames.ts";
import { bodyDirectory, type ItemFile, parseItem, queueDirectory } from "./items.ts";
import type { Leases } from "./leases.ts";
import type { Moves } from "./moves.ts";
import { DUE } from "./mqueues.ts";
import type { Namespace } from "./namespace.ts";

/** Milliseconds of the lease of a message that is shown. The message is sent back immediately. */
const LEASE = 10_000;

/** A message of a kernel queue that was taken to be shown. */
interface Message {
  readonly bytes: Uint8Array;
  readonly priority: number;
  /** The name of its file. */
  readonly name: string;
}

/** Shows the items of queues to one bus. */
export class Peeker {
  #namespace: Namespace;
  #moves: Moves;
  #leases: Leases;
  #crashSlot: CrashSlot;

  /** Creates the peeker of a bus. */
  constructor(namespace: Namespace, moves: Moves, leases: Leases, crashSlot: CrashSlot) {
    this.#namespace = namespace;
    this.#moves = moves;
    this.#leases = leases;
    this.#crashSlot = crashSlot;
  }

  /** Returns waiting items, as `QueuePeeker.peek` does. */
  peek(queue: string, offset: number, limit: number): WaitingItem[] {
    const batch = new ItemBatch<WaitingItem>(limit);
    for (const read of this.#waiting(queue, offset + limit + MAX_UNREADABLE)) {
      if (offset-- > 0) continue;
      batch.push(read() ?? UNREADABLE);
      if (batch.full) break;
    }
    return batch.items;
  }

  /** Yields functions that read the items, in the order in which they will be taken; of those that were delayed, at most so many. */
  *#waiting(queue: string, most: number): Generator<() => WaitingItem | undefined> {
    const { delayed, overflow } = this.#namespace;
    this.#moves.settle(queue);
    const directory = `${queueDirectory(queue)}/back`;
    for (const name of this.#leases.due(queue)) {
      yield () => this.#readFile(queue, { name, path: `${directory}/${name}` });
    }
    const messages = this.#messages(queue);
    const later = messages.filter(({ priority }) => priority < DUE);
    for (const { bytes } of messages.slice(0, messages.length - later.length)) yield () => this.#read(queue, bytes, 0);
    for (const item of delayed.due(queue, most)) yield () => this.#readFile(queue, item);
    for (const { bytes } of later) yield () => this.#read(queue, bytes, 0);
    for (const item of overflow.all(queue)) yield () => this.#readFile(queue, item);
  }

  /** Returns the messages of the kernel's queue: it takes them and sends them back. */
  #messages(queue: string): Message[] {
    const { posix, queues } = this.#namespace;
    const open = queues.use(queue);
    if (!open) return [];
    const messages: Message[] = [];
    try {
      for (let left = posix.attributes(open.descriptor)?.current ?? 0; left > 0; left--) {
        const message = this.#take(queue, open.descriptor, open.size);
        if (!message) break;
        messages.push(message);
      }
    } finally {
      for (const { bytes, priority, name } of messages) {
        const sent = posix.send(open.descriptor, bytes, bytes.length, priority);
        if (sent === 0) this.#moves.sent(queue, name);
        else this.#moves.giveBack(queue, name); // PyMQ has put items meanwhile
      }
    }
    return messages;
  }

  #take(queue: string, descriptor: number, size: number): Message | undefined {
    const { posix, names } = this.#namespace;
    const key = this.#leases.key();
    const { length, message } = this.#crashSlot.receive(queue, key, descriptor, size);
    if (check(length, `Cannot peek into ${names.title(queue)}`, Errno.EAGAIN, Errno.EINTR) < 0) return undefined;
    const { priority } = posix;
    let name: string;
    try {
      name = this.#leases.hold(queue, key, message, readItem(message).deliveries, LEASE);
    } catch (error) {
      // there is no room for its file
      if (posix.send(descriptor, message, length, priority) === 0) this.#crashSlot.clear();
      throw error;
    }
    this.#crashSlot.clear();
    this.#moves.stage(queue, name);
    return { bytes: message, priority, name };
  }

  #readFile(queue: string, { path, name }: ItemFile): WaitingItem | undefined {
    const { bodyFiles } = this.#namespace;
    const directory = path.slice(0, path.lastIndexOf("/"));
    try {
      return this.#read(queue, bodyFiles.readItem(directory, name), parseItem(name)!.starts);
    } catch (error) {
      if (bodyFiles.later(error, directory, name)) throw error;
      return undefined; // it was taken meanwhile
    }
  }

  /** Returns the item of a message. Returns undefined if its body is in a file that does not exist any more. */
  #read(queue: string, message: Uint8Array, starts: number): WaitingItem | undefined {
    const { bodyFiles } = this.#namespace;
    const { text, file, deliveries } = readItem(message);
    const attempt = Math.max(starts, deliveries) + 1;
    if (!file) return { body: text, attempt };
    try {
      return { body: bodyFiles.read(bodyDirectory(queue), text), attempt };
    } catch (error) {
      if (bodyFiles.later(error, bodyDirectory(queue), text)) throw error;
      return undefined;
    }
  }
}
