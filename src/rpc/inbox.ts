/**
 * The class `Inbox`: it opens and decodes the messages that come to a bus, and passes them to its caller and its server.
 *
 * @module
 */
import type { Decoded } from "../codec/codec.ts";
import type { Core } from "../core.ts";
import type { Envelopes, Signed } from "../codec/envelope.ts";
import { heldBytes } from "../codec/held_bytes.ts";
import { RpcError, UntrustedError, type ValidationError } from "../errors.ts";
import type { Link } from "../port/link.ts";
import type { Caller } from "./caller.ts";
import { untimely } from "./clocks.ts";
import type { Begin, Decodings } from "./decodings.ts";
import { split } from "./posts.ts";
import type { Server } from "./server.ts";
import { CREDIT, VALUES } from "./stream_messages.ts";
import { ANSWER, CANCEL, readRequest, REQUEST } from "./wire.ts";

/**
 * The number of parts that no honest bus sends after which the rest of a joined message is not read: to parse a part, and to create its error,
 * costs far more than its bytes.
 */
const MAX_HOSTILE = 4;

/** The parts of a bus that {@linkcode Inbox} uses. */
interface InboxContext {
  readonly link: Link;
  readonly envelopes: Envelopes;
  readonly decodings: Decodings;
  readonly caller: Caller;
  readonly server: Server;
  readonly report: Core["report"];
  readonly reject: Core["reject"];
}

/** Handles the messages of a bus. */
export class Inbox {
  /** The largest number of characters of a message that is read. A tool lowers it, because anybody can answer its questions. */
  limit = Infinity;
  #bus: InboxContext;

  /** Creates the inbox of a bus that is about to open. */
  constructor(bus: InboxContext) {
    this.#bus = bus;
  }

  /** Handles messages of the receiver's inbox, or of the inbox for answers. */
  messages(texts: readonly string[], inbox: string): void {
    const answersOnly = inbox !== this.#bus.link.inbox;
    for (const text of texts) {
      const { body, signed, refused } = this.#bus.envelopes.open("inbox", inbox, text) ?? { body: text };
      if (refused) {
        this.#bus.report(refused, "", true);
        continue;
      }
      let hostile = 0;
      for (const each of split(body)) {
        if (!this.#message(each, answersOnly, signed) && ++hostile === MAX_HOSTILE) break;
      }
    }
  }

  /** Handles a message. Returns false if no honest bus sends it. */
  #message(text: string, answersOnly: boolean, signed?: Signed): boolean {
    if (text.length > this.limit) {
      this.#bus.reject(() => tooLong(text.length, this.limit), "");
      return false;
    }
    return this.#bus.decodings.decode(
      text,
      "",
      (...read) => this.#accept(answersOnly, signed, ...read),
      (outline) => this.#begin(outline, signed),
    );
  }

  /**
   * Passes on a decoded message. Returns false if no honest bus sends it: it is of no known type, malformed, or `unreadable` and nobody waits
   * for it. A call or an answer whose types cannot be restored may be honest: the buses may have different schemas.
   */
  #accept(
    answersOnly: boolean,
    signed: Signed | undefined,
    { value, type }: Decoded,
    body: string,
    typed: number,
    unreadable?: ValidationError,
  ): boolean {
    const { caller, server, reject } = this.#bus;
    const held = () => heldBytes(body, typed);
    const fault = signed && untimely(type, signed);
    if (fault) {
      reject(() => new UntrustedError(fault), "", true);
      return true; // the transport may have been late
    }
    if (type === ANSWER) return caller.handleAnswer(value, held, unreadable, signed) || !unreadable;
    if (!answersOnly) {
      if (type === REQUEST) return this.#request(value, held(), unreadable, signed);
      if (type === VALUES) return caller.streams.handleValues(value, body.length, held(), unreadable);
      if (type === CREDIT && !unreadable) return server.streams.handleCredit(value);
      if (type === CANCEL && !unreadable && Array.isArray(value) && typeof value[0] === "string") {
        server.cancel(value[0]);
        return true;
      }
    }
    if (!unreadable) reject(unknownMessage, ""); // otherwise it is reported already
    return false;
  }

  #request(value: unknown, bytes: number, unreadable?: ValidationError, signed?: Signed): boolean {
    this.#encryptAnswers(value, signed);
    return this.#bus.server.handleRequest(value, bytes, unreadable, signed);
  }

  /** Handles messages of the topics of served functions. */
  requests(topics: readonly string[], texts: readonly string[]): void {
    for (const [i, text] of texts.entries()) {
      const topic = topics[i]!;
      const { body: opened, signed, refused } = this.#bus.envelopes.open("event", topic, text) ?? { body: text };
      if (refused) {
        this.#bus.report(refused, topic, true);
        continue;
      }
      this.#bus.decodings.decode(opened, topic, ({ value, type }, body, typed, unreadable) => {
        if (type !== REQUEST) return true; // other events on a function's topic are not for servers
        return this.#request(value, heldBytes(body, typed), unreadable, signed);
      }, (outline) => this.#begin(outline, signed));
    }
  }

  #begin({ value, type }: Decoded, signed?: Signed): ReturnType<Begin> {
    if (type !== REQUEST) return undefined;
    this.#encryptAnswers(value, signed);
    return this.#bus.server.validating(value);
  }

  /** Makes this bus encrypt its answers to an encrypted request, also if it does not encrypt other messages. */
  #encryptAnswers(request: unknown, signed?: Signed): void {
    const inbox = signed?.encrypted ? readRequest(request)?.call?.inbox : undefined;
    if (inbox !== undefined) this.#bus.envelopes.encryptTo(inbox);
  }
}

function unknownMessage(): RpcError {
  return new RpcError("invalid", "Cannot read a message from the inbox: unknown message type");
}

function tooLong(length: number, limit: number): RpcError {
  return new RpcError("invalid", `Cannot read a message of ${length} characters: this bus reads at most ${limit}`);
}
