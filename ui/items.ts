/**
 * Converts items and dead letters for the page. A long one is neither decoded nor written again, which may take seconds: the page gets the
 * beginning of its body.
 *
 * @module
 */
import { createHash } from "node:crypto";
import type { Codec } from "../src/codec/codec.ts";
import { userHeaders } from "../src/codec/headers.ts";
import { checkDepth } from "../src/codec/plain.ts";
import { ValidationError } from "../src/errors.ts";
import { isA } from "../src/internal/thrown.ts";
import { ownText } from "../src/internal/utf8.ts";
import { type DeadLetter, itemOf, letterIn } from "../src/queue/letter.ts";
import type { PeekedBody } from "../src/queue/peek.ts";
import type { Item } from "./protocol.ts";

/** The largest number of characters of a text that the page receives, and of a body that is decoded. */
const SHOWN = 65_536;

/** The cause and the time of a dead letter. */
export interface Death {
  readonly cause?: string;
  readonly time?: number;
}

/** Converts a waiting item. */
export function shownItem({ body, headers, attempt, refused }: PeekedBody, codec: Codec): Promise<Item> {
  const shown = { ...text(body), attempts: attempt, headers: userHeaders(headers) };
  return orCause(shown, async () => {
    if (refused) throw refused;
    if (body.length > SHOWN) return shown;
    const { value } = await codec.decode(body);
    return { ...shown, ...text(codec.line(checkDepth(value))) };
  });
}

/** Converts a dead letter. */
export function shownLetter({ body, headers: all, refused }: PeekedBody, codec: Codec): Promise<Item> {
  const headers = userHeaders(all);
  return orCause({ ...text(body), attempts: 0, headers }, async () => {
    if (refused) throw refused;
    const long = body.length > SHOWN;
    const letter = letterIn(long ? codec.plain(body) : (await codec.decode(body)).value, body);
    const { attempts, cause, queue, time } = letter;
    return {
      key: hashOf(body),
      ...text(long ? longItem(letter, body) : letter.unreadable ? letter.item : codec.line(checkDepth(letter.item))),
      attempts,
      headers,
      cause: { name: text(cause.name).text, message: text(cause.message).text },
      queue: text(queue).text,
      time,
    };
  });
}

/** Returns the cause and the time of a dead letter, or why it cannot be read. */
export function deathOf({ body, refused }: PeekedBody, codec: Codec): Death {
  try {
    if (refused) throw refused;
    const { cause: { name, message }, time } = letterIn(codec.plain(body), body);
    return { cause: text(`${name}: ${message}`).text, time };
  } catch (error) {
    const { name, message } = unreadable(error);
    return { cause: `${name}: ${message}` };
  }
}

/** Returns the key of a dead letter for the page, which may not get the whole letter. Equal letters have equal keys. */
export function hashOf(body: string): string {
  return createHash("sha256").update(body).digest("base64url");
}

/** Returns the body of a long letter's item, or the letter's if a foreign client has written its fields in another order. */
function longItem({ item, unreadable, queue }: DeadLetter, body: string): string {
  return unreadable ? item : itemOf(body, queue) ?? body;
}

function text(all: string): Pick<Item, "text" | "cut"> {
  return all.length <= SHOWN ? { text: all } : { text: ownText(all.slice(0, SHOWN)), cut: all.length - SHOWN };
}

/** Resolves with a converted item, or with the one whose body is shown, and the reason why it cannot be read. */
async function orCause(shown: Item, convert: () => Promise<Item>): Promise<Item> {
  try {
    return await convert();
  } catch (error) {
    const { name, message } = unreadable(error);
    return { ...shown, cause: { name, message } };
  }
}

/** Returns the error of an item that cannot be read. Throws any other error. */
function unreadable(error: unknown): ValidationError {
  if (isA(error, ValidationError)) return error;
  throw error;
}
