/**
 * Copies of the package: a program can contain several, such as two versions.
 *
 * @module
 */

const KIND = Symbol.for("@tsmq/tsmq");
const ordinary = Function.prototype[Symbol.hasInstance];

type Type = abstract new (...args: never[]) => object;

/** Makes `instanceof` recognise the instances of these classes that another copy of the package created. */
export function recognise(classes: Readonly<Record<string, Type>>): void {
  for (const [name, type] of Object.entries(classes)) {
    mark(name, type);
    Object.defineProperty(type, Symbol.hasInstance, { value: hasInstance });
  }
}

/** Marks the instances of a class that cannot be used with another copy, so that {@linkcode isForeign} recognises them there. */
export function mark(name: string, type: Type): void {
  Object.defineProperty(type.prototype, KIND, { value: name });
}

/** Returns whether a value is an instance of the class of this name in another copy of the package. */
export function isForeign(name: string, type: Type, value: unknown): boolean {
  return kindOf(value) === name && !ordinary.call(type, value);
}

function hasInstance(this: Type, value: unknown): boolean {
  if (ordinary.call(this, value)) return true;
  // a user's class that extends one of these classes has no kind of its own
  if (!Object.hasOwn(this.prototype as object, KIND) || typeof value !== "object" || value === null) return false;
  const kind = kindOf(this.prototype);
  for (let link: object | null = value; link; link = Object.getPrototypeOf(link)) {
    if (Object.hasOwn(link, KIND) && kindOf(link) === kind) return true;
  }
  return false;
}

function kindOf(value: unknown): unknown {
  return typeof value === "object" && value !== null ? (value as Record<symbol, unknown>)[KIND] : undefined;
}
