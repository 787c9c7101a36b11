/**
 * Text ⇄ values: PyMQ's JSON, with what JavaScript has beyond it.
 *
 * What goes in comes out: JSON's own values, `undefined`, bigint, every number, Date, Map, Set, Uint8Array, instances of
 * registered classes; all of them nested at will. What cannot is refused with its place. Fields are the own enumerable
 * ones with a string key; a value that is referred to twice comes out as two.
 *
 * @module
 */
import { Classes, type EventClass, nameOf, schemaOf } from "./classes.ts";
import { parse } from "./parse.ts";
import { readMarks } from "./marks.ts";
import { writePlain } from "./plain.ts";
import { Reviver, tagIn } from "./revive.ts";
import { dictKeys, pythonSet, Writer, type Written } from "./write.ts";
import { ValidationError } from "../errors.ts";
import type { StandardSchemaV1 } from "./schema.ts";
import { isA, textOf } from "../internal/thrown.ts";

export type { EventClass } from "./classes.ts";
export type { Written } from "./write.ts";

/** What a body says. */
export interface Decoded {
  /** The value. */
  value: unknown;
  /** The tag of the body as a whole, if it has one: a class's name, or one of PyMQ's or of ours such as `tuple`. */
  type?: string;
}

/** Only a body with such a text can hold a tag or a `__proto__`. Two searches cost less than one regular expression. */
function mayHoldTags(body: string): boolean {
  return body.includes("__") || body.includes("\\u005");
}

/**
 * Encodes and decodes bodies, and knows the registered classes.
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
  readonly #reviver = new Reviver(this.#classes);
  /** For bodies without a tag: it looks at what is marked only. */
  readonly #untagged = new Reviver(this.#classes, false);

  /** A codec that revives instances of these classes. */
  constructor(types: Iterable<EventClass> = []) {
    for (const type of types) this.register(type);
  }

  /**
   * Makes the codec revive instances of a class: without running its constructor, with the fields of the body (or what
   * the `static schema` of the class makes of them); by its `static revive` where it has one. Registering a class again does nothing.
   *
   * @throws {ValidationError} when another class has its name
   */
  register(type: EventClass): void {
    this.#classes.register(type);
  }

  /**
   * The tag and default topic of a class: its own `static topic`, else its name.
   *
   * @throws {ValidationError} when it has neither, or one that the wire needs for itself
   */
  static nameOf(type: EventClass): string {
    return nameOf(type);
  }

  /** The schema of a class: its own `static schema`, never an inherited one, which would not know all its fields. */
  static schemaOf(type: EventClass): StandardSchemaV1 | undefined {
    return schemaOf(type);
  }

  /**
   * The body for a value.
   *
   * @throws {ValidationError} when the value, or one in it, cannot be sent; `issues[0].path` says which
   */
  encode(value: unknown): string {
    try {
      return writePlain(value) ?? new Writer(this.#classes).body(value);
    } catch (cause) {
      throw unsendable(cause);
    }
  }

  /** A value to stand inside a body: its JSON and its mark. Throws as {@linkcode Codec.encode} does. */
  write(value: unknown): Written {
    try {
      const json = writePlain(value);
      return json === undefined ? new Writer(this.#classes).written(value) : { json };
    } catch (cause) {
      throw unsendable(cause);
    }
  }

  /** A value as one line that shows its types, for people and other programs; decode() reads it. Throws as encode() does. */
  line(value: unknown): string {
    try {
      return writePlain(value) ?? new Writer(this.#classes, true).value(value);
    } catch (cause) {
      throw unsendable(cause);
    }
  }

  /**
   * What a body says; a promise only where a registered class in it has an asynchronous schema.
   *
   * @throws {ValidationError} (or rejects with it) when the body is malformed or a schema refuses it; with the `body`
   */
  decode(body: string): Decoded | Promise<Decoded> {
    try {
      const parsed = parse(body);
      const tags = mayHoldTags(body);
      const mark = readMarks(body);
      if (!tags && mark === undefined) return { value: parsed };
      const type = tagIn(parsed);
      const value = (tags ? this.#reviver : this.#untagged).revive(parsed, mark);
      if (!(value instanceof Promise)) return decoded(value, type);
      return value.then((settled) => decoded(settled, type), (error) => {
        throw unreadable(error, body);
      });
    } catch (error) {
      throw unreadable(error, body);
    }
  }

  /** What a body that cannot be decoded says all the same: its tag, and its value as it stands there. */
  static outline(body: string): Decoded | undefined {
    try {
      const parsed = parse(body) as { readonly __obj?: unknown };
      return decoded(parsed.__obj, tagIn(parsed));
    } catch {
      return undefined; // it is not even JSON
    }
  }

  /**
   * Applies a type's name to a decoded value, as the answer of a PyMQ server names it beside its result: the fields of a
   * registered class become an instance, the list of a `set` a Set. Any other value comes back unchanged.
   *
   * @throws {ValidationError} (or rejects with it) when the schema of the class refuses the value
   */
  revive(value: unknown, type: string): unknown | Promise<unknown> {
    return this.#reviver.apply(type, value);
  }

  /** The tag of a class's instance; nothing for any other value. */
  tagOf(value: unknown): string | undefined {
    if (typeof value !== "object" || value === null) return undefined;
    const prototype = Object.getPrototypeOf(value);
    if (prototype === null || prototype === Object.prototype) return undefined;
    const verdict = this.#classes.judge(prototype);
    return "tag" in verdict ? verdict.tag : undefined;
  }

  /**
   * The Python type that loads a result. An instance's is its tag if that names a module too (`shop.Order`): Python can load no
   * other, and takes the fields as a `dict`.
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

function decoded(value: unknown, type: string | undefined): Decoded {
  return type === undefined ? { value } : { value, type };
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
  // A getter or a proxy in the value threw.
  return new ValidationError(`Cannot encode the value: reading it failed with ${textOf(cause)}`, [], { cause });
}
