/**
 * What a message looks like in SNS and SQS: the body as it is, and one message attribute that tells what it is.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { ProviderError } from "../../errors.ts";

/** The message attribute of ours. Raw delivery loses the topic, so the publisher says it here. */
export const ATTRIBUTE = "tsmq";
/** SNS takes 256 KiB a message and a batch, attributes included. SQS takes more since 2025, its emulators do not all. */
export const MAX_MESSAGE: number = 256 * 1024;
/** Bytes of a message left for the topic's name and what else describes it. */
const LABEL = 4 * 1024;
/** The largest body in bytes of UTF-8. */
export const MAX_BODY: number = MAX_MESSAGE - LABEL;
/** The longest visibility timeout in seconds: SQS allows 12 hours from the time of receipt. */
export const MAX_VISIBILITY: number = 12 * 60 * 60;
/** What SNS and SQS accept of Unicode; characters beyond U+FFFF are left out because not every emulator takes them. */
const REFUSED = /[^\t\n\r\x20-\uD7FF\uE000-\uFFFD]/;

/**
 * Milliseconds for which a publisher believes that nobody subscribes to patterns. The first pattern of a bus is confirmed
 * after this time, so that no publisher misses it.
 */
export const PATTERNS_TTL = 1_000;

/** What a message is. */
export interface Label {
  /** The topic of an event. */
  readonly topic?: string;
  /** The event came over the topic of the namespace, for those who subscribe to patterns. */
  readonly all?: true;
  /** Posted to an inbox. */
  readonly inbox?: true;
  /** Attempts that were made with this item before it was put into its queue anew. */
  readonly attempts?: number;
  /** The body is a JSON string, for it holds characters that AWS refuses. */
  readonly json?: true;
}

/** An attribute of a message. Ours is a string. */
interface Attribute {
  readonly DataType: string | undefined;
  readonly StringValue?: string | undefined;
  readonly BinaryValue?: Uint8Array | undefined;
}

/** A message as the SDK takes it: SNS calls the body `Message`, SQS `MessageBody`. */
export interface Outgoing {
  readonly body: string;
  readonly attributes?: Record<string, Attribute>;
  /** Bytes that count against the limit. */
  readonly size: number;
}

/** A message as SQS delivers it. */
export interface Incoming {
  readonly Body?: string | undefined;
  readonly MessageAttributes?: Record<string, Attribute> | undefined;
  readonly Attributes?: { readonly ApproximateReceiveCount?: string } | undefined;
}

/** A message that was read. */
export interface Content {
  readonly label: Label;
  readonly body: string;
  /** The ARN of the topic, when it came in an envelope. */
  readonly topicArn?: string;
}

/**
 * Makes a message; `doing` completes "Cannot …".
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
  return new ProviderError("too_large", `Cannot ${doing}: ${size} bytes, but SNS and SQS take ${limit}`);
}

/** Reads a message: one of ours, an envelope of SNS around one, or anything else. */
export function read(message: Incoming): Content {
  const body = message.Body ?? "";
  const value = message.MessageAttributes?.[ATTRIBUTE]?.StringValue;
  if (value !== undefined) return open(body, value);
  const envelope = body.startsWith("{") ? parse(body) : undefined;
  if (!isEnvelope(envelope)) return { label: {}, body };
  const inner = envelope.MessageAttributes?.[ATTRIBUTE]?.Value;
  const content = inner === undefined ? { label: {}, body: envelope.Message } : open(envelope.Message, inner);
  return { ...content, topicArn: envelope.TopicArn };
}

/** Reads an item of a named queue, which is nobody's envelope: its body, and the number of the attempt that it is delivered for. */
export function readItem(message: Incoming): { readonly body: string; readonly attempt: number } {
  const value = message.MessageAttributes?.[ATTRIBUTE]?.StringValue;
  const { body, label } = open(message.Body ?? "", value ?? "{}");
  const { attempts = 0 } = label;
  const before = Number.isSafeInteger(attempts) && attempts > 0 ? attempts : 0;
  return { body, attempt: before + Number(message.Attributes?.ApproximateReceiveCount ?? 1) };
}

/** The message of an item that was taken, as if it had not been: all that it was, and the attempts that were made before. */
export function untaken(message: Incoming): Outgoing {
  const { Body: body = "", MessageAttributes: before = {} } = message;
  const label = { ...parse(before[ATTRIBUTE]?.StringValue ?? "{}") as Label, attempts: readItem(message).attempt - 1 };
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
  const given = parse(value) as Label | undefined;
  if (typeof given !== "object" || given === null) return { label: {}, body };
  if (given.topic !== undefined && typeof given.topic !== "string") return { label: {}, body };
  const text = given.json ? parse(body) : body;
  return typeof text === "string" ? { label: given, body: text } : { label: {}, body };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Escapes what is not ASCII in a JSON text. */
function ascii(json: string): string {
  return json.replace(/[\x7f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
