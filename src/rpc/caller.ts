/**
 * The calling side of RPC: from a stub to the answer, the error, or the deadline.
 *
 * @module
 */
import { type Signed, withTrace } from "../codec/envelope.ts";
import type { MessageHeaders } from "../codec/headers.ts";
import type { Core } from "../core.ts";
import {
  type BusError,
  type ClosedError,
  closedWhile,
  inWords,
  isUnavailable,
  RpcError,
  TimeoutError,
  ValidationError,
} from "../errors.ts";
import { NumberMap, TextMap } from "../internal/text_map.ts";
import { backoff, pause, RETRY, Timeouts } from "../internal/time.ts";
import { LONGEST } from "../internal/arguments.ts";
import { because, isA } from "../internal/thrown.ts";
import { validate } from "../codec/schema.ts";
import type { Work } from "../internal/work.ts";
import { AnswerInbox } from "./answer_inbox.ts";
import { argumentsOf, checkNumber } from "./arguments.ts";
import { Call } from "./call.ts";
import { CalledStreams } from "./called_stream.ts";
import { Directory } from "./directory.ts";
import { remoteError } from "./error_answer.ts";
import { multiCall, type MultiCallParts } from "./multi_call.ts";
import { PendingCalls, RECOVERY } from "./pending_calls.ts";
import type { Procedure, RpcResponse } from "./procedure.ts";
import { Proofs } from "./proofs.ts";
import { PymqCaller } from "./pymq.ts";
import type { Server } from "./server.ts";
import { MAX_HELD, Sizes } from "./sizes.ts";
import { type Answer, denial, outcomeForgotten, serverGone } from "./wire.ts";

/** The options of one call. */
export interface CallOptions {
  readonly timeout: number;
  readonly signal?: AbortSignal;
  readonly procedure?: Procedure;
  /** The headers of the request. */
  readonly headers?: MessageHeaders;
  /** The id of the stream that the call opens, if it opens one. */
  readonly stream?: string;
}

/** Calls functions over this bus. */
export class Caller {
  /** The streams that this bus reads. */
  readonly streams: CalledStreams;
  #core: Core;
  #server: Server;
  #directory: Directory;
  #proofs: Proofs | undefined;
  #inbox: AnswerInbox;
  #pending: PendingCalls;
  #pymq: PymqCaller;
  #multi: MultiCallParts;
  /** The functions that reject the running calls, one for each call. */
  #rejects = new NumberMap<(error: BusError) => void>();
  #calls = 0;
  /** The timers for the deadlines of the running calls. */
  #timeouts = new Timeouts();
  #closed: ClosedError | undefined;

  /** Creates the caller of a bus. While the `server` of this bus is exposing a function, calls of that function wait. */
  constructor(core: Core, server: Server) {
    this.#core = core;
    this.#server = server;
    this.streams = new CalledStreams(core);
    this.#proofs = core.envelopes.signed ? new Proofs(core) : undefined;
    this.#inbox = new AnswerInbox(core);
    this.#directory = new Directory(core.sender, this.#proofs);
    this.#pending = new PendingCalls(core, this.#directory);
    this.#pymq = new PymqCaller(core, this.#pending);
    const held = new Sizes(...MAX_HELD);
    this.#multi = { core, directory: this.#directory, pending: this.#pending, pymq: this.#pymq, held };
  }

  /** The number of calls that wait for answers. */
  get pending(): number {
    return this.#pending.size;
  }

  /** Returns the handler of this bus that waits for the call with this id, if any. */
  workOf(id: string): Work | undefined {
    return this.#pending.get(id)?.work;
  }

  /** Rejects every call with this error, because the inbox for its answer no longer exists. */
  fail(error: BusError): void {
    this.streams.fail(error);
    for (const reject of [...this.#rejects.values()]) reject(error);
  }

  /** Rejects every call with this error, and all later calls too. */
  close(error: ClosedError): void {
    this.#closed = error;
    this.#pending.close();
    this.fail(error);
    this.#timeouts.close();
    this.#pymq.close();
    this.#proofs?.close();
  }

  /** Requests all answers again, because the inbox has dropped messages. */
  dropped(): void {
    this.#pending.dropped();
  }

  /** Passes an answer from the inbox to its call. `held` returns the bytes that it takes. Returns false if no call waits for it. */
  handleAnswer(value: unknown, held: () => number, unreadable?: ValidationError, signed?: Signed): boolean {
    return this.#proofs?.handleAnswer(value) || this.#pending.handleAnswer(value, held, unreadable, signed);
  }

  /** Makes a call within a trace, if traces are recorded. `call` receives the options with the trace in their headers. */
  observe<T>(fn: string, options: CallOptions, call: (options: CallOptions) => Promise<T>): Promise<T> {
    return this.#core.telemetry.observe(
      "call",
      fn,
      (traceparent) =>
        call(traceparent === undefined ? options : { ...options, headers: withTrace(options.headers, traceparent) }),
    );
  }

  /** Calls one server of a function. */
  single(fn: string, args: readonly unknown[], options: CallOptions): Promise<Answer> {
    return this.#call(fn, args, options, (call) => this.#single(call));
  }

  /** Calls a function of the bus that has this inbox. Resolves with undefined if that bus is gone or refuses. */
  async at(server: string, fn: string, args: readonly unknown[], options: CallOptions): Promise<Answer | undefined> {
    const answer = await this.#call(fn, args, options, (call) => this.#attempt(call, server));
    return answer?.call?.refused ? undefined : answer;
  }

  /** Returns the values of a served stream. The call starts when they are first read. */
  stream(fn: string, args: readonly unknown[], options: CallOptions): AsyncIterable<unknown> {
    const { timeout, signal, procedure } = options;
    const open = (stream: string, signal: AbortSignal) =>
      this.observe(fn, { ...options, signal, stream }, (options) => this.#openStream(fn, args, options));
    return this.streams.values({ fn, timeout, signal, yields: procedure?.yields, open });
  }

  /** Opens a stream. Resolves with the inbox of its server. */
  async #openStream(fn: string, args: readonly unknown[], options: CallOptions): Promise<string> {
    if (options.procedure?.returns) throw notStream(fn);
    const answer = await this.single(fn, args, options);
    const { call, isError } = answer;
    if (call?.stream === true && !isError) return call.server;
    await this.unwrap(answer);
    throw notStream(fn);
  }

  #write(args: readonly unknown[]): ReturnType<Core["codec"]["write"]> {
    try {
      return this.#core.codec.write(args);
    } catch (cause) {
      if (!isA(cause, ValidationError)) throw cause;
      throw new ValidationError(cause.message, cause.issues, { cause, part: "arguments" });
    }
  }

  /** Calls all servers of a function. For each server that did not answer, the result contains an error. */
  multi(fn: string, args: readonly unknown[], options: CallOptions): Promise<(Answer | BusError)[]> {
    return this.#call(fn, args, options, (call) => multiCall(call, this.#multi), true);
  }

  /** Returns the value of an answer, or a promise of it. Throws the error that the function threw. */
  unwrap(answer: Answer, procedure?: Procedure): unknown {
    const { fn, result, resultType, isError, call } = answer;
    if (call?.denied === true) throw new RpcError("denied", `Cannot call "${fn}": the server does not allow this call`);
    if (call?.stream === true) {
      throw new RpcError("invalid", `Cannot call "${fn}" through a stub: its result is a stream; use stream()`);
    }
    if (isError) throw remoteError(answer);
    const revived = this.#core.codec.revive(result, resultType);
    const returns = procedure?.returns;
    if (!returns) return revived;
    return Promise.resolve(revived).then((value) => validate(returns, value, `the result of "${fn}"`, "result"));
  }

  /** Returns an answer as `rpc()` gives it to the user. */
  async response(answer: Answer): Promise<RpcResponse> {
    const { fn, result, resultType, isError } = answer;
    const revived = isError ? result : await this.#core.codec.revive(result, resultType);
    return { fn, result: revived, resultType, isError };
  }

  async #call<T>(
    fn: string,
    args: readonly unknown[],
    options: CallOptions,
    run: (call: Call) => Promise<T>,
    many = false,
  ): Promise<T> {
    const { timeout, signal, procedure, headers, stream } = options;
    checkNumber(fn, args);
    if (procedure?.args) await validate(procedure.args, args, argumentsOf(fn), "arguments");
    signal?.throwIfAborted();
    if (this.#closed) throw closedWhile(`call "${fn}"`, this.#closed);
    const written = this.#write(args);
    const call = new Call(fn, written, Math.min(timeout, LONGEST), headers, stream);
    // this inbox receives neither the values of streams nor the answers to multi-calls
    if (stream === undefined && !many) call.answerInbox = this.#inbox.address(call.cleanups);
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const cancel = (error: unknown) => {
      call.over = call.cancelled = true;
      this.#pending.cancel(call);
      reject(error);
    };
    const stop = this.#timeouts.after(timeout, () => {
      const cause = this.#core.outage();
      const text = `Cannot call "${fn}": no answer within ${timeout} ms${because(cause)}`;
      cancel(new TimeoutError(text, { cause }));
    });
    const abort = () => cancel(signal!.reason);
    const end = (error: BusError) => cancel(closedWhile(`call "${fn}"`, error));
    signal?.addEventListener("abort", abort, { once: true });
    const number = ++this.#calls;
    this.#rejects.set(number, end);
    const exposing = this.#server.exposing(fn);
    const outcome = exposing ? exposing.then(() => call.over ? promise : run(call)) : run(call);
    outcome.then(resolve, (error) => reject(inWords(`call "${fn}"`, error)));
    try {
      return await promise;
    } finally {
      call.over = true;
      stop();
      signal?.removeEventListener("abort", abort);
      this.#rejects.delete(number);
      this.#pending.delete(call);
      for (const cleanup of call.cleanups) cleanup();
    }
  }

  async #single(call: Call): Promise<Answer> {
    const recovering = this.#core.recovering(RECOVERY);
    if (recovering) this.#pymq.forget(call.fn);
    let registered = recovering || !this.#pymq.answers(call.fn);
    const gone = new TextMap<true>();
    let denied: BusError | undefined;
    let [looks, offers] = [0, 0];
    while (!call.over) {
      const picked = registered ? this.#directory.pick(call.fn, gone) : undefined;
      const server = picked instanceof Promise ? await picked : picked;
      if (server === undefined) {
        if (denied) throw denied;
        // a registered server that is not connected now may reconnect soon
        const away = this.#directory.has(call.fn) && call.age < RECOVERY;
        if (registered && (away || this.#core.recovering(RECOVERY))) {
          gone.clear();
          await pause(backoff(RETRY.prompt, ++looks));
          continue;
        }
        const before = call.cleanups.length;
        const found = await this.#pymq.single(call);
        if (!Array.isArray(found)) return found;
        for (const cleanup of call.cleanups.splice(before)) cleanup();
        this.#directory.add(call.fn, found);
        for (const offered of found) gone.delete(offered);
        registered = true;
        // a peer that always offers itself and then refuses must not keep the bus busy
        if (offers++ > 0) await pause(backoff(RETRY.prompt, offers));
        continue;
      }
      const answer = await this.#attempt(call, server);
      const refused = answer?.call?.refused;
      if (answer && !refused) return answer;
      gone.set(server, true);
      this.#directory.remove(call.fn, server);
      if (refused) denied ??= denial(call.fn, refused);
    }
    return await new Promise(() => {}); // the call has ended already
  }

  /** Sends the call to one server. Resolves with its answer or refusal, or with undefined if the request certainly did not arrive. */
  async #attempt(call: Call, server: string): Promise<Answer | undefined> {
    const inbox = call.answerInbox ?? await call.inbox(this.#core.link);
    call.next();
    // until the server may have the request, only #post sends it: the checks of pending calls would also send it to a server that
    // reconnects after the call has moved to another server
    const servers = new TextMap<number>();
    const answered = this.#expect(call, server, servers);
    return await this.#post(call, server, inbox, servers) ? await answered : undefined;
  }

  /**
   * Posts the request until the outcome is known. Resolves with false if it certainly did not arrive. A server runs a repeated request only
   * once, so it is safe to send it to this server again, but not to another one. A server that may have the request is added to `servers`.
   */
  async #post(call: Call, server: string, inbox: string, servers: TextMap<number>): Promise<boolean> {
    let unsure = false;
    for (let attempt = 1; !call.over; await pause(backoff(RETRY.prompt, attempt++))) {
      try {
        if (await this.#core.post(server, call.request(inbox, "")) !== false) {
          servers.set(server, 0);
          if (call.cancelled) this.#pending.cancel(call, [server]); // meanwhile, when it was not known to have the request
          return true;
        }
        if (!unsure) return false;
        if (!this.#core.recovering(RECOVERY)) return true; // the server is gone, and may have served the call before
      } catch (error) {
        if (!isUnavailable(error)) throw error;
        unsure = true;
        servers.set(server, 0);
      }
    }
    return true;
  }

  /** Resolves with the answer of this server, or of another one that runs the call. Rejects when this server is gone. */
  #expect(call: Call, server: string, servers: TextMap<number>): Promise<Answer> {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const { attempt } = call;
    promise.catch(() => {});
    this.#pending.add({
      call,
      channel: "",
      servers,
      // a server that received the request twice refuses it twice; the second refusal does not end the attempt at the next server
      answer: (answer, from) => {
        const { refused, attempt: of = attempt } = answer.call ?? {};
        if (!refused || (from === server && of === attempt)) resolve(answer);
      },
      lost: (_, forgotten) => reject(forgotten ? outcomeForgotten(call.fn) : serverGone(call.fn)),
    });
    return promise;
  }
}

function notStream(fn: string): RpcError {
  return new RpcError("invalid", `Cannot read "${fn}" as a stream: its result is not a stream; use stub()`);
}
