/**
 * The fast path for values that plain JSON expresses completely, as it does for most messages.
 *
 * @module
 */
import { ValidationError } from "../errors.ts";
import { type Fields, MAX_DEPTH } from "./tags.ts";

/** Returns the body of a value that plain JSON expresses completely, or undefined if the value needs a `Writer`. */
export function writePlain(value: unknown): string | undefined {
  return value !== null && plain(value, 0) ? withoutTags(JSON.stringify(value)) : undefined;
}

/** Returns whether JSON expresses a value and all values in it. It does not check keys, so it is fast. */
export function plain(value: unknown, depth: number): boolean {
  if (typeof value !== "object") {
    return typeof value === "string" || typeof value === "boolean" || typeof value === "number" && plainNumber(value);
  }
  if (value === null) return true;
  if (depth >= MAX_DEPTH) return false;
  const prototype = Object.getPrototypeOf(value);
  if (prototype === Object.prototype || prototype === null) return plainFields(value as Fields, depth);
  if (prototype !== Array.prototype || !Array.isArray(value)) return false;
  for (let i = 0; i < value.length; i++) if (!plain(value[i], depth + 1)) return false;
  return true;
}

/**
 * Checks how deeply a decoded value is nested, and returns the value. Decoding does not limit the depth of plain JSON, even inside a set or
 * a map.
 *
 * @throws {ValidationError} when it is nested too deeply to be written again, for example to be shown
 */
export function checkDepth<T>(value: T): T {
  const seen = new Set<object>(); // a schema may have returned a cycle
  let level: object[] = hasParts(value) ? [value] : [];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth === MAX_DEPTH) {
      throw new ValidationError(`Cannot show a value: it is nested more than ${MAX_DEPTH} levels deep`);
    }
    const next: object[] = [];
    for (const each of level) {
      // the pairs of a map are a level of their own, as when it is written
      for (const part of each instanceof Map || each instanceof Set ? each : Object.values(each)) {
        if (!hasParts(part) || seen.has(part)) continue;
        seen.add(part);
        next.push(part);
      }
    }
    level = next;
  }
  return value;
}

/**
 * The prototypes of values whose depth is checked here. Instances of classes need no check, because they had marks or tags, and the reviver
 * checks the depth of those.
 */
const NESTING: ReadonlySet<unknown> = new Set([
  Object.prototype,
  Array.prototype,
  Map.prototype,
  Set.prototype,
]);

function hasParts(value: unknown): value is object {
  return typeof value === "object" && value !== null && NESTING.has(Object.getPrototypeOf(value));
}

/** Returns whether JSON expresses all values of an object. */
export function plainFields(fields: Fields, depth: number): boolean {
  let empty = true;
  for (const key in fields) {
    const value = fields[key];
    if (typeof value !== "string" && !plain(value, depth + 1)) return false;
    empty = false;
  }
  return !empty || !platform(fields);
}

/** Returns false for numbers that JSON cannot express, and for integers that would be decoded as bigints. */
function plainNumber(value: number): boolean {
  if (value === 0) return !Object.is(value, -0);
  return Math.abs(value) <= Number.MAX_SAFE_INTEGER || Math.abs(value) >= 1e21 && Number.isFinite(value);
}

/** Returns the text if it cannot contain a tag. One search over the text is faster than comparing each key. */
export function withoutTags(text: string): string | undefined {
  return text.includes("__") ? undefined : text;
}

/** Returns whether an object belongs to the platform, so that its state is not in its fields: `Math`, `Intl`, `JSON`, a module. */
export function platform(fields: object): boolean {
  return Symbol.toStringTag in fields;
}
