/**
 * Exposures: the functions that a bus serves, each with its name. They are created from the arguments of `expose`.
 *
 * @module
 */
import { ValidationError } from "../errors.ts";
import type { Authorize } from "../hooks.ts";
import { textOf } from "../internal/thrown.ts";
import { checkName, kindOf, OptionChecks, optionNames, refuseUnknown, verbOn } from "../internal/arguments.ts";
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
import { type Fn, type FunctionName, Procedure } from "./procedure.ts";

/** Options of `expose`. */
export interface ExposeOptions {
  /** The number of calls of a function that may run at once on this bus; further calls wait. Each method of an object has its own limit. Default Infinity. */
  readonly concurrency?: number;
  /** A function that decides for each call whether it runs, after `authorize` of the bus has allowed it. Default: every call runs. */
  readonly authorize?: Authorize;
}

const EXPOSE = optionNames<ExposeOptions>({ concurrency: true, authorize: true });

/** The second argument of `expose`, which depends on the first. */
export type ExposeArgument<T> = T extends Procedure<infer _, infer Serve> ? Serve
  : T extends string ? Fn
  : T extends Fn ? ExposeOptions
  : FunctionName<T> | readonly FunctionName<T>[] | ExposeOptions;

/** The third argument of `expose`: absent for a function, whose options are the second argument. */
export type LastExposeArgument<T> = T extends string | Procedure ? ExposeOptions
  : T extends Fn ? undefined
  : ExposeOptions;

/** An object whose methods can be served. A procedure does not fit this type, and the error of the compiler contains the text. */
export type Exposable = object & { readonly "~serve"?: "a procedure needs a function: expose(procedure, fn)" };

/** A function with the name under which it is served. */
export class Exposure {
  /** The name that callers use. */
  readonly name: string;
  /** The function that runs when the name is called. */
  readonly fn: Fn;
  /** The function or the object that the user exposed. */
  readonly source: object;
  /** The method of `source` that `@remote` decorates; otherwise undefined. */
  readonly decorated?: string;
  /** The class that the name contains, if any. */
  readonly type?: Class;
  /** The procedure whose schemas validate the calls, if any. */
  readonly procedure?: Procedure;
  /** The number of calls that may run at once. */
  readonly concurrency: number;
  /** The hook that decides whether a call runs, if any. */
  readonly authorize?: Authorize;

  /** Creates an exposure. */
  constructor(
    name: string,
    fn: Fn,
    more: ExposeOptions & { source?: object; decorated?: string; type?: Class; procedure?: Procedure } = {},
  ) {
    this.name = checkName("a function", name);
    this.fn = more.source || !isMethod(fn) ? fn : fn.bind(noObject(name) as never) as Fn;
    this.source = more.source ?? fn;
    this.decorated = more.decorated;
    this.type = more.type;
    this.procedure = more.procedure;
    this.concurrency = more.concurrency ?? Infinity;
    this.authorize = more.authorize;
  }

  /** Returns whether `unexpose` with this target ends the exposure. */
  isOf(target: unknown): boolean {
    if (typeof target === "string") return this.name === target;
    if (target instanceof Procedure) return this.name === target.name;
    return this.source === target;
  }

  /**
   * Throws a `ValidationError` if another exposure has this name, or if another class has the name of this class. A minifier can give
   * several classes the same name, and then calls would reach the wrong class.
   */
  checkUnused(others: Iterable<Exposure>): void {
    for (const other of others) {
      if (other.name === this.name) throw new ValidationError(`Cannot expose "${this.name}": it is already exposed`);
      if (!this.type || !other.type || this.type === other.type) continue;
      if (className(this.type) === className(other.type)) {
        const why = `another class with the name "${className(this.type)}" is served; give each a static topic`;
        throw new ValidationError(`Cannot expose "${this.name}": ${why}`);
      }
    }
  }
}

/**
 * Creates exposures from the arguments of `expose`. A name or a procedure is followed by a function; an object may be followed by a list of
 * methods; the options come last. For an object without a list, methods that `@remote` already serves are left out.
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
  if (typeof target === "function") {
    if (typeof second === "string" || second instanceof Procedure) {
      const text = 'the name or the procedure comes first, as in expose("add", fn)';
      throw new ValidationError(`Cannot ${verbOn("expose", "", target)}: ${text}`);
    }
    const name = ownName(target as Fn);
    checkNoThird(name, third);
    return [new Exposure(name, target as Fn, optionsOf(name, second))];
  }
  if (typeof target !== "object" || target === null) {
    throw new ValidationError("Cannot expose a value: it is not a function, name, procedure or object");
  }
  const listed = typeof second === "string" ? [second] : Array.isArray(second) ? second as unknown[] : undefined;
  const prototype: object | null = Object.getPrototypeOf(target);
  const plain = prototype === null || prototype === Object.prototype;
  const type = plain ? undefined : classOf(target);
  const owner = type && className(type);
  if (!listed) checkNoThird(owner, third);
  const options = optionsOf(owner, listed ? third : second);
  if (plain) {
    const names = members("a plain object", functionsOf(target), listed);
    return names.map((name) => member(target, name, options));
  }
  if (!type) throw new ValidationError("Cannot expose an object: it has no class to name its methods");
  const what = `an object of ${owner}`;
  if (!listed && isPlatform(type)) {
    throw new ValidationError(`Cannot expose ${what}: its class belongs to the platform; list the methods to serve`);
  }
  const decorated = new Set(served.filter(({ source }) => source === target).map(({ decorated }) => decorated));
  return members(what, listed ? methodsOf(prototype) : authoredMethodsOf(prototype), listed)
    .filter((name) => listed || !decorated.has(name))
    .map((name) => member(target, name, options, type));
}

/** Serves all functions, or none if one of them fails. */
export async function serveAll(
  server: { expose(exposure: Exposure): Promise<void>; unexpose(name: string): Promise<void> },
  all: readonly Exposure[],
): Promise<void> {
  const done = await Promise.allSettled(all.map((exposure) => server.expose(exposure)));
  const failed = done.find((result) => result.status === "rejected");
  if (!failed) return;
  await Promise.all(all.map(({ name }, i) => done[i]!.status === "fulfilled" ? server.unexpose(name) : undefined));
  throw failed.reason;
}

/** Creates the exposure of a function that `remote` wraps, or of a method that it decorates. */
export function remoteExposure(name: string | undefined, fn: Fn, self?: unknown, method?: string): Exposure {
  if (method === undefined) return new Exposure(name ?? ownName(fn), fn);
  const source = self as object;
  const more = { source, decorated: method };
  if (name !== undefined) return new Exposure(name, fn, more);
  const type = typeof self === "function" ? self as unknown as Class : classOf(source)!; // a static method's source is its class
  return new Exposure(`${className(type)}.${method}`, fn, { ...more, type });
}

/** Throws a `ValidationError` if the argument of `unexpose` is not a name, function, procedure or object. */
export function checkUnexposeTarget(target: unknown): void {
  if (typeof target === "string" || typeof target === "function") return;
  if (typeof target === "object" && target !== null) return;
  throw new ValidationError("Cannot unexpose a value: it is not a function, name, procedure or object");
}

/** Returns whether a function is a method, as in `expose(object.add)`: such a function may need its object. */
function isMethod(fn: Fn): boolean {
  const source = Function.prototype.toString.call(fn).replace(/^(async\s+)?(\*\s*)?/, "");
  return fn.name !== "" && source.startsWith(fn.name) && source.slice(fn.name.length).trimStart().startsWith("(");
}

/** Returns an object that stands for `this` of a method that was exposed without its object: any use of it throws. */
function noObject(name: string): object {
  const refuse = (): never => {
    throw new ValidationError(
      `Cannot call "${name}": the method was exposed without its object; write expose(object, "method")`,
    );
  };
  return new Proxy({}, { get: refuse, set: refuse, has: refuse });
}

function ownName(fn: Fn): string {
  if (fn.name) return fn.name;
  throw new ValidationError('Cannot expose a function that has no name: pass one, as in expose("add", fn)');
}

function named(name: string, fn: unknown, options: unknown, procedure?: Procedure): Exposure {
  if (typeof fn !== "function") {
    const first = procedure ? "procedure" : JSON.stringify(name);
    const text = `pass the function that serves it as the second argument, as in expose(${first}, fn)`;
    throw new ValidationError(`Cannot expose "${name}": ${text}; it is ${kindOf(fn)}`);
  }
  return new Exposure(name, fn as Fn, { ...optionsOf(name, options), procedure });
}

/** Returns the methods to serve: the listed ones, each of which must exist, or all. */
function members(what: string, existing: string[], listed: unknown[] | undefined): string[] {
  const missing = listed?.findIndex((name) => !existing.includes(name as string)) ?? -1;
  if (missing >= 0) {
    throw new ValidationError(`Cannot expose ${textOf(listed![missing])} of ${what}: there is no such method`);
  }
  const names = listed ? [...new Set(listed as string[])] : existing;
  if (names.length === 0) throw new ValidationError(`Cannot expose ${what}: it has no methods`);
  return names;
}

function member(object: object, method: string, options: ExposeOptions, type?: Class): Exposure {
  const fn = (object as Record<string, Fn>)[method]!.bind(object as never) as Fn;
  return new Exposure(type ? `${className(type)}.${method}` : method, fn, { ...options, source: object, type });
}

/** Throws a `ValidationError` if there is a third argument after the options. */
function checkNoThird(target: string | undefined, third: unknown): void {
  if (third === undefined) return;
  throw new OptionChecks("expose", "", target).invalid("the options are the second argument, and a third is given");
}

function optionsOf(target: string | undefined, options: unknown): ExposeOptions {
  if (options === undefined) return {};
  const check = refuseUnknown(options, EXPOSE, "expose", "", target);
  const { concurrency = Infinity, authorize } = options as ExposeOptions;
  return { concurrency: check.count("concurrency", concurrency), authorize: check.callable("authorize", authorize) };
}

/** Returns the result of a served function as a stream, if it is one. */
export function asStream(result: unknown): AsyncIterable<unknown> | undefined {
  if (typeof result !== "object" || result === null) return undefined;
  const values = result as AsyncIterable<unknown>;
  return typeof values[Symbol.asyncIterator] === "function" ? values : undefined;
}
