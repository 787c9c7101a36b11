/**
 * One call, from its request to its end.
 *
 * @module
 */
import type { Written } from "../codec/codec.ts";
import { withTrace } from "../codec/envelope.ts";
import type { Link } from "../port/link.ts";
import { Work } from "../internal/pending_work.ts";
import { writeRequest } from "./wire.ts";

/** Milliseconds until a request is sent again for the first time. Most calls have their answer long before. */
const FIRST_REPEAT = 2_000;

/** One call that this bus makes. */
export class Call {
  /** The function's name. */
  readonly fn: string;
  readonly #args: Written;
  /** When the call ends at the latest, in milliseconds of `Date.now()`: servers on other machines read it. */
  readonly deadline: number;
  readonly #timeout: number;
  /** Only servers that got the request know it: 122 random bits. */
  readonly id: string = crypto.randomUUID();
  readonly #since = performance.now();
  readonly #traceparent: string | undefined;
  /** How many servers the call was sent to in turn; 0: to all at once, or to none yet. */
  attempt = 0;
  /** The servers that are to answer may have the request already. */
  #sent = false;
  /** The handler that made the call, if a handler did. */
  readonly work: Work | undefined = Work.current;
  /** The call has ended: nothing waits for it any more. */
  over = false;
  /** The age in milliseconds at which the request is sent again; it doubles each time. */
  repeatAt = FIRST_REPEAT;
  /** What to do when the call has ended. */
  readonly cleanups: (() => void)[] = [];

  /** `timeout`: milliseconds. */
  constructor(fn: string, args: Written, timeout: number, traceparent: string | undefined) {
    this.fn = fn;
    this.#args = args;
    this.#timeout = timeout;
    this.#traceparent = traceparent;
    this.deadline = Date.now() + timeout;
  }

  /** Milliseconds until the deadline, by a clock that is never set. */
  get left(): number {
    return this.#timeout - this.age;
  }

  /** Milliseconds since the call was made. */
  get age(): number {
    return performance.now() - this.#since;
  }

  /** Resolves with the inbox that answers go to; never, once the call has ended. */
  async inbox(link: Link): Promise<string> {
    const inbox = await link.address();
    return this.over ? await new Promise(() => {}) : inbox;
  }

  /** The call goes to another server, or to the same one anew. */
  next(): void {
    this.attempt++;
    this.#sent = false;
  }

  /** Writes the request; one that is sent again has its age in it. `channel` is PyMQ's answer queue, or empty. */
  request(inbox: string, channel: string): string {
    const age = this.#sent ? Math.ceil(this.age) : undefined;
    this.#sent = true;
    return this.#write(inbox, channel, age);
  }

  /** Writes a request that PyMQ's servers run; servers of tsmq offer themselves instead. */
  offer(inbox: string, channel: string): string {
    return this.#write(inbox, channel, undefined, true);
  }

  #write(inbox: string, channel: string, age?: number, offer?: true): string {
    const { fn, id, deadline, attempt } = this;
    const headers = withTrace(undefined, this.#traceparent);
    const counted = offer || attempt === 0 ? undefined : attempt;
    return writeRequest(fn, channel, this.#args, { id, inbox, deadline, offer, attempt: counted, age, headers });
  }
}
