/**
 * The guard between a socket and ioredis' parser.
 *
 * @module
 */
import type { Redis } from "ioredis";
import type { Buffer } from "node:buffer";

/** Parses the next bytes of a stream. */
export type Parse = (bytes: Buffer) => void;

/**
 * Wraps ioredis' parser on a new connection that has received nothing yet. That parser accepts any number as a length, and an error
 * that it throws would end the program.
 *
 * @param onError receives the error that the parser throws
 * @param wrap returns the parser that receives the bytes first
 */
export function guardParser(
  { stream }: Redis,
  onError: (error: unknown) => void,
  wrap = (parse: Parse): Parse => parse,
): void {
  const [own] = stream.listeners("data") as Parse[];
  if (!own) return;
  const parse = wrap(own);
  stream.off("data", own);
  stream.prependListener("data", (bytes: Buffer) => {
    try {
      parse(bytes);
    } catch (error) {
      onError(error);
    }
  });
}
