/**
 * What travels beside a body: headers, in an envelope that PyMQ opens without looking at it.
 *
 * A body without headers is in none. The format is described in `docs/wire.md`, "A body".
 *
 * @module
 */

/** Short texts beside a body: names are tokens as in HTTP, compared with their case; `tsmq-…` is tsmq's own. */
export type MessageHeaders = Readonly<Record<string, string>>;

/** A message taken apart. */
export interface Opened {
  readonly body: string;
  readonly headers: MessageHeaders;
}

/** Where an envelope begins: no other body of ours does, because the codec boxes an object with such a key. */
const HEAD = '{"__tsmq":{';
/** Characters of the headers of an envelope: 8 KiB of names and values, each character of them escaped, and tsmq's own. */
const MAX_HEAD = 65_536;
const NAME = /^[!#$%&'*+\-.^_`|~\dA-Za-z]+$/;
// deno-lint-ignore no-control-regex
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;

/** The envelope of a trace before there were headers. */
const STAMP = '{"__traceparent":"';
const STAMPED = /^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}",/;
const TRACEPARENT_LENGTH = 55;

const BARE = '"__obj":';
const TYPE = '"__type":"';

/**
 * Puts a body into an envelope with its headers, if there are any. PyMQ takes what `__obj` or `__list` holds and ignores keys that it
 * does not know, so it reads the very value that the bare body has, whether it knows the class of its tag or not.
 */
export function wrap(body: string, headers: MessageHeaders | undefined): string {
  if (headers === undefined) return body;
  const head = `{"__tsmq":${writeHeaders(headers)},`;
  const tag = body.startsWith("{") ? tagAtEnd(body) : undefined;
  if (!tag) return `${head}${BARE}${body}}`;
  if (body.startsWith('{"__obj":') || body.startsWith('{"__list":')) return head + body.slice(1);
  const fields = body.slice(1, Math.max(1, tag.from - 1));
  return `${head}${body.slice(tag.from, tag.to)},${BARE}{${fields}}}${body.slice(tag.to + 1)}`;
}

/** Takes a body out of its envelope; undefined: it is in none. What only looks like one is a body. */
export function unwrap(text: string): Opened | undefined {
  if (!text.startsWith(HEAD)) return text.startsWith(STAMP) ? unstamp(text.slice(STAMP.length)) : undefined;
  // no brace stands in the names and values
  const end = text.indexOf("}", HEAD.length);
  if (end < 0 || end > MAX_HEAD || text[end + 1] !== ",") return undefined;
  const headers = readHeaders(text.slice(HEAD.length - 1, end + 1));
  const body = headers && unboxed(text.slice(end + 2));
  return headers && body !== undefined ? { body, headers } : undefined;
}

function unstamp(text: string): Opened | undefined {
  const body = STAMPED.test(text) ? unboxed(text.slice(TRACEPARENT_LENGTH + 2)) : undefined;
  return body === undefined ? undefined : { body, headers: { traceparent: text.slice(0, TRACEPARENT_LENGTH) } };
}

/** Headers with the trace that a message belongs to, if there is one. */
export function withTrace(
  headers: MessageHeaders | undefined,
  traceparent: string | undefined,
): MessageHeaders | undefined {
  return traceparent === undefined ? headers : { ...headers, traceparent };
}

/** Headers as JSON in which no brace stands but the first and the last. */
export function writeHeaders(headers: MessageHeaders): string {
  const text = JSON.stringify(headers);
  return text.indexOf("}") === text.length - 1 ? text : `${text.slice(0, -1).replaceAll("}", "\\u007d")}}`;
}

/** Headers from their JSON; nothing where they are not what headers must be. */
export function readHeaders(json: string): MessageHeaders | undefined {
  try {
    return checkedHeaders(JSON.parse(json));
  } catch {
    return undefined;
  }
}

/** The value if it is headers, as an object without a prototype. */
export function checkedHeaders(value: unknown): MessageHeaders | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  const headers: Record<string, string> = Object.create(null);
  for (const [name, text] of Object.entries(value)) {
    if (!NAME.test(name) || typeof text !== "string" || CONTROL.test(text) || !text.isWellFormed()) return undefined;
    headers[name] = text;
  }
  return headers;
}

/** The body that stands behind the head of an envelope. */
function unboxed(rest: string): string | undefined {
  const tag = tagAtStart(rest);
  if (tag) {
    // the fields of an instance, whose tag stood among them
    const end = rest.lastIndexOf("}}");
    const from = tag.length + 1 + BARE.length + 1;
    if (end < from - 1) return undefined;
    const fields = rest.slice(from, end);
    return `{${fields}${fields && ","}${tag}}${rest.slice(end + 2)}`;
  }
  if (!rest.startsWith(BARE) && !rest.startsWith('"__list":')) return undefined;
  if (tagAtEnd(rest)) return `{${rest}`;
  return rest.startsWith(BARE) && rest.endsWith("}") ? rest.slice(BARE.length, -1) : undefined;
}

/** `"__type":"…"` where it is followed by an object in `__obj`. */
function tagAtStart(rest: string): string | undefined {
  if (!rest.startsWith(TYPE)) return undefined;
  const quote = rest.indexOf('"', TYPE.length);
  return quote > 0 && rest.startsWith(`,${BARE}{`, quote + 1) ? rest.slice(0, quote + 1) : undefined;
}

/** Where `"__type":"…"` stands if it is the last that stands in an object. In no text is a quote without a backslash. */
function tagAtEnd(text: string): { readonly from: number; readonly to: number } | undefined {
  const from = text.lastIndexOf(TYPE);
  if (from < 0) return undefined;
  const quote = text.indexOf('"', from + TYPE.length);
  if (quote < 0 || text[quote - 1] === "\\" || text[quote + 1] !== "}" || !blank(text, quote + 2)) return undefined;
  return { from, to: quote + 1 };
}

/** Whether nothing but white space stands in a text from there on. */
function blank(text: string, from: number): boolean {
  for (let i = from; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code !== 32 && code !== 9 && code !== 10 && code !== 13) return false;
  }
  return true;
}
