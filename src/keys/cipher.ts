/**
 * Encryption with AES-256-GCM. Each bus encrypts with its own key, which is derived from the shared key and a random session id. A
 * counter is the nonce, so no nonce is ever used twice with one key.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createCipheriv, createDecipheriv } from "node:crypto";
import { LimitedTextMap } from "../internal/caches.ts";
import { utf8 } from "../internal/utf8.ts";
import { derive } from "./hmac.ts";

/** The number of sessions whose keys are cached. */
const MAX_SESSIONS = 1_024;
/** The number of bytes of the tag behind an encrypted text. */
const TAG = 16;

/** Encrypts and decrypts with the keys of the sessions of one secret. */
export class Cipher {
  readonly #source: Uint8Array;
  readonly #sessions = new LimitedTextMap<Uint8Array>(MAX_SESSIONS);

  /** Creates a cipher. `source` is the key that the keys of all sessions are derived from. */
  constructor(source: Uint8Array) {
    this.#source = source;
  }

  /**
   * Encrypts a text, and returns the result in base64. `context` is a text that the reader must have too. Each `count` may be used once in
   * a session.
   */
  encrypt(text: string, context: string, session: string, count: number): string {
    const key = this.#key(session);
    this.#keep(session, key);
    const cipher = createCipheriv("aes-256-gcm", key, nonce(count));
    cipher.setAAD(Buffer.from(context, "utf8"));
    return Buffer.concat([cipher.update(text, "utf8"), cipher.final(), cipher.getAuthTag()]).toString("base64");
  }

  /** Decrypts a text. Returns undefined if the text, its context, its session or its count was altered. */
  decrypt(encrypted: string, context: string, session: string, count: number): string | undefined {
    try {
      const bytes = Buffer.from(encrypted, "base64");
      if (bytes.length < TAG || bytes.toString("base64") !== encrypted) return undefined; // it ignores wrong characters
      const key = this.#key(session);
      const decipher = createDecipheriv("aes-256-gcm", key, nonce(count), { authTagLength: TAG });
      decipher.setAAD(Buffer.from(context, "utf8"));
      decipher.setAuthTag(bytes.subarray(bytes.length - TAG));
      const text = utf8(Buffer.concat([decipher.update(bytes.subarray(0, bytes.length - TAG)), decipher.final()]));
      this.#keep(session, key); // not before: others may choose names that collide
      return text;
    } catch {
      return undefined;
    }
  }

  #key(session: string): Uint8Array {
    return this.#sessions.get(session) ?? derive(this.#source, "tsmq 1 session", session);
  }

  #keep(session: string, key: Uint8Array): void {
    if (!this.#sessions.has(session)) this.#sessions.set(session, key);
  }
}

function nonce(count: number): Uint8Array {
  const bytes = new Uint8Array(12);
  new DataView(bytes.buffer).setBigUint64(4, BigInt(count));
  return bytes;
}
