/**
 * Reads the messages in the queues of a bus.
 *
 * @module
 */
import { ProviderError } from "../../errors.ts";
import { Errno } from "./errno.ts";
import { type Frame, readEvents, readLarge } from "./frames.ts";
import type { OpenQueue } from "./mqueues.ts";
import type { Namespace } from "./namespace.ts";

/** The largest number of messages that are read from one queue in a row. */
const MESSAGES = 64;
/**
 * The number of characters after which no further message is read in a row. The event loop must run meanwhile, for signs of life: a message
 * may contain 2,000 events, or the names of 160 files.
 */
const WORK: number = 2 ** 20;
/** The work of an event in addition to its characters. */
const EVENT = 1_024;

/** Reads the messages of one bus. */
export class MessageReader {
  #namespace: Namespace;
  #directory: string;
  #fault: (error: unknown, rejected?: boolean) => void;
  #wake: () => void;
  #buffer = new Uint8Array();
  #work = 0;

  /** Creates a reader. `directory` has the files of large events. `wake` is called for a message that reports an item. */
  constructor(
    namespace: Namespace,
    directory: string,
    fault: (error: unknown, rejected?: boolean) => void,
    wake: () => void,
  ) {
    this.#namespace = namespace;
    this.#directory = directory;
    this.#fault = fault;
    this.#wake = wake;
  }

  /**
   * Reads messages until the queue is empty, or they have taken so much work. Returns their number, or the largest one if there may be more.
   * An empty message reports an item for which this bus waits.
   */
  read(
    { descriptor, size }: Pick<OpenQueue, "descriptor" | "size">,
    take: (frame: Frame) => void,
    work = WORK,
  ): number {
    if (this.#buffer.length < size) this.#buffer = new Uint8Array(size);
    this.#work = 0;
    for (let i = 0; i < MESSAGES && this.#work < work; i++) {
      const length = this.#namespace.posix.receive(descriptor, this.#buffer);
      if (length < 0) {
        if (length !== -Errno.EAGAIN && length !== -Errno.EINTR) {
          this.#fault(new ProviderError("internal", `Cannot read events: errno ${-length}`));
        }
        return i;
      }
      const frames = readEvents(this.#buffer.subarray(0, length));
      if (!frames) {
        const text = `Cannot read a message of ${length} bytes: neither tsmq nor PyMQ has written it`;
        this.#fault(new ProviderError("internal", text), true);
        continue;
      }
      if (frames.length === 0) this.#wake();
      for (const frame of frames) {
        if (!frame.file) this.#take(frame, take);
        else this.#readLarge(frame.body, take);
      }
    }
    return MESSAGES;
  }

  #take(frame: Frame, take: (frame: Frame) => void): void {
    this.#work += EVENT + frame.topic.length + frame.body.length;
    take(frame);
  }

  #readLarge(file: string, take: (frame: Frame) => void): void {
    const { bodyFiles } = this.#namespace;
    try {
      const frame = readLarge(bodyFiles.take(this.#directory, file));
      if (!frame) {
        const path = `${this.#directory}/${file}`;
        throw new ProviderError("internal", `Cannot read the event in ${path}: tsmq has not written it`);
      }
      this.#take(frame, take);
    } catch (error) {
      this.#work += EVENT;
      this.#fault(error, true);
      bodyFiles.remove(this.#directory, file);
    }
  }
}
