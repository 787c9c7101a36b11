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
    const own: unknown = Object.getOwnPropertyDescriptor(link, "constructor")?.value;
    return typeof own === "function" && isPlatform(own);
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

/** Returns whether a class belongs to the platform: it is a global, from a `node:` module, or native code. */
export function isPlatform(type: object): boolean {
  if (native(type)) return true;
  const { name } = type as { name?: unknown };
  const spaces = [
    globalThis,
    (globalThis as { Deno?: object }).Deno,
  ] as readonly (Record<string, unknown> | undefined)[];
  return spaces.some((space) => typeof name === "string" && space?.[name] === type) || nodeClasses().has(type);
}

/** The `node:` modules with classes that users extend. On Deno they are written in JavaScript, so their source does not show that they are native. */
const MODULES =
  "assert,async_hooks,buffer,child_process,cluster,console,crypto,dgram,diagnostics_channel,dns,events,fs," +
  "http,http2,https,module,net,perf_hooks,readline,repl,stream,string_decoder,tls,tty,url,util,vm,worker_threads,zlib";

let known: ReadonlySet<unknown> | undefined;

/** Returns all functions of these modules. The first call, when the first object is exposed, loads them in 20 to 40 ms. */
function nodeClasses(): ReadonlySet<unknown> {
  return known ??= new Set(MODULES.split(",").flatMap((name) => Object.values(builtin(name) ?? {})));
}
