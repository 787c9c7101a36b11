/**
 * Puts items into named queues: immediately or, if a queue is full, one after the other when it has room.
 *
 * @module
 */
import { BusError, ProviderError, QueueFullError } from "../../errors.ts";
import { Fifo } from "../../internal/fifo.ts";
import { after, backoff, pause, RETRY } from "../../internal/time.ts";
import type { SendOptions } from "../../provider/provider.ts";
import { Errno } from "./errno.ts";
import { systemError } from "./errors.ts";
import { writeItem } from "./frames.ts";
import { bodyDirectory } from "./items.ts";
import { itemSizes, type OpenQueue } from "./mqueues.ts";
import type { Namespace } from "./namespace.ts";

/** Milliseconds that the worker waits for room before this thread checks whether the queue was replaced. */
const WAIT = 250;
/** The beginning of the messages about answers. The names of their queues tell users nothing. */
const ANSWER = "Cannot answer a call of PyMQ";

/** Milliseconds between checks whether the queue for an answer exists now. */
const MISSING = { min: 1, max: 100 };
/** The largest number of answers that wait for their queues. */
const MAX_ANSWERS = 1_024;

interface PendingItem {
  readonly body: string;
  /** The queue for which the message was written. */
  queue?: OpenQueue;
  message?: Uint8Array;
  file?: string;
  resolve(): void;
  reject(error: unknown): void;
}

/** Puts items for one bus. */
export class ItemSender {
  #namespace: Namespace;
  #messageSize: number;
  #writable: (descriptor: number, ms: number) => Promise<unknown>;
  /** The items that wait for room, by queue. */
  #pending = new Map<string, Fifo<PendingItem>>();
  /** The number of answers that wait for their queues. */
  #answers = 0;
  /** The error with which puts reject after {@linkcode close}. */
  #closed: unknown;
  /** Queue → the function that ends the wait for room in it. */
  #endWait = new Map<string, () => void>();

  /** Creates the sender of a bus. `writable` resolves when a queue has room, or after `ms`. */
  constructor(
    namespace: Namespace,
    messageSize: number,
    writable: (descriptor: number, ms: number) => Promise<unknown>,
  ) {
    this.#namespace = namespace;
    this.#messageSize = messageSize;
    this.#writable = writable;
  }

  /** Puts an item, as `Sender.send` does. `name` is the queue's name to users, `queue` its name in the kernel. */
  async put(name: string, queue: string, body: string, { wait, signal }: SendOptions): Promise<void> {
    signal?.throwIfAborted();
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
    const message = writeItem(body, false);
    if (this.#tryAnswer(queue, message)) return;
    if (this.#answers >= MAX_ANSWERS) {
      throw new BusError("busy", `${ANSWER}: ${MAX_ANSWERS} other answers wait for their callers' queues`);
    }
    this.#answers++;
    try {
      const start = performance.now();
      for (let attempt = 1; performance.now() < start + ms; attempt++) {
        const open = this.#namespace.queues.use(queue);
        if (open) await this.#waitForRoom(queue, open);
        else await pause(backoff(MISSING, attempt));
        if (this.#tryAnswer(queue, message)) return;
      }
    } finally {
      this.#answers--;
    }
    throw new ProviderError("unavailable", `${ANSWER}: for ${ms} ms, its queue was missing or full`);
  }

  /** Puts an answer into its queue. Returns false if the queue does not exist or is full. */
  #tryAnswer(queue: string, message: Uint8Array): boolean {
    if (this.#closed) throw this.#closed;
    const { posix, queues } = this.#namespace;
    const open = queues.use(queue);
    if (!open) return false;
    if (message.length > open.size) {
      const text = `${ANSWER}: it has ${message.length} bytes, and a message of the caller's queue holds ${open.size}`;
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
          await this.#waitForRoom(queue, item.queue!);
        }
      } catch (error) {
        items.shift();
        this.#fail(queue, item, error);
      }
    }
    if (this.#pending.get(queue) === items) this.#pending.delete(queue);
  }

  /** Tries once to put an item. Returns false if the queue is full. */
  #try(queue: string, item: PendingItem): boolean {
    const { bodyFiles, names, posix, queues } = this.#namespace;
    const doing = () => `put into ${names.title(queue)}`;
    const open = queues.use(queue, itemSizes(this.#messageSize))!;
    if (item.queue !== open) {
      this.#removeFile(queue, item);
      item.queue = open;
      item.message = writeItem(item.body, false);
      if (item.message.length > open.size) {
        item.file = bodyFiles.write(bodyDirectory(queue), item.body, true, doing());
        item.message = writeItem(item.file, true);
      }
    }
    const result = posix.send(open.descriptor, item.message!, item.message!.length);
    if (result === 0) return true;
    if (result === -Errno.EAGAIN || result === -Errno.EINTR) return false;
    this.#removeFile(queue, item);
    throw systemError(result, `Cannot ${doing()}`);
  }

  async #waitForRoom(queue: string, open: OpenQueue): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#endWait.set(queue, resolve);
    this.#namespace.queues.hold(open);
    // it rejects while the worker is being replaced
    this.#writable(open.descriptor, WAIT).then(() => resolve(), () => after(RETRY.send.min, resolve));
    await promise;
    this.#namespace.queues.release(open);
    if (this.#endWait.get(queue) === resolve) this.#endWait.delete(queue);
  }

  #cancel(queue: string, item: PendingItem, reason: unknown): void {
    if (this.#pending.get(queue)?.remove(item)) this.#fail(queue, item, reason);
  }

  #fail(queue: string, item: PendingItem, reason: unknown): void {
    this.#removeFile(queue, item);
    item.reject(reason);
  }

  #removeFile(queue: string, item: PendingItem): void {
    if (item.file !== undefined) this.#namespace.bodyFiles.remove(bodyDirectory(queue), item.file);
    item.file = undefined;
  }
}
