/**
 * Everything of PyMQ in calls. Its servers are in no registry: they hear requests on the function's topic, and put each answer into
 * a queue that the caller made for the call.
 *
 * @module
 */
import type { Core } from "../core.ts";
import { type BusError, NoSuchRemoteError, RpcError } from "../errors.ts";
import { ExpiringMap } from "../internal/expiring_map.ts";
import type { Call } from "./call.ts";
import { SERVERS_TTL } from "./directory.ts";
import type { PendingCalls } from "./pending_calls.ts";
import { type Answer, denial, errorAnswer, readAnswer, type Request, writeAnswer } from "./wire.ts";

/** What the names of PyMQ's answer queues begin with. */
const PREFIX = "__rpc_";
/** Milliseconds for which servers of tsmq may offer themselves, where the transport does not count subscribers. */
const OFFERS = 200;
/** Milliseconds for which subscribers that did not answer a multi-call do not count as servers. */
const SILENT_TTL = 60_000;
/** Milliseconds for which late answers are removed, where they would make the queue again. PyMQ's queues expire after 300 s. */
const LATE = 60_000;
/** Queues whose late answers are removed; older queues expire by themselves. */
const MAX_LATE = 256;

/** Calls servers of PyMQ. */
export class PymqCaller {
  /** By function: how many subscribers of its topic did not answer a multi-call. */
  readonly silent: ExpiringMap<number> = new ExpiringMap(SILENT_TTL);
  #core: Core;
  #pending: PendingCalls;
  /** By function that PyMQ has answered: how many subscribers the request reached. */
  #answered = new ExpiringMap<{ readonly reached: number | undefined }>(SERVERS_TTL);
  #late = new Set<AnswerQueue>();

  /** Calls over this bus. */
  constructor(core: Core, pending: PendingCalls) {
    this.#core = core;
    this.#pending = pending;
  }

  /** Whether PyMQ answered a call of this function a moment ago. */
  answers(fn: string): boolean {
    return this.#answered.get(fn) !== undefined;
  }

  /** Forgets that PyMQ answered a call of this function. */
  forget(fn: string): void {
    this.#answered.delete(fn);
  }

  /**
   * Calls a function that has no registered server, by a request that only PyMQ's servers run. Servers of tsmq that hear it offer
   * themselves. When the request has reached as many subscribers as have offered themselves or refused, none of them is PyMQ's, so
   * the call has not run anywhere.
   *
   * @returns the answer of PyMQ's server, or the servers of tsmq that offered themselves
   */
  async single(call: Call): Promise<Answer | string[]> {
    const { link, sender } = this.#core;
    const { replies } = sender;
    const { fn } = call;
    const since = performance.now();
    const known = this.#answered.get(fn);
    // where PyMQ answered a moment ago, subscribers are counted only if the request reaches another number of them than it did then
    let subscribers = known ? Infinity : await replies?.candidates(fn) ?? Infinity;
    if (!replies || subscribers === 0) throw new NoSuchRemoteError(fn);
    const queue = await this.open(call);
    const inbox = await call.inbox(link);
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
    this.#pending.add({
      call,
      channel: queue.name,
      servers: new Map(),
      answer: (answer, server) => {
        const refused = answer.call?.refused;
        if (!refused) return resolve(answer); // a version of tsmq without offers has run the call
        denied ??= denial(fn, refused);
        spoken.add(server);
        judge();
      },
      offered: (server) => {
        spoken.add(server);
        offers.add(server);
        judge();
      },
      lost: () => {}, // no server is awaited by its inbox
    });
    const malformed = new RpcError("internal", `Cannot call "${fn}": the answer is malformed`);
    // the queue is read before the request leaves, so that no answer is missed
    queue.read((answer, error = malformed) => answer ? resolve(answer) : reject(error)).catch(reject);

    const reached = await sender.publish(fn, call.offer(inbox, queue.name));
    if (known && known.reached !== reached) this.forget(fn);
    if (reached === 0) throw new NoSuchRemoteError(fn);
    // the request also reached patterns, which never answer, or more servers have subscribed meanwhile
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
    if (Array.isArray(outcome)) queue.remove(); // no answer comes there
    else if (!known && !outcome.call && offers.size === 0) this.#answered.set(fn, { reached }, since);
    return outcome;
  }

  /** Makes the queue for the answers to a call. */
  async open(call: Call): Promise<AnswerQueue> {
    const queue = new AnswerQueue(this.#core, this.#late);
    await queue.open();
    if (call.over) queue.close(); // the call ended meanwhile
    else call.cleanups.push(() => queue.close());
    return queue;
  }

  /** Removes all queues whose late answers were still awaited. */
  close(): void {
    for (const queue of [...this.#late]) queue.remove();
  }
}

/** The queue for the answers of PyMQ's servers to one call. */
export class AnswerQueue {
  /** The queue's name, as PyMQ makes it. */
  readonly name: string = PREFIX + crypto.randomUUID();
  #core: Core;
  /** The queues whose calls have ended with answers still to come; the calls of a bus share it. */
  #late: Set<AnswerQueue>;
  /** Answers still to come, as far as that is known. */
  #awaited = 0;
  #known = false;
  #removed = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** `late`: the queues of this bus whose calls have ended. */
  constructor(core: Core, late: Set<AnswerQueue>) {
    this.#core = core;
    this.#late = late;
  }

  /** Makes the queue at the transport. */
  async open(): Promise<void> {
    await this.#core.sender.replies!.open(this.name);
  }

  /** Awaits so many answers more. */
  expect(answers: number): void {
    this.#awaited += answers;
    this.#known = true;
  }

  /** Reads answers until all have come or the queue is removed. An answer that cannot be read is undefined, with the error if there is one. */
  async read(take: (answer: Answer | undefined, error?: unknown) => void): Promise<void> {
    const { link, codec } = this.#core;
    const { signal } = this.#removed;
    while (!(this.#known && this.#awaited <= 0) && !signal.aborted) {
      for (const { body } of await link.receive(this.name, { max: 64, wait: Infinity, signal })) {
        this.#awaited--;
        try {
          take(readAnswer((await codec.decode(body)).value));
        } catch (error) {
          take(undefined, error);
        }
      }
    }
    if (this.#late.has(this)) this.remove();
  }

  /** Ends the queue with its call. Where late answers would make the queue again, they are read for a while. */
  close(): void {
    if (this.#removed.signal.aborted) return;
    if (!this.#core.sender.replies!.lingers || this.#awaited <= 0) return this.remove();
    this.#late.add(this);
    this.#timer = setTimeout(() => this.remove(), LATE);
    if (this.#late.size > MAX_LATE) this.#late.values().next().value!.remove();
  }

  /** Removes the queue. */
  remove(): void {
    if (this.#removed.signal.aborted) return;
    clearTimeout(this.#timer);
    this.#late.delete(this);
    this.#removed.abort();
    this.#core.sender.drop(this.name).catch(() => {}); // a queue that cannot be dropped now expires by itself
  }
}

/** Answers a caller of PyMQ. If the transport refuses the answer, the caller gets that as an error. */
export async function answerPymq(
  { fn, channel }: Request,
  answer: Answer<string>,
  core: Core,
): Promise<void> {
  const { replies } = core.sender;
  // the name comes from the wire: a request must not make this server write into any other queue
  if (!replies || !channel.startsWith(PREFIX)) return;
  const put = (answer: Answer<string>) => replies.put(channel, writeAnswer({ ...answer, call: undefined }));
  try {
    await put(answer);
  } catch (error) {
    core.report(error, fn);
    await put(errorAnswer(fn, error)).catch((error) => core.report(error, fn)); // what a function throws may be too large as well
  }
}
