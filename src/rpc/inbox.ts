/**
 * The class `Inbox`: it opens and decodes the messages that come to a bus, and passes them to its caller and its server.
 *
 * @module
 */
import type { Decoded } from "../codec/codec.ts";
import type { Envelopes, Signed } from "../codec/envelope.ts";
import { heldBytes } from "../codec/held_bytes.ts";
import { RpcError } from "../errors.ts";
import type { Link } from "../port/link.ts";
import type { Caller } from "./caller.ts";
import { untimely } from "./clocks.ts";
import type { Begin, Decodings } from "./decodings.ts";
import { split } from "./posts.ts";
import type { Server } from "./server.ts";
import { CREDIT, VALUES } from "./stream_messages.ts";
import { ANSWER, CANCEL, readRequest, REQUEST } from "./wire.ts";

/**
 * The number of unreadable parts after which the rest of a joined message is not read: each part is an error, which costs far more than the
 * bytes of a hostile part.
 */
const MAX_UNREADABLE = 4;

/** The parts of a bus that {@linkcode Inbox} uses. */
interface InboxContext {
  readonly link: Link;
  readonly envelopes: Envelopes;
  readonly decodings: Decodings;
  readonly caller: Caller;
  readonly server: Server;
  readonly report: (error: unknown, name: string, rejected?: boolean) => void;
}

/** Handles the messages of a bus. */
export class Inbox {
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
      let unreadable = 0;
      for (const each of split(body)) {
        if (!this.#message(each, answersOnly, signed) && ++unreadable === MAX_UNREADABLE) break;
      }
    }
  }

  /** Handles a message. Returns false if no part of it can be read. */
  #message(text: string, answersOnly: boolean, signed?: Signed): boolean {
    const { caller, server, report } = this.#bus;
    return this.#bus.decodings.decode(text, "", ({ value, type }, body, typed, unreadable) => {
      const fault = signed && untimely(type, signed);
      if (fault) report(fault, "", true);
      else if (type === ANSWER) caller.handleAnswer(value, () => heldBytes(body, typed), unreadable);
      else if (answersOnly) report(unknownMessage(), "", true);
      else if (type === REQUEST) {
        this.#encryptAnswers(value, signed);
        server.handleRequest(value, heldBytes(body, typed), unreadable, signed);
      } else if (type === VALUES) {
        caller.streams.handleValues(value, body.length, heldBytes(body, typed), unreadable);
      } else if (unreadable) return; // reported already
      else if (type === CREDIT) server.streams.handleCredit(value);
      else if (type === CANCEL && Array.isArray(value) && typeof value[0] === "string") server.cancel(value[0]);
      else report(unknownMessage(), "", true);
    }, (outline) => this.#begin(outline, signed));
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
        if (type !== REQUEST) return; // other events on a function's topic are not for servers
        this.#encryptAnswers(value, signed);
        this.#bus.server.handleRequest(value, heldBytes(body, typed), unreadable, signed);
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
