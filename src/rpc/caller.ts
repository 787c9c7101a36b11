/**
 * The calling side: from a stub to the answer, the error, or the deadline.
 *
 * @module
 */
import type { Codec } from "../codec/codec.ts";
import {
  BusError,
  type ClosedError,
  ProviderError,
  RemoteInvocationError,
  TimeoutError,
  type ValidationError,
} from "../errors.ts";
import { after } from "../internal/time.ts";
import { LONGEST } from "../internal/arguments.ts";
import type { Link } from "../port/link.ts";
import type { Sender } from "../provider/provider.ts";
import { validate } from "../codec/schema.ts";
import type { Telemetry } from "../telemetry.ts";
import type { Work } from "../internal/pending_work.ts";
import { Call } from "./call.ts";
import { Directory } from "./directory.ts";
import { multiCall, type MultiCallHome } from "./multi_call.ts";
import type { Procedure, RpcResponse } from "./procedure.ts";
import { Pymq } from "./pymq.ts";
import { pause, RECOVERY, RETRY, Waits } from "./pending_calls.ts";
import { type Answer, denial } from "./wire.ts";

/** What the caller needs of its bus. */
export interface CallerHome {
  readonly link: Link;
  readonly sender: Sender;
  readonly codec: Codec;
  readonly telemetry: Telemetry;
  /** True while a connection is down or has been up again for less than `ms`. */
  recovering(ms: number): boolean;
  /** Resolves when a function that this bus is exposing can be found; undefined if it is not exposing it just now. */
  exposing(fn: string): Promise<void> | undefined;
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
  #pymq: Pymq;
  #multi: MultiCallHome;
  /** What ends each call that is under way. */
  #calls = new Set<(error: BusError) => void>();
  #closed: ClosedError | undefined;

  /** Calls over this bus. */
  constructor(home: CallerHome) {
    this.#home = home;
    this.#directory = new Directory(home.sender);
    this.#waits = new Waits({ ...home, directory: this.#directory });
    this.#pymq = new Pymq({ ...home, waits: this.#waits });
    this.#multi = { ...home, directory: this.#directory, waits: this.#waits, pymq: this.#pymq };
  }

  /** How many calls wait. */
  get pending(): number {
    return this.#waits.size;
  }

  /** What waits for the call of this id, if that is a handler of this bus. */
  workOf(id: string): Work | undefined {
    return this.#waits.get(id)?.work;
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
    this.#pymq.close();
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
    return this.#call(fn, args, options, (call) => multiCall(call, this.#multi));
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
    const written = this.#home.codec.write(args);
    const call = new Call(fn, written, Math.min(timeout, LONGEST), traceparent);
    const over = Promise.withResolvers<never>();
    const late = () => over.reject(new TimeoutError(`Cannot call "${fn}": no answer within ${timeout} ms`));
    const stop = after(timeout, late);
    const abort = () => over.reject(signal!.reason);
    signal?.addEventListener("abort", abort, { once: true });
    this.#calls.add(over.reject);
    over.promise.catch(() => {
      call.over = true;
      this.#waits.cancel(call);
    });
    const exposing = this.#home.exposing(fn);
    try {
      const answered = exposing ? exposing.then(() => call.over ? over.promise : run(call)) : run(call);
      return await Promise.race([answered, over.promise]);
    } finally {
      call.over = true;
      stop();
      signal?.removeEventListener("abort", abort);
      this.#calls.delete(over.reject);
      this.#waits.delete(call);
      for (const cleanup of call.cleanups) cleanup();
    }
  }

  async #single(call: Call): Promise<Answer> {
    const recovering = this.#home.recovering(RECOVERY);
    if (recovering) this.#pymq.forget(call.fn);
    let registered = recovering || !this.#pymq.answers(call.fn);
    const gone = new Set<string>();
    let denied: BusError | undefined;
    while (!call.over) {
      const server = registered ? await this.#directory.pick(call.fn, gone) : undefined;
      if (server === undefined) {
        if (denied) throw denied;
        // what is registered, but not there just now, may be about to come back
        const away = this.#directory.has(call.fn) && call.age < RECOVERY;
        if (registered && (away || this.#home.recovering(RECOVERY))) {
          gone.clear();
          await pause(RETRY);
          continue;
        }
        const found = await this.#pymq.single(call);
        if (!Array.isArray(found)) return found;
        this.#directory.add(call.fn, found);
        for (const offered of found) gone.delete(offered);
        registered = true;
        continue;
      }
      const address = await call.address(this.#home.link);
      call.asked = false;
      const answered = this.#expect(call, server);
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

  /** Resolves with the answer of this server, or any other's that runs the call; rejects when it is gone. */
  #expect(call: Call, server: string): Promise<Answer> {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    promise.catch(() => {});
    this.#waits.add({
      call,
      channel: "",
      servers: new Map([[server, 0]]),
      // a server that was asked twice refuses twice: that says nothing of the one that is asked now
      answer: (answer, from) => {
        if (!answer.call?.refused || from === server) resolve(answer);
      },
      lost: () => {
        const text = `Cannot call "${call.fn}": its server is gone; whether it served the call is unknown`;
        reject(new ProviderError("unavailable", text));
      },
    });
    return promise;
  }
}
