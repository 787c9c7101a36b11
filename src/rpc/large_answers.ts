/**
 * The large answers of a server that their callers have not confirmed. Their size is limited for each caller, so that a slow caller loses
 * no answer. An answer that was lost on its way is sent again.
 *
 * @module
 */
import type { Core } from "../core.ts";
import { BusError } from "../errors.ts";
import { TextMap } from "../internal/text_map.ts";
import { STREAM_CHECK } from "../internal/time.ts";
import type { ServedCall } from "./current_call.ts";
import { errorAnswer } from "./error_answer.ts";
import { MAX_SILENT } from "./open_streams.ts";
import { RECOVERY } from "./pending_calls.ts";
import type { Answer } from "./wire.ts";

/** The smallest number of characters of the result of a large answer. */
const LARGE = 64 * 1024;
/**
 * The largest number of unconfirmed characters that are sent to one caller: Redis disconnects a subscriber with 32 MB of unread messages.
 */
const WINDOW = 8 * 1024 * 1024;
/** The largest number of unconfirmed characters for all callers. Beyond it, an answer is sent once and not kept. */
const MAX_SENT_TOTAL = 256 * 1024 * 1024;
/** The largest number of characters that wait for one caller, and for all. */
const MAX_WAITING = 256 * 1024 * 1024;
const MAX_WAITING_TOTAL = 512 * 1024 * 1024;
interface Waiting {
  readonly work: ServedCall;
  readonly size: number;
  /** Called with true when the answer may be sent, and with false when its caller does not need it any more. */
  readonly resolve: (send: boolean) => void;
}

/** The answers for one caller, by the ids of their calls. */
interface Caller {
  readonly inbox: string;
  readonly sent: TextMap<{ readonly size: number; text?: string }>;
  sentSize: number;
  readonly waiting: TextMap<Waiting>;
  waitingSize: number;
  /** The number of consecutive checks without a confirmation. */
  silent: number;
}

/** The large answers of a server. */
export class LargeAnswers {
  #core: Core;
  #callers = new TextMap<Caller>();
  #byCall = new TextMap<Caller>();
  #sentSize = 0;
  #waitingSize = 0;
  #timer: ReturnType<typeof setInterval> | undefined;
  #ended = false;

  /** Creates an empty list of answers. */
  constructor(core: Core) {
    this.#core = core;
  }

  /** Returns whether an answer is large and its caller confirms such answers. */
  includes({ request: { call } }: ServedCall, { result }: Answer<string>): boolean {
    return call?.confirms === true && result.length > LARGE;
  }

  /**
   * Waits until a large answer may be sent. Resolves with the answer, with an error in its place if too many answers wait, or with undefined
   * if the caller does not need it any more, or everything has ended.
   */
  async admit(work: ServedCall, answer: Answer<string>): Promise<Answer<string> | undefined> {
    if (this.#ended) return undefined;
    if (this.#sentSize > MAX_SENT_TOTAL) return answer;
    const { id, inbox } = work.request.call!;
    const { length: size } = answer.result;
    const caller = this.#callers.get(inbox) ?? this.#add(inbox);
    if (caller.sentSize >= WINDOW) {
      if (caller.waitingSize > MAX_WAITING || this.#waitingSize > MAX_WAITING_TOTAL) return this.#refusal(answer.fn);
      const { promise, resolve } = Promise.withResolvers<boolean>();
      this.#byCall.set(id, caller);
      caller.waiting.set(id, { work, size, resolve });
      caller.waitingSize += size;
      this.#waitingSize += size;
      if (!await promise) return undefined;
    } else this.#send(caller, id, size);
    return { ...answer, call: { ...answer.call!, confirm: true } };
  }

  /** Keeps the text of an answer that is sent, until it is confirmed. Returns false if the answer is not large. */
  keep(id: string, text: string): boolean {
    const sent = this.#byCall.get(id)?.sent.get(id);
    if (sent) sent.text = text;
    return sent !== undefined;
  }

  /** Returns the text of an answer that its caller has not confirmed. */
  text(id: string): string | undefined {
    return this.#byCall.get(id)?.sent.get(id)?.text;
  }

  /** Handles the confirmation of a caller that it has the answer of a call, or needs none. */
  confirm(id: string): void {
    const caller = this.#byCall.get(id);
    if (!caller) return;
    caller.silent = 0;
    this.#remove(caller, id);
    this.#next(caller);
  }

  /** Ends everything: answers that wait are not sent, nor are later ones. */
  end(): void {
    this.#ended = true;
    for (const [id, caller] of [...this.#byCall]) this.#remove(caller, id);
    for (const caller of [...this.#callers.values()]) this.#next(caller);
  }

  #add(inbox: string): Caller {
    const caller = {
      inbox,
      sent: new TextMap<{ size: number }>(),
      sentSize: 0,
      waiting: new TextMap<Waiting>(),
      waitingSize: 0,
      silent: 0,
    };
    this.#callers.set(inbox, caller);
    this.#timer ??= setInterval(() => this.#check(), STREAM_CHECK.every);
    return caller;
  }

  #refusal(fn: string): Answer<string> {
    const what = "make fewer calls at once, or serve a stream";
    const text = `Cannot answer a call of "${fn}": too many large answers wait for their callers; ${what}`;
    return errorAnswer(fn, new BusError("busy", text), this.#core.exposeErrors);
  }

  #send(caller: Caller, id: string, size: number): void {
    this.#byCall.set(id, caller);
    caller.sent.set(id, { size });
    caller.sentSize += size;
    this.#sentSize += size;
  }

  #remove(caller: Caller, id: string): void {
    this.#byCall.delete(id);
    const { size } = caller.sent.get(id) ?? { size: 0 };
    caller.sentSize -= size;
    this.#sentSize -= size;
    caller.sent.delete(id);
    this.#unqueue(caller, id)?.resolve(false);
  }

  #unqueue(caller: Caller, id: string): Waiting | undefined {
    const waiting = caller.waiting.get(id);
    if (!waiting) return undefined;
    caller.waiting.delete(id);
    caller.waitingSize -= waiting.size;
    this.#waitingSize -= waiting.size;
    return waiting;
  }

  /** Releases the answers that have waited longest, as far as there is room. Forgets the caller if it has no answers. */
  #next(caller: Caller): void {
    for (const id of caller.waiting.keys()) {
      if (caller.sentSize >= WINDOW) break;
      const { size, resolve } = this.#unqueue(caller, id)!;
      this.#send(caller, id, size);
      resolve(true);
    }
    if (caller.sent.size > 0) return;
    this.#callers.delete(caller.inbox);
    if (this.#callers.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** Called once a second. Ends the answers whose callers have given up, or have confirmed nothing for a long time. */
  #check(): void {
    const recovering = this.#core.recovering(RECOVERY); // a caller cannot confirm anything while this bus is not connected
    for (const caller of [...this.#callers.values()]) {
      for (const [id, { work }] of caller.waiting) if (work.late) this.#remove(caller, id);
      if (!recovering && ++caller.silent > MAX_SILENT) { // further answers may be sent, because these may have been lost with their caller
        caller.silent = 0;
        for (const id of caller.sent.keys()) this.#remove(caller, id);
      }
      this.#next(caller);
    }
  }
}
