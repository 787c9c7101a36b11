/**
 * The text of a dead letter.
 *
 * @module
 */
import { readMarks, writeMarks } from "../codec/marks.ts";
import { BusError, ValidationError } from "../errors.ts";
import { isA } from "../internal/thrown.ts";

/** The fields of a dead letter other than its item. */
export interface LetterFields {
  /** The name of the queue that delivered the item. */
  readonly queue: string;
  /** The number of attempts that the item had in its queue. `attempt` of `peek` or of a lease counts those of the dead letter itself. */
  readonly attempts: number;
  /** The error of the last attempt. */
  readonly cause: { readonly name: string; readonly message: string };
  /** The time at which the item became a dead letter, in milliseconds since 1970. Older versions of tsmq wrote none. */
  readonly time?: number;
}

/** A dead letter whose item could be read. */
export interface ReadableLetter<T = unknown> extends LetterFields {
  /** The item as it was put: the input of the queue's schema, not its output. */
  readonly item: T;
  /** Always absent, because the item could be read. */
  readonly unreadable?: undefined;
}

/** A dead letter whose item could not be read, or was not read because it had killed the processes that read it. */
export interface UnreadableLetter extends LetterFields {
  /** The body of the item. */
  readonly item: string;
  /** Always true, because the item could not be read. */
  readonly unreadable: true;
}

/**
 * An item of a dead-letter queue: the item as it was put, or its body if it could not be read. It contains the time at which the item became
 * a dead letter, not that at which it was put. Put that one into the item or into a header, which the dead letter keeps.
 */
export type DeadLetter<T = unknown> = ReadableLetter<T> | UnreadableLetter;

/** Returns whether an item of a dead-letter queue is a letter. Every client can put anything there. */
function isLetter(value: unknown): value is DeadLetter {
  if (typeof value !== "object" || value === null) return false;
  const { queue, attempts, cause, item, unreadable } = value as Partial<Record<keyof DeadLetter, unknown>>;
  if (typeof queue !== "string" || typeof attempts !== "number" || typeof cause !== "object") return false;
  const { name, message } = (cause ?? {}) as Partial<Record<keyof DeadLetter["cause"], unknown>>;
  if (typeof name !== "string" || typeof message !== "string") return false;
  return unreadable === undefined || (unreadable === true && typeof item === "string");
}

/**
 * Returns the letter that the value of a body is.
 *
 * @throws {ValidationError} when the value is not a letter
 */
export function letterIn(value: unknown, body: string): DeadLetter {
  if (!isLetter(value)) {
    throw new ValidationError("Cannot read a dead letter: the item is not a dead letter of tsmq", [], { body });
  }
  // not its other fields: every client can put anything there, at any depth
  const { queue, attempts, cause: { name, message }, item, unreadable } = value;
  const time = timeOf(value);
  const read = { queue, attempts, cause: { name, message }, item };
  return { ...read, ...unreadable && { unreadable }, ...time !== undefined && { time } } as DeadLetter;
}

/** Returns the time of a letter, which any client may have written. Returns undefined for a time that no `Date` can have. */
function timeOf({ time }: DeadLetter): number | undefined {
  return typeof time === "number" && !Number.isNaN(new Date(time).getTime()) ? time : undefined;
}

/** Writes a dead letter. Its item is the body of the item, or a string with that body if it is not `readable`. */
export function writeLetter(
  queue: string,
  body: string,
  readable: boolean,
  attempts: number,
  cause: DeadLetter["cause"],
  time: number = Date.now(),
): string {
  // the item as it was put, because a schema or a handler may have changed it into a value that cannot be sent
  const text = readable ? body : JSON.stringify(body);
  const item = readable ? readMarks(body) : undefined;
  return `${prefixOf(queue)}${text},"attempts":${attempts}${readable ? "" : ',"unreadable":true'},"cause":${
    JSON.stringify(cause)
  },"time":${time}}${writeMarks(item && JSON.stringify({ item }))}`;
}

/** Returns the body of the item of a letter, as it was put; undefined if the letter is not one of this queue. */
export function itemOf(letter: string, queue: string): string | undefined {
  const prefix = prefixOf(queue);
  // the name and the message after it are strings, in which each quote has a backslash
  const end = letter.lastIndexOf(',"attempts":');
  if (!letter.startsWith(prefix) || end < prefix.length) return undefined;
  const item = letter.slice(prefix.length, end);
  if (!/^,"attempts":\d+,"unreadable":true,/.test(letter.slice(end, end + 64))) return item;
  try {
    const body: unknown = JSON.parse(item);
    return typeof body === "string" ? body : undefined;
  } catch {
    return undefined;
  }
}

function prefixOf(queue: string): string {
  return `{"queue":${JSON.stringify(queue)},"item":`;
}

/** Returns whether the error means that a letter is longer than the engine or the transport allows. */
export function tooLong(error: unknown): boolean {
  return isA(error, RangeError) || (isA(error, BusError) && error.code === "too_large");
}
