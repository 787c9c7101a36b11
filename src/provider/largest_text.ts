/**
 * The largest text that a bus reads, where the size of texts is checked before they cost memory or time.
 *
 * @module
 */

/**
 * The number of bytes that may be around a body: the headers (up to 64 KiB), a signature, and the Base64 of an encrypted body with them.
 */
const AROUND = 3 * 65_536;

/**
 * Returns the largest number of bytes of a text that a bus reads. A text within this limit is read even if its body exceeds `maxReceive`;
 * the core then dead-letters it.
 */
export function largestText(maxReceive: number): number {
  return 2 * maxReceive + AROUND;
}
