/**
 * Items on their way into named queues: at once, or in line for room.
 *
 * @module
 */
import { ProviderError, QueueFullError } from "../../errors.ts";
import { Fifo } from "../../internal/fifo.ts";
import { after } from "../../internal/time.ts";
import type { SendOptions } from "../../provider/provider.ts";
import { systemError } from "./errors.ts";
import { writeItem } from "./frames.ts";
import { bodyDirectory } from "./leases.ts";
import { Errno } from "./errno.ts";
import { itemSizes, type OpenQueue, REPLIES } from "./mqueues.ts";
import type { Namespace } from "./namespace.ts";

/** Milliseconds that the worker waits for room before it is looked whether the queue is still the same. */
const WAIT = 250;
/** Milliseconds before it is tried again while there is no worker to wait. */
const RETRY = 50;

interface Put {
  readonly body: string;
  /** The message, made for this queue. */
  message?: Uint8Array;
  file?: string;
  queue?: OpenQueue;
  resolve(): void;
  reject(error: unknown): void;
}

/** See the module. */
export class ItemSender {
  #namespace: Namespace;
  #messageSize: number;
  #room: (descriptor: number, ms: number) => Promise<unknown>;
  #lines = new Map<string, Fifo<Put>>();
  /** Why nothing is put any more. */
  #closed: unknown;
  /** Ends the pause of those who wait for room in a queue. */
  #again = new Map<string, () => void>();

  /** `room` resolves when a queue has room, or after `ms`. */
  constructor(namespace: Namespace, messageSize: number, room: (descriptor: number, ms: number) => Promise<unknown>) {
    this.#namespace = namespace;
    this.#messageSize = messageSize;
    this.#room = room;
  }

  /** Puts an item; see `Sender.send`. `name` is the queue's own, `queue` the kernel's. */
  async put(name: string, queue: string, body: string, { wait, signal }: SendOptions): Promise<void> {
    signal?.throwIfAborted();
    const line = this.#lines.get(queue);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const put: Put = { body, resolve, reject };
    if (!line && this.#try(queue, put)) return;
    if (wait <= 0) {
      this.#drop(queue, put);
      throw new QueueFullError(name);
    }
    const abort = () => this.#leave(queue, put, signal!.reason);
    const stop = after(wait, () => this.#leave(queue, put, new QueueFullError(name)));
    signal?.addEventListener("abort", abort, { once: true });
    if (line) {
      line.push(put);
    } else {
      const fresh = new Fifo<Put>();
      fresh.push(put);
      this.#lines.set(queue, fresh);
      void this.#serve(queue, fresh);
    }
    try {
      await promise;
    } finally {
      stop();
      signal?.removeEventListener("abort", abort);
    }
  }

  /**
   * Puts what PyMQ is to read into the queue of its call; waits at most `ms` for room. PyMQ makes the queue after it has asked, so
   * it may not be there yet.
   */
  async answer(queue: string, body: string, ms: number): Promise<void> {
    const { posix, queues } = this.#namespace;
    const message = writeItem(body, false);
    for (const deadline = performance.now() + ms; performance.now() < deadline;) {
      if (this.#closed) throw this.#closed;
      const open = queues.use(queue, REPLIES)!;
      if (message.length > open.size) {
        throw new ProviderError("too_large", `Cannot send ${message.length} bytes to ${queue}: it takes ${open.size}`);
      }
      const result = posix.send(open.descriptor, message, message.length);
      if (result === 0) return queues.done(open);
      if (result !== -Errno.EAGAIN && result !== -Errno.EINTR) throw systemError(result, `Cannot send to ${queue}`);
      await this.#pause(queue, open);
    }
    throw new ProviderError("unavailable", `Cannot send to ${queue}: it has been full for ${ms} ms`);
  }

  /** The queue was removed: those in line need not wait for room in it. */
  removed(queue: string): void {
    this.#again.get(queue)?.();
  }

  /** Gives up all that waits. */
  close(error: unknown): void {
    this.#closed = error;
    for (const [queue, line] of this.#lines) for (const put of line.drain()) this.#giveUp(queue, put, error);
    this.#lines.clear();
    for (const again of this.#again.values()) again();
  }

  async #serve(queue: string, line: Fifo<Put>): Promise<void> {
    for (let put = line.peek(); put; put = line.peek()) {
      try {
        if (this.#try(queue, put)) {
          line.shift();
          put.resolve();
        } else {
          await this.#pause(queue, put.queue!);
        }
      } catch (error) {
        line.shift();
        this.#giveUp(queue, put, error);
      }
    }
    if (this.#lines.get(queue) === line) this.#lines.delete(queue);
  }

  /** One attempt; false when the queue is full. */
  #try(queue: string, put: Put): boolean {
    const { bodyFiles, posix, queues } = this.#namespace;
    const open = queues.use(queue, itemSizes(this.#messageSize))!;
    if (put.queue !== open) {
      this.#drop(queue, put);
      put.queue = open;
      put.message = writeItem(put.body, false);
      if (put.message.length > open.size) {
        put.file = bodyFiles.write(bodyDirectory(queue), put.body, true);
        put.message = writeItem(put.file, true);
      }
    }
    const result = posix.send(open.descriptor, put.message!, put.message!.length);
    if (result === 0) return true;
    if (result === -Errno.EAGAIN || result === -Errno.EINTR) return false;
    this.#drop(queue, put);
    throw systemError(result, `Cannot put into the queue ${queue}`);
  }

  async #pause(queue: string, open: OpenQueue): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#again.set(queue, resolve);
    this.#namespace.queues.hold(open);
    const retry = () => setTimeout(resolve, RETRY);
    this.#room(open.descriptor, WAIT).then(() => resolve(), retry);
    await promise;
    this.#namespace.queues.release(open);
    if (this.#again.get(queue) === resolve) this.#again.delete(queue);
  }

  #leave(queue: string, put: Put, reason: unknown): void {
    if (this.#lines.get(queue)?.remove(put)) this.#giveUp(queue, put, reason);
  }

  #giveUp(queue: string, put: Put, reason: unknown): void {
    this.#drop(queue, put);
    put.reject(reason);
  }

  #drop(queue: string, put: Put): void {
    if (put.file !== undefined) this.#namespace.bodyFiles.remove(bodyDirectory(queue), put.file);
    put.file = undefined;
  }
}
