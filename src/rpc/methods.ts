/**
 * The methods of a class that its author wrote, without those of the platform.
 *
 * @module
 */
import { builtin } from "../internal/builtin.ts";
import { type EventClass, nameOf, native } from "../codec/classes.ts";

/** A class whose instances are `C`, abstract or not. */
export type Class<C = unknown> = abstract new (...args: never[]) => C;

/** Returns whether a value is a class, rather than a function that can be called. */
export function isClass(target: unknown): target is Class {
  return typeof target === "function" && /^class\b/.test(Function.prototype.toString.call(target));
}

/**
 * Returns the name under which the methods of a class are served: its own `static topic`, or else its name.
 *
 * @throws {ValidationError} when it has neither
 */
export function className(type: Class): string {
  return nameOf(type as EventClass);
}

/** Returns the class of an object; undefined if it has none. */
export function classOf(object: object): Class | undefined {
  const type: unknown = object.constructor;
  return typeof type === "function" ? type as Class : undefined;
}

/** Returns all methods of a prototype chain, up to `Object`. Accessors, constructors and names that begin with `_` are left out. */
export function methodsOf(prototype: object): string[] {
  return methods(prototype, () => false);
}

/** Returns the methods of a prototype chain, up to the first class of the platform. */
export function authoredMethodsOf(prototype: object): string[] {
  return methods(prototype, (link) => {
    const own: unknown = Object.hasOwn(link, "constructor") ? link.constructor : undefined; // that of `Iterator` is an accessor
    return builtins().has(link) || typeof own === "function" && isPlatform(own);
  });
}

/** Returns the names of an object's own functions. Accessors, classes and names that begin with `_` are left out. */
export function functionsOf(object: object): string[] {
  return Object.entries(Object.getOwnPropertyDescriptors(object))
    .filter(([name, { value, enumerable }]) => enumerable && isMethod(name, value) && !isClass(value))
    .map(([name]) => name);
}

function methods(prototype: object, ends: (link: object) => boolean): string[] {
  const names = new Set<string>();
  for (let link: object = prototype; link && link !== Object.prototype; link = Object.getPrototypeOf(link)) {
    if (ends(link)) break;
    for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(link))) {
      if (isMethod(name, value)) names.add(name);
    }
  }
  return [...names];
}

function isMethod(name: string, value: unknown): boolean {
  return typeof value === "function" && name !== "constructor" && !name.startsWith("_");
}

/**
 * The classes of the runtimes that extend another class, and that no module exports: their objects give access to files, connections and
 * keys. They are known by their names, because nothing else distinguishes them from a user's class.
 */
const UNEXPORTED: ReadonlySet<unknown> = new Set([
  "FileHandle",
  "FSWatcher",
  ...["", "Client", "Server"].flatMap((side) => [`${side}Http2Session`, `${side}Http2Stream`]),
  "Http2Server",
  "Http2SecureServer",
  ...["Secret", "Asymmetric", "Public", "Private"].map((kind) => `${kind}KeyObject`),
]);

/** Returns whether a class or function belongs to the platform: it is a global, from a module of the runtime, or native code. */
export function isPlatform(type: object): boolean {
  if (native(type)) return true;
  const { name, prototype } = type as { name?: unknown; prototype?: unknown };
  const { Deno, Bun } = globalThis as { Deno?: object; Bun?: object };
  const spaces = [globalThis, Deno, Bun] as readonly (Record<string, unknown> | undefined)[];
  if (spaces.some((space) => typeof name === "string" && space?.[name] === type)) return true;
  if (builtins().has(type) || builtins().has(prototype)) return true;
  const parent: object = Object.getPrototypeOf(type);
  return UNEXPORTED.has(name) && parent !== Function.prototype && isPlatform(parent);
}

let known: ReadonlySet<unknown> | undefined;

/**
 * Returns all functions of the runtime's modules, those that are members of such a function, and the prototypes of classes with their
 * functions: the `constructor` of some is another function. Where such a module is written in JavaScript, its source does not show that it
 * belongs to the platform. The first call, when the first object is exposed, loads the modules in 20 to 50 ms.
 */
function builtins(): ReadonlySet<unknown> {
  if (known) return known;
  const { builtinModules } = builtin<{ builtinModules: readonly string[] }>("module")!;
  const modules = [...builtinModules, "node-fetch"] // which Bun has, and does not list
    // internal modules, which warn when they are loaded, and the globals, whose members open streams or clients
    .filter((name) => !name.startsWith("_") && name !== "process" && name !== "bun")
    .map((name) => builtin<{ promises?: object }>(name))
    .flatMap((module) => module ? [module, module.promises ?? {}] : []);
  const { Bun } = globalThis as { Bun?: { readonly $?: unknown } };
  const functions = [Bun?.$, ...modules.flatMap((module) => [module, ...Object.values(module)])].filter(isFunction);
  const all = functions.flatMap((value) => [value, ...functionsIn(value)]);
  return known = new Set(all.flatMap((value) => {
    return value.prototype ? [value, value.prototype, ...functionsIn(value.prototype)] : [value];
  }));
}

/** A function, which may be a class. */
type Callable = object & { readonly prototype?: object };

function isFunction(value: unknown): value is Callable {
  return typeof value === "function";
}

/** Returns the functions that are properties of an object. Accessors are not called. */
function functionsIn(object: object): Callable[] {
  return Object.values(Object.getOwnPropertyDescriptors(object)).map(({ value }) => value).filter(isFunction);
}
