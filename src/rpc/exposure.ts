/**
 * What is served: from the arguments of `expose` to functions and the names that they are served under.
 *
 * @module
 */
import { ValidationError } from "../errors.ts";
import { show } from "../internal/thrown.ts";
import { checkCount, checkName } from "../internal/arguments.ts";
import {
  authoredMethodsOf,
  type Class,
  className,
  classOf,
  functionsOf,
  isClass,
  isPlatform,
  methodsOf,
} from "./methods.ts";
import { type Fn, Procedure } from "./procedure.ts";

/** Options of `expose`. */
export interface ExposeOptions {
  /** Calls of the function, of each method of an object, that may run at once on this bus; further ones wait. Default Infinity. */
  readonly concurrency?: number;
}

/** One function, and the name that it is served under. */
export class Exposure {
  /** The name. */
  readonly name: string;
  /** What is called. */
  readonly fn: Fn;
  /** What the user gave: the function, or the object that has the method. */
  readonly source: object;
  /** The method of `source` that `@remote` decorates, if it is one. */
  readonly decorated?: string;
  /** The class that gave the name, if one did. */
  readonly type?: Class;
  /** The contract, if there is one. */
  readonly procedure?: Procedure;
  /** As {@linkcode ExposeOptions.concurrency}. */
  readonly concurrency: number;

  /** Names a function. */
  constructor(
    name: string,
    fn: Fn,
    more: { source?: object; decorated?: string; type?: Class; procedure?: Procedure; concurrency?: number } = {},
  ) {
    this.name = checkName("a function", name);
    this.fn = fn;
    this.source = more.source ?? fn;
    this.decorated = more.decorated;
    this.type = more.type;
    this.procedure = more.procedure;
    this.concurrency = more.concurrency ?? Infinity;
  }

  /** Whether `unexpose` of a target means it: a name, a procedure, a function or an object. */
  isOf(target: unknown): boolean {
    if (typeof target === "string") return this.name === target;
    if (target instanceof Procedure) return this.name === target.name;
    return this.source === target;
  }

  /**
   * Throws if one of the others has its name, or if its class has the name of another class: a minifier gives one name to several
   * classes, and calls would reach the wrong one.
   */
  checkUnused(others: Iterable<Exposure>): void {
    for (const other of others) {
      if (other.name === this.name) throw new ValidationError(`Cannot expose "${this.name}": it is exposed already`);
      if (!this.type || !other.type || this.type === other.type) continue;
      if (className(this.type) === className(other.type)) {
        const why = `another class that is served has the name "${className(this.type)}"; give each a static topic`;
        throw new ValidationError(`Cannot expose "${this.name}": ${why}`);
      }
    }
  }
}

/**
 * What the arguments of `expose` stand for. The second one is told by its kind: a function after a name or a procedure, the names
 * of methods after an object, options. Of an object without such a list, what `@remote` has `served` already is left out.
 */
export function exposures(
  target: unknown,
  second: unknown,
  third: unknown,
  served: readonly Exposure[],
): Exposure[] {
  if (target instanceof Exposure) return [target];
  if (target instanceof Procedure) return [named(target.name, second, third, target)];
  if (typeof target === "string") return [named(target, second, third)];
  if (isClass(target)) throw new ValidationError(`Cannot expose class ${target.name}: expose an object of it`);
  if (typeof target === "function") return [new Exposure(target.name, target as Fn, optionsOf(second))];
  if (typeof target !== "object" || target === null) {
    throw new ValidationError("Cannot expose a value: it is no function, name, procedure or object");
  }
  const listed = typeof second === "string" ? [second] : Array.isArray(second) ? second as unknown[] : undefined;
  const options = optionsOf(listed ? third : second);
  const prototype: object | null = Object.getPrototypeOf(target);
  if (prototype === null || prototype === Object.prototype) {
    const names = members("a plain object", functionsOf(target), listed);
    return names.map((name) => member(target, name, options));
  }
  const type = classOf(target);
  if (!type) throw new ValidationError("Cannot expose an object: it has no class to name its methods");
  const what = `an object of ${className(type)}`;
  if (!listed && isPlatform(type)) {
    throw new ValidationError(`Cannot expose ${what}: the class is the platform's; list the methods to serve`);
  }
  const decorated = new Set(served.filter(({ source }) => source === target).map(({ decorated }) => decorated));
  return members(what, listed ? methodsOf(prototype) : authoredMethodsOf(prototype), listed)
    .filter((name) => listed || !decorated.has(name))
    .map((name) => member(target, name, options, type));
}

/** What `remote` stands for: a function, or the method of an instance or a class. */
export function wrapped(name: string | undefined, fn: Fn, self?: unknown, method?: string): Exposure {
  if (method === undefined) return new Exposure(name ?? fn.name, fn);
  const source = self as object;
  const more = { source, decorated: method };
  if (name !== undefined) return new Exposure(name, fn, more);
  const type = typeof self === "function" ? self as unknown as Class : classOf(source)!; // of a static method, its class itself
  return new Exposure(`${className(type)}.${method}`, fn, { ...more, type });
}

/** What `unexpose` may be given. */
export function checkExposed(target: unknown): void {
  if (typeof target === "string" || typeof target === "function") return;
  if (typeof target === "object" && target !== null) return;
  throw new ValidationError("Cannot unexpose a value: it is no function, name, procedure or object");
}

function named(name: string, fn: unknown, options: unknown, procedure?: Procedure): Exposure {
  if (typeof fn !== "function") throw new ValidationError(`Cannot expose "${name}": there is no function`);
  return new Exposure(name, fn as Fn, { ...optionsOf(options), procedure });
}

/** The methods to serve: those that were listed, each of which must be there, or all. */
function members(what: string, there: string[], listed: unknown[] | undefined): string[] {
  const missing = listed?.findIndex((name) => !there.includes(name as string)) ?? -1;
  if (missing >= 0) {
    throw new ValidationError(`Cannot expose ${show(listed![missing])} of ${what}: there is no such method`);
  }
  const names = listed ? [...new Set(listed as string[])] : there;
  if (names.length === 0) throw new ValidationError(`Cannot expose ${what}: it has no methods`);
  return names;
}

function member(object: object, method: string, options: ExposeOptions, type?: Class): Exposure {
  const fn = (object as Record<string, Fn>)[method]!.bind(object as never) as Fn;
  return new Exposure(type ? `${className(type)}.${method}` : method, fn, { ...options, source: object, type });
}

function optionsOf(options: unknown): ExposeOptions {
  if (options === undefined) return {};
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    throw new ValidationError("Cannot expose with these options: they are no object");
  }
  return { concurrency: checkCount("a concurrency", (options as ExposeOptions).concurrency ?? Infinity) };
}
