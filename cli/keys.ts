/**
 * Reads the keys of a bus from a file, because all users of a machine can see the arguments of its commands.
 *
 * @module
 */
import type { BusOptions } from "../mod.ts";
import { Codec } from "../src/codec/codec.ts";
import { ValidationError } from "../src/errors.ts";
import { textOf } from "../src/internal/thrown.ts";
import { readSecret, type SecretFile } from "./private_file.ts";

/**
 * Reads the options `keys` and `encrypt` of a bus from a file of JSON. Without a path, the bus has no keys.
 *
 * @throws {ValidationError} when the file cannot be used; the message does not repeat its content
 */
export async function readKeys(path: string | undefined): Promise<Pick<BusOptions, "keys" | "encrypt">> {
  if (path === undefined) return {};
  const text = contentOf(path);
  const options: unknown = await read(text);
  const { keys, encrypt, ...others } = (options ?? {}) as Record<string, unknown>;
  // the errors of a bus name unknown fields, and in this file a secret may be in the place of a name
  if (!Array.isArray(keys) || Object.keys(others).length > 0 || !keys.every(isKey)) {
    throw unusable(path, 'it must be JSON of the form {"keys":[{"id":"…","secret":"…"}],"encrypt":false}');
  }
  return { keys, encrypt: encrypt as boolean | undefined };
}

/** Returns whether a value has no other fields than those of a key. */
function isKey(value: unknown): boolean {
  return Object.keys(Object(value)).every((name) => name === "id" || name === "secret");
}

/**
 * Parses JSON in which a secret may be tagged bytes. Resolves with undefined if the JSON is invalid, because an error would contain the
 * text.
 */
async function read(text: string): Promise<unknown> {
  try {
    return (await new Codec().decode(text)).value;
  } catch {
    return undefined;
  }
}

function contentOf(path: string): string {
  let file: SecretFile;
  try {
    file = readSecret(path);
  } catch (error) {
    throw unusable(path, textOf(error));
  }
  if (file.open !== undefined) throw unusable(path, file.open);
  return file.text;
}

function unusable(path: string, why: string): ValidationError {
  return new ValidationError(`Cannot use the file of keys ${path}: ${why}`);
}
