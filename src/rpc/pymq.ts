/**
 * Calls to and from PyMQ. Its servers are not registered: they receive requests on the function's topic, and put each answer into a queue
 * that the caller created for the call.
 *
 * @module
 */
import { heldBytes } from "../codec/held_bytes.ts";
import type { Core } from "../core.ts";
import { type BusError, NoSuchRemoteError, RpcError } from "../errors.ts";
import { ExpiringMap } from "../internal/caches.ts";
import { TextMap } from "../internal/text_map.ts";
import type { Call } from "./call.ts";
import { MAX_SERVERS, SERVERS_TTL } from "./directory.ts";
import { errorAnswer } from "./error_answer.ts";
import type { PendingCalls } from "./pending_calls.ts";
import { type Answer, denial, readAnswer, type Request, serverGone, writeAnswer } from "./wire.ts";

/** The prefix of the names of PyMQ's answer queues. `ANSWER_QUEUE` matches a whole name. */
const PREFIX = "__rpc_";
const ANSWER_QUEUE = /^__rpc_[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
/** Milliseconds to wait for offers and refusals of tsmq's servers, if the number of subscribers is unknown or they have all left. */
const OFFERS = 200;
/** Milliseconds for which subscribers that did not answer a multi-call do not count as servers. */
const SILENT_TTL = 60_000;
/** Milliseconds for which late answers are removed, if they would create the queue again. PyMQ's queues expire after 300 s. */
const LATE = 60_000;
/** The largest number of queues whose late answers are removed. Older queues expire by themselves. */
const MAX_LATE = 256;

/** Calls servers of PyMQ. */
export class PymqCaller {
  /** Function → the number of subscribers of its topic that did not answer a multi-call. */
  readonly silent: ExpiringMap<number> = new ExpiringMap(SILENT_TTL);
  #core: Core;
  #pending: PendingCalls;
  /** Function that PyMQ has answered → the number of subscribers that the request reached. */
  #answered = new ExpiringMap<{ readonly reached: number | undefined }>(SERVERS_TTL);
  #late = new Set<AnswerQueue>();

  /** Creates the PyMQ part of a bus's caller. */
  constructor(core: Core, pending: PendingCalls) {
    this.#core = core;
    this.#pending = pending;
  }

  /** Returns whether PyMQ answered a call of this function a moment ago. */
  answers(fn: string): boolean {
    return this.#answered.get(fn) !== undefined;
  }

  /** Forgets that PyMQ answered a call of this function. */
  forget(fn: string): void {
    this.#answered.delete(fn);
  }

  /**
   * Calls a function that has no registered server, with a request that only PyMQ's servers run. Servers of tsmq that receive it offer
   * themselves. If every subscriber that the request reached has offered itself or refused, no server of PyMQ exists, and the call has not
   * run.
   *
   * @returns the answer of PyMQ's server, or the servers of tsmq that have offered themselves
   */
  async single(call: Call): Promise<Answer | string[]> {
    const { link, namespace, sender, envelopes, codec } = this.#core;
    const { replies } = sender;
    const { fn } = call;
    const { signed } = envelopes; // PyMQ's servers cannot be peers of a bus with keys: only offers count
    const since = performance.now();
    const known = this.#answered.get(fn);
    // if PyMQ answered a moment ago, subscribers are counted only if their number has changed since then
    const subscribers = known ? Infinity : await replies?.candidates(fn) ?? Infinity;
    if (!replies || subscribers === 0) throw new NoSuchRemoteError(fn, namespace);
    const queue = signed ? undefined : await this.open(call);
    const inbox = await call.inbox(link);
    const { promise, resolve, reject } = Promise.withResolvers<Answer | string[]>();
    promise.catch(() => {}); // the call may have ended at its deadline

    const spoken = new TextMap<true>();
    const offers = new TextMap<true>();
    let due = Infinity;
    let denied: BusError | undefined;
    const judge = () => {
      if (spoken.size < due) return;
      if (offers.size > 0) resolve([...offers.keys()]);
      else reject(denied ?? new NoSuchRemoteError(fn, namespace));
    };
    const hear = (server: string) => {
      spoken.set(server, true);
      if (spoken.size <= MAX_SERVERS) return judge();
      // anybody who has received the request can refuse it under any number of names
      reject(new RpcError("too_large", `Cannot call "${fn}": more than ${MAX_SERVERS} servers have refused it`));
      this.#pending.delete(call);
    };
    this.#pending.add({
      call,
      channel: queue?.name ?? "",
      servers: new TextMap(),
      answer: (answer, server) => {
        const refused = answer.call?.refused;
        if (!refused) return resolve(answer); // the server has a version of tsmq without offers, and has run the call
        denied ??= denial(fn, refused);
        hear(server);
      },
      offered: (server) => {
        offers.set(server, true);
        if (signed) resolve([server]);
        hear(server);
      },
      lost: () => {}, // the call waits for no particular server
    });
    const malformed = new RpcError("internal", `Cannot call "${fn}": the answer is malformed`);
    // the queue is read before the request leaves, so that no answer is missed
    queue?.read((answer, _, error = malformed) => answer ? resolve(answer) : reject(error)).catch(reject);

    const count = () => replies.candidates(fn).catch(() => undefined);
    const request = codec.sendable(call.offer(inbox, queue?.name ?? ""));
    const published = sender.publish(fn, envelopes.seal("event", fn, request));
    const counted = known ? undefined : count(); // in the same turn, so that it is the number of those that the request reaches
    const reached = await published;
    const unchanged = known !== undefined && known.reached === reached;
    if (known && !unchanged) this.forget(fn);
    if (reached === 0) throw new NoSuchRemoteError(fn, namespace);
    const exact = await counted;
    // the request has also reached subscriptions to patterns, which never answer
    due = reached === undefined ? subscribers : Math.min(reached, exact ?? reached);
    const left = unchanged || exact === 0 ? exact : await count();
    queue?.expect(due < Infinity ? due : 1);
    judge();
    if (left === 0 || (due === Infinity && !known)) {
      const timer = setTimeout(
        () => left === 0 ? reject(serverGone(fn)) : offers.size > 0 && resolve([...offers.keys()]),
        OFFERS,
      );
      call.cleanups.push(() => clearTimeout(timer));
    }
    const outcome = await promise;
    queue?.expect(-spoken.size);
    if (Array.isArray(outcome)) queue?.remove(); // no server puts an answer there
    else if (!known && !outcome.call && offers.size === 0) this.#answered.set(fn, { reached }, since);
    return outcome;
  }

  /** Creates the queue for the answers to a call. */
  async open(call: Call): Promise<AnswerQueue> {
    const queue = new AnswerQueue(this.#core, this.#late);
    call.cleanups.push(() => queue.close()); // also ends a wait for room
    await queue.open();
    if (call.over) queue.close(); // the call ended meanwhile
    return queue;
  }

  /** Removes all queues that wait for late answers. */
  close(): void {
    for (const queue of [...this.#late]) queue.remove();
  }
}

/** The queue for the answers of PyMQ's servers to one call. */
export class AnswerQueue {
  /** The name of the queue, in PyMQ's format. */
  readonly name: string = PREFIX + crypto.randomUUID();
  #core: Core;
  /** The queues of all calls of this bus that have ended while answers are missing. */
  #late: Set<AnswerQueue>;
  /** The number of missing answers, if known. */
  #awaited = 0;
  #known = false;
  #removed = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Creates the answer queue of one call. `late` contains the queues of this bus whose calls have ended. */
  constructor(core: Core, late: Set<AnswerQueue>) {
    this.#core = core;
    this.#late = late;
  }

  /** Creates the queue at the transport. */
  async open(): Promise<void> {
    await this.#core.sender.replies!.open(this.name);
  }

  /** Expects a number of further answers. */
  expect(answers: number): void {
    this.#awaited += answers;
    this.#known = true;
  }

  /**
   * Reads answers until all have arrived or the queue is removed. An answer that cannot be read is undefined, with its error, if any. `held`
   * returns the bytes that it takes.
   */
  async read(take: (answer: Answer | undefined, held: () => number, error?: unknown) => void): Promise<void> {
    const { link, codec } = this.#core;
    const { signal } = this.#removed;
    while (!(this.#known && this.#awaited <= 0) && !signal.aborted) {
      for (const { body } of await link.receive(this.name, { max: 64, wait: Infinity, signal })) {
        this.#awaited--;
        try {
          const decoding = codec.decode(body);
          const { typed } = codec;
          const decoded = await decoding;
          take(readAnswer(decoded.value), () => heldBytes(body, decoded.typed ?? typed));
        } catch (error) {
          take(undefined, () => 0, error);
        }
      }
    }
    if (this.#late.has(this)) this.remove();
  }

  /** Removes the queue after its call. If late answers would create the queue again, it reads them for a while. */
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

/** Answers a caller of PyMQ. If the transport refuses the answer, the caller receives the refusal as an error. */
export async function answerPymq(
  { fn, channel }: Request,
  answer: Answer<string>,
  core: Core,
): Promise<void> {
  const { replies } = core.sender;
  // the name comes from the wire, and a request must not make this server write into another queue
  if (!replies || !ANSWER_QUEUE.test(channel)) return;
  const put = (answer: Answer<string>) => replies.put(channel, writeAnswer({ ...answer, call: undefined }));
  try {
    await put(answer);
  } catch (error) {
    core.report(error, fn, true);
    await put(errorAnswer(fn, error, core.exposeErrors)).catch((error) => core.report(error, fn, true)); // the error of a function may be too large too
  }
}
