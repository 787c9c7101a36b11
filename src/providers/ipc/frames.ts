/**
 * The formats of kernel messages.
 *
 * - Events to a tsmq bus: `\x01`, a line of lengths, then the texts. Each event has the lengths `topic:body`. The topic's is left out
 *   if the topic is that of the event before. An `@` in front of the body's means that the text is the name of a file
 *   (`body_files.ts`) with topic and body. No text of a body is empty. Lengths count UTF-16 units, so one decoding serves all texts.
 * - The file of an event: a line with the topic's length, then topic and body.
 * - An event to PyMQ: its `IpcEvent` as JSON, one for each message.
 * - An item: its text, as PyMQ writes it, with its mark (`delivery_mark.ts`) if it came back. `\x02` and the name of a file if it is
 *   too large; `\x03` in front of a text that begins with one of these characters.
 *
 * @module
 */
import { stringIn } from "../../internal/json.ts";
import { ownText } from "../../internal/utf8.ts";
import { unmark } from "../../provider/delivery_mark.ts";

const BATCH = "\x01";
const FILE = "\x02";
const TEXT = "\x03";

/** Matches a string of JSON, which need not be valid. */
const STRING = String.raw`("[^"\\]*(?:\\.[^"\\]*)*")`;
/** Matches an event as PyMQ and {@linkcode writePymq} write it. */
const PYMQ = new RegExp(
  String.raw`^\{"__obj": ?\[0, ?${STRING}, ?${STRING}\], ?"__type": ?"pymq\.provider\.ipc\.IpcEvent"\}$`,
  "s",
);

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** The number of bytes of a batch in addition to its events: the first byte and the end of the line. */
export const BATCH_BYTES = 2;
/** The largest number of bytes of an event's lengths: two numbers of five digits and three other characters. */
export const LENGTHS_BYTES = 13;
/** Bytes of the name of a body file: a UUID. */
const NAME_BYTES = 36;
/** The largest number of bytes of an event whose text is in a file. */
export const LARGE_BYTES: number = LENGTHS_BYTES + NAME_BYTES;

/** One event in a message. */
export interface Frame {
  /** The topic. Empty if the event is in a file. */
  readonly topic: string;
  /** The body, or the name of a file with topic and body. */
  readonly body: string;
  readonly file: boolean;
}

/** Writes events into a message. Returns the number of written bytes. */
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

/** Reads the events of a message. Returns undefined if neither tsmq nor PyMQ has written the message. */
export function readEvents(message: Uint8Array): Frame[] | undefined {
  const text = decoder.decode(message);
  return text.startsWith(BATCH) ? readBatch(text) : readPymq(text);
}

function readBatch(text: string): Frame[] | undefined {
  let at = text.indexOf("\n") + 1;
  const lengths = text.slice(1, at - 1).split(",");
  if (at === 0 || lengths.pop() !== "") return undefined;
  // events of different topics may be held for different times
  const own = lengths.filter((pair) => !pair.startsWith(":")).length > 1 ? ownText : (part: string) => part;
  const frames: Frame[] = [];
  let topic: string | undefined;
  for (const pair of lengths) {
    const match = /^(\d{0,5}):(@?)(\d{1,5})$/.exec(pair);
    if (!match) return undefined;
    if (match[1] !== "") topic = own(text.slice(at, at += Number(match[1])));
    // no body is empty; hostile ones would be many errors in few bytes
    if (topic === undefined || Number(match[3]) === 0) return undefined;
    frames.push({ topic, body: own(text.slice(at, at += Number(match[3]))), file: match[2] === "@" });
  }
  return at === text.length ? frames : undefined;
}

/** Returns the text for the file of a large event. */
export function writeLarge(topic: string, body: string): string {
  return `${topic.length}\n${topic}${body}`;
}

/** Reads the text of the file of a large event. Returns undefined if tsmq has not written it. */
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
  const [topic, body] = (PYMQ.exec(text) ?? []).slice(1).map(stringIn);
  return topic === undefined || body === undefined ? undefined : [{ topic, body, file: false }];
}

/** Returns the message of an item. `item` is its text or, with `file`, the name of its file. */
export function writeItem(item: string, file: boolean): Uint8Array {
  const first = item.charCodeAt(0);
  const prefix = file ? FILE : first >= 1 && first <= 3 ? TEXT : "";
  return encoder.encode(prefix + item);
}

/** Reads the message of an item. Returns its text or the name of its file, and the number of earlier deliveries. */
export function readItem(
  message: Uint8Array,
): { readonly text: string; readonly file: boolean; readonly deliveries: number } {
  const { body, deliveries } = unmark(decoder.decode(message));
  const file = body.startsWith(FILE);
  return { text: file || body.startsWith(TEXT) ? body.slice(1) : body, file, deliveries };
}
