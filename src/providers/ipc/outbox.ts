/**
 * What is on its way to other buses: by their queues, in order, many events to a kernel message.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { ProviderError } from "../../errors.ts";
import { Fifo } from "../../internal/fifo.ts";
import { pause } from "../../internal/time.ts";
import type { BodyFiles } from "./body_files.ts";
import { systemError } from "./errors.ts";
import { BATCH_BYTES, type Frame, LARGE_BYTES, LENGTHS_BYTES, writeBatch, writeLarge, writePymq } from "./frames.ts";
import type { Address } from "./names.ts";
import { Errno } from "./errno.ts";
import { POLLOUT, type Posix } from "./posix.ts";
import type { MessageQueues, OpenQueue } from "./mqueues.ts";

/** Milliseconds that a turn may stand still waiting for room, over all queues. */
const STANDING = 0.8;
/** Milliseconds that the worker waits for room before it is looked whether the receiver still lives. */
const WAIT = 250;
/** Milliseconds between looks whether a bus that closes has read what was just sent to it. */
const LOOK = 5;
/** Milliseconds before it is tried again while there is no worker to wait. */
const RETRY = 50;

/** Something on its way to one or more queues. */
export interface Outgoing {
  readonly topic: string;
  readonly body: string;
  /** It is in this queue. */
  sent(): void;
  /** It will never be: the receiver is gone, or the error. */
  failed(queue: string, error: unknown): void;
}

/** What an outbox needs. */
export interface OutboxContext {
  readonly posix: Posix;
  readonly queues: MessageQueues;
  readonly bodyFiles: BodyFiles;
  /** Milliseconds for which a receiver may take nothing before what waits for it is given up. */
  readonly sendTimeout: number;
  /** The directory of a bus, where it finds what is too large for its queues. */
  directory(bus: string): string;
  /** Whether the process of this bus is gone, which has taken nothing for so many milliseconds. */
  gone(bus: string, stuck: number): boolean;
  /** Whether a bus that closes has read for the last time. */
  closed(bus: string): boolean;
  /** Resolves when the queue has room, or after `ms`: the worker waits. */
  room(descriptor: number, ms: number): Promise<unknown>;
}

/** The receiver is gone, and has not read it. */
export const GONE = Symbol("gone");

interface Target extends Address {
  readonly waiting: Fifo<Outgoing>;
  /** What is in the message that is to leave next, and the files that it names. */
  packed: Outgoing[];
  files: string[];
  message: Uint8Array;
  length: number;
  /** The worker waits for room. */
  blocked: boolean;
  /** When it took something last, in milliseconds of `performance.now()`. */
  moved: number;
}

/** See the module. */
export class Outbox {
  #home: OutboxContext;
  #targets = new Map<string, Target>();
  #dirty = new Set<Target>();
  #flushing = false;
  #closed = false;
  /** Where messages are packed; one that has to wait is copied. */
  #scratch = new Uint8Array(0);

  /** An empty outbox. */
  constructor(home: OutboxContext) {
    this.#home = home;
  }

  /** Sends a parcel; it leaves at the end of this turn, together with others to the same queue. */
  send({ bus, queue, pymq }: Address, outgoing: Outgoing): void {
    let target = this.#targets.get(queue);
    if (!target) {
      target = {
        ...{ bus, queue, pymq, waiting: new Fifo<Outgoing>(), packed: [], files: [] },
        ...{ message: this.#scratch, length: 0, blocked: false, moved: 0 },
      };
      this.#targets.set(queue, target);
    }
    target.waiting.push(outgoing);
    if (target.blocked) return;
    this.#dirty.add(target);
    if (this.#flushing) return;
    this.#flushing = true;
    queueMicrotask(() => this.#flush());
  }

  /** Gives up all that has not left. */
  close(error: unknown): void {
    this.#closed = true;
    for (const target of this.#targets.values()) this.#fail(target, error);
  }

  #flush(): void {
    this.#flushing = false;
    const until = performance.now() + STANDING;
    for (const target of this.#dirty) {
      this.#dirty.delete(target);
      try {
        this.#drain(target, until);
      } catch (error) {
        this.#fail(target, error);
      }
    }
  }

  #drain(target: Target, until: number): void {
    const { posix, queues } = this.#home;
    const queue = queues.use(target.queue);
    if (!queue) return this.#fail(target, GONE);
    target.moved = performance.now();
    while (target.packed.length > 0 || this.#pack(target, queue)) {
      const result = posix.send(queue.descriptor, target.message, target.length);
      if (result === 0) {
        const { packed } = target;
        target.packed = [];
        target.files = [];
        if (!queues.exists(queue)) {
          void this.#lastRead(target.bus, queue, target.message.slice(0, target.length), packed);
          return this.#fail(target, GONE);
        }
        for (const outgoing of packed) outgoing.sent();
      } else if (result === -Errno.EAGAIN) {
        if (!this.#stand(queue, until)) return void this.#wait(target, queue);
      } else if (result !== -Errno.EINTR) {
        throw systemError(result, `Cannot send to ${target.queue}`);
      }
    }
    this.#targets.delete(target.queue);
  }

  /** A receiver that is at work makes room in some 20 µs: shorter than any other way of waiting. */
  #stand(queue: OpenQueue, until: number): boolean {
    const left = until - performance.now();
    if (left <= 0) return false;
    const descriptor = new DataView(new ArrayBuffer(8));
    descriptor.setInt32(0, queue.descriptor, true);
    descriptor.setInt16(4, POLLOUT, true);
    return this.#home.posix.poll(new Uint8Array(descriptor.buffer), 1, left) > 0;
  }

  async #wait(target: Target, queue: OpenQueue): Promise<void> {
    const { gone, queues, room, sendTimeout } = this.#home;
    target.blocked = true;
    target.message = target.message.slice(0, target.length);
    queues.hold(queue);
    while (!this.#closed) {
      const stuck = performance.now() - target.moved;
      if (gone(target.bus, stuck) || !queues.exists(queue)) {
        this.#fail(target, GONE);
        break;
      }
      if (stuck >= sendTimeout) {
        const text = `Cannot send to ${target.queue}: it is full, and its bus has taken nothing for ${sendTimeout} ms`;
        this.#fail(target, new ProviderError("unavailable", text));
        break;
      }
      const roomy = await room(queue.descriptor, Math.min(WAIT, sendTimeout - stuck)).catch(async () => {
        await new Promise((resolve) => setTimeout(resolve, RETRY));
        return true;
      });
      if (roomy) break;
    }
    queues.release(queue);
    target.blocked = false;
    if (target.packed.length + target.waiting.length === 0) return;
    this.#dirty.add(target);
    this.#flush();
  }

  /**
   * Finds out what becomes of a message to a bus that is closing: it removes its queue, reads what is there, and removes its
   * directory. What it does not read stays in the queue.
   */
  async #lastRead(bus: string, queue: OpenQueue, message: Uint8Array, batch: readonly Outgoing[]): Promise<void> {
    const { closed, posix, queues, sendTimeout } = this.#home;
    const deadline = performance.now() + sendTimeout;
    let read: boolean | undefined;
    queues.hold(queue);
    while (!this.#closed && read === undefined) {
      const [late, last] = [performance.now() >= deadline, closed(bus)];
      if (posix.attributes(queue.descriptor)?.current === 0) read = true;
      else if (last) read = !this.#remove(queue, message);
      else if (late) break;
      else await pause(LOOK);
    }
    queues.release(queue);
    for (const outgoing of batch) {
      if (read) outgoing.sent();
      else outgoing.failed(queue.name, read === false ? GONE : unknown(queue.name));
    }
  }

  /** Removes a message from a queue that nobody reads any more; false if it is not there. Those of other senders stay. */
  #remove({ descriptor, size }: OpenQueue, message: Uint8Array): boolean {
    const { posix } = this.#home;
    const buffer = Buffer.alloc(size);
    for (let left = posix.attributes(descriptor)?.current ?? 0; left > 0; left--) {
      const length = posix.receive(descriptor, buffer);
      if (length < 0) return false;
      if (buffer.subarray(0, length).equals(message)) return true;
      posix.send(descriptor, buffer, length);
    }
    return false;
  }

  #fail(target: Target, error: unknown): void {
    this.#targets.delete(target.queue);
    const batch = [...target.packed, ...target.waiting.drain()];
    const { bodyFiles, directory } = this.#home;
    for (const file of target.files) bodyFiles.remove(directory(target.bus), file);
    target.packed = [];
    target.files = [];
    for (const outgoing of batch) outgoing.failed(target.queue, error);
  }

  /** Fills the next message; false if there is nothing to send. */
  #pack(target: Target, { size }: OpenQueue): boolean {
    if (this.#scratch.length < size) this.#scratch = new Uint8Array(size);
    target.message = this.#scratch;
    return target.pymq ? this.#packPymq(target, size) : this.#packBatch(target, size);
  }

  #packBatch(target: Target, size: number): boolean {
    const { waiting } = target;
    const frames: Frame[] = [];
    let room = size - BATCH_BYTES;
    let last: string | undefined;
    for (let outgoing = waiting.peek(); outgoing; outgoing = waiting.peek()) {
      const { topic, body } = outgoing;
      let bytes = Infinity;
      if (topic.length + body.length <= size) {
        bytes = LENGTHS_BYTES + (topic === last ? 0 : Buffer.byteLength(topic)) + Buffer.byteLength(body);
      }
      // what does not even fit into a message of its own goes into a file
      const large = bytes > size - BATCH_BYTES;
      if (large) bytes = LARGE_BYTES;
      if (bytes > room) break;
      try {
        frames.push(
          large ? { topic: "", body: this.#spill(target, outgoing), file: true } : { topic, body, file: false },
        );
      } catch (error) {
        this.#refuse(target, error);
        continue;
      }
      room -= bytes;
      last = large ? "" : topic;
      target.packed.push(waiting.shift()!);
    }
    target.length = writeBatch(frames, target.message);
    return frames.length > 0;
  }

  #packPymq(target: Target, size: number): boolean {
    for (let outgoing = target.waiting.peek(); outgoing; outgoing = target.waiting.peek()) {
      const bytes = writePymq(outgoing.topic, outgoing.body);
      if (bytes.length <= size) {
        target.message.set(bytes);
        target.length = bytes.length;
        target.packed.push(target.waiting.shift()!);
        return true;
      }
      const text = `Cannot send ${bytes.length} bytes to a subscriber on PyMQ: its queue takes ${size}`;
      this.#refuse(target, new ProviderError("too_large", text));
    }
    return false;
  }

  #refuse(target: Target, error: unknown): void {
    target.waiting.shift()!.failed(target.queue, error);
  }

  /** The file with a parcel in the receiver's own directory. */
  #spill({ bus, files }: Target, { topic, body }: Outgoing): string {
    const { bodyFiles, directory } = this.#home;
    const file = bodyFiles.write(directory(bus), writeLarge(topic, body), false);
    files.push(file);
    return file;
  }
}

function unknown(queue: string): ProviderError {
  const text = `Cannot tell whether the last message to ${queue} was read: its bus is closing, and so may this one be`;
  return new ProviderError("unavailable", text);
}
