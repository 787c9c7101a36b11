/**
 * The answers of a server to its calls: it writes, sends and keeps them.
 *
 * @module
 */
import type { Core } from "../core.ts";
import type { TextMap } from "../internal/text_map.ts";
import { type ServedCall, withoutArguments } from "./current_call.ts";
import { errorAnswer, unheldAnswer } from "./error_answer.ts";
import { LargeAnswers } from "./large_answers.ts";
import type { ServedCalls } from "./served_calls.ts";
import type { Sizes } from "./sizes.ts";
import { Undelivered } from "./undelivered.ts";
import { type Answer, type Request, writeAnswer } from "./wire.ts";

/** An answer that is being sent. It is an object, because an async function that returned the promise would wait for it. */
export interface Sending {
  /** Resolves when the answer was sent, or could not be sent. */
  readonly done?: Promise<void>;
}

/** Sends the answers of a server. */
export class Answers {
  #core: Core;
  #running: TextMap<ServedCall>;
  #served: ServedCalls;
  #undelivered: Undelivered;
  #large: LargeAnswers;

  /** Creates the sender of a server's answers. It removes answered calls from those that are `running`. `held` is what the server holds for its callers. */
  constructor(core: Core, held: Sizes, running: TextMap<ServedCall>, served: ServedCalls) {
    this.#core = core;
    this.#running = running;
    this.#served = served;
    this.#undelivered = new Undelivered(core, held);
    this.#large = new LargeAnswers(core, held);
  }

  /** Stops retrying answers. */
  stop(): void {
    this.#undelivered.stop();
  }

  /** Ends everything: answers that wait are not sent, nor are later large ones. */
  end(): void {
    this.#large.end();
  }

  /** Handles the confirmation of a caller that it has the answer of a call, or needs none. */
  confirm(id: string): void {
    this.#large.confirm(id);
  }

  /** Returns the text of an answer, as {@linkcode ServedCalls.answer} does. */
  text(id: string, age = 0): string | false | undefined {
    return this.#large.text(id) ?? this.#served.answer(id, age);
  }

  /** Sends the text of an answer again, once. */
  repeat(request: Request, text: string): Promise<void> {
    return this.#undelivered.post(withoutArguments(request), text);
  }

  /** Sends a refusal. */
  refuse(request: Request, refusal: Answer<string>): Promise<void> {
    return this.#answer(withoutArguments(request), refusal);
  }

  /** Answers a call with an error. The call did not run if its arguments were `refused`. */
  fail(work: ServedCall, error: unknown, refused: boolean): Sending {
    return this.write(work, () => errorAnswer(work.request.fn, error, this.#core.exposeErrors, refused));
  }

  /**
   * Writes and sends an answer of any size, both in one step: many calls can end in one turn, and each answer must count for its caller before
   * the next one is written. If too much is held for callers, an error is sent in its place.
   */
  write(work: ServedCall, write: () => Answer<string>): Sending {
    const { request } = work;
    return this.send(work, () => {
      return this.#undelivered.accepts(request) ? write() : unheldAnswer(request.fn, this.#core.exposeErrors);
    });
  }

  /** Sends the answer of a call that has ended, unless its caller has it or needs none. */
  send(work: ServedCall, answer: () => Answer<string>): Sending {
    const { request: { call }, streaming, cancelled } = work;
    if (streaming) return {}; // it was removed when the stream opened, and another call may have its id by now
    if (cancelled) {
      this.#running.delete(call!.id);
      return {};
    }
    const written = answer();
    work.forgetArguments(); // an answer may be held for long
    return { done: call ? this.deliver(work, written) : this.#undelivered.answerPymq(work.request, written) };
  }

  /** Sends the answer of a call. If it opens a stream, the call continues, and a repeated request receives the answer again. */
  deliver(work: ServedCall, answer: Answer<string>): Promise<void> {
    const admitted = this.#large.includes(work, answer) ? this.#large.admit(work, answer) : answer;
    // an answer that need not wait counts at once, and nothing refers to the text of one that was not admitted
    return admitted instanceof Promise
      ? admitted.then((sent) => this.#admitted(work, sent))
      : this.#admitted(work, admitted);
  }

  async #admitted(work: ServedCall, answer: Answer<string> | undefined): Promise<void> {
    const { request, server } = work;
    const { id } = request.call!;
    this.#running.delete(id);
    if (!answer) return;
    await this.#answer(request, { ...answer, call: { ...answer.call, id, server, joins: true } })
      .catch((error) => this.#core.report(error, request.fn));
  }

  /** Sends an answer. If the transport refuses it, the caller receives the refusal as an error. */
  async #answer(request: Request, answer: Answer<string>, refusedBefore = false): Promise<void> {
    const { fn } = request;
    const text = writeAnswer(answer);
    const { id, server, refused } = answer.call!;
    const large = !refused && this.#large.keep(id, text);
    if (!refused && !large) this.#served.keep(id, text);
    const error = await this.#undelivered.send(request, text, refused !== undefined, large);
    if (large) this.#large.sent(id, error !== undefined);
    if (error === undefined) return;
    this.#core.report(error, fn, refused !== undefined); // a refusal contains the name of the function, which may be too long
    if (refusedBefore || refused) return; // the error of a function may be too large too
    await this.#answer(request, { ...errorAnswer(fn, error, this.#core.exposeErrors), call: { id, server } }, true);
  }
}
