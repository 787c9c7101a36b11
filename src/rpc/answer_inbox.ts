/**
 * The inbox for answers on the user's thread, on transports that have one. An answer that arrives there crosses no other thread. Until it
 * is open, and while the bus is down, answers come to the receiver's inbox.
 *
 * @module
 */
import type { Core } from "../core.ts";
import { Work } from "../internal/work.ts";
import type { AnswerInbox as ProviderInbox } from "../provider/provider.ts";

/** Milliseconds after a failed attempt to open the inbox, before the next call tries again. */
const RETRY = 10_000;
/**
 * The largest number of calls whose answers come to the inbox at once: Redis disconnects a subscriber with 32 MB of unread messages, so the
 * answers that a busy thread has not read must be fewer. Their servers limit only the total of answers of more than 64 KiB.
 */
const MOST = 128;

/** Opens the inbox for answers when it is first needed. */
export class AnswerInbox {
  #core: Core;
  #address: string | undefined;
  #opening = false;
  #failedAt = -Infinity;
  #calls = 0;

  /** Creates the inbox of a bus. It opens nothing yet. */
  constructor(core: Core) {
    this.#core = core;
  }

  /**
   * Returns the address for the one answer of a call that begins now, or undefined if it must come to the receiver's inbox. The call is
   * counted until it `ends`.
   */
  address(ends: (() => void)[]): string | undefined {
    const { answerInbox } = this.#core.sender;
    if (!answerInbox || this.#core.recovering(0) || this.#calls >= MOST) return undefined;
    if (this.#address === undefined) this.#open(answerInbox);
    if (this.#address === undefined) return undefined;
    this.#calls++;
    ends.push(() => this.#calls--);
    return this.#address;
  }

  #open(inbox: ProviderInbox): void {
    if (this.#opening || performance.now() - this.#failedAt < RETRY) return;
    this.#opening = true;
    const receive = (body: string) => {
      if (this.#address !== undefined) this.#core.receiveAnswer(this.#address, body);
    };
    const { closing, telemetry } = this.#core;
    void Work.leave(async () => {
      try {
        this.#address = await inbox.open(receive);
      } catch (error) {
        this.#failedAt = performance.now();
        // the calls are answered nevertheless
        if (!closing.aborted) telemetry.log({ level: "warn", event: "error", error });
      } finally {
        this.#opening = false;
      }
    });
  }
}
