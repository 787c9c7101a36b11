/**
 * What is PyMQ's in calls: its servers are in no registry, hear requests on the function's topic, and put their answers into a queue
 * of the call's own.
 *
 * @module
 */
import type { Codec } from "../codec/codec.ts";
import { type BusError, NoSuchRemoteError, RpcError } from "../errors.ts";
import type { Link } from "../port/link.ts";
import type { Sender } from "../provider/provider.ts";
import type { Call } from "./call.ts";
import { SERVERS_TTL } from "./directory.ts";
import { Recent } from "./recent.ts";
import type { Waits } from "./pending_calls.ts";
import { type Answer, denial, readAnswer } from "./wire.ts";

/** Milliseconds for which servers of ours may offer themselves, where the transport does not count who was reached. */
const OFFERS = 200;
/** Milliseconds for which subscribers that did not answer a multi-call are taken for strangers. */
const STRANGERS_TTL = 60_000;
/** Milliseconds for which late answers are fetched, where they would leave a queue behind (PyMQ gives it 300 s to live). */
const LATE = 60_000;
/** Calls whose late answers are fetched at once; for older ones the queue's own life must do. */
const LATE_LIMIT = 256;

/** What is needed of the bus. */
export interface PymqHome {
  readonly link: Link;
  readonly sender: Sender;
  readonly codec: Codec;
  readonly waits: Waits;
}

/** Calls servers of PyMQ's. */
export class Pymq {
  /** By function: how many subscribers of its topic did not answer a multi-call, and are taken for strangers. */
  readonly strangers: Recent<number> = new Recent(STRANGERS_TTL);
  #home: PymqHome;
  /** By function that PyMQ has answered for: how many subscribers the request reached. */
  #answered = new Recent<{ readonly reached: number | undefined }>(SERVERS_TTL);
  #late = new Set<Replies>();

  /** Calls over this bus. */
  constructor(home: PymqHome) {
    this.#home = home;
  }

  /** Whether PyMQ has just answered a call of this function. */
  answers(fn: string): boolean {
    return this.#answered.get(fn) !== undefined;
  }

  /** Forgets that PyMQ has answered a call of this function. */
  forget(fn: string): void {
    this.#answered.delete(fn);
  }

  /**
   * Calls a function that has no registered server, by a request that only PyMQ's servers run. Servers of ours that hear it offer
   * themselves. When as many have spoken as the request has reached, none of them is PyMQ's, so the call has not run anywhere.
   *
   * @returns the answer of PyMQ's server, or the servers of ours that offered themselves
   */
  async single(call: Call): Promise<Answer | string[]> {
    const { link, sender, waits } = this.#home;
    const { replies } = sender;
    const { fn } = call;
    const since = performance.now();
    const known = this.#answered.get(fn);
    // where PyMQ has just answered, subscribers are not counted, as long as the request reaches as many as it did then
    let subscribers = known ? Infinity : await replies?.candidates(fn) ?? Infinity;
    if (!replies || subscribers === 0) throw new NoSuchRemoteError(fn);
    const queue = await this.open(call);
    const address = await call.address(link);
    const { promise, resolve, reject } = Promise.withResolvers<Answer | string[]>();
    promise.catch(() => {}); // the call may end by its deadline

    const spoken = new Set<string>();
    const offers = new Set<string>();
    let due = Infinity;
    let denied: BusError | undefined;
    const judge = () => {
      if (spoken.size < due) return;
      if (offers.size > 0) resolve([...offers]);
      else reject(denied ?? new NoSuchRemoteError(fn));
    };
    waits.add({
      call,
      channel: queue.channel,
      servers: new Map(),
      answer: (answer, server) => {
        const refused = answer.call?.refused;
        if (!refused) return resolve(answer); // a tsmq that does not know offers has run it
        denied ??= denial(fn, refused);
        spoken.add(server);
        judge();
      },
      offered: (server) => {
        spoken.add(server);
        offers.add(server);
        judge();
      },
      lost: () => {}, // no server is awaited by name
    });
    const malformed = new RpcError("internal", `Cannot call "${fn}": the answer is malformed`);
    // before the request leaves, so that the answer is awaited when it comes
    queue.fetch((answer, error = malformed) => answer ? resolve(answer) : reject(error)).catch(reject);

    const reached = await sender.publish(fn, call.offer(address, queue.channel));
    if (known && known.reached !== reached) this.forget(fn);
    if (reached === 0) throw new NoSuchRemoteError(fn);
    // subscribers of patterns were reached too, which never answer; or more have subscribed meanwhile
    if (reached !== undefined && reached > subscribers) subscribers = await replies.candidates(fn) ?? Infinity;
    due = Math.min(reached ?? Infinity, subscribers);
    queue.expect(due < Infinity ? due : 1);
    judge();
    if (due === Infinity && !known) {
      const timer = setTimeout(() => offers.size > 0 && resolve([...offers]), OFFERS);
      call.cleanups.push(() => clearTimeout(timer));
    }
    const outcome = await promise;
    queue.expect(-spoken.size);
    if (Array.isArray(outcome)) queue.end(); // nobody answers there
    else if (!known && !outcome.call && offers.size === 0) this.#answered.set(fn, { reached }, since);
    return outcome;
  }

  /** Opens the queue for the answers to a call. */
  async open(call: Call): Promise<Replies> {
    const queue = new Replies(this.#home, this.#late);
    await queue.open();
    if (call.over) queue.close(); // while it was made
    else call.cleanups.push(() => queue.close());
    return queue;
  }

  /** Fetches no late answers any more. */
  close(): void {
    for (const queue of [...this.#late]) queue.end();
  }
}

/** The queue for the answers to one call. */
export class Replies {
  /** Its name, as PyMQ makes it. */
  readonly channel: string = `__rpc_${crypto.randomUUID()}`;
  #home: PymqHome;
  /** Those whose calls are over, with answers still to come. */
  #late: Set<Replies>;
  /** Answers still to come, as far as it is known. */
  #awaited = 0;
  #known = false;
  #end = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** `late` is shared by the calls of one bus. */
  constructor(home: PymqHome, late: Set<Replies>) {
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
    if (this.#end.signal.aborted) return;
    if (!this.#home.sender.replies!.lingers || this.#awaited <= 0) return this.end();
    this.#late.add(this);
    this.#timer = setTimeout(() => this.end(), LATE);
    if (this.#late.size > LATE_LIMIT) this.#late.values().next().value!.end();
  }

  /** Removes the queue. */
  end(): void {
    if (this.#end.signal.aborted) return;
    clearTimeout(this.#timer);
    this.#late.delete(this);
    this.#end.abort();
    this.#home.sender.drop(this.channel).catch(() => {}); // it lapses by itself if it cannot be dropped now
  }
}
