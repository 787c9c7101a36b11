/**
 * The values that are a string or a number in JSON: dates, bytes and bigints.
 *
 * @module
 */
import { ValidationError } from "../errors.ts";
import { OWN } from "./tags.ts";

/** The number of characters of the longest date, `+275760-09-13T00:00:00.000Z`. */
const DATE_LENGTH = 27;

/** Restores a bigint from its number or its digits. */
export function bigint(value: unknown): bigint {
  if (typeof value === "number" && Number.isSafeInteger(value)) return BigInt(value);
  return typeof value === "string" && /^-?\d{1,16}$/.test(value) ? BigInt(value) : malformed(OWN.bigint);
}

/** Restores a date from its ISO text; `null` is an invalid date. */
export function date(value: unknown): Date {
  const date = new Date(typeof value === "string" && value.length <= DATE_LENGTH ? value : NaN);
  return value === null || date.toJSON() === value ? date : malformed(OWN.date);
}

/** Restores bytes from Base64. */
export function bytes(value: unknown): Uint8Array {
  if (typeof value !== "string") return malformed(OWN.bytes);
  try {
    return Uint8Array.fromBase64(value, { lastChunkHandling: "strict" });
  } catch {
    return malformed(OWN.bytes);
  }
}

/** Throws the error for a value that does not fit its tag. */
export function malformed(tag: string): never {
  throw new ValidationError(`Cannot read a "${tag}": its value has the wrong type`);
}
