/**
 * Which class has which tag.
 *
 * @module
 */
import { ValidationError } from "../errors.ts";
import type { StandardSchemaV1 } from "./schema.ts";
import { textOf } from "../internal/thrown.ts";
import { type Fields, taken } from "./tags.ts";

/**
 * A class whose instances are events. Its tag and topic are its own `static topic` (recommended: minifiers rename
 * classes), else its name. With an own `static schema`, that says what its fields must be.
 *
 * What arrives becomes an instance without its constructor: no initialiser of a field runs, and `#private` members are missing.
 * A class that needs them has an own `static revive`, which makes the instance from the fields.
 */
export type EventClass<T = unknown> = (new (...args: never[]) => T) & {
  readonly topic?: string;
  readonly schema?: StandardSchemaV1;
  revive?(fields: Record<string, unknown>): T;
};

/** The tag of a class, also as JSON, or why its instances cannot be sent. */
export type Verdict = { readonly tag: string; readonly json: string } | { readonly refused: string };

const NATIVE = /\{\s*\[native code\]\s*\}\s*$/;

/** Whether a class is the platform's. */
export function native(type: object): boolean {
  return NATIVE.test(Function.prototype.toString.call(type));
}

/**
 * The tag and default topic of a class.
 *
 * @throws {ValidationError} when it has none, or one that the wire needs for itself
 */
export function nameOf(type: EventClass): string {
  const topic = Object.hasOwn(type, "topic") ? type.topic : undefined;
  const name: unknown = typeof topic === "string" ? topic : type.name;
  if (typeof name !== "string" || name === "") {
    throw new ValidationError("Cannot name a class: it has neither a name nor a `static topic`");
  }
  if (taken(name)) throw new ValidationError(`Cannot name a class "${name}": the wire needs that name`);
  return name;
}

/** The own schema of a class: one that it inherits knows nothing of its fields. */
export function schemaOf(type: EventClass): StandardSchemaV1 | undefined {
  return Object.hasOwn(type, "schema") ? type.schema : undefined;
}

/** Makes an instance of a class from its fields, if the class has an own way to do that. */
export function reviveOf(type: EventClass): ((fields: Fields) => unknown) | undefined {
  if (!Object.hasOwn(type, "revive") || typeof type.revive !== "function") return undefined;
  return (fields) => type.revive!(fields);
}

/** The registered classes, and the tags of all classes. */
export class Classes {
  readonly #byTag = new Map<string, EventClass>();
  #verdicts = new WeakMap<object, Verdict>();

  /** Remembers a class. Throws a `ValidationError` when another has its name. */
  register(type: EventClass): void {
    const tag = nameOf(type);
    const known = this.#byTag.get(tag);
    if (known === type) return;
    if (known) {
      throw new ValidationError(`Cannot register class "${tag}": another class has that name`);
    }
    this.#byTag.set(tag, type);
    this.#verdicts = new WeakMap();
  }

  /** The class that is registered for a tag. */
  get(tag: string): EventClass | undefined {
    return this.#byTag.get(tag);
  }

  /** The tag of the objects with this prototype. */
  judge(prototype: object): Verdict {
    const known = this.#verdicts.get(prototype);
    if (known) return known;
    const verdict = this.#look(prototype);
    this.#verdicts.set(prototype, verdict);
    return verdict;
  }

  #look(prototype: object): Verdict {
    const type = ownConstructor(prototype);
    if (!type || prototypeOf(type) !== prototype) return { refused: "an object whose prototype is not a class's" };
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
    // What the platform makes says its kind; its state is nowhere among its fields.
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
