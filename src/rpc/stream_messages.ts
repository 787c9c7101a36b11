/**
 * The messages of a stream: values from the server to the caller, and credit from the caller to the server.
 *
 * @module
 */
import type { Written } from "../codec/codec.ts";
import { marksOfAll, writeMarks } from "../codec/marks.ts";
import { ValidationError } from "../errors.ts";
import { isCount } from "../internal/arguments.ts";

/** The tag of a message with values. */
export const VALUES = "tsmq:values";
/** The tag of a message with credit. */
export const CREDIT = "tsmq:credit";

/** The number of values that a server may send before their caller has taken them. */
export const MAX_AHEAD = 256;
/**
 * The number of characters of the values that a server may send before their caller has taken them. The last value may exceed it, so that
 * one value of any size can be sent.
 */
export const MAX_AHEAD_SIZE: number = 64 * 1024;

/** The end of a stream. */
export interface StreamEnd {
  /** The error of the served function, as in an answer. */
  readonly error?: { readonly type: string; readonly args: readonly unknown[]; readonly stack?: string };
  /** Whether the server has given up the stream. */
  readonly lost?: true;
}

/** Values of a stream: `[id, first, values, end]`. The values are numbered from 0; the end has the number after the last value. */
export interface StreamValues {
  readonly id: string;
  /** The number of the first value. Without values and end, it is the number of values that the server has sent. */
  readonly first: number;
  readonly values: readonly unknown[];
  readonly end?: StreamEnd;
}

/** Credit of a caller: `[id, taken, received]`. */
export interface StreamCredit {
  readonly id: string;
  /** The number of values that the reader has taken. */
  readonly taken: number;
  /** The number of values that have arrived, if later ones may be lost. The server sends those again. */
  readonly received?: number;
}

/** Writes a message with values. `end` is JSON. */
export function writeValues(id: string, first: number, values: readonly Written[], end?: string): string {
  const texts = values.map(({ json }) => json);
  const marks: string[] = [];
  let left = 0;
  values.forEach(({ json, mark, missing = 0 }, i) => {
    if (mark !== undefined) marks[i] = mark;
    left += json.length - missing;
  });
  const mark = marksOfAll(marks, texts, left >= 0);
  const rest = end === undefined ? "" : `,${end}`;
  // the id comes from the wire
  return `{"__obj":[${JSON.stringify(id)},${first},[${texts}]${rest}],"__type":"${VALUES}"}` +
    writeMarks(mark && `{"__obj":{"2":${mark}}}`);
}

/** Reads a message with values. Returns undefined if it is malformed. */
export function readValues(value: unknown): StreamValues | undefined {
  if (!Array.isArray(value)) return undefined;
  const [id, first, values, end] = value;
  if (typeof id !== "string" || !isCount(first) || !Array.isArray(values)) return undefined;
  return end === undefined ? { id, first, values } : isEnd(end) ? { id, first, values, end } : undefined;
}

/** Writes a message with credit. */
export function writeCredit({ id, taken, received }: StreamCredit): string {
  const rest = received === undefined ? "" : `,${received}`;
  return `{"__obj":[${JSON.stringify(id)},${taken}${rest}],"__type":"${CREDIT}"}`;
}

/** Reads a message with credit. Returns undefined if it is malformed. */
export function readCredit(value: unknown): StreamCredit | undefined {
  if (!Array.isArray(value)) return undefined;
  const [id, taken, received] = value;
  if (typeof id !== "string" || !isCount(taken)) return undefined;
  return received === undefined ? { id, taken } : isCount(received) ? { id, taken, received } : undefined;
}

/** Creates the error of a malformed message. */
export function malformed(): ValidationError {
  return new ValidationError("Cannot read a message of a stream: it is malformed");
}

function isEnd(value: unknown): value is StreamEnd {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const { error, lost } = value as Partial<Record<keyof StreamEnd, unknown>>;
  if (lost !== undefined && lost !== true) return false;
  if (error === undefined) return true;
  if (typeof error !== "object" || error === null) return false;
  const { type, args, stack } = error as { type?: unknown; args?: unknown; stack?: unknown };
  return typeof type === "string" && Array.isArray(args) && (stack === undefined || typeof stack === "string");
}
