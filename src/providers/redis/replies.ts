/**
 * What replies must be. RESP has no checksum: bytes that were altered on the way may still be a reply, and one too many or too few
 * gives each later command the reply of another. One that its command cannot have says that the connection is out of step.
 *
 * @module
 */
import { Buffer } from "node:buffer";

/** Milliseconds between PINGs, which show whether a server still answers, and answers what it was asked. */
export const PING = 2_500;

/** Reads the reply that is due, of numbers, buffers, null and arrays of them; throws where it is another. */
export type Reads<T> = (reply: unknown) => T;

/** What anything else is refused with. */
function other(due: string): Error {
  return new Error(`the reply is not ${due}: the connection is out of step`);
}

/** A whole number. */
export function integer(reply: unknown): number {
  if (Number.isInteger(reply)) return reply as number;
  throw other("a whole number");
}

/** How many. */
export function count(reply: unknown): number {
  if (Number.isSafeInteger(reply) && (reply as number) >= 0) return reply as number;
  throw other("a count");
}

/** Bytes, as UTF-8. */
export function text(reply: unknown): string {
  if (Buffer.isBuffer(reply)) return reply.toString();
  throw other("a text");
}

/** An array, of so many if that is known. */
export function array(reply: unknown, length?: number): unknown[] {
  if (Array.isArray(reply) && (length ?? reply.length) === reply.length) return reply;
  throw other(`an array${length === undefined ? "" : ` of ${length}`}`);
}

/** An array of texts. */
export function texts(reply: unknown): string[] {
  return array(reply).map(text);
}

/** INFO: names and values. */
export function info(reply: unknown): Map<string, string> {
  return new Map(
    text(reply).split(/\r?\n/).flatMap((line) => {
      const [, name, value] = /^(\w+):(.*)$/.exec(line) ?? [];
      return name ? [[name, value!] as const] : [];
    }),
  );
}

/** This very text. */
export function exactly(due: string): Reads<void> {
  return (reply) => {
    if (text(reply) !== due) throw other(`"${due}"`);
  };
}

/** For each of so many whether it was done. */
export function flags(length: number): Reads<boolean[]> {
  return (reply) => array(reply, length).map((one) => count(one) === 1);
}

/** What PING says, of a connection that has subscribed too. */
export function echo(nonce: string): Reads<void> {
  const due = exactly(nonce);
  return (reply) => due(Array.isArray(reply) ? reply[1] : reply);
}

/** PUBSUB NUMSUB: each of these channels, and how many subscribe to it. */
export function subscribers(channels: readonly string[]): Reads<number[]> {
  return (reply) => {
    const pairs = array(reply, 2 * channels.length);
    return channels.map((channel, i) => {
      exactly(channel)(pairs[2 * i]);
      return count(pairs[2 * i + 1]);
    });
  };
}
