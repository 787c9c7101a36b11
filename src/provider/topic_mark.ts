/**
 * The topic of a stored event, written in front of its body, for queues that store only bodies. A NUL character is on both sides of the
 * topic. No topic contains one, and no JSON begins with one.
 *
 * @module
 */

import { ProviderError } from "../errors.ts";

/** The largest number of characters of the topic. Other peers can write such an item, and matching its topic takes time. */
export const MAX_TOPIC = 16_384;

/**
 * Returns a body with the topic in front, if there is one.
 *
 * @throws {ProviderError} when the topic is too long for a reader
 */
export function writeTopic(body: string, topic?: string): string {
  if (topic !== undefined && topic.length > MAX_TOPIC) {
    const why = `its topic has ${topic.length} characters, and the limit is ${MAX_TOPIC}`;
    throw new ProviderError("too_large", `Cannot store an event for a group: ${why}`);
  }
  if (topic !== undefined) return `\0${topic}\0${body}`;
  return body.charCodeAt(0) === 0 ? `\0\0${body}` : body;
}

/**
 * Returns the body of an item, and its topic if it has one. If the topic is too long, it is returned as a part of the body, so that the
 * body cannot be decoded.
 */
export function readTopic(text: string): { readonly body: string; readonly topic?: string } {
  const end = text.charCodeAt(0) === 0 ? text.indexOf("\0", 1) : -1;
  if (end < 0 || end - 1 > MAX_TOPIC) return { body: text };
  const body = text.slice(end + 1);
  return end === 1 ? { body } : { body, topic: text.slice(1, end) };
}
