/**
 * Between a socket and ioredis' parser.
 *
 * @module
 */
import type { Redis } from "ioredis";
import type { Buffer } from "node:buffer";

/** Takes bytes. */
export type Feed = (bytes: Buffer) => void;

/**
 * Takes the place of ioredis' parser on a new connection that has not said anything yet: that parser takes any length for one, and
 * what it throws would end the program.
 *
 * @param broken is told what it throws
 * @param before makes what gets the bytes ahead of it
 */
export function guard(
  { stream }: Redis,
  broken: (error: unknown) => void,
  before = (parse: Feed): Feed => parse,
): void {
  const [parse] = stream.listeners("data") as Feed[];
  if (!parse) return;
  const feed = before(parse);
  stream.off("data", parse);
  stream.prependListener("data", (bytes: Buffer) => {
    try {
      feed(bytes);
    } catch (error) {
      broken(error);
    }
  });
}
