/**
 * Puts items into named queues: immediately or, if a queue is full, one after the other when it has room.
 *
 * @module
 */
import { BusError, ProviderError, QueueFullError } from "../../errors.ts";
import { Fifo } from "../../internal/fifo.ts";
import { TextMap } from "../../internal/text_map.ts";
import { after, backoff, pause, RETRY } from "../../internal/time.ts";
import type { SendOptions } from "../../provider/provider.ts";
import { Errno } from "./errno.ts";
import { systemError } from "./errors.ts";
import { writeItem } from "./frames.ts";
import { bodyDirectory, hasFiles } from "./items.ts";
import { LINK_MESSAGE } from "./body_files.ts";
import { CAPACITY, type OpenQueue } from "./mqueues.ts";
import type { Namespace, Settings } from "./namespace.ts";

/** Milliseconds that the worker waits for room before this thread checks whether the queue was replaced. */
const WAIT = 250;
/** Milliseconds between two checks whether a queue with a `capacity` of its own has room. */
const CHECK_INTERVAL = 10;
/** The longest delay in milliseconds of which the workers are notified. They find items with longer delays by polling. */
const SOON = 2_500;
/** The beginning of the messages about answers. The names of their queues tell users nothing. */
const ANSWER = "Cannot answer a call of PyMQ";

/** Milliseconds between checks whether the queue for an answer exists now. */
const MISSING = { min: 1, max: 100 };
/** The largest number of answers that wait for their queues. */
const MAX_ANSWERS = 1_024;

interface NewItem {
  readonly body: string;
  /** The file of a large body. */
  file?: string;
}

/** The overflow of a queue, as a turn has read it. */
interface OverflowState {
  readonly queue: string;
  /** Whether new items have to be put into the overflow. */
  readonly used: boolean;
  /** The names of its pages, or of its last one. */
  readonly pages: readonly string[];
}

interface PendingItem extends NewItem {
  resolve(): void;
  reject(error: unknown): void;
}

/** The functions of a sender that its {@linkcode ItemSender} uses. */
export interface ItemSenderContext {
  /** Returns a key for an item that is put now. */
  key(): string;
  /** Waits in the worker until the queue has room. Resolves then, or after `ms`. */
  writable(descriptor: number, ms: number): Promise<unknown>;
  /** Notifies the workers, which fill the kernel's queue, that a queue has overflow now or an item that is due soon. */
  overflowed(): void;
}

/** Puts items for one bus. */
export class ItemSender {
  #namespace: Namespace;
  #messageSize: number;
  #capacity: number;
  #context: ItemSenderContext;
  /** The items that wait for room, by queue. */
  #pending = new TextMap<Fifo<PendingItem>>();
  /** The number of answers that wait for their queues. */
  #answers = 0;
  /** The error with which puts reject after {@linkcode close}. */
  #closed: unknown;
  /** Queue → the function that ends the wait for room in it. */
  #endWait = new TextMap<() => void>();
  /** The queues whose waiting buses are woken at the end of this turn: once for all items of the turn. */
  #toWake = new TextMap<true>();
  /** The overflow that this turn has read last. The puts of a turn share it, because they have no order with those of other processes. */
  #overflow: OverflowState | undefined;

  /** Creates the sender of a bus. */
  constructor(namespace: Namespace, { messageSize, capacity }: Settings, context: ItemSenderContext) {
    this.#namespace = namespace;
    this.#messageSize = messageSize;
    this.#capacity = capacity;
    this.#context = context;
  }

  /** Puts an item, as `Sender.send` does. `name` is the queue's name to users, `queue` its name in the kernel. */
  async put(name: string, queue: string, body: string, { wait, signal, delay = 0 }: SendOptions): Promise<void> {
    signal?.throwIfAborted();
    if (delay > 0) return this.#putLater(queue, body, delay);
    const waiting = this.#pending.get(queue);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const item: PendingItem = { body, resolve, reject };
    if (!waiting && this.#try(queue, item)) return;
    if (wait <= 0) {
      this.#removeFile(queue, item);
      throw new QueueFullError(name);
    }
    const abort = () => this.#cancel(queue, item, signal!.reason);
    const stop = after(wait, () => this.#cancel(queue, item, new QueueFullError(name)));
    signal?.addEventListener("abort", abort, { once: true });
    if (waiting) {
      waiting.push(item);
    } else {
      const items = new Fifo<PendingItem>();
      items.push(item);
      this.#pending.set(queue, items);
      void this.#putAll(queue, items);
    }
    try {
      await promise;
    } finally {
      stop();
      signal?.removeEventListener("abort", abort);
    }
  }

  /**
   * Puts an answer into the queue of a PyMQ call, and waits at most `ms` until it exists and has room. PyMQ creates the queue after it
   * has sent its request. The queue is not created here, because any request may name any number of queues.
   *
   * @throws {BusError} "busy" when it would have to wait, and too many other answers wait
   */
  async answer(queue: string, body: string, ms: number): Promise<void> {
    if (this.#tryAnswer(queue, body)) return;
    if (this.#answers >= MAX_ANSWERS) {
      throw new BusError("busy", `${ANSWER}: ${MAX_ANSWERS} other answers wait for their callers' queues`);
    }
    this.#answers++;
    try {
      const start = performance.now();
      for (let attempt = 1; performance.now() < start + ms; attempt++) {
        const open = this.#namespace.queues.use(queue);
        if (open) await this.#waitForRoom(queue, true);
        else await pause(backoff(MISSING, attempt));
        if (this.#tryAnswer(queue, body)) return;
      }
    } finally {
      this.#answers--;
    }
    throw new ProviderError("unavailable", `${ANSWER}: its queue was missing or full for ${ms} ms`);
  }

  /** Puts an answer into its queue. Returns false if the queue does not exist or is full. */
  #tryAnswer(queue: string, body: string): boolean {
    if (this.#closed) throw this.#closed;
    const { posix, queues } = this.#namespace;
    const open = queues.use(queue);
    if (!open) return false;
    const message = body.length > open.size ? undefined : writeItem(body, false); // a character has at least one byte
    if (!message || message.length > open.size) {
      const text =
        `${ANSWER}: its ${body.length} characters exceed the ${open.size} bytes of a message of the caller's queue`;
      throw new ProviderError("too_large", text);
    }
    const result = posix.send(open.descriptor, message, message.length);
    if (result === -Errno.EAGAIN || result === -Errno.EINTR) return false;
    if (result !== 0) throw systemError(result, ANSWER);
    queues.closeIdle(open);
    return true;
  }

  /** Ends the wait for room in a queue that was removed. */
  removed(queue: string): void {
    this.#overflow = undefined;
    this.#endWait.get(queue)?.();
  }

  /** Rejects all pending puts, and all later ones, with this error. */
  close(error: unknown): void {
    this.#closed = error;
    for (const [queue, items] of this.#pending) for (const item of items.drain()) this.#fail(queue, item, error);
    this.#pending.clear();
    for (const end of this.#endWait.values()) end();
  }

  async #putAll(queue: string, items: Fifo<PendingItem>): Promise<void> {
    for (let item = items.peek(); item; item = items.peek()) {
      try {
        if (this.#try(queue, item)) {
          items.shift();
          item.resolve();
        } else {
          await this.#waitForRoom(queue);
        }
      } catch (error) {
        items.shift();
        this.#fail(queue, item, error);
      }
    }
    if (this.#pending.get(queue) === items) this.#pending.delete(queue);
  }

  /** Puts an item that may be taken after `delay`. It is stored even if the queue is full. */
  #putLater(queue: string, body: string, delay: number): void {
    const { delayed, names, queues } = this.#namespace;
    const item: NewItem = { body };
    const message = this.#message(queue, item, LINK_MESSAGE, () => `put into ${names.title(queue)}`);
    try {
      queues.useNamed(queue, this.#messageSize); // "denied" if it is another user's
      delayed.put(queue, delay, message);
    } catch (error) {
      this.#removeFile(queue, item);
      throw error;
    }
    this.#wake(queue);
    if (delay < SOON) this.#context.overflowed();
  }

  /** Tries once to put an item into the kernel's queue or into the overflow. Returns false if the queue is full. */
  #try(queue: string, item: PendingItem): boolean {
    const { names, overflow, posix, queues } = this.#namespace;
    const doing = () => `put into ${names.title(queue)}`; // most puts need no name for an error
    const known = this.#overflow?.queue === queue ? this.#overflow : undefined;
    const { used, pages } = known ?? this.#readOverflow(queue);
    const limited = this.#capacity < Infinity;
    let open: OpenQueue | undefined;
    if (!used) open = queues.useNamed(queue, this.#messageSize);
    else if (!known || limited) open = queues.use(queue);
    if (limited && this.#count(queue, open) >= this.#capacity) return false;
    try {
      if (open && !used) {
        const message = this.#message(queue, item, open.size, doing);
        const result = posix.send(open.descriptor, message, message.length);
        if (result === 0) {
          if (open.fresh) this.#wake(queue); // the buses that wait for its items have not opened it yet
          open.fresh = false;
          return true;
        }
        if (result !== -Errno.EAGAIN && result !== -Errno.EINTR) throw systemError(result, `Cannot ${doing()}`);
        if (this.#capacity <= CAPACITY) {
          this.#removeFile(queue, item); // the queue may be removed meanwhile, with its files
          return false;
        }
      }
      const page = overflow.put(queue, this.#context.key(), this.#message(queue, item, LINK_MESSAGE, doing), pages);
      this.#overflow = { queue, used: true, pages: [page] };
    } catch (error) {
      this.#removeFile(queue, item);
      throw error;
    }
    this.#wake(queue);
    if (pages.length === 0) this.#context.overflowed();
    return true;
  }

  #readOverflow(queue: string): OverflowState {
    const { directories, overflow } = this.#namespace;
    const files = hasFiles(directories, queue);
    const pages = files ? overflow.pages(queue) : [];
    this.#atEndOfTurn();
    return this.#overflow = { queue, used: pages.length > 0 || files && overflow.moving(queue) > 0, pages };
  }

  /** Wakes the buses that wait for items of a queue, at the end of this turn. */
  #wake(queue: string): void {
    this.#atEndOfTurn();
    this.#toWake.set(queue, true);
  }

  #atEndOfTurn(): void {
    if (this.#toWake.size > 0 || this.#overflow) return;
    queueMicrotask(() => {
      this.#overflow = undefined;
      if (this.#toWake.size === 0) return; // as most puts into the kernel's queue
      this.#namespace.waiting.wakeEach(this.#toWake);
      this.#toWake.clear();
    });
  }

  /** Returns the message of an item, which is at most `size` bytes long. A larger item is written into a file. */
  #message(queue: string, item: NewItem, size: number, doing: () => string): Uint8Array {
    if (item.file !== undefined) return writeItem(item.file, true);
    const message = writeItem(item.body, false);
    if (message.length <= size && (size !== LINK_MESSAGE || this.#namespace.bodyFiles.fitsLink(message))) {
      return message;
    }
    item.file = this.#namespace.bodyFiles.write(bodyDirectory(queue), item.body, true, doing());
    return writeItem(item.file, true);
  }

  /** Returns the number of items in a queue, without those that came back. */
  #count(queue: string, open: OpenQueue | undefined): number {
    const { overflow, posix } = this.#namespace;
    return (open ? posix.attributes(open.descriptor)?.current ?? 0 : 0) + overflow.size(queue, this.#capacity);
  }

  /** Waits for room: in the worker if the kernel's queue may be full, otherwise by checking again soon. */
  async #waitForRoom(queue: string, answers = false): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#endWait.set(queue, resolve);
    const { overflow, queues } = this.#namespace;
    const open = queues.use(queue);
    const full = open && (answers || (this.#capacity === CAPACITY && !overflow.any(queue)));
    if (full) {
      queues.hold(open);
      // it rejects while the worker is being replaced
      this.#context.writable(open.descriptor, WAIT).then(() => resolve(), () => after(RETRY.send.min, resolve));
    } else {
      after(CHECK_INTERVAL, resolve);
    }
    await promise;
    if (full) queues.release(open);
    if (this.#endWait.get(queue) === resolve) this.#endWait.delete(queue);
  }

  #cancel(queue: string, item: PendingItem, reason: unknown): void {
    if (this.#pending.get(queue)?.remove(item)) this.#fail(queue, item, reason);
  }

  #fail(queue: string, item: PendingItem, reason: unknown): void {
    this.#removeFile(queue, item);
    item.reject(reason);
  }

  #removeFile(queue: string, item: NewItem): void {
    if (item.file !== undefined) this.#namespace.bodyFiles.remove(bodyDirectory(queue), item.file);
    item.file = undefined;
  }
}
