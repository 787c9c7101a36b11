/**
 * The calling side: from a stub to the answer, the error, or the deadline.
 *
 * @module
 */
import type { Codec } from "../codec.ts";
import {
  BusError,
  type ClosedError,
  NoSuchRemoteError,
  ProviderError,
  RemoteInvocationError,
  RpcError,
  TimeoutError,
  type ValidationError,
} from "../errors.ts";
import { MAX_TIMER } from "../names.ts";
import type { Link } from "../port/link.ts";
import type { Sender } from "../provider.ts";
import { validate } from "../schema.ts";
import type { Telemetry } from "../telemetry.ts";
import { Call } from "./call.ts";
import { Directory, SERVERS_TTL } from "./directory.ts";
import type { Procedure, RpcResponse } from "./procedure.ts";
import { type LateReplies, Replies } from "./replies.ts";
import { RECOVERY, Waits } from "./waits.ts";
import type { Answer, Refusal } from "./wire.ts";

/** Milliseconds that a multi-call waits for answers of servers that are in no registry, after the last answer it got. */
export const SURPLUS_GRACE = 500;
/** Milliseconds between two attempts while the transport recovers. */
const RETRY = 100;

/** What the caller needs of its bus. */
export interface CallerHome {
  readonly link: Link;
  readonly sender: Sender;
  readonly codec: Codec;
  readonly telemetry: Telemetry;
  /** True while a connection is down or has been up again for less than `ms`. */
  recovering(ms: number): boolean;
}

/** How a call is made. */
export interface CallOptions {
  readonly timeout: number;
  readonly signal?: AbortSignal;
  readonly procedure?: Procedure;
  /** Where the caller is, if that is to be known: W3C's `traceparent`. */
  readonly traceparent?: string;
}

/** Calls functions over this bus. */
export class Caller {
  #home: CallerHome;
  #directory: Directory;
  #waits: Waits;
  /** Functions that only PyMQ was found to serve: how many subscribers it had, and until when that is believed. */
  #pymq = new Map<string, { readonly reached: number | undefined; readonly until: number }>();
  #late: LateReplies = new Set();
  /** What ends each call that is under way. */
  #calls = new Set<(error: BusError) => void>();
  #closed: ClosedError | undefined;

  /** Calls over this bus. */
  constructor(home: CallerHome) {
    this.#home = home;
    this.#directory = new Directory(home.sender);
    this.#waits = new Waits({ ...home, directory: this.#directory });
  }

  /** How many calls wait. */
  get pending(): number {
    return this.#waits.size;
  }

  /** Ends every call with this error: where its answer would have come to, nothing comes any more. */
  fail(error: BusError): void {
    for (const end of [...this.#calls]) end(error);
  }

  /** Ends every call with this error, and takes no further ones. */
  close(error: ClosedError): void {
    this.#closed = error;
    this.#waits.close();
    this.fail(error);
    for (const queue of [...this.#late]) queue.end();
  }

  /** Takes what came to the inbox as an answer; false if no call waits for it. */
  take(value: unknown, unreadable?: ValidationError): boolean {
    return this.#waits.take(value, unreadable);
  }

  /** Makes a call that is observed where somebody looks; it goes on with these options. */
  observe<T>(fn: string, options: CallOptions, call: (options: CallOptions) => Promise<T>): Promise<T> {
    return this.#home.telemetry.observe(
      "call",
      fn,
      (traceparent) => call(traceparent === undefined ? options : { ...options, traceparent }),
    );
  }

  /** Calls one server. */
  single(fn: string, args: readonly unknown[], options: CallOptions): Promise<Answer> {
    return this.#call(fn, args, options, (call) => this.#single(call));
  }

  /** Calls every server; an error in place of an answer says that one of ours did not give it. */
  multi(fn: string, args: readonly unknown[], options: CallOptions): Promise<(Answer | BusError)[]> {
    return this.#call(fn, args, options, (call) => this.#multi(call));
  }

  /** The value of an answer, or the error that the function threw. */
  async unwrap(answer: Answer, procedure?: Procedure): Promise<unknown> {
    const { fn, result, resultType, isError, call } = answer;
    if (isError) {
      throw new RemoteInvocationError(fn, resultType, Array.isArray(result) ? result : [result], call?.stack);
    }
    const revived = await this.#home.codec.revive(result, resultType);
    return procedure?.returns ? await validate(procedure.returns, revived, `the result of "${fn}"`) : revived;
  }

  /** An answer as users see it raw. */
  async response(answer: Answer): Promise<RpcResponse> {
    const { fn, result, resultType, isError } = answer;
    const revived = isError ? result : await this.#home.codec.revive(result, resultType);
    return { fn, result: revived, resultType, isError };
  }

  async #call<T>(
    fn: string,
    args: readonly unknown[],
    options: CallOptions,
    run: (call: Call) => Promise<T>,
  ): Promise<T> {
    const { timeout, signal, procedure, traceparent } = options;
    if (procedure?.args) await validate(procedure.args, args, `the arguments of "${fn}"`);
    signal?.throwIfAborted();
    if (this.#closed) throw this.#closed;
    const text = this.#home.codec.write(args);
    const call = new Call(fn, text, Math.min(timeout, MAX_TIMER), traceparent);
    const over = Promise.withResolvers<never>();
    const timer = timeout < MAX_TIMER
      ? setTimeout(() => over.reject(new TimeoutError(`Cannot call "${fn}": no answer within ${timeout} ms`)), timeout)
      : undefined;
    const abort = () => over.reject(signal!.reason);
    signal?.addEventListener("abort", abort, { once: true });
    this.#calls.add(over.reject);
    over.promise.catch(() => {
      call.over = true;
      this.#waits.cancel(call);
    });
    try {
      return await Promise.race([run(call), over.promise]);
    } finally {
      call.over = true;
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
      this.#calls.delete(over.reject);
      this.#waits.delete(call);
      for (const cleanup of call.cleanups) cleanup();
    }
  }

  /** Where answers to a call come to; never, once nobody waits for them. */
  async #address(call: Call): Promise<string> {
    const address = await this.#home.link.address();
    return call.over ? await new Promise(() => {}) : address;
  }

  async #single(call: Call): Promise<Answer> {
    const known = this.#pymq.get(call.fn);
    if (known && performance.now() < known.until && !this.#home.recovering(RECOVERY)) return await this.#foreign(call);
    this.#pymq.delete(call.fn);
    const gone = new Set<string>();
    let denied: BusError | undefined;
    while (!call.over) {
      const server = await this.#directory.pick(call.fn, gone);
      if (server === undefined) {
        if (denied) throw denied;
        // what is registered, but not there just now, may be about to come back
        const away = this.#directory.has(call.fn) && call.age < RECOVERY;
        if (!away && !this.#home.recovering(RECOVERY)) return await this.#foreign(call);
        gone.clear();
        await pause(RETRY);
        continue;
      }
      const address = await this.#address(call);
      call.asked = false;
      const answered = this.#expect(call, [server], "");
      if (!await this.#post(call, server, address)) {
        gone.add(server);
        this.#directory.forget(call.fn, server);
        continue;
      }
      const answer = await answered;
      if (!answer.call?.refused) return answer;
      gone.add(server);
      this.#directory.forget(call.fn, server);
      denied ??= denial(call.fn, answer.call.refused);
    }
    return await new Promise(() => {}); // the deadline has ended the call already
  }

  /**
   * Posts until it is known whether it arrived; false: certainly not. A server serves a request that arrives twice once, so sending
   * it again is harmless; another server would serve it a second time.
   */
  async #post(call: Call, server: string, address: string): Promise<boolean> {
    let unsure = false;
    for (; !call.over; await pause(RETRY)) {
      try {
        if (await this.#home.sender.post(server, call.request(address, "")) !== false) return true;
        if (!unsure) return false;
        if (!this.#home.recovering(RECOVERY)) return true; // whether it had served the call before it went, nobody knows
      } catch (error) {
        if (!(error instanceof BusError) || error.code !== "unavailable") throw error;
        unsure = true;
      }
    }
    return true;
  }

  /**
   * Nobody is registered: PyMQ's servers are in no registry, so the request goes to the function's topic. Where PyMQ has answered,
   * nobody is asked whether anybody is there for the next `SERVERS_TTL`, as long as it reaches as many as it did then.
   */
  async #foreign(call: Call): Promise<Answer> {
    const { sender } = this.#home;
    const { replies } = sender;
    const known = this.#pymq.get(call.fn);
    const until = performance.now() + SERVERS_TTL;
    if (!replies || (!known && await replies.candidates(call.fn) === 0)) throw new NoSuchRemoteError(call.fn);
    const fetched = Promise.withResolvers<Answer>();
    fetched.promise.catch(() => {});
    const queue = await this.#openReplies(call);
    const address = await this.#address(call);
    const answered = this.#expect(call, [], queue.channel);
    const malformed = new RpcError("internal", `Cannot call "${call.fn}": the answer is malformed`);
    // before the request leaves, so that the answer is awaited when it comes
    queue
      .fetch((answer, error = malformed) => answer ? fetched.resolve(answer) : fetched.reject(error))
      .catch(fetched.reject);
    const reached = await sender.publish(call.fn, call.request(address, queue.channel));
    queue.expect(reached ?? 1);
    if (known && known.reached !== reached) this.#pymq.delete(call.fn);
    if (reached === 0) throw new NoSuchRemoteError(call.fn);
    const answer = await Promise.race([answered, fetched.promise]);
    const refused = answer.call?.refused;
    if (refused) throw denial(call.fn, refused) ?? new NoSuchRemoteError(call.fn);
    if (!known && !answer.call) this.#pymq.set(call.fn, { reached, until });
    return answer;
  }

  async #multi(call: Call): Promise<(Answer | BusError)[]> {
    const { sender } = this.#home;
    const { replies } = sender;
    let { registered, present: servers } = await this.#directory.ask(call.fn);
    const awaited = () => this.#home.recovering(RECOVERY) || (registered.length > 0 && call.age < RECOVERY);
    while (servers.length === 0 && !call.over && awaited()) {
      await pause(RETRY);
      ({ registered, present: servers } = await this.#directory.ask(call.fn));
    }
    const exact = replies ? await replies.candidates(call.fn) : servers.length;
    if (servers.length === 0 && exact === 0) return [];
    let surplus = exact === undefined ? Infinity : exact - servers.length;
    const queue = replies && surplus > 0 ? await this.#openReplies(call) : undefined;

    const answers: (Answer | BusError)[] = [];
    const { promise: done, resolve: finish } = Promise.withResolvers<void>();
    const missing = new Map(servers.map((server) => [server, 0]));
    const answered = new Set<string | undefined>();
    const channel = queue?.channel ?? "";
    const address = await this.#address(call);
    let grace: ReturnType<typeof setTimeout> | undefined;
    const got = () => {
      clearTimeout(grace);
      if (missing.size > 0) return;
      if (surplus <= 0) return finish();
      if (answers.length > 0) grace = setTimeout(finish, SURPLUS_GRACE);
    };
    this.#waits.add({
      call,
      channel,
      servers: missing,
      answer: (answer, server) => {
        if (answered.has(server)) return; // it was asked twice
        answered.add(server);
        if (!missing.delete(server!)) surplus--; // one that registered in the meantime
        const refused = answer.call?.refused;
        const one = refused ? denial(call.fn, refused) : answer;
        if (one) answers.push(one);
        got();
      },
      lost: (server) => {
        missing.delete(server);
        answers.push(
          new ProviderError(
            "unavailable",
            `Cannot call "${call.fn}": a server is gone; whether it served the call is unknown`,
          ),
        );
        got();
      },
    });
    // the deadline ends what is missing, not the answers that are there
    const late = setTimeout(() => {
      for (const _ of missing) answers.push(new TimeoutError(`Cannot call "${call.fn}": no answer in time`));
      finish();
    }, Math.max(0, call.left - 5));
    call.cleanups.push(() => clearTimeout(late), () => clearTimeout(grace));
    const reached = await sender.publish(call.fn, call.request(address, channel));
    if (reached !== undefined) surplus = Math.min(surplus, reached - servers.length);
    if (reached === 0 && servers.length === 0) return [];
    queue?.expect(surplus);
    queue?.fetch((answer) => {
      surplus--;
      if (answer) answers.push(answer);
      got();
    }).catch(() => {}); // ended by the call's own end, or the transport's: the deadline judges
    got();
    await done;
    return answers;
  }

  async #openReplies(call: Call): Promise<Replies> {
    const queue = new Replies(this.#home, this.#late);
    await queue.open();
    if (call.over) queue.close(); // while it was made
    else call.cleanups.push(() => queue.close());
    return queue;
  }

  /** Resolves with the first answer of any of these servers; rejects when the last of them is gone. */
  #expect(call: Call, servers: string[], channel: string): Promise<Answer> {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    promise.catch(() => {});
    this.#waits.add({
      call,
      channel,
      servers: new Map(servers.map((server) => [server, 0])),
      answer: (answer, server = "") => {
        // who was asked twice refuses twice: that is not the word of the one that is asked now
        const stale = answer.call?.refused && servers.length > 0 && !servers.includes(server);
        if (!stale) resolve(answer);
      },
      lost: () => {
        const text = `Cannot call "${call.fn}": its server is gone; whether it served the call is unknown`;
        reject(new ProviderError("unavailable", text));
      },
    });
    return promise;
  }
}

/** What a refusal means to the caller; undefined: the server might as well not be there. */
function denial(fn: string, refused: Refusal): BusError | undefined {
  if (refused === "busy") return new RpcError("busy", `Cannot call "${fn}": every server is at its limit of calls`);
  if (refused === "late") return new TimeoutError(`Cannot call "${fn}": by its server's clock the deadline has passed`);
  return undefined;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
