/**
 * The opening of the default bus, which `shutdown` can cancel.
 *
 * @module
 */
import { CLOSE_TIMEOUT, reserve } from "./closing.ts";
import { ClosedError } from "./errors.ts";
import { Deadline } from "./internal/time.ts";

/**
 * The opening of a bus. After it was cancelled, no further attempt to connect starts. A running attempt may end by itself until a deadline,
 * so that it leaves nothing behind at the transport.
 */
export class Opening {
  #stopped = new AbortController();
  #forced = new AbortController();
  /** The deadline of a running attempt. */
  #attempt: Deadline | undefined;
  #all: Deadline | undefined;

  /** Aborts with a `ClosedError` when the opening is cancelled. */
  get stopped(): AbortSignal {
    return this.#stopped.signal;
  }

  /** Aborts with the same error at the deadline of a running attempt. */
  get forced(): AbortSignal {
    return this.#forced.signal;
  }

  /** Milliseconds until everything has to be closed; `undefined` if the opening was not cancelled. */
  get left(): number | undefined {
    return this.#all?.left;
  }

  /** Cancels the opening. A second call can only shorten the time that is left. */
  cancel(timeout: number = CLOSE_TIMEOUT): void {
    const attempt = timeout - reserve(timeout);
    this.#attempt?.bring(attempt);
    this.#all?.bring(timeout);
    if (this.#attempt) return;
    this.#attempt = new Deadline(attempt);
    this.#all = new Deadline(timeout);
    const error = new ClosedError("Cannot init: shutdown() has closed the bus");
    this.#stopped.abort(error);
    this.#attempt.over.then(() => this.#forced.abort(error));
  }

  /** Resolves with the result of an attempt. Rejects at its deadline, while the attempt releases its resources. */
  async within(attempt: Promise<void>): Promise<void> {
    const { promise, reject } = Promise.withResolvers<void>();
    const end = () => reject(this.forced.reason);
    this.forced.addEventListener("abort", end);
    try {
      await Promise.race([attempt, promise]);
    } finally {
      this.forced.removeEventListener("abort", end);
    }
  }

  /** Stops the timers. */
  end(): void {
    this.#attempt?.end();
    this.#all?.end();
  }
}
