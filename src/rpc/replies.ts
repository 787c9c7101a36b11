/**
 * PyMQ's answers to one call, which come to a queue of the call's own.
 *
 * @module
 */
import type { Codec } from "../codec.ts";
import type { Link } from "../port/link.ts";
import type { Sender } from "../provider.ts";
import { type Answer, readAnswer } from "./wire.ts";

/** Milliseconds for which late answers are fetched, where they would leave a queue behind (PyMQ gives it 300 s to live). */
const LATE = 60_000;
/** Calls whose late answers are fetched at once; for older ones the queue's own life must do. */
const LATE_LIMIT = 256;

/** The calls of one bus that are over, with answers still to come. */
export type LateReplies = Set<Replies>;

/** The answer queue of one call. */
export class Replies {
  /** Its name, as PyMQ makes it. */
  readonly channel: string = `__rpc_${crypto.randomUUID()}`;
  #home: { readonly link: Link; readonly sender: Sender; readonly codec: Codec };
  #late: LateReplies;
  /** Answers still to come, as far as it is known. */
  #awaited = 0;
  #known = false;
  #end = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** `late` is shared by the calls of one bus. */
  constructor(home: { readonly link: Link; readonly sender: Sender; readonly codec: Codec }, late: LateReplies) {
    this.#home = home;
    this.#late = late;
  }

  /** Makes the queue. */
  async open(): Promise<void> {
    await this.#home.sender.replies!.open(this.channel);
  }

  /** The request has reached so many that may answer. */
  expect(answers: number): void {
    this.#awaited += answers;
    this.#known = true;
  }

  /** Takes answers until the call is over, or all have come; undefined is one that cannot be read, for this error if there is one. */
  async fetch(take: (answer: Answer | undefined, error?: unknown) => void): Promise<void> {
    const { link, codec } = this.#home;
    while (!(this.#known && this.#awaited <= 0) && !this.#end.signal.aborted) {
      const options = { max: 64, wait: Infinity, signal: this.#end.signal };
      for (const { body } of await link.receive(this.channel, options)) {
        this.#awaited--;
        try {
          take(readAnswer((await codec.decode(body)).value));
        } catch (error) {
          take(undefined, error);
        }
      }
    }
    if (this.#late.has(this)) this.end();
  }

  /** The call is over: late answers are fetched and forgotten where they would leave a queue behind. */
  close(): void {
    if (!this.#home.sender.replies!.lingers || this.#awaited <= 0) return this.end();
    this.#late.add(this);
    this.#timer = setTimeout(() => this.end(), LATE);
    if (this.#late.size > LATE_LIMIT) this.#late.values().next().value!.end();
  }

  /** Removes the queue. */
  end(): void {
    clearTimeout(this.#timer);
    this.#late.delete(this);
    this.#end.abort();
    this.#home.sender.drop(this.channel).catch(() => {}); // it lapses by itself if it cannot be dropped now
  }
}
