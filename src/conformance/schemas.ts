/**
 * Standard Schemas for the cases, written without a library.
 *
 * @module
 */
import type { StandardSchemaV1 } from "../codec/schema.ts";

/** Makes a schema from a function that returns the output or throws the message of an issue. */
export function schema<I, O = I>(read: (value: unknown) => O | Promise<O>): StandardSchemaV1<I, O> {
  const accept = (value: O) => ({ value });
  const refuse = (error: unknown) => ({ issues: [{ message: String(error), path: ["field"] }] });
  return {
    "~standard": {
      version: 1,
      vendor: "tsmq",
      validate: (value) => {
        try {
          const result = read(value);
          return result instanceof Promise ? result.then(accept, refuse) : accept(result);
        } catch (error) {
          return refuse(error);
        }
      },
    },
  };
}

/** A number that is not negative. */
export const amount: StandardSchemaV1<number> = schema((value) => {
  if (typeof value !== "number" || value < 0) throw "no amount";
  return value;
});

/** A number that is not negative, validated asynchronously: zero takes longer than larger numbers. */
export const slowAmount: StandardSchemaV1<number> = schema(async (value) => {
  await new Promise((resolve) => setTimeout(resolve, value === 0 ? 20 : 0));
  if (typeof value !== "number" || value < 0) throw "no amount";
  return value;
});

/** A string, whose output is its length. */
export const length: StandardSchemaV1<string, number> = schema((value) => {
  if (typeof value !== "string") throw "no text";
  return value.length;
});

/** A pair of numbers. */
export const pair: StandardSchemaV1<[number, number]> = schema((value) => {
  if (!Array.isArray(value) || value.length !== 2 || !value.every((v) => typeof v === "number")) {
    throw "no pair of numbers";
  }
  return value as [number, number];
});
