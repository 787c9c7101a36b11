/**
 * The format of a message in SNS and SQS: the unchanged body, and one message attribute that describes it.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { ProviderError } from "../../errors.ts";
import { MAX_TOPIC } from "../../provider/topic_mark.ts";
import { membersOf, stringIn } from "../../internal/json.ts";

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
/** The number of attempts in a label. */
const ATTEMPTS = /^\d{1,15}$/;

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

/**
 * Decodes a message of a bus's own queue: a message of tsmq, or any other message. With `enveloped`, it may be in an envelope of SNS; without,
 * a body that looks like one is only a text of its publisher.
 */
export function read(message: Incoming, enveloped: boolean): Content {
  const body = message.Body ?? "";
  const value = message.MessageAttributes?.[ATTRIBUTE]?.StringValue;
  if (value !== undefined) return open(body, value);
  return (enveloped ? readEnvelope(body) : undefined) ?? { label: {}, body };
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
  const attempt = attempts + Number(message.Attributes?.ApproximateReceiveCount ?? 1);
  return { body, attempt, ...topic !== undefined && { topic } };
}

/** Encodes an item that no handler has started, with all its attributes and the number of earlier attempts. */
export function asUntried(message: Incoming): Outgoing {
  const { Body: body = "", MessageAttributes: before = {} } = message;
  const label = {
    ...readLabel(before[ATTRIBUTE]?.StringValue ?? "{}"),
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

/** Reads an envelope of SNS, which contains an event: nothing else is sent by SNS. Returns undefined for any other body. */
function readEnvelope(json: string): Content | undefined {
  if (!json.startsWith("{")) return undefined;
  const [type, arn, message, attributes = "{}"] =
    membersOf(json, ["Type", "TopicArn", "Message", "MessageAttributes"]) ?? [];
  const [topicArn, body] = [stringIn(arn), stringIn(message)];
  if (type !== '"Notification"' || topicArn === undefined || body === undefined) return undefined;
  const [attribute = "{}"] = membersOf(attributes, [ATTRIBUTE]) ?? [];
  const [value] = membersOf(attribute, ["Value"]) ?? [];
  const content = open(body, stringIn(value) ?? "{}");
  const { inbox: _, attempts: _attempts, ...label } = content.label;
  return { label, body: content.body, topicArn };
}

/** Reads the content of tsmq's message attribute. Returns undefined if tsmq has not written it. */
function readLabel(value: string): Label | undefined {
  const members = membersOf(value, ["topic", "all", "inbox", "attempts", "json"]);
  if (!members) return undefined;
  const [name, all, inbox, attempts = "", json] = members;
  const topic = stringIn(name);
  if (name !== undefined && (topic === undefined || topic.length > MAX_TOPIC)) return undefined;
  return {
    ...topic !== undefined && { topic },
    ...all === "true" && { all: true as const },
    ...inbox === "true" && { inbox: true as const },
    ...ATTEMPTS.test(attempts) && { attempts: Number(attempts) },
    ...json === "true" && { json: true as const },
  };
}

function open(body: string, value: string): Content {
  const label = readLabel(value) ?? {};
  if (!label.json) return { label, body };
  const text = stringIn(body);
  return text === undefined ? { label: {}, body } : { label, body: text };
}

/** Escapes the non-ASCII characters of a JSON text. */
function ascii(json: string): string {
  return json.replace(/[\x7f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
