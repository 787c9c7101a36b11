/**
 * The instances of registered classes, and the fields of objects from the wire.
 *
 * @module
 */
import { ValidationError } from "../errors.ts";
import { isA, textOf } from "../internal/thrown.ts";
import { type EventClass, reviveOf } from "./classes.ts";
import { type Fields, prepare } from "./tags.ts";

/** Creates an instance from its fields: by `static revive` if the class has it, otherwise without running the constructor. */
export function make(type: EventClass, tag: string, fields: Fields): unknown {
  const revive = reviveOf(type);
  if (!revive) return copy(fields, bare(type));
  let made: unknown;
  try {
    made = revive(copy(fields, {}));
  } catch (cause) {
    throw new ValidationError(`Cannot revive "${tag}": ${textOf(cause)}`, [], { cause });
  }
  if (made instanceof Promise) made.catch(() => {}); // refused below; its rejection must not end the process
  if (isA(made, type)) return made;
  throw new ValidationError(`Cannot revive "${tag}": its static revive() did not return an instance of the class`);
}

/** Creates an instance without fields. */
export function bare(type: EventClass): Fields {
  return Object.create(type.prototype as object);
}

function copy(fields: Fields, target: Fields): Fields {
  const keys = Object.keys(fields);
  prepare(target, keys);
  for (const key of keys) if (key !== "__proto__") put(target, key, fields[key]);
  return target;
}

/** Defines a field, so that a key from the wire never calls a setter. If the target does not have the key, it assigns, which is faster. */
export function put(target: Fields, key: string, value: unknown): void {
  if (!(key in target)) target[key] = value;
  else Object.defineProperty(target, key, { value, writable: true, enumerable: true, configurable: true });
}

/** Returns whether a value is an object other than a list. */
export function isRecord(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Returns whether a value is an object of no class. */
export function isPlain(value: unknown): value is Fields {
  if (!isRecord(value)) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
