/**
 * The tags of the wire format, PyMQ's and tsmq's, and the limits of both readers.
 *
 * @module
 */

/**
 * The tags of tsmq, for a body as a whole; versions without marks wrote them at any depth. PyMQ imports what a top-level tag names
 * (`pydoc.locate`). No module and no builtin has a colon in its name, so PyMQ finds nothing and passes on the bare value.
 */
export const OWN = {
  bigint: "tsmq:bigint",
  bytes: "tsmq:bytes",
  date: "tsmq:Date",
  map: "tsmq:Map",
  set: "tsmq:Set",
  undefined: "tsmq:undefined",
} as const;

/** The keys that make an object a tag or an envelope. */
const TAG_KEYS: ReadonlySet<string> = new Set([
  ...["__type", "__obj", "__list", "__tsmq"],
  ...["__undefined", "__traceparent"], // from versions without marks and headers
]);

/** Names of Python's own types: the `result_type` of an answer, or the tag of a value that is not an instance. */
const PYTHON_TYPES: ReadonlySet<string> = new Set(
  ["NoneType", "bool", "bytes", "dict", "float", "int", "list", "set", "str", "tuple"],
);

/**
 * Levels of JSON that a body may have. PyMQ's reader takes two of Python's thousand frames for each level; the codec's own recursion
 * fits four times into the stack of either runtime, in a worker too.
 */
export const MAX_DEPTH = 500;

/** Whether a string in a list breaks PyMQ's reader, which looks for its keys in lists too. */
export function breaksPymq(value: unknown): boolean {
  return value === "__type" || value === "__obj" || value === "__list";
}

/** Digits that an integer may have: Python reads no more (`sys.int_info.default_max_str_digits`). */
export const MAX_DIGITS = 4_300;

/** An object that comes from JSON or is written as JSON. */
export type Fields = Record<string, unknown>;

/** Whether a key makes an object a tag, or changes its prototype. Most keys fail the first, cheap comparison. */
export function reservedKey(key: string): boolean {
  return key.charCodeAt(0) === 0x5f && key.charCodeAt(1) === 0x5f && (TAG_KEYS.has(key) || key === "__proto__");
}

/** Whether a tag has a meaning of its own, so that no class can have it as its name. */
export function reservedTag(tag: string): boolean {
  return PYTHON_TYPES.has(tag) || tag.startsWith("tsmq:");
}
