/**
 * Headers of a message, in an envelope around its body that PyMQ reads as the bare body.
 *
 * A body without headers has no envelope. The format is described in `docs/wire.md`, "A body".
 *
 * @module
 */

import { UntrustedError, type ValidationError } from "../errors.ts";
import { ownText } from "../internal/utf8.ts";
import { itemHeaders, type MessageHeaders, parseHeaders, readHeaders, topicIn, withHeader } from "./headers.ts";

/** A message's body and headers. */
export interface Opened {
  readonly body: string;
  readonly headers: MessageHeaders;
}

/**
 * The destination of a message, which its signature covers: an event of a topic (or a request on the topic of a function), an item of a
 * queue, or a message for the inbox of one bus.
 */
export type Destination = "event" | "item" | "inbox";

/** A received message without its envelope. */
export interface Received {
  /** The body. If the message is refused, the whole text. */
  readonly body: string;
  /** The headers. Absent if the message has none, or is refused. */
  readonly headers?: MessageHeaders;
  /** The signature of the message, if this bus has verified it. */
  readonly signed?: Signed;
  /** The topic of an event that a group has stored. Absent if the name of the queue contains the topic. */
  readonly topic?: string;
  /** The reason why this bus does not accept the message. */
  readonly refused?: ValidationError;
}

/** The verified parts of a signature. */
export interface Signed {
  /** The id of the key. */
  readonly key: string;
  /** The time of the signature, in milliseconds of the sender's `Date.now()`. */
  readonly time: number;
  /** A text that no other message of any bus has. It is a part of the message: see `ownText`. */
  readonly nonce: string;
  /** Whether the message is encrypted. */
  readonly encrypted: boolean;
}

/** Writes and reads the envelopes of a bus's messages. */
export interface Envelopes {
  /** Whether the bus has keys: it signs all messages, and accepts only signed ones. */
  readonly signed: boolean;
  /** Writes the text of a message. */
  seal(destination: Destination, name: string, body: string, headers?: MessageHeaders): string;
  /** Reads the text of a message. Returns undefined if the text is the body, without headers. */
  open(destination: Destination, name: string, text: string): Received | undefined;
  /**
   * Reads the text of an item. `topic` is the topic of an event that a group has stored. A dead letter that was put back has its topic in a
   * header. `stored` is true if the queue may belong to a group: then events of its topic are accepted too, not only items.
   */
  openItem(queue: string, text: string, topic: string | undefined, stored: boolean): Received | undefined;
  /** Writes the text of an item that was in a dead letter, with the headers of the letter. The item keeps the signature that it had. */
  restore(queue: string, item: string, headers: MessageHeaders | undefined): string;
  /** Encrypts all later messages to this inbox: its bus has sent an encrypted request, so an answer must not be readable either. */
  encryptTo(inbox: string): void;
}

/** The header of an encrypted message. */
export const ENCRYPTION = "tsmq-encryption";

/** The envelopes of a bus without keys. */
export const UNSIGNED: Envelopes = {
  signed: false,
  seal: (_place, _name, body, headers) => wrap(body, headers),
  open: (_place, _name, text) => {
    const opened = unwrap(text);
    if (opened?.headers[ENCRYPTION] === undefined) return opened;
    return {
      body: text,
      refused: new UntrustedError("Cannot read a message: it is encrypted, and this bus has no keys"),
    };
  },
  openItem: (queue, text, topic) => {
    const opened = UNSIGNED.open("item", queue, text);
    const stored = topic ?? topicIn(opened?.headers);
    return stored === undefined ? opened : { body: text, ...opened, topic: stored };
  },
  restore: (_queue, item, headers) => wrap(item, itemHeaders(headers)),
  encryptTo: () => {}, // it reads no encrypted request
};

/** The first characters of an envelope. No body begins like this, because the codec boxes an object with such a key. */
const HEAD = '{"__tsmq":{';
/** The largest number of characters of the headers: 8 KiB of names and values, if each character is escaped, and tsmq's own headers. */
export const MAX_HEAD = 65_536;

/** The first characters of the envelope of older versions, which contains only a trace. */
const TRACE_HEAD = '{"__traceparent":"';
/** The first characters of both envelopes. */
const BOTH = '{"__t';
const TRACED = /^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}",/;
const TRACEPARENT_LENGTH = 55;

const CONTENT = '"__obj":';
const TYPE = '"__type":"';

/**
 * Puts a body into an envelope with its headers, if there are any. PyMQ reads `__obj` or `__list` and ignores keys that it does not
 * know, so it gets the value of the bare body, whether it knows the class of its tag or not.
 */
export function wrap(body: string, headers: MessageHeaders | undefined): string {
  if (headers === undefined) return body;
  const head = `{"__tsmq":${writeHeaders(headers)},`;
  const tag = body.startsWith("{") ? tagAtEnd(body) : undefined;
  if (!tag) return `${head}${CONTENT}${body}}`;
  if (body.startsWith('{"__obj":') || body.startsWith('{"__list":')) return head + body.slice(1);
  const fields = body.slice(1, Math.max(1, tag.from - 1));
  return `${head}${body.slice(tag.from, tag.to)},${CONTENT}{${fields}}}${body.slice(tag.to + 1)}`;
}

/** Takes a body out of its envelope. Returns undefined if there is no envelope. A malformed envelope counts as a body. */
export function unwrap(text: string): Opened | undefined {
  if (!text.startsWith(BOTH)) return undefined;
  if (text.startsWith(TRACE_HEAD)) return openTraced(text.slice(TRACE_HEAD.length));
  const parts = separate(text);
  const headers = parts && parseHeaders(parts.head);
  return headers && { body: parts.body, headers };
}

/** Separates a body from the JSON of its headers, without parsing them. Returns undefined as {@linkcode unwrap} does. */
export function separate(text: string): { readonly head: string; readonly body: string } | undefined {
  if (!text.startsWith(HEAD)) return undefined;
  // names and values contain no closing brace
  const end = text.indexOf("}", HEAD.length);
  if (end < 0 || end > MAX_HEAD || text[end + 1] !== ",") return undefined;
  const body = openBody(text.slice(end + 2));
  return body === undefined ? undefined : { head: text.slice(HEAD.length - 1, end + 1), body };
}

function openTraced(text: string): Opened | undefined {
  const body = TRACED.test(text) ? openBody(text.slice(TRACEPARENT_LENGTH + 2)) : undefined;
  const headers = readHeaders({ traceparent: ownText(text.slice(0, TRACEPARENT_LENGTH)) });
  return headers && body !== undefined ? { body, headers } : undefined;
}

/** Adds the trace of a message to its headers, if it has one. */
export function withTrace(
  headers: MessageHeaders | undefined,
  traceparent: string | undefined,
): MessageHeaders | undefined {
  return traceparent === undefined ? headers : withHeader(headers, "traceparent", traceparent);
}

/** Writes headers as JSON in which only the last character is a closing brace. */
function writeHeaders(headers: MessageHeaders): string {
  const text = JSON.stringify(headers);
  return text.indexOf("}") === text.length - 1 ? text : `${text.slice(0, -1).replaceAll("}", "\\u007d")}}`;
}

/** Returns the body from the part of an envelope that follows the headers. */
function openBody(rest: string): string | undefined {
  const tag = tagAtStart(rest);
  if (tag) {
    // the fields of an instance: its tag becomes one of them again
    const end = rest.lastIndexOf("}}");
    const from = tag.length + 1 + CONTENT.length + 1;
    if (end < from - 1) return undefined;
    const fields = rest.slice(from, end);
    return `{${fields}${fields && ","}${tag}}${rest.slice(end + 2)}`;
  }
  if (!rest.startsWith(CONTENT) && !rest.startsWith('"__list":')) return undefined;
  if (tagAtEnd(rest)) return `{${rest}`;
  return rest.startsWith(CONTENT) && rest.endsWith("}") ? rest.slice(CONTENT.length, -1) : undefined;
}

/** Returns `"__type":"…"` if the text begins with it and an object in `__obj` follows. */
function tagAtStart(rest: string): string | undefined {
  if (!rest.startsWith(TYPE)) return undefined;
  const quote = rest.indexOf('"', TYPE.length);
  return quote > 0 && rest.startsWith(`,${CONTENT}{`, quote + 1) ? rest.slice(0, quote + 1) : undefined;
}

/** Finds `"__type":"…"` if it is the last member of the object. In a JSON string each quote has a backslash. */
function tagAtEnd(text: string): { readonly from: number; readonly to: number } | undefined {
  const from = text.lastIndexOf(TYPE);
  if (from < 0) return undefined;
  const quote = text.indexOf('"', from + TYPE.length);
  if (quote < 0 || text[quote - 1] === "\\" || text[quote + 1] !== "}" || !blank(text, quote + 2)) return undefined;
  return { from, to: quote + 1 };
}

/** Returns whether the text has only white space from this index on. */
function blank(text: string, from: number): boolean {
  for (let i = from; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code !== 32 && code !== 9 && code !== 10 && code !== 13) return false;
  }
  return true;
}
