/**
 * The tags of the wire format, PyMQ's and tsmq's, and the limits of both readers.
 *
 * @module
 */

/**
 * The tags of tsmq for whole bodies. Older versions wrote them at any depth. PyMQ imports the object that a top-level tag names
 * (`pydoc.locate`). No Python name contains a colon, so PyMQ finds no object and uses the bare value.
 */
export const OWN = {
  bigint: "tsmq:bigint",
  bytes: "tsmq:bytes",
  date: "tsmq:Date",
  map: "tsmq:Map",
  /** The tag of NaN and the infinities in a line of JSON. A body contains them as Python writes them, without a tag. */
  number: "tsmq:number",
  set: "tsmq:Set",
  undefined: "tsmq:undefined",
} as const;

/** The keys of tags and envelopes. */
const TAG_KEYS: ReadonlySet<string> = new Set([
  ...["__type", "__obj", "__list", "__tsmq"],
  ...["__undefined", "__traceparent"], // from versions without marks and headers
]);

/** The names of Python's own types, which are the `result_type` of an answer or the tag of a value. */
const PYTHON_TYPES: ReadonlySet<string> = new Set(
  ["NoneType", "bool", "bytes", "dict", "float", "int", "list", "set", "str", "tuple"],
);

/**
 * The largest number of nested levels in a body. PyMQ's reader uses two of Python's thousand stack frames for each level. The stack of
 * both runtimes has room for four times as many levels, also in a worker.
 */
export const MAX_DEPTH = 500;

/** Returns whether a string in a list breaks PyMQ's reader, which searches lists for its keys too. */
export function breaksPymq(value: unknown): boolean {
  return value === "__type" || value === "__obj" || value === "__list";
}

/** The largest number of digits of an integer that Python reads (`sys.int_info.default_max_str_digits`). */
export const MAX_DIGITS = 4_300;

/** An object that is read from JSON or written as JSON. */
export type Fields = Record<string, unknown>;

/** The largest index of a list, and the number of its digits. V8 stores an object that has had it in a hash table for good. */
const LARGEST_INDEX = 2 ** 32 - 2;
const INDEX_DIGITS = 10;

/**
 * Prepares an object to which these keys from the wire are assigned. For the one key 1023, V8 would reserve 1,552 places, and for the key 32
 * 65 (JSON.parse does not), so that a message of a few MiB used up the memory of the process. If the integers among the keys are sparse, the
 * object becomes a hash table, which takes as much as 19 places.
 */
export function prepare<T extends Fields>(target: T, keys: readonly string[]): T {
  let [count, largest] = [0, 0];
  for (const key of keys) {
    // one mark may give a longer key to many objects, and reading it takes time for its whole length
    if (!integer(key) || key.length > INDEX_DIGITS) continue;
    count++;
    if (Number(key) > largest) largest = Number(key);
  }
  if (largest <= 2 * count + 4) return target;
  const fields: Fields = target;
  fields[LARGEST_INDEX] = undefined;
  delete fields[LARGEST_INDEX];
  return target;
}

/** Returns whether a key may be an integer, and so the index of a place: it begins with a digit. */
export function integer(key: string): boolean {
  const first = key.charCodeAt(0);
  return first >= 0x30 && first <= 0x39;
}

/** Returns whether a key makes an object a tag, or changes its prototype. Most keys fail the first, cheap comparison. */
export function reservedKey(key: string): boolean {
  return key.charCodeAt(0) === 0x5f && key.charCodeAt(1) === 0x5f && (TAG_KEYS.has(key) || key === "__proto__");
}

/** Returns whether a tag is reserved, so that a class cannot have it as its name. */
export function reservedTag(tag: string): boolean {
  return PYTHON_TYPES.has(tag) || tag.startsWith("tsmq:");
}
