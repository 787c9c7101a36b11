/**
 * JSON of a known form that anybody may have written. The engines' hashes of strings are public, so a few thousand names that collide cost
 * seconds.
 *
 * @module
 */

/** Matches the next string of a JSON text. */
const STRING = /[^"]*"[^"\\]*(?:\\.[^"\\]*)*"/sy;

/** Parses JSON. Returns undefined if it is malformed, or has more strings than `most`. */
export function parseSmall(text: string, most: number): unknown {
  let strings = 0;
  for (STRING.lastIndex = 0; STRING.test(text);) if (++strings > most) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
