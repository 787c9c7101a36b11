/**
 * The fast path for values that plain JSON expresses completely, as it does for most messages.
 *
 * @module
 */
import { ValidationError } from "../errors.ts";
import { type Fields, MAX_DEPTH, reservedKey } from "./tags.ts";

/** Returns the body of a value that plain JSON expresses completely, or undefined if the value needs a `Writer`. */
export function writePlain(value: unknown): string | undefined {
  if (value === null || !plain(value, 0)) return undefined;
  const text = JSON.stringify(value);
  return text.includes("__") ? undefined : text; // one search over the text is faster than comparing each key
}

/** Returns whether JSON expresses a value and all values in it. It does not check keys, so it is fast. */
function plain(value: unknown, depth: number): boolean {
  if (typeof value !== "object") return plainScalar(value);
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
      for (const part of each instanceof Map || each instanceof Set || Array.isArray(each) ? each : fieldsOf(each)) {
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

/** Returns the values of the fields of an object. On Bun, `Object.values` of one with the key 999 takes 15 times as long. */
function fieldsOf(value: object): unknown[] {
  return Object.keys(value).map((key) => (value as Fields)[key]);
}

function hasParts(value: unknown): value is object {
  return typeof value === "object" && value !== null && NESTING.has(Object.getPrototypeOf(value));
}

/** Returns whether JSON expresses all values of an object. */
function plainFields(fields: Fields, depth: number): boolean {
  let empty = true;
  for (const key in fields) {
    const value = fields[key];
    if (typeof value !== "string" && !plain(value, depth + 1)) return false;
    empty = false;
  }
  return !empty || !platform(fields);
}

/**
 * The parts of one body that plain JSON expresses completely, without a key that makes an object a tag. A `Writer` asks for each part, the outer
 * ones first. What contains another value is remembered: otherwise, a list that is nested 500 levels deep would be searched 500 times.
 */
export class PlainParts {
  readonly #others = new Set<object>();

  /** Returns whether a value, at this level of nesting, is such a part. */
  has(value: unknown, depth: number): boolean {
    if (typeof value !== "object") return plainScalar(value);
    if (value === null) return true;
    if (depth >= MAX_DEPTH || this.#others.has(value)) return false;
    const prototype = Object.getPrototypeOf(value);
    let found: boolean;
    if (prototype === Object.prototype || prototype === null) found = this.hasFields(value as Fields, depth);
    else if (prototype === Array.prototype && Array.isArray(value)) found = this.#hasElements(value, depth);
    else return false;
    if (!found) this.#others.add(value);
    return found;
  }

  /** Returns whether the fields of an object, at this level of nesting, are such parts. */
  hasFields(fields: Fields, depth: number): boolean {
    let empty = true;
    for (const key in fields) {
      if (reservedKey(key) || !this.has(fields[key], depth + 1)) return false;
      empty = false;
    }
    return !empty || !platform(fields);
  }

  #hasElements(list: readonly unknown[], depth: number): boolean {
    for (let i = 0; i < list.length; i++) if (!this.has(list[i], depth + 1)) return false;
    return true;
  }
}

/** Returns whether JSON expresses a value that has no parts. */
function plainScalar(value: unknown): boolean {
  return typeof value === "string" || typeof value === "boolean" || typeof value === "number" && plainNumber(value);
}

/** Returns false for numbers that JSON cannot express, and for integers that would be decoded as bigints. */
function plainNumber(value: number): boolean {
  if (value === 0) return !Object.is(value, -0);
  return Math.abs(value) <= Number.MAX_SAFE_INTEGER || Math.abs(value) >= 1e21 && Number.isFinite(value);
}

/** Returns whether an object belongs to the platform, so that its state is not in its fields: `Math`, `Intl`, `JSON`, a module. */
export function platform(fields: object): boolean {
  return Symbol.toStringTag in fields;
}
