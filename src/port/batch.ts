/**
 * The packing of bodies for the port. On Bun, one long string costs a quarter of many short strings. On Deno, both cost the same.
 *
 * @module
 */

/** The separator of joined bodies, which JSON never contains. A batch with a body that contains it is posted as a list. */
const BETWEEN = "\0";

/** Joins bodies into the value that is posted in their place. */
export function pack(bodies: string[]): string | string[] {
  return bodies.length < 2 || bodies.some((body) => body.includes(BETWEEN)) ? bodies : bodies.join(BETWEEN);
}

/** Returns the bodies of a posted value. Those that outlive the turn must be copied (`ownText`): each may refer to the whole text. */
export function unpack(packed: string | string[]): string[] {
  return typeof packed === "string" ? packed.split(BETWEEN) : packed;
}
