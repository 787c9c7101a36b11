/**
 * Messages to other buses, in order for each of their queues. Many events share one kernel message.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { BusError, ClosedError, closedWhile, ProviderError } from "../../errors.ts";
import { Fifo } from "../../internal/fifo.ts";
import { TextMap } from "../../internal/text_map.ts";
import { pause, RETRY } from "../../internal/time.ts";
import type { BodyFiles } from "./body_files.ts";
import { Errno } from "./errno.ts";
import { systemError } from "./errors.ts";
import { BATCH_BYTES, type Frame, LARGE_BYTES, LENGTHS_BYTES, writeBatch, writeLarge, writePymq } from "./frames.ts";
import type { MessageQueues, OpenQueue } from "./mqueues.ts";
import type { Address } from "./names.ts";
import { POLLOUT, type Posix } from "./posix.ts";

/** Milliseconds that one turn may block for room, over all queues. A reader makes room in about 20 µs. */
const BLOCKING = 0.8;
/** Milliseconds within which a receiver that is not slow makes room while the worker waits. */
const PROMPT = 5;
/** Milliseconds that the worker waits for room before the receiver's process is checked. */
const WAIT = 250;
/** Milliseconds between two checks whether a closing bus has read a message. */
const CHECK_INTERVAL = 5;

/** A body that is being sent to one or more queues. */
export interface Outgoing {
  readonly topic: string;
  readonly body: string;
  /** Called when the body is in one of its queues. */
  sent(): void;
  /** Called when the body cannot be put into this queue. The error is {@linkcode GONE} if the receiver is gone. */
  failed(queue: string, error: unknown): void;
}

/** The functions of a sender that its outbox uses. */
export interface OutboxContext {
  readonly posix: Posix;
  readonly queues: MessageQueues;
  readonly bodyFiles: BodyFiles;
  /** Milliseconds for which a receiver may read nothing. After that, the messages to it are rejected. */
  readonly sendTimeout: number;
  /** Returns the directory of a bus, for messages that are too large for its queues. */
  directory(bus: string): string;
  /** Returns whether the process of a bus has ended. The bus has read nothing for `stuck` milliseconds. */
  gone(bus: string, stuck: number): boolean;
  /** Returns whether a closing bus has read its queues for the last time. */
  closed(bus: string): boolean;
  /** Waits in the worker until the queue has room. Resolves with true when it has room, with false after `ms`. */
  writable(descriptor: number, ms: number): Promise<unknown>;
}

/** The receiver is gone, and has not read the message. */
export const GONE = Symbol("gone");

/** A queue to which messages are being sent. */
interface Target extends Address {
  readonly waiting: Fifo<Outgoing>;
  /** The contents of the next message, and the files that it names. */
  packed: Outgoing[];
  files: string[];
  message: Uint8Array;
  length: number;
  /** Whether the worker waits for room in the queue. */
  blocked: boolean;
  /** Whether the receiver took long to make room. Then this thread does not block for it. */
  slow: boolean;
  /** The time when the queue last accepted a message, by `performance.now()`. */
  accepted: number;
}

/** The messages that one bus sends. */
export class Outbox {
  #context: OutboxContext;
  #targets = new TextMap<Target>();
  /** The targets that may have room. */
  #ready = new Set<Target>();
  #flushing = false;
  #closing = new AbortController();
  /** The buffer in which messages are packed. A message that has to wait is copied. */
  #scratch = new Uint8Array(0);

  /** Creates an empty outbox. */
  constructor(context: OutboxContext) {
    this.#context = context;
  }

  /** Sends a body at the end of this turn, together with others to the same queue. */
  send({ bus, queue, pymq }: Address, outgoing: Outgoing): void {
    let target = this.#targets.get(queue);
    if (!target) {
      target = {
        ...{ bus, queue, pymq, waiting: new Fifo<Outgoing>(), packed: [], files: [] },
        ...{ message: this.#scratch, length: 0, blocked: false, slow: false, accepted: 0 },
      };
      this.#targets.set(queue, target);
    }
    target.waiting.push(outgoing);
    if (target.blocked) return;
    this.#ready.add(target);
    if (this.#flushing) return;
    queueMicrotask(() => this.#flush()); // first: it throws if the stack is full
    this.#flushing = true;
  }

  /** Rejects all messages that have not been sent. */
  close(): void {
    this.#closing.abort();
    const closed = ({ topic }: Outgoing) => closedWhile(sending(topic), new ClosedError());
    for (const target of this.#targets.values()) this.#fail(target, closed);
  }

  #flush(): void {
    this.#flushing = false;
    const full = new Map<Target, OpenQueue>();
    for (const target of this.#ready) {
      this.#ready.delete(target);
      this.#drain(target, full);
    }
    // first each queue gets the messages that fit, then one wait serves all full queues, so a receiver that reads nothing delays no other
    for (const until = performance.now() + BLOCKING; this.#block(full, until););
    for (const [target, queue] of full) {
      target.slow = true;
      void this.#wait(target, queue);
      this.#context.queues.release(queue);
    }
  }

  /** Sends the messages for which a target has room. If its queue becomes full, it holds the queue and adds it to `full`. */
  #drain(target: Target, full: Map<Target, OpenQueue>): void {
    const { queues } = this.#context;
    const before = full.get(target);
    if (before) queues.release(before);
    full.delete(target);
    try {
      const queue = this.#send(target);
      if (queue) full.set(target, queues.hold(queue));
    } catch (error) {
      // a queue that is not the namespace's: any user can have created it, and no bus of the namespace reads it
      const strange = error instanceof BusError && error.code === "denied";
      this.#fail(target, () => strange ? GONE : error);
    }
  }

  /** Sends messages. Returns the queue if it is full. */
  #send(target: Target): OpenQueue | undefined {
    const { posix, queues } = this.#context;
    const queue = queues.use(target.queue);
    if (!queue) return void this.#fail(target, () => GONE);
    target.accepted = performance.now();
    while (target.packed.length > 0 || this.#pack(target, queue)) {
      const result = posix.send(queue.descriptor, target.message, target.length);
      if (result === 0) {
        const { packed } = target;
        target.packed = [];
        target.files = [];
        if (!queues.exists(queue)) {
          void this.#awaitLastRead(target.bus, queue, target.message.slice(0, target.length), packed);
          return void this.#fail(target, () => GONE);
        }
        for (const outgoing of packed) outgoing.sent();
      } else if (result === -Errno.EAGAIN) {
        target.message = target.message.slice(0, target.length); // other targets use the buffer
        return queue;
      } else if (result !== -Errno.EINTR) {
        return void this.#fail(target, ({ topic }) => systemError(result, `Cannot ${sending(topic)}`));
      }
    }
    this.#targets.delete(target.queue);
    return undefined;
  }

  /**
   * Blocks this thread until a full target that is not slow has room, or until the given time, and sends to those that have room. Returns
   * whether some had.
   */
  #block(full: Map<Target, OpenQueue>, until: number): boolean {
    const left = until - performance.now();
    const prompt = [...full].filter(([{ slow }]) => !slow);
    if (left <= 0 || prompt.length === 0) return false;
    const entries = new DataView(new ArrayBuffer(8 * prompt.length));
    for (const [i, [, { descriptor }]] of prompt.entries()) {
      entries.setInt32(8 * i, descriptor, true);
      entries.setInt16(8 * i + 4, POLLOUT, true);
    }
    if (this.#context.posix.poll(new Uint8Array(entries.buffer), prompt.length, left) <= 0) return false;
    for (const [i, [target]] of prompt.entries()) {
      if (entries.getInt16(8 * i + 6, true) !== 0) this.#drain(target, full);
    }
    return true;
  }

  async #wait(target: Target, queue: OpenQueue): Promise<void> {
    const { gone, queues, writable, sendTimeout } = this.#context;
    target.blocked = true;
    const since = performance.now();
    const { signal } = this.#closing;
    queues.hold(queue);
    while (!signal.aborted) {
      const stuck = performance.now() - target.accepted;
      if (gone(target.bus, stuck) || !queues.exists(queue)) {
        this.#fail(target, () => GONE);
        break;
      }
      if (stuck >= sendTimeout) {
        const why = `the queue of a bus is full, and that bus has read nothing for ${sendTimeout} ms`;
        this.#fail(target, ({ topic }) => new ProviderError("unavailable", `Cannot ${sending(topic)}: ${why}`));
        break;
      }
      const ready = await writable(queue.descriptor, Math.min(WAIT, sendTimeout - stuck)).catch(async () => {
        await pause(RETRY.send.min, signal); // the worker is being replaced
        return true;
      });
      if (ready) break;
    }
    queues.release(queue);
    target.blocked = false;
    target.slow = performance.now() - since > PROMPT;
    if (target.packed.length + target.waiting.length === 0) return;
    this.#ready.add(target);
    this.#flush();
  }

  /**
   * Finds out whether a closing bus reads a message. It removes its queue, reads what the queue holds, then removes its directory.
   * A message that it has not read by then stays in the queue.
   */
  async #awaitLastRead(bus: string, queue: OpenQueue, message: Uint8Array, batch: readonly Outgoing[]): Promise<void> {
    const { closed, posix, queues, sendTimeout } = this.#context;
    const deadline = performance.now() + sendTimeout;
    const { signal } = this.#closing;
    let read: boolean | undefined;
    queues.hold(queue);
    while (!signal.aborted && read === undefined) {
      const [late, last] = [performance.now() >= deadline, closed(bus)];
      if (posix.attributes(queue.descriptor)?.current === 0) read = true;
      else if (last) read = !this.#remove(queue, message);
      else if (late) break;
      else await pause(CHECK_INTERVAL, signal);
    }
    queues.release(queue);
    for (const outgoing of batch) {
      if (read) outgoing.sent();
      else outgoing.failed(queue.name, read === false ? GONE : unknown(outgoing.topic));
    }
  }

  /** Removes a message from a queue that has no reader any more. Returns false if it is not there. Messages of other senders stay. */
  #remove({ descriptor, size }: OpenQueue, message: Uint8Array): boolean {
    const { posix } = this.#context;
    const buffer = Buffer.alloc(size);
    for (let left = posix.attributes(descriptor)?.current ?? 0; left > 0; left--) {
      const length = posix.receive(descriptor, buffer);
      if (length < 0) return false;
      if (buffer.subarray(0, length).equals(message)) return true;
      posix.send(descriptor, buffer, length);
    }
    return false;
  }

  #fail(target: Target, error: (outgoing: Outgoing) => unknown): void {
    this.#targets.delete(target.queue);
    const batch = [...target.packed, ...target.waiting.drain()];
    const { bodyFiles, directory } = this.#context;
    for (const file of target.files) bodyFiles.remove(directory(target.bus), file);
    target.packed = [];
    target.files = [];
    for (const outgoing of batch) outgoing.failed(target.queue, error(outgoing));
  }

  /** Packs the next message. Returns false if there is nothing to send. */
  #pack(target: Target, { size }: OpenQueue): boolean {
    if (this.#scratch.length < size) this.#scratch = new Uint8Array(size);
    target.message = this.#scratch;
    return target.pymq ? this.#packPymq(target, size) : this.#packBatch(target, size);
  }

  #packBatch(target: Target, size: number): boolean {
    const { waiting } = target;
    const frames: Frame[] = [];
    let free = size - BATCH_BYTES;
    let last: string | undefined;
    for (let outgoing = waiting.peek(); outgoing; outgoing = waiting.peek()) {
      const { topic, body } = outgoing;
      let bytes = Infinity;
      if (topic.length + body.length <= size) {
        bytes = LENGTHS_BYTES + (topic === last ? 0 : Buffer.byteLength(topic)) + Buffer.byteLength(body);
      }
      // a body that does not fit into a message of its own goes into a file
      const large = bytes > size - BATCH_BYTES;
      if (large) bytes = LARGE_BYTES;
      if (bytes > free) break;
      try {
        frames.push(
          large ? { topic: "", body: this.#writeFile(target, outgoing), file: true } : { topic, body, file: false },
        );
      } catch (error) {
        this.#refuse(target, error);
        continue;
      }
      free -= bytes;
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
      const why = `the event has ${bytes.length} bytes, and a message of a PyMQ subscriber's queue holds ${size}`;
      const text = `Cannot publish to "${outgoing.topic}": ${why}`;
      this.#refuse(target, new ProviderError("too_large", text));
    }
    return false;
  }

  #refuse(target: Target, error: unknown): void {
    target.waiting.shift()!.failed(target.queue, error);
  }

  /** Writes a body into the receiver's directory; returns the name of the file. */
  #writeFile({ bus, files }: Target, { topic, body }: Outgoing): string {
    const { bodyFiles, directory } = this.#context;
    const file = bodyFiles.write(directory(bus), writeLarge(topic, body), false, sending(topic));
    files.push(file);
    return file;
  }
}

/** Returns what a send does, for error messages. Direct messages have no topic. */
function sending(topic: string): string {
  return topic === "" ? "send to the inbox of a bus" : `publish to "${topic}"`;
}

function unknown(topic: string): ProviderError {
  const what = topic === "" ? "a direct message" : `an event of "${topic}"`;
  const text = `Cannot tell whether ${what} was read: the bus that receives it is closing`;
  return new ProviderError("unavailable", text);
}
