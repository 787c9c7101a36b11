/**
 * The serving side of RPC: from a request to its answer.
 *
 * @module
 */
import type { Signed } from "../codec/envelope.ts";
import type { Core } from "../core.ts";
import { BusError, inWords, RpcError, TimeoutError, ValidationError } from "../errors.ts";
import { Semaphore } from "../internal/semaphore.ts";
import type { Stream } from "../port/streams.ts";
import { userHeaders } from "../codec/headers.ts";
import { validate } from "../codec/schema.ts";
import { PendingWork } from "../internal/pending_work.ts";
import { TextMap } from "../internal/text_map.ts";
import type { Work } from "../internal/work.ts";
import { ACTIVITY, answerActivity } from "./activity_answers.ts";
import { Answers, type Sending } from "./answers.ts";
import { argumentsOf, checkNumber } from "./arguments.ts";
import { allowed, deniedAnswer } from "./authorization.ts";
import { lateRequest } from "./clocks.ts";
import { ServedCall } from "./current_call.ts";
import { forgottenAnswer } from "./error_answer.ts";
import { asStream, type Exposure } from "./exposure.ts";
import { Load } from "./load.ts";
import { SeenRequests } from "./seen_requests.ts";
import { ServedCalls } from "./served_calls.ts";
import { ServedStreams } from "./served_stream.ts";
import { MAX_HELD, Sizes } from "./sizes.ts";
import { type Answer, readRequest, type Refusal, refusal, type Request, voidAnswer, writeAnswer } from "./wire.ts";

/** Milliseconds that a call must have waited for its turn before the server checks whether its caller still exists. */
const LONG_WAIT = 1_000;

interface Exposed {
  readonly exposure: Exposure;
  readonly stream: Stream;
  /** Limits the number of calls of the function that run at once, if it has a limit. */
  readonly semaphore?: Semaphore;
  /** A promise that is pending while the function is registered again. */
  registering?: Promise<void>;
}

/** Serves the functions that this bus exposes. */
export class Server {
  /** The streams that this bus serves. */
  readonly streams: ServedStreams;
  /** The calls whose functions run or wait. Further ones than it accepts are refused as "busy". */
  readonly load: Load = new Load();
  #core: Core;
  #callerOf: (id: string) => Work | undefined;
  #exposed = new Map<string, Exposed>();
  /** The served functions and objects, each with the number of its names. */
  #sources = new Map<unknown, number>();
  /** The functions that callers cannot find yet. */
  #exposing = new Map<string, Promise<void>>();
  /** The calls whose arguments an asynchronous schema validates. */
  #validating = new TextMap<true>();
  /** The calls that run. */
  #running = new TextMap<ServedCall>();
  #served = new ServedCalls();
  #seen = new SeenRequests();
  #answers: Answers;
  /** The replies that are being sent: refusals, and answers that are retried after their call has ended. */
  #replies = new PendingWork();
  #abandoned = new AbortController();

  /** Creates the server of a bus. `callerOf` returns the handler of it that waits for a call, if any. `held` is what it holds for callers. */
  constructor(core: Core, callerOf: (id: string) => Work | undefined, held: Sizes = new Sizes(...MAX_HELD)) {
    this.#core = core;
    this.#callerOf = callerOf;
    this.streams = new ServedStreams(core, held);
    this.#answers = new Answers(core, held, this.#running, this.#served);
  }

  /** The served functions. */
  get exposures(): Exposure[] {
    return [...this.#exposed.values()].map(({ exposure }) => exposure);
  }

  /** Serves a function under its name. Resolves when callers can find it. */
  async expose(exposure: Exposure): Promise<void> {
    const { name, concurrency } = exposure;
    if (this.#exposed.has(name) || exposure.type) exposure.checkUnused(this.exposures);
    const stream = this.#core.link.subscribe({ topic: name, pattern: false, serves: true }, () => {}); // see `handleRequest`
    const semaphore = concurrency === Infinity ? undefined : new Semaphore(concurrency);
    this.#exposed.set(name, { exposure, stream, semaphore });
    this.#sources.set(exposure.source, (this.#sources.get(exposure.source) ?? 0) + 1);
    const ready = stream.ready.catch(() => {});
    this.#exposing.set(name, ready);
    try {
      await stream.ready;
    } catch (error) {
      if (this.#exposed.get(name)?.exposure === exposure) this.#forget(exposure); // it may have been exposed again meanwhile
      throw inWords(`expose "${name}"`, error);
    } finally {
      if (this.#exposing.get(name) === ready) this.#exposing.delete(name);
    }
  }

  /** Resolves when a function that is being exposed can be found by callers, or when that has failed. Returns undefined for any other function. */
  exposing(name: string): Promise<void> | undefined {
    return this.#exposing.get(name);
  }

  /** Stops serving a name. Does nothing if the name is not served. */
  async unexpose(name: string): Promise<void> {
    const exposed = this.#exposed.get(name);
    if (!exposed) return;
    this.#forget(exposed.exposure);
    exposed.semaphore?.end();
    await exposed.stream.close();
  }

  #forget({ name, source }: Exposure): void {
    this.#exposed.delete(name);
    const left = this.#sources.get(source)! - 1;
    if (left > 0) this.#sources.set(source, left);
    else this.#sources.delete(source);
  }

  /** Stops serving all names, and refuses all further requests. */
  async stop(): Promise<void> {
    this.#answers.stop();
    await Promise.allSettled([...this.#exposed.keys()].map((name) => this.unexpose(name)));
  }

  /** Aborts the signals of all running calls, and reports to their callers that the outcome will not be known. */
  abandon(): void {
    this.#abandoned.abort();
    for (const { request } of this.#running.values()) this.#reply(request, "forgotten");
    this.#replies.track(this.streams.abandon());
    this.#answers.end();
  }

  /** Resolves when all refusals have been sent. A caller that does not receive its refusal must treat the call as lost. */
  idle(): Promise<void> {
    return this.#replies.idle();
  }

  /** Cancels a call or a stream: its signal aborts, and nothing more is sent, because its caller does not wait any more. */
  cancel(id: string): void {
    this.#running.get(id)?.cancel();
    this.#answers.confirm(id);
    this.streams.cancel(id);
  }

  /**
   * Handles a request whose arguments an asynchronous schema is about to validate, so that a server that closes meanwhile does not count
   * as gone. Returns the function to call before the request is handled; undefined if the same request is being validated already.
   */
  validating(value: unknown): (() => void) | undefined {
    const request = readRequest(value);
    if (!request?.call || request.call.offer) return undefined;
    const { id } = request.call;
    if (this.#validating.has(id)) return void this.#reply(request, "running");
    this.#validating.set(id, true);
    return () => void this.#validating.delete(id);
  }

  /**
   * Handles a request from the inbox or from the function's topic. An `unreadable` request is answered with that error. A bus with keys has
   * verified that the request is `signed`. `bytes` are those that it takes (`heldBytes`). Returns false if the request is malformed.
   */
  handleRequest(value: unknown, bytes: number, unreadable?: ValidationError, signed?: Signed): boolean {
    const request = readRequest(value, signed);
    if (request) this.#handle(request, bytes, unreadable, signed);
    else if (!unreadable) this.#core.reject(malformed, "");
    return request !== undefined;
  }

  #handle(request: Request, bytes: number, unreadable?: ValidationError, signed?: Signed): void {
    const { call, fn } = request;
    const exposed = this.#exposed.get(fn);
    if (call?.offer) return lateRequest(fn, call.deadline) ? undefined : this.#offer(request); // the call is refused
    if (call) {
      if (call.joins) this.#core.joins(call.inbox);
      if (this.#running.has(call.id) || this.#validating.has(call.id)) return this.#reply(request, "running");
      const answer = this.#answers.text(call.id, call.age);
      const late = lateRequest(fn, call.deadline, signed);
      if (answer === undefined || (answer !== false && late)) return this.#reply(request, "forgotten");
      if (answer !== false && signed && !this.#seen.asksAgain(call, signed)) return; // anybody may have sent a copy of a request
      // if this fails, the caller sends its request again
      if (answer !== false) return void this.#replies.track(this.#answers.repeat(request, answer));
      if (late) {
        this.#core.reject(() => new TimeoutError(late), fn);
        return this.#refuse(request, "late");
      }
      if (this.#served.refused(call.id, call.attempt ?? Infinity)) return this.#reply(request, "gone");
      if (signed && !this.#seen.add(call, signed)) return this.#reply(request, "forgotten");
      if (fn === ACTIVITY && !exposed) return void this.#replies.track(answerActivity(request, this.#core));
      this.#served.add(call.id);
    }
    if (!exposed || this.#core.closing.aborted) return this.#refuse(request, "gone");
    const { full } = this.load;
    if (full) {
      const text = `Cannot serve more than ${full} at once: further ones are refused`;
      if (this.load.refuse()) this.#core.report(new BusError("busy", text), fn);
      return this.#refuse(request, "busy");
    }
    this.load.add(bytes);
    const work = new ServedCall(this.#core, request, this.#abandoned.signal, call && this.#callerOf(call.id));
    void work.run(() => this.#serve(work, exposed, bytes, unreadable));
  }

  /** Offers to serve a call whose caller found no registered server, and registers again. The caller then posts the call to one server. */
  #offer(request: Request): void {
    const exposed = this.#exposed.get(request.fn);
    if (!exposed || this.#core.closing.aborted) return this.#reply(request, "gone");
    this.#reply(request, "here");
    exposed.registering ??= Promise.resolve(this.#core.sender.replies?.register(request.fn, this.#core.link.inbox))
      .catch(() => {}) // the receiver renews the registration anyway
      .finally(() => exposed.registering = undefined);
  }

  #refuse(request: Request, refused: Refusal): void {
    if (request.call) this.#served.refuse(request.call.id, request.call.attempt ?? 0); // a call without attempts may come again and run
    this.#reply(request, refused);
  }

  #reply(request: Request, refused: Refusal): void {
    if (!request.call) return; // PyMQ has no refusals: the deadline of its caller ends the call
    const { id, attempt } = request.call;
    const call = { id, server: this.#core.link.inbox, joins: true, refused, attempt } as const;
    this.#replies.track(this.#answers.refuse(request, refusal(request.fn, call)));
  }

  /** Runs a call and sends its answer, which is an error if the arguments are `unreadable`. */
  async #serve(work: ServedCall, exposed: Exposed, bytes: number, unreadable?: ValidationError): Promise<void> {
    const { call } = work.request;
    if (call) this.#running.set(call.id, work);
    const sending = await this.#outcome(work, exposed, unreadable);
    this.load.remove(bytes); // an answer that its caller does not take must not keep others from being served
    if (!sending) return this.#passOver(work);
    await sending.done;
  }

  /** Runs the function if the call is allowed. Resolves like {@linkcode #limited}. */
  #outcome(work: ServedCall, exposed: Exposed, unreadable?: ValidationError): Promise<Sending | undefined> {
    if (this.#core.authorize || exposed.exposure.authorize) return this.#authorized(work, exposed, unreadable);
    return unreadable ? Promise.resolve(this.#answers.fail(work, unreadable, true)) : this.#limited(work, exposed);
  }

  async #authorized(work: ServedCall, exposed: Exposed, unreadable?: ValidationError): Promise<Sending | undefined> {
    const { fn, call, key } = work.request;
    const hooks = [this.#core.authorize, exposed.exposure.authorize];
    const asked = { fn, headers: userHeaders(call?.headers), ...key !== undefined && { key } };
    if (!await allowed(hooks, asked, this.#core.report)) return this.#answers.send(work, () => deniedAnswer(fn));
    if (!this.#serves(work, exposed)) return undefined;
    return unreadable ? this.#answers.fail(work, unreadable, true) : await this.#limited(work, exposed);
  }

  /** Returns whether a call that has waited still runs: its function is served, and its caller has not cancelled it. */
  #serves({ request, cancelled }: ServedCall, { exposure }: Exposed): boolean {
    return !this.#core.closing.aborted && !cancelled && this.#exposed.get(request.fn)?.exposure === exposure;
  }

  /** Runs the function within its limit. Resolves with undefined if the caller does not wait any more or the function is no longer served. */
  #limited(work: ServedCall, exposed: Exposed): Promise<Sending | undefined> {
    return exposed.semaphore ? this.#inTurn(work, exposed, exposed.semaphore) : this.#invoke(work, exposed.exposure);
  }

  async #inTurn(work: ServedCall, exposed: Exposed, semaphore: Semaphore): Promise<Sending | undefined> {
    const since = performance.now();
    await semaphore.acquire();
    try {
      if (work.late || performance.now() - since > LONG_WAIT && await this.#callerLeft(work)) return undefined;
      if (!this.#serves(work, exposed)) return undefined;
      return await this.#invoke(work, exposed.exposure);
    } finally {
      semaphore.release();
    }
  }

  /** Returns whether the inbox of the caller no longer exists, for example because the caller was killed. Callers of PyMQ have no inbox. */
  async #callerLeft({ request: { fn, call }, server }: ServedCall): Promise<boolean> {
    if (!call || this.#core.recovering(LONG_WAIT)) return false;
    const running = refusal(fn, { id: call.id, server, refused: "running" });
    return await this.#core.post(call.inbox, writeAnswer(running)).catch(() => undefined) === false;
  }

  /** Refuses a call that has not run, so that its caller tries another server. Does nothing if the caller has cancelled it. */
  #passOver({ request, cancelled }: ServedCall): void {
    this.#running.delete(request.call?.id ?? "");
    if (!cancelled) this.#refuse(request, "gone");
  }

  async #invoke(work: ServedCall, { fn: serve, procedure }: Exposure): Promise<Sending> {
    const { fn, args, kwargs, call } = work.request;
    const open = (answer: Answer<string>) => void this.#replies.track(this.#answers.deliver(work, answer));
    const { codec, telemetry, report } = this.#core;
    let started = false;
    try {
      const named = Object.keys(kwargs);
      if (named.length > 0) throw new TypeError(`Cannot call "${fn}" with keyword arguments: ${named.join(", ")}`);
      const run = async (): Promise<Sending> => {
        checkNumber(fn, args);
        const schema = procedure?.args;
        const checked = (schema ? await validate(schema, args, argumentsOf(fn), "arguments") : args) as never[];
        checkNumber(fn, checked);
        started = true;
        const result: unknown = await serve(...checked);
        if (this.#sources.has(result)) {
          throw new RpcError("invalid", `Cannot answer a call of "${fn}": its result is a served object`);
        }
        const stream = asStream(result);
        if (stream) {
          const answer = await this.streams.serve(work, stream, procedure?.yields, open);
          return this.#answers.send(work, () => answer);
        }
        if (procedure?.yields) throw new RpcError("invalid", `Cannot serve "${fn}": its result is not a stream`);
        if (procedure?.returns) await validate(procedure.returns, result, `the result of "${fn}"`, "result");
        const resultType = codec.pythonType(result);
        if (call && result === undefined) return this.#answers.send(work, () => voidAnswer(fn, resultType));
        return this.#answers.write(work, () => {
          const { json, mark } = codec.write(result); // if this throws, the result is invalid
          return { fn, resultType, isError: false, result: json, mark };
        });
      };
      return await telemetry.observe("serve", fn, run, call?.headers?.traceparent);
    } catch (error) {
      // arguments that the schema rejects are the caller's fault, and an aborted function ends as its caller wants
      if (started && !work.isAbort(error)) report(error, fn, false, { verb: "expose", next: "answer" });
      if (call && work.wasClosed(error)) return this.#answers.send(work, () => forgottenAnswer(fn));
      return this.#answers.fail(work, error, !started);
    }
  }
}

function malformed(): ValidationError {
  return new ValidationError("Cannot serve a request: it is malformed");
}
