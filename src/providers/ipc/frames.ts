/**
 * What is in a kernel message.
 *
 * - To a bus of ours: `\x01`, a line of lengths, then the texts one after the other. Each event has `topic:body`, where
 *   the topic's length is left out if it is that of the event before, and an `@` before the body's says that the text
 *   names a file (`bodies.ts`) with both. Lengths count UTF-16 units, so that one decoding does for all.
 * - The file of an event: a line with the topic's length, then topic and body.
 * - To PyMQ: its `IpcEvent` as JSON, one event a message.
 * - An item: its text as it is, as PyMQ has it, with its mark (`attempts.ts`) if it came back. `\x02` and the name of a file where
 *   it is too large; `\x03` before a text that begins like one of these.
 *
 * @module
 */
import { unmark } from "../../provider/delivery_mark.ts";

const BATCH = "\x01";
const FILE = "\x02";
const TEXT = "\x03";

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** Bytes of a batch that its first byte and its line's end take. */
export const BATCH_BYTES = 2;
/** Bytes of an event's lengths at most: two numbers below 100,000 and three signs. */
export const LENGTHS_BYTES = 13;
/** Bytes of the name of a file. */
const NAME_BYTES = 36;
/** Bytes of an event at most that lies in a file. */
export const LARGE_BYTES: number = LENGTHS_BYTES + NAME_BYTES;

/** One event on its way. */
export interface Frame {
  /** Empty if there is a file. */
  readonly topic: string;
  /** The body, or the name of the file with topic and body. */
  readonly body: string;
  readonly file: boolean;
}

/** Writes events into a message; the number of its bytes. */
export function writeBatch(frames: readonly Frame[], message: Uint8Array): number {
  let lengths = "";
  let texts = "";
  let last: string | undefined;
  for (const { topic, body, file } of frames) {
    if (topic !== last) texts += topic;
    lengths += `${topic === last ? "" : topic.length}:${file ? "@" : ""}${body.length},`;
    texts += body;
    last = topic;
  }
  return encoder.encodeInto(`${BATCH}${lengths}\n${texts}`, message).written;
}

/** The events of a message from us or from PyMQ; undefined for garbage. */
export function readEvents(message: Uint8Array): Frame[] | undefined {
  const text = decoder.decode(message);
  return text.startsWith(BATCH) ? readBatch(text) : readPymq(text);
}

function readBatch(text: string): Frame[] | undefined {
  let at = text.indexOf("\n") + 1;
  const lengths = text.slice(1, at - 1).split(",");
  if (at === 0 || lengths.pop() !== "") return undefined;
  const frames: Frame[] = [];
  let topic: string | undefined;
  for (const pair of lengths) {
    const match = /^(\d{0,5}):(@?)(\d{1,5})$/.exec(pair);
    if (!match) return undefined;
    if (match[1] !== "") topic = text.slice(at, at += Number(match[1]));
    if (topic === undefined) return undefined;
    frames.push({ topic, body: text.slice(at, at += Number(match[3])), file: match[2] === "@" });
  }
  return at === text.length ? frames : undefined;
}

/** What the file of an event holds that is too large for a message. */
export function writeLarge(topic: string, body: string): string {
  return `${topic.length}\n${topic}${body}`;
}

/** The event of a file; undefined for garbage. */
export function readLarge(text: string): Frame | undefined {
  const length = /^(\d{1,15})\n/.exec(text);
  if (!length) return undefined;
  const at = length[0].length;
  const end = at + Number(length[1]);
  if (end > text.length) return undefined;
  return { topic: text.slice(at, end), body: text.slice(end), file: false };
}

/** Writes an event for PyMQ. */
export function writePymq(topic: string, body: string): Uint8Array {
  return encoder.encode(JSON.stringify({ __obj: [0, topic, body], __type: "pymq.provider.ipc.IpcEvent" }));
}

function readPymq(text: string): Frame[] | undefined {
  try {
    const { __obj: event, __type: type } = JSON.parse(text);
    if (type !== "pymq.provider.ipc.IpcEvent" || !Array.isArray(event)) return undefined;
    const [kind, topic, body] = event;
    if (kind !== 0 || typeof topic !== "string" || typeof body !== "string") return undefined;
    return [{ topic, body, file: false }];
  } catch {
    return undefined;
  }
}

/** An item as a message: as it is, or by the name of its file. */
export function writeItem(item: string, file: boolean): Uint8Array {
  const first = item.charCodeAt(0);
  const prefix = file ? FILE : first >= 1 && first <= 3 ? TEXT : "";
  return encoder.encode(prefix + item);
}

/** The item of a message, or the name of its file; and how often it was delivered before. */
export function readItem(
  message: Uint8Array,
): { readonly text: string; readonly file: boolean; readonly deliveries: number } {
  const { body, deliveries } = unmark(decoder.decode(message));
  const file = body.startsWith(FILE);
  return { text: file || body.startsWith(TEXT) ? body.slice(1) : body, file, deliveries };
}
