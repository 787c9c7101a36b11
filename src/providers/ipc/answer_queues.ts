/**
 * The queues for answers of PyMQ's servers. Each call has one. A call waits until the limits leave room for its queue, first come, first
 * served.
 *
 * @module
 */
import { Fifo } from "../../internal/fifo.ts";
import { after } from "../../internal/time.ts";
import { isLimit } from "./errors.ts";
import { type MessageQueues, REPLIES } from "./mqueues.ts";

/** Milliseconds between two checks for room. When a queue of this bus is removed, there is a check at once. */
const CHECK_INTERVAL = 10;

interface Pending {
  readonly queue: string;
  resolve(): void;
  reject(error: unknown): void;
}

/** Creates the answer queues of one bus. */
export class AnswerQueues {
  #queues: MessageQueues;
  #pending = new Fifo<Pending>();
  #check = () => {};

  /** Creates the answer queues of the bus that uses these kernel queues. */
  constructor(queues: MessageQueues) {
    this.#queues = queues;
  }

  /** Creates a queue. Resolves when it exists, or when it was removed before there was room. */
  open(queue: string): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#pending.push({ queue, resolve, reject });
    if (this.#pending.length === 1) void this.#openAll();
    return promise;
  }

  /** Ends the wait for a queue that is not needed any more, and checks for room. */
  removed(queue: string): void {
    const pending = this.#pending.find((each) => each.queue === queue);
    if (pending && this.#pending.remove(pending)) pending.resolve();
    this.#check();
  }

  /** Rejects all calls that wait. */
  close(error: unknown): void {
    for (const { reject } of this.#pending.drain()) reject(error);
    this.#check();
  }

  async #openAll(): Promise<void> {
    for (let first = this.#pending.peek(); first; first = this.#pending.peek()) {
      let failed: unknown;
      try {
        this.#queues.closeIdle(this.#queues.use(first.queue, REPLIES)!);
      } catch (error) {
        if (isLimit(error)) {
          await this.#wait();
          continue;
        }
        failed = error;
      }
      this.#pending.shift();
      if (failed === undefined) first.resolve();
      else first.reject(failed);
    }
  }

  #wait(): Promise<void> {
    return new Promise((resolve) => {
      const stop = after(CHECK_INTERVAL, resolve);
      this.#check = () => {
        stop();
        resolve();
      };
    });
  }
}
