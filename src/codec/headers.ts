/**
 * Headers: short strings that are sent with a body.
 *
 * @module
 */
import { type InvalidPart, ValidationError } from "../errors.ts";
import { kindOf } from "../internal/arguments.ts";
import { endOfString, unescape } from "../internal/json.ts";
import { textOf } from "../internal/thrown.ts";
import { ownShortText } from "../internal/own_text.ts";
import { prepare } from "./tags.ts";

/** Short strings that are sent with a body, at most 256 with 8 KiB. Names are tokens as in HTTP, case-sensitive; names that begin with `tsmq-` are reserved. */
export type MessageHeaders = Readonly<Record<string, string>>;

/** The largest number of bytes of all names and values. */
const MAX_BYTES = 8_192;
/** The largest number of headers that a user sets. */
const MAX_NAMES = 256;
/** The largest number of headers that are read: a user's, and tsmq's own. */
const MAX_READ: number = MAX_NAMES + 16;
/** The prefix of tsmq's own headers, which users neither set nor see. */
const RESERVED = "tsmq-";
/** A token of RFC 9110. */
const NAME = /^[!#$%&'*+\-.^_`|~\dA-Za-z]+$/;
// deno-lint-ignore no-control-regex
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;
const bytes = new TextEncoder();

/** A header as its sender wrote it. */
export type Header = readonly [name: string, value: string];
/** The name of a header in JSON, and the quote of its value. A name has no escapes, because all characters of a token are plain. */
const HEADER = /"([!#$%&'*+\-.^_`|~\dA-Za-z]+)":"/y;

/** The characters that the escapes in a header stand for: no header contains a control character. */
const PRINTABLE = '"\\/';

/** The headers of a message without headers. */
export const NO_HEADERS: MessageHeaders = Object.freeze(Object.create(null));

/**
 * Checks the headers that a user passes with this part of an operation. Returns a copy, or undefined if there are none.
 *
 * @throws {ValidationError} when a name or a value is invalid, or they are too long
 */
export function checkHeaders(headers: unknown, part: InvalidPart): MessageHeaders | undefined {
  if (headers === undefined) return undefined;
  const invalid = (why: string, cause?: unknown) =>
    new ValidationError(`Cannot use headers: ${why}`, [], { cause, part });
  if (typeof headers !== "object" || headers === null || Array.isArray(headers)) {
    throw invalid(`${kindOf(headers)} is not an object of strings`);
  }
  const checked: Record<string, string> = Object.create(null);
  let size = 0;
  try {
    if (Symbol.iterator in headers) throw invalid("they are an iterable, such as a Map, and not an object of strings");
    const entries = Object.entries(headers);
    if (entries.length > MAX_NAMES) {
      throw invalid(`they are ${entries.length} headers, and at most ${MAX_NAMES} are allowed`);
    }
    prepare(checked, entries.map(([name]) => name)); // a user may pass on headers from the wire
    for (const [name, value] of entries) {
      const fault = nameFault(name) ?? valueFault(value);
      if (fault) throw invalid(`${JSON.stringify(name)} ${fault}`);
      checked[name] = value;
      size += bytes.encode(name).length + bytes.encode(value).length;
    }
  } catch (error) {
    throw error instanceof ValidationError ? error : invalid(`reading them threw: ${textOf(error)}`, error);
  }
  if (size > MAX_BYTES) {
    throw invalid(`their names and values have ${size} bytes, and at most ${MAX_BYTES} are allowed`);
  }
  return size > 0 ? checked : undefined;
}

/** Returns received headers, in an object without a prototype; undefined if they are not valid. */
export function readHeaders(value: unknown): MessageHeaders | undefined {
  return typeof value !== "object" || value === null || Array.isArray(value)
    ? undefined
    : readEntries(Object.entries(value));
}

/** Returns received headers as {@linkcode readHeaders} does, from their names and values. */
export function readEntries(entries: readonly (readonly [name: string, value: unknown])[]): MessageHeaders | undefined {
  if (entries.length > MAX_READ) return undefined;
  const headers: Record<string, string> = prepare(Object.create(null), entries.map(([name]) => name));
  for (const [name, text] of entries) {
    if (!NAME.test(name) || valueFault(text)) return undefined;
    headers[name] = text as string;
  }
  return headers;
}

/** Reads headers from JSON as tsmq writes it. Returns undefined if they are not valid. */
export function parseHeaders(json: string): MessageHeaders | undefined {
  const entries = json === "{}" ? [] : listHeaders(json);
  return entries && readEntries(entries);
}

/**
 * Reads headers from JSON as tsmq writes it, in their order, without `JSON.parse` and without an object: a peer that cannot sign may have
 * chosen names that collide in the engine's tables, or integers for which Bun's engine takes a MB (`places.ts`). Returns undefined if they are not valid. The values are only read, not checked.
 */
export function listHeaders(json: string): Header[] | undefined {
  const list: Header[] = [];
  if (!json.startsWith("{")) return undefined;
  HEADER.lastIndex = 1;
  do {
    const found = HEADER.exec(json);
    if (!found || list.length === MAX_READ) return undefined;
    const from = HEADER.lastIndex;
    const end = endOfString(json, from);
    if (end < 0 || json[end + 1] !== (end + 2 === json.length ? "}" : ",")) return undefined;
    list.push([found[1]!, ownShortText(unescape(json.slice(from, end), PRINTABLE))]);
    HEADER.lastIndex = end + 2;
  } while (HEADER.lastIndex < json.length);
  return list;
}

/** Returns the headers that a user sees: those that are not tsmq's own. */
export function userHeaders(headers: MessageHeaders | undefined): MessageHeaders {
  if (headers === undefined) return NO_HEADERS;
  const own = Object.keys(headers).filter((name) => name.startsWith(RESERVED));
  if (own.length === 0) return headers;
  const seen = copyOf(headers);
  for (const name of own) delete seen[name];
  return seen;
}

/** Returns headers with one more. A spread would make a list of many places for names that are chosen integers (`prepare`). */
export function withHeader(headers: MessageHeaders | undefined, name: string, value: string): MessageHeaders {
  return Object.assign(copyOf(headers ?? NO_HEADERS), { [name]: value });
}

function copyOf(headers: MessageHeaders): Record<string, string> {
  return Object.assign(prepare(Object.create(null), Object.keys(headers)), headers);
}

/** The header that contains the topic of an event in the dead letters of a group. */
export const TOPIC = `${RESERVED}topic`;
/** The largest number of characters of that header, in which the topic is percent-encoded. A letter with a longer one does not have it. */
const MAX_TOPIC_HEADER = 16_384;

/** Adds the topic of an event to its headers, if there is one. */
export function withTopic(headers: MessageHeaders | undefined, topic: string | undefined): MessageHeaders | undefined {
  if (topic === undefined || topic.length > MAX_TOPIC_HEADER) return headers;
  const value = encodeURIComponent(topic.toWellFormed());
  return value.length > MAX_TOPIC_HEADER ? headers : withHeader(headers, TOPIC, value);
}

/** Returns the topic in the headers of an event, if there is one. */
export function topicIn(headers: MessageHeaders | undefined): string | undefined {
  return readTopicHeader(headers?.[TOPIC]);
}

/** Returns the topic that a header contains, if it is valid. */
export function readTopicHeader(value: string | undefined): string | undefined {
  if (value === undefined || value.length > MAX_TOPIC_HEADER) return undefined;
  try {
    return decodeURIComponent(value);
  } catch {
    return undefined;
  }
}

/** The prefix that a dead letter gives to tsmq's own headers of its item. */
const ITEM_PREFIX = `${RESERVED}item-`;

/**
 * Returns the headers for the dead letter of an item: those of the item, with tsmq's own headers renamed, because the letter has its own
 * signature.
 */
export function letterHeaders(headers: MessageHeaders | undefined): MessageHeaders | undefined {
  return renamed(headers, (name) => name.startsWith(RESERVED) ? ITEM_PREFIX + name.slice(RESERVED.length) : name);
}

/** Returns the headers of an item from those of its dead letter. */
export function itemHeaders(headers: MessageHeaders | undefined): MessageHeaders | undefined {
  return renamed(headers, (name) => {
    if (name.startsWith(ITEM_PREFIX)) return RESERVED + name.slice(ITEM_PREFIX.length);
    return name.startsWith(RESERVED) ? undefined : name;
  });
}

/** Renames tsmq's own headers, or removes those without a new name. */
function renamed(
  headers: MessageHeaders | undefined,
  rename: (name: string) => string | undefined,
): MessageHeaders | undefined {
  if (headers === undefined || !Object.keys(headers).some((name) => name.startsWith(RESERVED))) return headers;
  const result: Record<string, string> = prepare(Object.create(null), Object.keys(headers));
  for (const [name, value] of Object.entries(headers)) {
    const other = rename(name);
    if (other !== undefined) result[other] = value;
  }
  return Object.keys(result).length > 0 ? result : undefined;
}

function nameFault(name: string): string | undefined {
  if (!NAME.test(name)) return "is not a token as in HTTP";
  return name.startsWith(RESERVED) ? `begins with "${RESERVED}", which is reserved` : undefined;
}

function valueFault(value: unknown): string | undefined {
  if (typeof value !== "string") return `has a value that is not a string but ${kindOf(value)}`;
  if (CONTROL.test(value)) return "has a value with a control character";
  return value.isWellFormed() ? undefined : "has a value with a lone surrogate";
}
