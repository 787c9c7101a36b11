/**
 * The bytes of paths and names.
 *
 * @module
 */

/** The largest number of bytes of a path, with the byte 0 at its end, as in the kernel. */
export const PATH_BYTES = 4_096;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** Encodes a path, or the name of a queue, for system calls. */
export function encodePath(path: string): Uint8Array {
  return encoder.encode(`${path}\0`);
}

/** Encodes a path into a buffer, because a new array takes more time than many system calls. A longer path gets a new array. */
export function writePath(path: string, buffer: Uint8Array): Uint8Array {
  const text = `${path}\0`;
  return encoder.encodeInto(text, buffer).read === text.length ? buffer : encoder.encode(text);
}

/** Decodes a name. Returns undefined if it is not UTF-8: no path that is made of such a name would exist. */
export function decodeName(bytes: Uint8Array): string | undefined {
  const name = decoder.decode(bytes);
  // invalid bytes are decoded to U+FFFD
  return name.includes("\ufffd") && !isSame(encoder.encode(name), bytes) ? undefined : name;
}

function isSame(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && one.every((byte, i) => byte === other[i]);
}
