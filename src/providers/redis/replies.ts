/**
 * Readers that check the type of a reply. RESP has no checksum: bytes that changed in transit may still parse as a reply, and after one
 * reply too many or too few, each later command receives the reply of another. A reply that does not fit its command reveals this.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { utf8 } from "../../internal/utf8.ts";
import type { WaitingItem } from "../../provider/parts.ts";
import { readTopic } from "../../provider/topic_mark.ts";

/** Milliseconds between PINGs. They show whether the server still answers, and whether its answers fit the commands. */
export const PING = 2_500;

/**
 * Converts a reply (numbers, buffers, null, and arrays of them) to its value. `Client.call` also passes the arguments of the command.
 * Throws if the reply has another type.
 */
export type ReplyReader<T> = (reply: unknown, args?: readonly string[]) => T;

function mismatch(expected: string): Error {
  return new Error(`the reply is not ${expected}: replies no longer match commands`);
}

/** Reads a whole number. */
export function integer(reply: unknown): number {
  if (Number.isInteger(reply)) return reply as number;
  throw mismatch("a whole number");
}

/** Reads a count: a whole number of at least 0. */
export function count(reply: unknown): number {
  if (Number.isSafeInteger(reply) && (reply as number) >= 0) return reply as number;
  throw mismatch("a count");
}

/** Reads a string of UTF-8. */
export function text(reply: unknown): string {
  if (Buffer.isBuffer(reply)) return utf8(reply);
  throw mismatch("a text");
}

/** Reads an array. */
export function array(reply: unknown): unknown[] {
  if (Array.isArray(reply)) return reply;
  throw mismatch("an array");
}

/** Reads an array of this length. */
export function arrayOf(length: number, reply: unknown): unknown[] {
  if (Array.isArray(reply) && reply.length === length) return reply;
  throw mismatch(`an array of ${length}`);
}

/** Reads an array of strings. */
export function texts(reply: unknown): string[] {
  return array(reply).map(text);
}

/** Reads pairs of strings. */
export function pairs(reply: unknown): [name: Buffer, value: Buffer][] {
  const parts = array(reply);
  if (parts.length % 2 !== 0 || !parts.every(Buffer.isBuffer)) throw mismatch("pairs");
  return Array.from({ length: parts.length / 2 }, (_, i) => [parts[2 * i]!, parts[2 * i + 1]!]);
}

/** Returns a reader of the reply to SCAN or HSCAN: the cursor of the next page, and the elements of this one. */
export function page<T>(read: ReplyReader<T>): ReplyReader<{ readonly next: string; readonly elements: T }> {
  return (reply) => {
    const [next, elements] = arrayOf(2, reply);
    return { next: text(next), elements: read(elements) };
  };
}

/** Reads the reply to INFO: names and values. */
export function info(reply: unknown): Map<string, string> {
  return new Map(
    text(reply).split(/\r?\n/).flatMap((line) => {
      const [, name, value] = /^(\w+):(.*)$/.exec(line) ?? [];
      return name ? [[name, value!] as const] : [];
    }),
  );
}

/** Returns a reader that accepts only this string. */
export function exactly(expected: string): ReplyReader<void> {
  return (reply) => {
    if (text(reply) !== expected) throw mismatch(`"${expected}"`);
  };
}

/** Returns a reader of an array of this many flags, 1 for true. */
export function flags(length: number): ReplyReader<boolean[]> {
  return (reply) => arrayOf(length, reply).map((flag) => count(flag) === 1);
}

/** Returns a reader of the reply to PING with this nonce, also on a connection that has subscribed. */
export function echo(nonce: string): ReplyReader<void> {
  const read = exactly(nonce);
  return (reply) => read(Array.isArray(reply) ? reply[1] : reply);
}

/** Returns a reader of the reply to PUBSUB NUMSUB: the number of subscribers of each of these channels. */
export function subscribers(channels: readonly string[]): ReplyReader<number[]> {
  return (reply) => {
    const pairs = arrayOf(2 * channels.length, reply);
    return channels.map((channel, i) => {
      exactly(channel)(pairs[2 * i]);
      return count(pairs[2 * i + 1]);
    });
  };
}

/** Reads items that wait: pairs of an attempt and a body. */
export function waiting(reply: unknown): WaitingItem[] {
  const parts = array(reply);
  if (parts.length % 2 !== 0) throw mismatch("pairs");
  return Array.from({ length: parts.length / 2 }, (_, i) => (
    { attempt: count(parts[2 * i]), ...readTopic(text(parts[2 * i + 1])) }
  ));
}

/** Reads the numbers of waiting, leased and delayed items. */
export function stats(reply: unknown): { waiting: number; leased: number; delayed: number } {
  const [waiting, leased, delayed] = arrayOf(3, reply).map(count) as [number, number, number];
  return { waiting, leased, delayed };
}
