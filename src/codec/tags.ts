/**
 * The vocabulary of the wire: PyMQ's tags, ours, and the limits of both.
 *
 * @module
 */

/**
 * Our own tags, of a body as a whole; bodies from before the marks have them at any depth. PyMQ imports what a top-level tag names
 * (`pydoc.locate`); no module and no builtin has a colon in its name, so PyMQ finds nothing and passes on the bare value.
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
  ...["__undefined", "__traceparent"], // as tsmq wrote them before it had marks and headers
]);

/** Names of Python's own types: an answer's `result_type`, or the tag of a value that is no class's. */
const PYTHON_TYPES: ReadonlySet<string> = new Set(
  ["NoneType", "bool", "bytes", "dict", "float", "int", "list", "set", "str", "tuple"],
);

/**
 * How many levels of JSON a body with tags may have. PyMQ's walk takes two of Python's thousand frames for each; ours fits
 * four times into the stack of either runtime, in a worker too.
 */
export const MAX_DEPTH = 500;

/** What PyMQ's reader looks for in a list too, where a text like that is its undoing. */
export function trips(value: unknown): boolean {
  return value === "__type" || value === "__obj" || value === "__list";
}

/** How many digits an integer may have: `sys.int_info.default_max_str_digits` of Python, which reads no more. */
export const MAX_DIGITS = 4_300;

/** An object that came out of JSON, or goes into it. */
export type Fields = Record<string, unknown>;

/** Whether a key makes an object a tag, or changes its prototype. A cheap look first: nearly no key does. */
export function special(key: string): boolean {
  return key.charCodeAt(0) === 0x5f && key.charCodeAt(1) === 0x5f && (TAG_KEYS.has(key) || key === "__proto__");
}

/** Whether a tag means a value of the codec's own, so that no class can have it as its name. */
export function taken(tag: string): boolean {
  return PYTHON_TYPES.has(tag) || tag.startsWith("tsmq:");
}
