/**
 * The guard between a socket and ioredis' parser.
 *
 * @module
 */
import type { Redis } from "ioredis";
import { Buffer } from "node:buffer";

/** Parses the next bytes of a stream. */
export type Parse = (bytes: Buffer) => void;

/**
 * The largest number of elements that lists may announce before they arrive. ioredis' parser reserves 8 bytes for each, and lists can be
 * nested. No reply to tsmq has as many.
 */
const MAX_MISSING = 1_048_576;

/** The largest number of bytes of a line whose end has not arrived. Redis sends long texts with a length in front of them. */
export const MAX_LINE = 65_536;

const [CR, TEXT, LIST, ZERO] = [0x0d, 0x24, 0x2a, 0x30]; // "\r", "$", "*", "0"

/**
 * Wraps ioredis' parser on a new connection that has received nothing yet. That parser accepts any number as a length, and an error
 * that it throws would end the program. After an error, the connection is destroyed.
 *
 * @param onError receives the error before the connection is destroyed
 * @param wrap returns the parser that receives the bytes first
 */
export function guardParser(
  { stream }: Redis,
  onError: (error: unknown) => void = () => {},
  wrap = (parse: Parse): Parse => parse,
): void {
  const [own] = stream.listeners("data") as Parse[];
  if (!own) return;
  const lengths = new Lengths();
  let line: Buffer[] = [];
  let size = 0;
  const parse = wrap((bytes) => {
    const end = lengths.check(bytes);
    if (end > 0) {
      own(size > 0 ? Buffer.concat([...line, bytes.subarray(0, end)]) : bytes.subarray(0, end));
      line = [];
      size = 0;
    }
    if (end === bytes.length) return;
    // ioredis' parser would copy a line again for each chunk of it
    line.push(Buffer.from(bytes.subarray(end)));
    size += bytes.length - end;
    if (size > MAX_LINE) throw new Error("a reply has a line without an end: the connection is out of step");
  });
  stream.off("data", own);
  stream.prependListener("data", (bytes: Buffer) => {
    try {
      parse(bytes);
    } catch (error) {
      onError(error);
      stream.destroy();
    }
  });
}

/** Follows the lengths in the replies of one connection, as ioredis' parser reads them. */
export class Lengths {
  /** The number of announced elements that have not arrived, in all lists that are incomplete. */
  #missing = 0;
  /** The type of the element whose first line is incomplete, and the length in that line. */
  #type = 0;
  #length = 0;
  /** The number of bytes before the rest of that line, or before the next element. */
  #skip = 0;

  /**
   * Reads the next bytes of the stream. Returns the number of those before a line whose end has not arrived: 0 if an earlier call has read
   * its beginning.
   *
   * @throws {Error} when lists announce too many elements
   */
  check(bytes: Uint8Array): number {
    const size = bytes.length;
    let start = size;
    let at = this.#skip;
    let type = this.#type;
    let length = this.#length;
    let missing = this.#missing;
    while (at < size) {
      start = type === 0 ? at : 0;
      if (type === 0) {
        type = bytes[at++]!;
        length = 0;
      }
      let byte = 0;
      while (at < size && (byte = bytes[at++]!) !== CR) length = length * 10 + byte - ZERO;
      if (byte !== CR) break;
      at++; // the line feed
      if (missing > 0) missing--;
      if (type === TEXT && length >= 0) at += length + 2;
      else if (type === LIST && length > 0 && (missing += length) > MAX_MISSING) {
        throw new Error("a reply announces more elements than any reply has: the connection is out of step");
      }
      type = 0;
      start = size;
    }
    this.#skip = Math.max(0, at - size);
    this.#type = type;
    this.#length = length;
    this.#missing = missing;
    return start;
  }
}
