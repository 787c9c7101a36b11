/**
 * The format of a message in SNS and SQS: the unchanged body, and one message attribute that describes it.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { ProviderError } from "../../errors.ts";
import { parseSmall } from "../../internal/json.ts";
import { MAX_TOPIC } from "../../provider/topic_mark.ts";

/** The name of tsmq's message attribute. It contains the topic, because raw delivery does not. */
export const ATTRIBUTE = "tsmq";
/**
 * The number of bytes that SNS accepts in a message and in a batch, attributes included. SQS accepts more since 2025, but not every
 * emulator does.
 */
export const MAX_MESSAGE: number = 256 * 1024;
/** The number of bytes of a message that are reserved for the topic's name and the rest of the attribute. */
const LABEL = 4 * 1024;
/** The largest body in bytes of UTF-8. */
export const MAX_BODY: number = MAX_MESSAGE - LABEL;
/** Seconds of the longest visibility timeout. SQS allows 12 hours after a message was received. */
export const MAX_VISIBILITY: number = 12 * 60 * 60;
/** Seconds of the longest delay that SQS allows for a sent item. FIFO queues allow none for a single item. */
export const MAX_PUT_DELAY = 900;
/** Matches a character that SNS and SQS refuse, or one beyond U+FFFF, which some emulators refuse. */
const REFUSED = /[^\t\n\r\x20-\uD7FF\uE000-\uFFFD]/;

/** The largest number of strings in an envelope of SNS, with ten attributes, and in a label. */
const MAX_STRINGS = 128;

/**
 * Milliseconds for which a publisher assumes that there are no pattern subscriptions. The first pattern of a bus is confirmed after this
 * time, so that no publisher misses it.
 */
export const PATTERNS_TTL = 1_000;

/** The content of tsmq's message attribute. */
export interface Label {
  /** The topic of an event. */
  readonly topic?: string;
  /** The event was published to the namespace's topic of all events, for pattern subscriptions. */
  readonly all?: true;
  /** The message was posted to an inbox. */
  readonly inbox?: true;
  /** The number of attempts before the item was sent to its queue again. */
  readonly attempts?: number;
  /** The body is a JSON string, because it has characters that AWS refuses. */
  readonly json?: true;
}

/** A message attribute. The attribute of tsmq is a string. */
interface Attribute {
  readonly DataType: string | undefined;
  readonly StringValue?: string | undefined;
  readonly BinaryValue?: Uint8Array | undefined;
}

/** A message to send: SNS calls the body `Message`, SQS `MessageBody`. */
export interface Outgoing {
  readonly body: string;
  readonly attributes?: Record<string, Attribute>;
  /** The size in bytes, as AWS counts it. */
  readonly size: number;
}

/** A message as SQS delivers it. */
export interface Incoming {
  readonly Body?: string | undefined;
  readonly MessageAttributes?: Record<string, Attribute> | undefined;
  readonly Attributes?: { readonly ApproximateReceiveCount?: string } | undefined;
}

/** A decoded message. */
export interface Content {
  readonly label: Label;
  readonly body: string;
  /** The ARN of the topic, if the message came in an envelope of SNS. */
  readonly topicArn?: string;
}

/**
 * Encodes a message. `doing` completes "Cannot …".
 *
 * @throws {ProviderError} "too_large"
 */
export function write(body: string, label: Label, doing: string): Outgoing {
  const json = body === "" || REFUSED.test(body);
  const text = json ? ascii(JSON.stringify(body)) : body;
  const full: Label = json ? { ...label, json } : label;
  const named = Object.keys(full).length > 0;
  const value = named ? ascii(JSON.stringify(full)) : "";
  const size = Buffer.byteLength(text) + (named ? value.length + ATTRIBUTE.length + "String".length : 0);
  const bytes = json ? Buffer.byteLength(body) : Buffer.byteLength(text);
  if (bytes > MAX_BODY) throw tooLarge(doing, bytes, MAX_BODY);
  // a long name, or characters that have to be escaped
  if (size > MAX_MESSAGE) throw tooLarge(doing, size, MAX_MESSAGE);
  if (!named) return { body: text, size };
  return { body: text, size, attributes: { [ATTRIBUTE]: { DataType: "String", StringValue: value } } };
}

function tooLarge(doing: string, size: number, limit: number): ProviderError {
  return new ProviderError(
    "too_large",
    `Cannot ${doing}: the message has ${size} bytes, and SNS and SQS accept ${limit}`,
  );
}

/** Decodes a message: a message of tsmq, an envelope of SNS around one, or any other message. */
export function read(message: Incoming): Content {
  const body = message.Body ?? "";
  const value = message.MessageAttributes?.[ATTRIBUTE]?.StringValue;
  if (value !== undefined) return open(body, value);
  const envelope = body.startsWith("{") ? parseSmall(body, MAX_STRINGS) : undefined;
  if (!isEnvelope(envelope)) return { label: {}, body };
  const inner = envelope.MessageAttributes?.[ATTRIBUTE]?.Value;
  const content = inner === undefined ? { label: {}, body: envelope.Message } : open(envelope.Message, inner);
  return { ...content, topicArn: envelope.TopicArn };
}

/** An item of a named queue. */
export interface Item {
  readonly body: string;
  /** The number of this attempt. */
  readonly attempt: number;
  /** The topic of an event that SNS has put into the queue. */
  readonly topic?: string;
}

/** Decodes an item of a named queue. An item has no envelope. */
export function readItem(message: Incoming): Item {
  const value = message.MessageAttributes?.[ATTRIBUTE]?.StringValue;
  const { body, label } = open(message.Body ?? "", value ?? "{}");
  const { attempts = 0, topic } = label;
  const before = Number.isSafeInteger(attempts) && attempts > 0 ? attempts : 0;
  const attempt = before + Number(message.Attributes?.ApproximateReceiveCount ?? 1);
  return { body, attempt, ...topic !== undefined && { topic } };
}

/** Encodes an item that no handler has started, with all its attributes and the number of earlier attempts. */
export function asUntried(message: Incoming): Outgoing {
  const { Body: body = "", MessageAttributes: before = {} } = message;
  const label = {
    ...parseSmall(before[ATTRIBUTE]?.StringValue ?? "{}", MAX_STRINGS) as Label,
    attempts: readItem(message).attempt - 1,
  };
  const attributes: Record<string, Attribute> = {
    ...before,
    [ATTRIBUTE]: { DataType: "String", StringValue: ascii(JSON.stringify(label)) },
  };
  let size = Buffer.byteLength(body);
  for (const [name, { DataType = "", StringValue = "", BinaryValue = "" }] of Object.entries(attributes)) {
    for (const part of [name, DataType, StringValue, BinaryValue]) size += Buffer.byteLength(part);
  }
  return { body, attributes, size };
}

interface Envelope {
  readonly Message: string;
  readonly TopicArn: string;
  readonly MessageAttributes?: Record<string, { Value?: string }>;
}

function isEnvelope(value: unknown): value is Envelope {
  const { Type, TopicArn, Message } = (value ?? {}) as Record<string, unknown>;
  return Type === "Notification" && typeof TopicArn === "string" && typeof Message === "string";
}

function open(body: string, value: string): Content {
  const given = parseSmall(value, MAX_STRINGS) as Label | undefined;
  if (typeof given !== "object" || given === null) return { label: {}, body };
  if (given.topic !== undefined && (typeof given.topic !== "string" || given.topic.length > MAX_TOPIC)) {
    return { label: {}, body };
  }
  const text = given.json ? parseSmall(body, MAX_STRINGS) : body;
  return typeof text === "string" ? { label: given, body: text } : { label: {}, body };
}

/** Escapes the non-ASCII characters of a JSON text. */
function ascii(json: string): string {
  return json.replace(/[\x7f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
