/**
 * The registered classes, and the tags of all classes.
 *
 * @module
 */
import { ValidationError } from "../errors.ts";
import type { StandardSchemaV1 } from "./schema.ts";
import { textOf } from "../internal/thrown.ts";
import { type Fields, reservedTag } from "./tags.ts";

/**
 * A class whose instances are events. Its tag and its default topic are its own `static topic`, or else its name; minifiers rename
 * classes, so a `static topic` is recommended. Its own `static schema`, if it has one, validates the fields.
 *
 * Instances are revived without running the constructor: field initialisers do not run, and `#private` members are missing. A class
 * that needs them has its own `static revive`, which makes the instance from the fields.
 */
export type EventClass<T = unknown> = (new (...args: never[]) => T) & {
  readonly topic?: string;
  readonly schema?: StandardSchemaV1;
  revive?(fields: Record<string, unknown>): T;
};

/** The tag of a class, also as JSON, or the reason why its instances cannot be sent. */
export type TagResult = { readonly tag: string; readonly json: string } | { readonly refused: string };

const NATIVE = /\{\s*\[native code\]\s*\}\s*$/;

/** Returns whether a class is native code. */
export function native(type: object): boolean {
  return NATIVE.test(Function.prototype.toString.call(type));
}

/**
 * Returns the tag and default topic of a class.
 *
 * @throws {ValidationError} when the class has no name, or a name that is reserved
 */
export function nameOf(type: EventClass): string {
  const topic = Object.hasOwn(type, "topic") ? type.topic : undefined;
  const name: unknown = typeof topic === "string" ? topic : type.name;
  if (typeof name !== "string" || name === "") {
    throw new ValidationError("Cannot use a class that has neither a name nor a `static topic`: add a `static topic`");
  }
  if (reservedTag(name)) throw new ValidationError(`Cannot name a class "${name}": this name is reserved`);
  return name;
}

/** Returns the class's own schema. An inherited schema does not know all fields, so it is ignored. */
export function schemaOf(type: EventClass): StandardSchemaV1 | undefined {
  return Object.hasOwn(type, "schema") ? type.schema : undefined;
}

/** Returns the class's own `static revive`, if it has one. */
export function reviveOf(type: EventClass): ((fields: Fields) => unknown) | undefined {
  if (!Object.hasOwn(type, "revive") || typeof type.revive !== "function") return undefined;
  return (fields) => type.revive!(fields);
}

/** The classes that a codec revives, and the tags of all classes. */
export class Classes {
  readonly #byTag = new Map<string, EventClass>();
  readonly #byMark = new Map<string, EventClass>();
  #tags = new WeakMap<object, TagResult>();

  /** Registers a class. Throws a `ValidationError` when another class has its name. */
  register(type: EventClass): void {
    const tag = nameOf(type);
    const known = this.#byTag.get(tag);
    if (known === type) return;
    if (known) {
      throw new ValidationError(`Cannot register class "${tag}": another class has the same name`);
    }
    this.#byTag.set(tag, type);
    this.#byMark.set(`@${tag}`, type);
    this.#tags = new WeakMap();
  }

  /** Returns the class that is registered for a tag. */
  get(tag: string): EventClass | undefined {
    return this.#byTag.get(tag);
  }

  /**
   * Returns the class that is registered for `@` and a tag. One mark may describe all elements of a list: a tag that is cut out of it for
   * each element would be a new string each time, and looking up a new string takes time for its whole length.
   */
  ofMark(kind: string): EventClass | undefined {
    return this.#byMark.get(kind);
  }

  /** Returns the tag of objects with this prototype. */
  tagOf(prototype: object): TagResult {
    const known = this.#tags.get(prototype);
    if (known) return known;
    const result = this.#find(prototype);
    this.#tags.set(prototype, result);
    return result;
  }

  #find(prototype: object): TagResult {
    const type = ownConstructor(prototype);
    if (!type || prototypeOf(type) !== prototype) return { refused: "an object whose prototype belongs to no class" };
    for (let p: object | null = prototype; p && p !== Object.prototype; p = Object.getPrototypeOf(p)) {
      const parent = ownConstructor(p);
      if (parent && native(parent)) return { refused: instanceOf(parent.name) };
    }
    let tag;
    try {
      tag = nameOf(type);
    } catch (error) {
      return { refused: `an instance of a class without a usable name (${textOf(error)})` };
    }
    const registered = this.#byTag.get(tag);
    if (registered && registered !== type) return { refused: `an instance of a second class named "${tag}"` };
    // an object of the platform has a `toStringTag`, and its state is not in its fields
    if (!registered && Symbol.toStringTag in prototype) {
      return { refused: `${instanceOf(type.name)}, which is not registered` };
    }
    return { tag, json: JSON.stringify(tag) };
  }
}

function ownConstructor(prototype: object): EventClass | undefined {
  const own: unknown = Object.getOwnPropertyDescriptor(prototype, "constructor")?.value;
  return typeof own === "function" ? own as EventClass : undefined;
}

function prototypeOf(type: EventClass): object {
  return type.prototype as object;
}

function instanceOf(name: string): string {
  return `an instance of ${name || "a nameless class"}`;
}
