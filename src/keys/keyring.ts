/**
 * The keys of a bus. Each secret is the source of two keys: one signs, the other one is the source of the keys that encrypt.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { Cipher } from "./cipher.ts";
import { derive, Hmac } from "./hmac.ts";

/** A key of a bus, as its user passes it. */
export interface SecretKey {
  readonly id: string;
  readonly secret: string | Uint8Array;
}

/** One key. Its secrets are private, so that nothing prints them. */
export class Key {
  /** The name of the key, which each signature contains. */
  readonly id: string;
  readonly #hmac: Hmac;
  /** Encrypts and decrypts. */
  readonly cipher: Cipher;

  /** Derives both keys from a secret. */
  constructor({ id, secret }: SecretKey) {
    this.id = id;
    const bytes = typeof secret === "string" ? Buffer.from(secret, "utf8") : secret;
    this.#hmac = new Hmac(derive(bytes, "tsmq 1 sign"));
    this.cipher = new Cipher(derive(bytes, "tsmq 1 encrypt"));
  }

  /** Returns the HMAC-SHA-256 of a text, in hexadecimal digits. */
  sign(text: string): string {
    return this.#hmac.of(text);
  }
}

/** The keys of a bus: the first one signs, and all verify. */
export class Keyring {
  /** The key that signs. */
  readonly first: Key;
  readonly #keys: readonly Key[];

  /** Creates the keys. There is at least one, and their ids differ. */
  constructor(keys: readonly SecretKey[]) {
    this.#keys = keys.map((key) => new Key(key));
    this.first = this.#keys[0]!;
  }

  /** Returns the key with this id, which a forger may have written: on Deno, even a search in a `Map` may add it to the engine's table. */
  get(id: string): Key | undefined {
    return this.#keys.find((key) => key.id === id);
  }
}
