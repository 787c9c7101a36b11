/**
 * Headers of a message, in an envelope around its body that PyMQ reads as the bare body.
 *
 * A body without headers has no envelope. The format is described in `docs/wire.md`, "A body".
 *
 * @module
 */

import { type MessageHeaders, parseHeaders, readHeaders } from "./headers.ts";

/** A message's body and headers. */
export interface Opened {
  readonly body: string;
  readonly headers: MessageHeaders;
}

/** The first characters of an envelope. No body begins like this, because the codec boxes an object with such a key. */
const HEAD = '{"__tsmq":{';
/** The largest number of characters of the headers: 8 KiB of names and values, if each character is escaped, and tsmq's own headers. */
const MAX_HEAD = 65_536;

/** The first characters of the envelope of older versions, which contains only a trace. */
const TRACE_HEAD = '{"__traceparent":"';
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
  if (!text.startsWith(HEAD)) {
    return text.startsWith(TRACE_HEAD) ? openTraced(text.slice(TRACE_HEAD.length)) : undefined;
  }
  // names and values contain no closing brace
  const end = text.indexOf("}", HEAD.length);
  if (end < 0 || end > MAX_HEAD || text[end + 1] !== ",") return undefined;
  const headers = parseHeaders(text.slice(HEAD.length - 1, end + 1));
  const body = headers && openBody(text.slice(end + 2));
  return headers && body !== undefined ? { body, headers } : undefined;
}

function openTraced(text: string): Opened | undefined {
  const body = TRACED.test(text) ? openBody(text.slice(TRACEPARENT_LENGTH + 2)) : undefined;
  const headers = readHeaders({ traceparent: text.slice(0, TRACEPARENT_LENGTH) });
  return headers && body !== undefined ? { body, headers } : undefined;
}

/** Adds the trace of a message to its headers, if it has one. */
export function withTrace(
  headers: MessageHeaders | undefined,
  traceparent: string | undefined,
): MessageHeaders | undefined {
  return traceparent === undefined ? headers : { ...headers, traceparent };
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
