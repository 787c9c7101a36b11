/**
 * The codec: it converts values to bodies and back. A body is PyMQ's JSON, followed by type marks.
 *
 * JSON's own values, `undefined`, bigint, every number, Date, Map, Set, Uint8Array and instances of registered classes keep their
 * types and values, at any depth. A value that cannot be encoded is refused with its path. Fields of an object are its own enumerable
 * properties with a string key; an object that is referenced twice is decoded as two objects.
 *
 * @module
 */
import { Classes, type EventClass, nameOf, schemaOf } from "./classes.ts";
import { parse } from "./parse.ts";
import { readMarks } from "./marks.ts";
import { writePlain } from "./plain.ts";
import { Reviver, tagIn } from "./revive.ts";
import { dictKeys, pythonSet, Writer, type Written } from "./write.ts";
import { ProviderError, ValidationError } from "../errors.ts";
import type { StandardSchemaV1 } from "./schema.ts";
import { builtin } from "../internal/builtin.ts";
import { isA, textOf } from "../internal/thrown.ts";
import { ownText } from "../internal/utf8.ts";

export type { EventClass } from "./classes.ts";
export type { Written } from "./write.ts";

/** A decoded body. */
export interface Decoded {
  /** The value. */
  value: unknown;
  /** The tag of the whole body, if it has one: the name of a class, or of a type such as `tuple`. */
  type?: string;
  /** The bytes that its types take (`Codec.typed`), if they were known only after asynchronous schemas. */
  typed?: number;
}

/** Returns whether a body can hold a tag or a `__proto__`. Two searches cost less than one regular expression. */
function mayHoldTags(body: string): boolean {
  return body.includes("__") || body.includes("\\u005");
}

/** The first characters of a tagged list. `WITHIN` has the parts of keys other than `__type` that need a reviver, plain or escaped. */
const LIST = '{"__obj":[';
const WITHIN = ["__undefined", "__proto", "\\u00"];

/**
 * Encodes and decodes bodies, and revives instances of registered classes.
 *
 * @example
 * ```ts
 * class Paid {
 *   static topic = "shop.Paid";
 *   constructor(readonly at: Date) {}
 * }
 * const codec = new Codec([Paid]);
 * const { value } = await codec.decode(codec.encode(new Paid(new Date())));
 * console.log(value instanceof Paid); // true
 * ```
 */
export class Codec {
  readonly #classes = new Classes();
  #reviver = new Reviver(this.#classes, true);
  /** The reviver for bodies without tags. It visits only marked values. */
  #untagged = new Reviver(this.#classes, false);
  /** The largest number of bytes of a body that this codec encodes and decodes (the option `maxReceive`). */
  readonly maxBody: number;
  /** About how many bytes the types of the last decoded body take, in addition to the value of its JSON (`heldBytes`). */
  typed = 0;

  /** Creates a codec that revives instances of these classes, and accepts bodies of up to `maxBody` bytes of UTF-8. */
  constructor(types: Iterable<EventClass> = [], maxBody = Infinity) {
    this.maxBody = maxBody;
    for (const type of types) this.register(type);
  }

  /**
   * Registers a class, whose instances the codec then revives: by its `static revive` if it has one, otherwise without running the
   * constructor, with the fields of the body or the output of its `static schema`. Registering a class again does nothing.
   *
   * @throws {ValidationError} when another class has its name
   */
  register(type: EventClass): void {
    this.#classes.register(type);
  }

  /**
   * Returns the tag and default topic of a class: its own `static topic`, or else its name.
   *
   * @throws {ValidationError} when the class has neither, or its name is reserved
   */
  static nameOf(type: EventClass): string {
    return nameOf(type);
  }

  /** Returns the class's own `static schema`. An inherited schema does not know all fields, so it is ignored. */
  static schemaOf(type: EventClass): StandardSchemaV1 | undefined {
    return schemaOf(type);
  }

  /**
   * Encodes a value as a body. `doing` begins the message of an error: what the body is for.
   *
   * @throws {ValidationError} when the value, or a value in it, cannot be encoded; `issues[0].path` leads to it
   * @throws {ProviderError} "too_large" when this codec would not decode the body
   */
  encode(value: unknown, doing?: string): string {
    return this.sendable(this.#encoded(value), doing);
  }

  /** Returns a body that may be sent. Throws the error "too_large" if this codec would not decode it. */
  sendable(body: string, doing = "send a message"): string {
    if (!exceeds(body, this.maxBody)) return body;
    const text = `Cannot ${doing}: its ${body.length} characters exceed ${this.maxBody} bytes (maxReceive)`;
    throw new ProviderError("too_large", text);
  }

  #encoded(value: unknown): string {
    try {
      return writePlain(value) ?? new Writer(this.#classes).body(value);
    } catch (cause) {
      throw unsendable(cause);
    }
  }

  /** Encodes a value that becomes a part of a body. Returns its JSON and its mark. Throws as {@linkcode Codec.encode} does. */
  write(value: unknown): Written {
    try {
      const json = writePlain(value);
      return json === undefined ? new Writer(this.#classes).written(value) : { json };
    } catch (cause) {
      throw unsendable(cause);
    }
  }

  /** Encodes a value as one line of JSON with tags in place of marks, for people to read. `decode` reads it. Throws as `encode` does. */
  line(value: unknown): string {
    try {
      return writePlain(value) ?? new Writer(this.#classes, true).value(value);
    } catch (cause) {
      throw unsendable(cause);
    }
  }

  /**
   * Decodes a body; returns a promise only if a registered class in it has an asynchronous schema. If `raw` returns true for the tag of
   * the body, the result is only its outline ({@linkcode Codec.outline}), which takes far less time and memory.
   *
   * @throws {ValidationError} (or rejects with it) when the body is malformed or a schema rejects it; the error contains the `body`
   * @throws {ValidationError} without the `body` when the body is too large
   */
  decode(body: string, raw?: (tag: string) => boolean): Decoded | Promise<Decoded> {
    this.#checkSize(body);
    this.typed = 0;
    try {
      const parsed = parse(body);
      const tags = mayHoldTags(body);
      const type = tags ? tagIn(parsed) : undefined;
      if (raw && type !== undefined && raw(type)) return outlineOf(parsed, type);
      const mark = readMarks(body);
      if (!tags && mark === undefined) return { value: parsed };
      const list = tags && mark === undefined ? listIn(parsed, body) : undefined;
      const reviver = tags ? this.#reviver : this.#untagged;
      const value = list && type ? reviver.list(type, list) : reviver.body(parsed, mark, body.length);
      this.typed = reviver.bytes;
      if (!(value instanceof Promise)) return decoded(value, type);
      // the reviver is this body's, until its schemas have ended
      if (tags) this.#reviver = new Reviver(this.#classes, true);
      else this.#untagged = new Reviver(this.#classes, false);
      return settled(value, type, ownText(body), reviver);
    } catch (error) {
      throw unreadable(error, body);
    }
  }

  /** Decodes a body without the types in it, which takes far less time and memory. Throws as {@linkcode Codec.decode} does. */
  plain(body: string): unknown {
    this.#checkSize(body);
    try {
      return parse(body);
    } catch (error) {
      throw unreadable(error, body);
    }
  }

  #checkSize(body: string): void {
    if (!exceeds(body, this.maxBody)) return;
    const message = `Cannot read a body of ${body.length} characters: it exceeds ${this.maxBody} bytes (maxReceive)`;
    throw new ValidationError(message, [{ message }]);
  }

  /** Returns the tag and the value of a body without the types in it, or undefined if the body is not JSON. */
  static outline(body: string): Decoded | undefined {
    try {
      const parsed = parse(body);
      return outlineOf(parsed, tagIn(parsed));
    } catch {
      return undefined;
    }
  }

  /**
   * Applies the name of a type to a decoded value, because the answer of a PyMQ server has the type next to the result. Fields become an
   * instance of a registered class, and a list of type `set` becomes a Set. Other values are returned unchanged.
   *
   * @throws {ValidationError} (or rejects with it) when the schema of the class rejects the value
   */
  revive(value: unknown, type: string): unknown | Promise<unknown> {
    return this.#reviver.apply(type, value);
  }

  /** Returns the tag of an instance of a class; undefined for any other value. */
  tagOf(value: unknown): string | undefined {
    if (typeof value !== "object" || value === null) return undefined;
    const prototype = Object.getPrototypeOf(value);
    if (prototype === null || prototype === Object.prototype) return undefined;
    const found = this.#classes.tagOf(prototype);
    return "tag" in found ? found.tag : undefined;
  }

  /**
   * Returns the Python type that a result is loaded as. For an instance this is its tag if that includes a module (`shop.Order`);
   * Python cannot load other classes and gets the fields as a `dict`.
   */
  pythonType(value: unknown): string {
    switch (typeof value) {
      case "undefined":
        return "NoneType";
      case "string":
        return "str";
      case "boolean":
        return "bool";
      case "bigint":
        return "int";
      case "number":
        return Number.isSafeInteger(value) && !Object.is(value, -0) ? "int" : "float";
    }
    if (value === null) return "NoneType";
    if (Array.isArray(value)) return "list";
    if (value instanceof Date) return Number.isNaN(value.getTime()) ? "NoneType" : "str";
    if (value instanceof Uint8Array) return "str";
    if (value instanceof Set) return pythonSet(value) ? "set" : "list";
    if (value instanceof Map) return dictKeys(value) ? "dict" : "list";
    const tag = this.tagOf(value);
    return tag?.includes(".") ? tag : "dict";
  }
}

/** Returns the list of a body that is a tagged list without further tags, as most requests and answers are. Nothing in it needs reviving. */
function listIn(parsed: unknown, body: string): unknown[] | undefined {
  const { __obj: list } = parsed as { readonly __obj?: unknown };
  if (!Array.isArray(list) || !body.startsWith(LIST) || WITHIN.some((key) => body.includes(key))) return undefined;
  return body.indexOf("__type", LIST.length) === body.lastIndexOf("__type") ? list : undefined;
}

/** Returns whether a text has more bytes in UTF-8. A character has at most three. */
export function exceeds(text: string, bytes: number): boolean {
  if (text.length * 3 <= bytes) return false;
  if (text.length > bytes) return true;
  const { Buffer } = builtin<{ Buffer: { byteLength(text: string): number } }>("buffer")!;
  return Buffer.byteLength(text) > bytes;
}

function outlineOf(parsed: unknown, type: string | undefined): Decoded {
  return decoded((parsed as { readonly __obj?: unknown }).__obj, type);
}

function decoded(value: unknown, type: string | undefined): Decoded {
  return type === undefined ? { value } : { value, type };
}

async function settled(
  value: Promise<unknown>,
  type: string | undefined,
  body: string,
  reviver: Reviver,
): Promise<Decoded> {
  const { bytes } = reviver;
  try {
    const result = decoded(await value, type);
    return reviver.bytes === bytes ? result : { ...result, typed: reviver.bytes };
  } catch (error) {
    throw unreadable(error, body);
  }
}

function unreadable(error: unknown, body: string): ValidationError {
  if (isA(error, ValidationError)) {
    return new ValidationError(error.message, error.issues, { cause: error.cause, body });
  }
  const message = textOf(error);
  return new ValidationError(`Cannot read a body: ${message}`, [{ message }], { cause: error, body });
}

function unsendable(cause: unknown): ValidationError {
  if (isA(cause, ValidationError)) return cause;
  // a getter or a proxy in the value threw
  return new ValidationError(`Cannot encode the value: reading it threw an error: ${textOf(cause)}`, [], { cause });
}
