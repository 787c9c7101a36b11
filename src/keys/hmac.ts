/**
 * HMAC-SHA-256 with one key (RFC 2104), and keys that are derived from another one. The states of the two hashes after the key are
 * computed once and copied for each message. For 150 bytes that takes 1.4 µs on Deno and 0.9 µs on Bun; `createHmac` takes 3.3 and 0.8,
 * and `@noble/hashes`, with its states copied too, 1.8 and 1.9.
 *
 * @module
 */
import { createHash, type Hash, hkdfSync } from "node:crypto";

/** The number of bytes in a block of SHA-256. */
const BLOCK = 64;
/** The number of bytes of a SHA-256. */
const DIGEST = 32;

/** Computes HMACs with one key. */
export class Hmac {
  readonly #inner: Hash;
  readonly #outer: Hash;

  /** Creates the HMAC of a key of at most 64 bytes. */
  constructor(key: Uint8Array) {
    this.#inner = keyed(key, 0x36);
    this.#outer = keyed(key, 0x5c);
  }

  /** Returns the HMAC of a text, in hexadecimal digits: on Deno, a digest as a `Buffer` takes longer than both hashes. */
  of(text: string): string {
    const digest = this.#inner.copy().update(text, "utf8").digest("hex");
    return this.#outer.copy().update(bytesOf(digest)).digest("hex");
  }
}

const bytes = new Uint8Array(DIGEST);

/** Converts the hexadecimal digits of a digest to bytes, which are valid until the next call. */
function bytesOf(hex: string): Uint8Array {
  for (let i = 0; i < DIGEST; i++) bytes[i] = digit(hex.charCodeAt(2 * i)) << 4 | digit(hex.charCodeAt(2 * i + 1));
  return bytes;
}

/** Returns the value of a digit: 0 to 9 have the codes 48 to 57, and a to f the codes 97 to 102. */
function digit(code: number): number {
  return code < 97 ? code - 48 : code - 87;
}

/** Returns the state of a hash after its first block, which is the key with each byte changed by `pad`. */
function keyed(key: Uint8Array, pad: number): Hash {
  const block = new Uint8Array(BLOCK).fill(pad);
  for (const [i, byte] of key.entries()) block[i] = byte ^ pad;
  return createHash("sha256").update(block);
}

/** Derives a key of 32 bytes from a secret, by HKDF with SHA-256 (RFC 5869). */
export function derive(secret: Uint8Array, info: string, salt = ""): Uint8Array {
  return new Uint8Array(hkdfSync("sha256", secret, salt, info, DIGEST));
}

/** Compares two texts. The time depends on their lengths only, so it does not reveal how much of a forged one is right. */
export function equal(one: string, other: string): boolean {
  if (one.length !== other.length) return false;
  let difference = 0;
  for (let i = 0; i < one.length; i++) difference |= one.charCodeAt(i) ^ other.charCodeAt(i);
  return difference === 0;
}
