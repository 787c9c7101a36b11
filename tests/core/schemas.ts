/** The Standard Schemas of the cases. */
import type { StandardSchemaV1 } from "../../src/codec/schema.ts";
import { schema } from "../../src/conformance/schemas.ts";

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
