/**
 * A Standard Schema for the cases, written without a library.
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
