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

/** Milliseconds after which a call is asked again for the first time. */
const AGAIN = 2_000;

/** One call on its way. */
export class Call {
  /** The function. */
  readonly fn: string;
  readonly #args: Written;
  /** By the clock of this machine, in milliseconds of `Date.now()`: for servers elsewhere. */
  readonly deadline: number;
  readonly #timeout: number;
  /** Nobody who is not asked can guess it: 122 random bits. */
  readonly id: string = crypto.randomUUID();
  readonly #since = performance.now();
  readonly #traceparent: string | undefined;
  /** Whether the servers that are to answer may have it already. */
  asked = false;
  /** What waits for it, if that is a handler. */
  readonly work: Work | undefined = Work.current;
  /** Nobody waits for it any more. */
  over = false;
  /** How old it is when it is asked again, in milliseconds: doubled each time. */
  again = AGAIN;
  /** What is left to do when it is over. */
  readonly cleanups: (() => void)[] = [];

  /** `args` as text, `timeout` in milliseconds. */
  constructor(fn: string, args: Written, timeout: number, traceparent: string | undefined) {
    this.fn = fn;
    this.#args = args;
    this.#timeout = timeout;
    this.#traceparent = traceparent;
    this.deadline = Date.now() + timeout;
  }

  /** Milliseconds until its deadline, by the clock that nobody sets. */
  get left(): number {
    return this.#timeout - this.age;
  }

  /** Milliseconds since it was made. */
  get age(): number {
    return performance.now() - this.#since;
  }

  /** The inbox that answers go to; never resolves once the call is over. */
  async address(link: Link): Promise<string> {
    const address = await link.address();
    return this.over ? await new Promise(() => {}) : address;
  }

  /** As text: a request that is made a second time says how old it is. */
  request(inbox: string, channel: string): string {
    const age = this.asked ? Math.ceil(this.age) : undefined;
    this.asked = true;
    return this.#write(inbox, channel, age);
  }

  /** As text, for servers of PyMQ's to run; servers of ours offer themselves. */
  offer(inbox: string, channel: string): string {
    return this.#write(inbox, channel, undefined, true);
  }

  #write(inbox: string, channel: string, age?: number, offer?: true): string {
    const { fn, id, deadline } = this;
    const headers = withTrace(undefined, this.#traceparent);
    return writeRequest(fn, channel, this.#args, { id, inbox, deadline, offer, age, headers });
  }
}
