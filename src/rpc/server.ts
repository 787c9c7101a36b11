/**
 * The serving side of calls: from a request to its answer.
 *
 * @module
 */
import type { Codec, Decoded } from "../codec/codec.ts";
import { BusError, ClosedError, RpcError, TimeoutError, ValidationError } from "../errors.ts";
import { cost } from "../port/credit.ts";
import type { Link, Stream } from "../port/link.ts";
import type { Sender } from "../provider/provider.ts";
import { validate } from "../codec/schema.ts";
import type { Telemetry } from "../telemetry.ts";
import { nameOf, stackOf, textOf } from "../internal/thrown.ts";
import { PendingWork, Work } from "../internal/pending_work.ts";
import type { Exposure } from "./exposure.ts";
import { Served } from "./served_calls.ts";
import { Turns } from "./turns.ts";
import { type Answer, readRequest, type Refusal, REQUEST, type Request, writeAnswer } from "./wire.ts";

/** Calls that may run at once on one bus; further ones are refused as "busy". */
export const RUNNING_LIMIT = 10_000;
/** Milliseconds between attempts to reach a caller whose connection is down: doubled from the first to the second. */
const RETRY = { min: 50, max: 2_000 };
/** Milliseconds for which a caller that is not there is looked for; one that comes back later asks again. */
const AWAY = 10_000;
/** Milliseconds that clocks of two machines may differ before a deadline is believed to have passed. */
const CLOCK_SKEW = 60_000;

/** Filled in by whoever answers. */
const LATER = { id: "", server: "" };

interface Exposed {
  readonly exposure: Exposure;
  readonly stream: Stream;
  /** Where only so many calls may run at once. */
  readonly turns?: Turns;
  /** It is being registered again. */
  registering?: Promise<void>;
}

/** Takes what a body says, or what of it could be read. */
export type Take = (decoded: Decoded, unreadable?: ValidationError) => void;

/** What the server needs of its bus. */
export interface ServerHome {
  readonly link: Link;
  readonly sender: Sender;
  readonly codec: Codec;
  readonly telemetry: Telemetry;
  /** Where the calls that run are counted; the bus waits for them when it closes. */
  readonly works: PendingWork;
  /** What waits for a call, if it is of this bus: it waits for the server, too. */
  callerOf(id: string): Work | undefined;
  /** Takes what a body says; the bus waits for it when it closes. */
  read(body: string, fn: string, take: Take): void;
  /** Reports a fault. */
  report(error: unknown, fn: string): void;
}

/** Serves the functions that this bus exposes. */
export class Server {
  #home: ServerHome;
  #exposed = new Map<string, Exposed>();
  /** The functions and objects that are served: how many of the names above each has. */
  #sources = new Map<unknown, number>();
  /** The functions that callers cannot find yet. */
  #exposing = new Map<string, Promise<void>>();
  #running = new Set<string>();
  #cancelled = new Set<string>();
  #served = new Served();
  /** What is on its way to callers whose calls do not run here: refusals, and answers that are said again. */
  #said = new PendingWork();
  #count = 0;
  #refused = 0;
  #closed = false;

  /** Serves over this bus. */
  constructor(home: ServerHome) {
    this.#home = home;
  }

  /** What is served. */
  get exposures(): Exposure[] {
    return [...this.#exposed.values()].map(({ exposure }) => exposure);
  }

  /** Serves a function under its name; resolves when callers can find it. */
  async expose(exposure: Exposure): Promise<void> {
    const { name, concurrency } = exposure;
    if (this.#exposed.has(name) || exposure.type) exposure.checkUnused(this.exposures);
    const stream: Stream = this.#home.link.subscribe({ topic: name, pattern: false, serves: true }, (_, bodies) => {
      for (const body of bodies) {
        stream.credit(cost(body));
        this.#home.read(body, name, ({ value, type }, unreadable) => {
          if (type === REQUEST) this.take(value, unreadable); // whatever else is published on a function's topic is none of ours
        });
      }
    });
    const turns = concurrency === Infinity ? undefined : new Turns(concurrency);
    this.#exposed.set(name, { exposure, stream, turns });
    this.#sources.set(exposure.source, (this.#sources.get(exposure.source) ?? 0) + 1);
    const ready = stream.ready.catch(() => {});
    this.#exposing.set(name, ready);
    try {
      await stream.ready;
    } catch (error) {
      if (this.#exposed.get(name)?.exposure === exposure) this.#forget(exposure); // it may be exposed again by now
      throw error;
    } finally {
      if (this.#exposing.get(name) === ready) this.#exposing.delete(name);
    }
  }

  /** Resolves when a function that is being exposed can be found, or cannot be exposed; undefined if it is not being exposed. */
  exposing(name: string): Promise<void> | undefined {
    return this.#exposing.get(name);
  }

  /** Serves it no more; nothing happens if it was not served. */
  async unexpose(name: string): Promise<void> {
    const exposed = this.#exposed.get(name);
    if (!exposed) return;
    this.#forget(exposed.exposure);
    exposed.turns?.end();
    await exposed.stream.close();
  }

  #forget({ name, source }: Exposure): void {
    this.#exposed.delete(name);
    const left = this.#sources.get(source)! - 1;
    if (left > 0) this.#sources.set(source, left);
    else this.#sources.delete(source);
  }

  /** Takes no further request. */
  async stop(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled([...this.#exposed.keys()].map((name) => this.unexpose(name)));
  }

  /** Resolves when whoever was refused has been told: a caller that is not must take its call for lost. */
  idle(): Promise<void> {
    return this.#said.idle();
  }

  /** The caller does not wait any more. */
  cancel(id: string): void {
    if (this.#running.has(id)) this.#cancelled.add(id);
  }

  /** Takes a request that came to the inbox or over the function's topic; one that is unreadable is answered with that. */
  take(value: unknown, unreadable?: ValidationError): void {
    const request = readRequest(value);
    if (!request && unreadable) return; // that is reported
    if (!request) return this.#home.report(new ValidationError("Cannot serve a request: it is malformed"), "");
    const { call, fn } = request;
    if (call?.offer) return this.#offer(request);
    if (call) {
      if (this.#running.has(call.id)) return this.#tell(request, "running");
      const answer = this.#served.answer(call.id, call.age ?? 0);
      if (answer === undefined) return this.#tell(request, "forgotten");
      if (answer !== false) return void this.#said.track(this.#home.sender.post(call.inbox, answer)); // or it asks once more
      const late = Date.now() - call.deadline;
      if (late > CLOCK_SKEW) {
        const text = `Cannot serve a call of "${fn}": by this machine's clock its deadline was ${late} ms ago`;
        this.#home.report(new TimeoutError(text), fn);
        return this.#refuse(request, "late");
      }
      this.#served.add(call.id);
    }
    const exposed = this.#exposed.get(fn);
    if (!exposed || this.#closed) return this.#refuse(request, "gone");
    if (this.#count >= RUNNING_LIMIT) {
      if (this.#refused++ === 0) {
        const text = `Cannot serve more than ${RUNNING_LIMIT} calls at once: further ones are refused`;
        this.#home.report(new BusError("busy", text), fn);
      }
      return this.#refuse(request, "busy");
    }
    this.#count++;
    const work = new Work([this.#home.works], call && this.#home.callerOf(call.id));
    void work.run(() => this.#serve(request, exposed, unreadable)).finally(() => {
      if (--this.#count === 0) this.#refused = 0;
    });
  }

  /** Offers to serve a call whose caller found nobody registered, and registers again; the caller posts the call to one server. */
  #offer(request: Request): void {
    const { link, sender } = this.#home;
    const exposed = this.#exposed.get(request.fn);
    if (!exposed || this.#closed) return this.#tell(request, "gone");
    this.#tell(request, "here");
    exposed.registering ??= Promise.resolve(sender.register?.(request.fn, link.inbox))
      .catch(() => {}) // the receiver renews it anyway
      .finally(() => exposed.registering = undefined);
  }

  #refuse(request: Request, refused: Refusal): void {
    if (request.call) this.#served.forget(request.call.id);
    this.#tell(request, refused);
  }

  #tell(request: Request, refused: Refusal): void {
    if (!request.call) return; // PyMQ does not know refusals: its caller's deadline ends the call
    const call = { id: request.call.id, server: this.#home.link.inbox, refused };
    this.#said.track(
      this.#answer(request, { fn: request.fn, result: "null", resultType: "NoneType", isError: true, call }),
    );
  }

  async #serve(request: Request, exposed: Exposed, unreadable?: ValidationError): Promise<void> {
    const { fn, call } = request;
    const server = this.#home.link.inbox; // as the caller knows us, also if the worker is replaced meanwhile
    if (call) this.#running.add(call.id);
    const answer = unreadable ? failure(fn, unreadable) : await this.#inTurn(request, exposed);
    if (!answer) return this.#passOver(request);
    if (!call) return await this.#answerPymq(request, { ...answer, call: undefined });
    this.#running.delete(call.id);
    if (this.#cancelled.delete(call.id)) return;
    await this.#answer(request, { ...answer, call: { ...answer.call, id: call.id, server } })
      .catch((error) => this.#home.report(error, fn));
  }

  /** An answer that the transport does not take is told as an error. */
  async #answerPymq(request: Request, answer: Answer<string>): Promise<void> {
    try {
      await this.#answer(request, answer);
    } catch (error) {
      this.#home.report(error, request.fn);
      if (!answer.isError) await this.#answerPymq(request, { ...failure(request.fn, error), call: undefined });
    }
  }

  /** Invokes the function when its turn has come; undefined if the caller has given up by then, or it is not served any more. */
  async #inTurn(request: Request, { exposure, turns }: Exposed): Promise<Answer<string> | undefined> {
    if (!turns) return await this.#invoke(request, exposure);
    await turns.take();
    try {
      const served = !this.#closed && this.#exposed.get(request.fn)?.exposure === exposure;
      if (!served || this.#cancelled.has(request.call?.id ?? "")) return undefined;
      return await this.#invoke(request, exposure);
    } finally {
      turns.give();
    }
  }

  /** Nothing has run: the call goes to another server, unless its caller has given up. */
  #passOver(request: Request): void {
    const id = request.call?.id ?? "";
    this.#running.delete(id);
    if (!this.#cancelled.delete(id)) this.#refuse(request, "gone");
  }

  async #invoke({ fn, args, kwargs, call }: Request, { fn: serve, procedure }: Exposure): Promise<Answer<string>> {
    const { codec, telemetry } = this.#home;
    try {
      if (Object.keys(kwargs).length > 0) {
        throw new TypeError(`Cannot call "${fn}" with keyword arguments: ${Object.keys(kwargs).join(", ")}`);
      }
      const work = async (): Promise<Answer<string>> => {
        const checked = procedure?.args
          ? await validate(procedure.args, args, `the arguments of "${fn}"`) as unknown[]
          : args;
        const result: unknown = await serve(...checked as never[]);
        if (this.#sources.has(result)) {
          throw new RpcError("invalid", `Cannot answer a call of "${fn}": its result is served itself`);
        }
        if (procedure?.returns) await validate(procedure.returns, result, `the result of "${fn}"`);
        const answer = { fn, resultType: codec.pythonType(result), isError: false };
        // one that cannot be sent is the function's fault
        if (call && result === undefined) return { ...answer, result: "null", call: { ...LATER, void: true } };
        const { json, mark } = codec.write(result);
        return { ...answer, result: json, mark };
      };
      return await telemetry.observe("serve", fn, work, call?.headers?.traceparent);
    } catch (error) {
      return failure(fn, error);
    }
  }

  /** Answers; a caller whose connection is down gets the answer when it is back, as long as it waits for it. */
  async #answer(request: Request, answer: Answer<string>): Promise<void> {
    const { call, channel, fn } = request;
    const { sender } = this.#home;
    const text = writeAnswer(answer);
    if (!call) {
      // the name comes from the wire: a request must not make us write into any queue but its caller's own
      if (sender.replies && channel.startsWith("__rpc_")) await sender.replies.put(channel, text);
      return;
    }
    const refused = answer.call?.refused;
    if (!refused) this.#served.keep(call.id, text);
    const since = performance.now();
    for (let pause = RETRY.min;; pause = Math.min(pause * 2, RETRY.max)) {
      try {
        if (await sender.post(call.inbox, text) !== false || refused || performance.now() - since > AWAY) return;
      } catch (error) {
        if (error instanceof ClosedError) return; // the bus has just let go: whoever asked is told by our absence
        if (!(error instanceof BusError) || error.code !== "unavailable") {
          this.#home.report(error, fn);
          if (!answer.isError) await this.#answer(request, { ...failure(fn, error), call: answer.call });
          return;
        }
      }
      // a caller that was refused asks again; one that waits for an offer does not
      if ((refused && refused !== "here") || this.#closed || Date.now() > call.deadline + CLOCK_SKEW) return;
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }
}

function failure(fn: string, error: unknown): Answer<string> {
  const stack = stackOf(error);
  const answer = { fn, isError: true, result: JSON.stringify([textOf(error)]), resultType: nameOf(error) };
  return stack === undefined ? answer : { ...answer, call: { ...LATER, stack } };
}
