/**
 * Checks a decoded event for one subscriber.
 *
 * @module
 */
import { Codec, type EventClass } from "../codec/codec.ts";
import { type StandardSchemaV1, validate } from "../codec/schema.ts";
import type { Core } from "../core.ts";
import { ValidationError } from "../errors.ts";

/** The events that a subscriber accepts. */
export interface Accepted {
  readonly topic: string;
  /** The class that events must be instances of. */
  readonly type?: EventClass;
  readonly schema?: StandardSchemaV1;
}

/**
 * Checks that an event is an instance of the subscriber's class, and returns it or the output of the subscriber's schema. Returns a promise
 * only for an asynchronous schema.
 *
 * @throws {ValidationError} (or rejects with it) when the event is not an instance of the class, or the schema rejects it
 */
export function acceptEvent(core: Core, { type, schema, topic }: Accepted, value: unknown): unknown {
  const accept = (value: unknown) => schema ? validate(schema, value, `an event on "${topic}"`, "event") : value;
  if (!type || value instanceof type) return accept(value);
  const revived = core.codec.revive(value, Codec.nameOf(type));
  const check = (value: unknown) => {
    if (value instanceof type) return accept(value);
    throw new ValidationError(`Cannot handle an event on "${topic}": it is not an instance of ${type.name}`);
  };
  return revived instanceof Promise ? revived.then(check) : check(revived);
}
