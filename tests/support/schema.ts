import type { StandardSchemaV1 } from "../../src/codec/schema.ts";

/** Returns a schema without a library. */
export function schema<T>(
  check: (value: unknown) => StandardSchemaV1.Result<T> | Promise<StandardSchemaV1.Result<T>>,
): StandardSchemaV1<T> {
  return { "~standard": { version: 1, vendor: "test", validate: check } };
}
