/**
 * The inbox for answers on the user's thread, on transports that have one. An answer that arrives there crosses no other thread. Until it
 * is open, and while the bus is down, answers come to the receiver's inbox.
 *
 * @module
 */
import type { Core } from "../core.ts";

/** Milliseconds after a failed attempt to open the inbox, before the next call tries again. */
const RETRY = 10_000;

/** Opens the inbox for answers when it is first needed. */
export class AnswerInbox {
  #core: Core;
  #address: string | undefined;
  #opening = false;
  #failedAt = -Infinity;

  /** Creates the inbox of a bus. It opens nothing yet. */
  constructor(core: Core) {
    this.#core = core;
  }

  /** Returns the address for the answer of a call that begins now, or undefined if the answer must come to the receiver's inbox. */
  address(): string | undefined {
    if (this.#core.recovering(0)) return undefined;
    if (this.#address === undefined) void this.#open();
    return this.#address;
  }

  async #open(): Promise<void> {
    const { sender, closing, telemetry } = this.#core;
    const { answerInbox } = sender;
    if (!answerInbox || this.#opening || performance.now() - this.#failedAt < RETRY) return;
    this.#opening = true;
    try {
      this.#address = await answerInbox.open((body) => {
        if (this.#address !== undefined) this.#core.receiveAnswer(this.#address, body);
      });
    } catch (error) {
      this.#failedAt = performance.now();
      // the calls are answered nevertheless
      if (!closing.aborted) telemetry.log({ level: "warn", event: "error", error });
    } finally {
      this.#opening = false;
    }
  }
}
