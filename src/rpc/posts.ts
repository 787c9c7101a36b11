/**
 * Messages to the inboxes of buses. The messages that one turn posts to one inbox can be joined into one, which costs the transport and both
 * buses little more than one message. Older versions cannot read it, so a bus announces in its requests and answers that it can.
 *
 * @module
 */
import type { Envelopes } from "../codec/envelope.ts";
import { TextMap } from "../internal/text_map.ts";
import type { Sender } from "../provider/provider.ts";
import { PREDICTABLE } from "./wire.ts";

/** The largest number of messages in one. A hostile message cannot cause more errors than this. */
const MAX_MESSAGES = 256;
/** The largest number of inboxes that are known to read joined messages, and of the characters of the address of each. */
const MAX_INBOXES = 10_000;
const MAX_ADDRESS = 1_024;

/** The messages of this turn to one inbox. */
interface Joining {
  readonly inbox: string;
  readonly texts: string[];
  /** The number of characters of the joined message. */
  length: number;
  posted: PromiseWithResolvers<boolean | undefined>;
}

/** Posts the messages of a bus. */
export class Posts {
  #sender: Sender;
  #envelopes: Envelopes;
  #max: number;
  /** The inboxes that read joined messages. */
  #readers = new TextMap<Joining>();
  /** The inboxes for which messages wait until this turn ends. */
  #waiting: Joining[] = [];

  /** Creates the part that posts with this sender, in these envelopes. */
  constructor(sender: Sender, envelopes: Envelopes) {
    this.#sender = sender;
    this.#envelopes = envelopes;
    this.#max = sender.maxJoined ?? 0;
  }

  /** Notes that the bus with this inbox reads joined messages. */
  joins(inbox: string): void {
    if (this.#max === 0 || this.#readers.has(inbox) || inbox.length > MAX_ADDRESS || PREDICTABLE.test(inbox)) return;
    if (this.#readers.size === MAX_INBOXES) {
      const [oldest] = this.#readers.values();
      this.#send(oldest!); // later messages to that inbox must not overtake it
      this.#readers.delete(oldest!.inbox);
    }
    this.#readers.set(inbox, { inbox, texts: [], length: 0, posted: Promise.withResolvers() });
  }

  /** Posts a message as {@linkcode Sender.post} does. If other messages may join it, it leaves when this turn ends. */
  post(inbox: string, text: string): Promise<boolean | undefined> {
    const joining = this.#readers.get(inbox);
    if (!joining) return this.#post(inbox, text);
    const { texts } = joining;
    const length = joining.length + text.length + 1;
    if (length > this.#max || texts.length === MAX_MESSAGES) this.#send(joining); // keeps the order
    if (text.length >= this.#max) return this.#post(inbox, text);
    if (this.#waiting.length === 0) queueMicrotask(() => this.#flush()); // first: it throws if the stack is full
    if (texts.length === 0) this.#waiting.push(joining);
    texts.push(text);
    joining.length += text.length + 1;
    return joining.posted.promise;
  }

  #flush(): void {
    for (const joining of this.#waiting.splice(0)) this.#send(joining);
  }

  #send(joining: Joining): void {
    const { inbox, texts, posted } = joining;
    if (texts.length === 0) return;
    const text = texts.length === 1 ? texts[0]! : join(texts);
    joining.texts.length = joining.length = 0;
    joining.posted = Promise.withResolvers();
    try {
      this.#post(inbox, text).then(posted.resolve, posted.reject);
    } catch (error) {
      posted.reject(error); // the messages to other inboxes must leave
    }
  }

  #post(inbox: string, text: string): Promise<boolean | undefined> {
    return this.#sender.post(inbox, this.#envelopes.seal("inbox", inbox, text));
  }
}

/**
 * Joins messages: a line feed precedes each. It marks a joined message, because a single one begins with a brace. A line feed and a brace
 * follow each other nowhere else: a string in JSON contains no line feed, and the marks behind the JSON contain no brace.
 */
function join(texts: readonly string[]): string {
  return `\n${texts.join("\n")}`;
}

/** Returns the messages in a joined message, or a list with the message itself. */
export function split(message: string): readonly string[] {
  if (!message.startsWith("\n{")) return [message];
  const messages = message.slice(2).split("\n{", MAX_MESSAGES + 1);
  return messages.length > MAX_MESSAGES ? [message] : messages.map((rest) => `{${rest}`);
}
