/**
 * The large answers of a server that their callers have not confirmed. Few are sent to a caller at once, so that a slow one loses no answer;
 * the others wait. An answer that was lost on its way is sent again. All count as held for their callers.
 *
 * @module
 */
import type { Core } from "../core.ts";
import { TextMap } from "../internal/text_map.ts";
import { STREAM_CHECK } from "../internal/time.ts";
import type { ServedCall } from "./current_call.ts";
import { unheldAnswer } from "./error_answer.ts";
import { MAX_SILENT } from "./open_streams.ts";
import { RECOVERY } from "./pending_calls.ts";
import { LARGE, SHARES, sizeOf, type Sizes } from "./sizes.ts";
import { type Answer, UNADDRESSED } from "./wire.ts";

/**
 * The largest number of unconfirmed characters that are sent to one caller: Redis disconnects a subscriber with 32 MB of unread messages.
 */
const WINDOW = 8 * 1024 * 1024;

interface Waiting {
  readonly work: ServedCall;
  readonly size: number;
  /** Called with true when the answer may be sent, and with false when its caller does not need it any more. */
  readonly resolve: (send: boolean) => void;
}

interface Sent {
  readonly work: ServedCall;
  readonly size: number;
  text?: string;
  /** Whether the text is being sent. It counts until that ends. */
  sending: boolean;
  /** Whether the text is not needed any more when it has been sent. */
  over: boolean;
}

/** The answers for one caller, by the ids of their calls. */
interface Caller {
  readonly inbox: string;
  readonly sent: TextMap<Sent>;
  sentSize: number;
  readonly waiting: TextMap<Waiting>;
  /** The number of consecutive checks without a confirmation. */
  silent: number;
}

/** The large answers of a server. */
export class LargeAnswers {
  #core: Core;
  #held: Sizes;
  #callers = new TextMap<Caller>();
  #byCall = new TextMap<Caller>();
  #timer: ReturnType<typeof setInterval> | undefined;
  #ended = false;

  /** Creates an empty list of answers. `held` is what the server holds for its callers. */
  constructor(core: Core, held: Sizes) {
    this.#core = core;
    this.#held = held;
  }

  /** Returns whether an answer is large and its caller confirms such answers. */
  includes({ request: { call } }: ServedCall, { result }: Answer<string>): boolean {
    return call?.confirms === true && result.length > LARGE;
  }

  /**
   * Counts a large answer, and returns it if it may be sent, otherwise a promise that resolves when it may. The result is undefined if the
   * caller does not need the answer any more, or everything has ended. If too much is held for callers, an answer that would have to wait is
   * replaced by an error, and another one is to be sent once, without a confirmation.
   */
  admit(work: ServedCall, answer: Answer<string>): Answer<string> | undefined | Promise<Answer<string> | undefined> {
    const { id, inbox } = work.request.call!;
    if (this.#ended || this.#byCall.has(id)) return undefined; // two answers of one id would count, and only one would end
    const { fn, result: json, mark, call = UNADDRESSED } = answer;
    const waits = (this.#callers.get(inbox)?.sentSize ?? 0) >= WINDOW;
    if (!this.#held.accepts(inbox, SHARES.large)) return waits ? unheldAnswer(fn, this.#core.exposeErrors) : answer;
    const size = sizeOf({ json, mark }) + JSON.stringify(call).length; // with the stack of an error
    const caller = this.#callers.get(inbox) ?? this.#add(inbox);
    this.#byCall.set(id, caller);
    this.#held.add(inbox, size);
    const confirmed = { ...answer, call: { ...call, confirm: true } };
    if (waits) {
      const { promise, resolve } = Promise.withResolvers<boolean>();
      caller.waiting.set(id, { work, size, resolve });
      return promise.then((send) => send ? confirmed : undefined);
    }
    this.#send(caller, id, work, size);
    return confirmed;
  }

  /** Keeps the text of an answer that is being sent, until it is `sent` and confirmed. Returns false if the answer was not admitted. */
  keep(id: string, text: string): boolean {
    const sent = this.#byCall.get(id)?.sent.get(id);
    if (!sent) return false;
    sent.text = text;
    return sent.sending = true;
  }

  /** Handles the end of sending an answer that is kept. If it was `refused`, it is not kept any more. */
  sent(id: string, refused: boolean): void {
    const caller = this.#byCall.get(id)!;
    const sent = caller.sent.get(id)!;
    sent.sending = false;
    if (!sent.over && !refused) return;
    this.#remove(caller, id);
    this.#next(caller);
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
    const caller = { inbox, sent: new TextMap<Sent>(), sentSize: 0, waiting: new TextMap<Waiting>(), silent: 0 };
    this.#callers.set(inbox, caller);
    this.#timer ??= setInterval(() => this.#check(), STREAM_CHECK.every);
    return caller;
  }

  #send(caller: Caller, id: string, work: ServedCall, size: number): void {
    caller.sent.set(id, { work, size, sending: false, over: false });
    caller.sentSize += size;
  }

  /** Removes an answer: now, or when it has been sent. */
  #remove(caller: Caller, id: string): void {
    const [sent, waiting] = [caller.sent.get(id), caller.waiting.get(id)];
    if (sent?.sending) {
      sent.over = true;
      return;
    }
    this.#byCall.delete(id);
    this.#held.add(caller.inbox, -(sent ?? waiting)!.size);
    caller.sentSize -= sent?.size ?? 0;
    caller.sent.delete(id);
    caller.waiting.delete(id);
    waiting?.resolve(false);
  }

  /** Releases the answers that have waited longest, as far as there is room. Forgets the caller if it has no answers. */
  #next(caller: Caller): void {
    for (const [id, { work, size, resolve }] of caller.waiting) {
      if (caller.sentSize >= WINDOW) break;
      caller.waiting.delete(id);
      this.#send(caller, id, work, size);
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
      for (const [id, { work }] of [...caller.waiting, ...caller.sent]) if (work.late) this.#remove(caller, id);
      if (!recovering && ++caller.silent > MAX_SILENT) { // further answers may be sent, because these may have been lost with their caller
        caller.silent = 0;
        for (const id of caller.sent.keys()) this.#remove(caller, id);
      }
      this.#next(caller);
    }
  }
}
