/**
 * The class `Call`: one call, from its request to its end.
 *
 * @module
 */
import type { Written } from "../codec/codec.ts";
import type { MessageHeaders } from "../codec/headers.ts";
import type { Link } from "../port/link.ts";
import { Work } from "../internal/work.ts";
import { sizeOf } from "./sizes.ts";
import { writeRequest } from "./wire.ts";

/** Milliseconds until a request is sent again for the first time. Most calls are answered much earlier. */
const FIRST_REPEAT = 2_000;

/** A call that this bus makes. */
export class Call {
  /** The function's name. */
  readonly fn: string;
  readonly #args: Written;
  /** The deadline in milliseconds of `Date.now()`, because servers on other machines read it. */
  readonly deadline: number;
  readonly #timeout: number;
  /** The id of the call: 122 random bits, so only servers that received the request know it. */
  readonly id: string;
  /** Whether the caller reads the result as a stream. */
  readonly #stream: true | undefined;
  readonly #since = performance.now();
  readonly #headers: MessageHeaders | undefined;
  /** The address of the inbox for its answer, unless that is the receiver's. Set before the call is sent. */
  answerInbox: string | undefined;
  /** The number of servers that the call was sent to, one after the other. All servers of a multi-call count as one. */
  attempt = 0;
  /** Whether the servers may have received the request. */
  #sent = false;
  /** The handler that made the call, if any. */
  readonly work: Work | undefined = Work.current;
  /** Whether the call has ended, so that nothing waits for it any more. */
  over = false;
  /** Whether the call has ended without an answer, so that its servers need not run it. */
  cancelled = false;
  /** The age in milliseconds at which the request is sent again; it doubles each time. */
  repeatAt = FIRST_REPEAT;
  /** Functions to run when the call has ended. */
  readonly cleanups: (() => void)[] = [];

  /**
   * Creates a call that ends after `timeout` milliseconds. If the call opens a stream, `stream` is the id of the call and of the stream.
   */
  constructor(fn: string, args: Written, timeout: number, headers: MessageHeaders | undefined, stream?: string) {
    this.fn = fn;
    this.id = stream ?? crypto.randomUUID();
    this.#stream = stream === undefined ? undefined : true;
    this.#args = args;
    this.#timeout = timeout;
    this.#headers = headers;
    this.deadline = Date.now() + timeout;
  }

  /** The milliseconds until the deadline, by the monotonic clock. */
  get left(): number {
    return this.#timeout - this.age;
  }

  /** The milliseconds since the call began. */
  get age(): number {
    return performance.now() - this.#since;
  }

  /** The largest number of characters of its arguments in a request. */
  get size(): number {
    return sizeOf(this.#args);
  }

  /** Resolves with the inbox for the answers. Never resolves if the call has ended before. */
  async inbox(link: Link): Promise<string> {
    const inbox = this.answerInbox ?? await link.address();
    return this.over ? await new Promise(() => {}) : inbox;
  }

  /** Begins the next attempt, at another server or at the same one. */
  next(): void {
    this.attempt++;
    this.#sent = false;
  }

  /** Writes the request. A repeated request contains its age. `channel` is PyMQ's answer queue, or empty. */
  request(inbox: string, channel: string): string {
    const age = this.#sent ? Math.ceil(this.age) : undefined;
    this.#sent = true;
    return this.#write(inbox, channel, age);
  }

  /** Writes a request that PyMQ's servers run. A server of tsmq does not run it, but offers to serve the call. */
  offer(inbox: string, channel: string): string {
    return this.#write(inbox, channel, undefined, true);
  }

  #write(inbox: string, channel: string, age?: number, offer?: true): string {
    const { fn, id, deadline, attempt } = this;
    const counted = offer || attempt === 0 ? undefined : attempt;
    return writeRequest(fn, channel, this.#args, {
      id,
      inbox,
      deadline,
      offer,
      attempt: counted,
      age,
      stream: this.#stream,
      confirms: true,
      joins: true,
      headers: this.#headers,
    });
  }
}
