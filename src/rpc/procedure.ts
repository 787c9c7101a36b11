/**
 * RPC as users hold it: procedures, stubs, and which methods of an object are served.
 *
 * @module
 */
import { ValidationError } from "../errors.ts";
import { checkName, checkSchema } from "../names.ts";
import type { StandardSchemaV1 } from "../schema.ts";

/** Any function. */
export type Fn = (...args: never[]) => unknown;

/** A function as servers may write it: whether it gives its result at once or later is their affair. */
export type Served<F extends Fn> = (...args: Parameters<F>) => Result<F> | Promise<Result<F>>;

/** A contract that both sides share: a name, and schemas of what goes in and comes out. */
export class Procedure<Call extends Fn = Fn, Serve extends Fn = Served<Call>> {
  /** The function's name. */
  readonly name: string;
  /** Schema of the tuple of arguments. */
  readonly args: StandardSchemaV1 | undefined;
  /** Schema of the result. */
  readonly returns: StandardSchemaV1 | undefined;
  /** How callers call it. Type only. */
  declare readonly "~call": Call;
  /** How servers serve it. Type only. */
  declare readonly "~serve": Serve;

  /** Made by {@linkcode procedure}. */
  constructor(name: string, contract: { args?: StandardSchemaV1; returns?: StandardSchemaV1 }) {
    this.name = checkName("a procedure", name);
    this.args = checkSchema(contract.args);
    this.returns = checkSchema(contract.returns);
  }
}

/** A schema of a tuple of arguments. */
export type ArgsSchema = StandardSchemaV1<readonly unknown[], readonly unknown[]>;

/** What callers give where a schema stands. */
export type Given<S> = S extends StandardSchemaV1 ? StandardSchemaV1.InferInput<S> : unknown;
/** What a schema makes of it. */
export type Made<S> = S extends StandardSchemaV1 ? StandardSchemaV1.InferOutput<S> : unknown;
/** A list of arguments. */
export type Arguments<T> = T extends readonly unknown[] ? [...T] : unknown[];

/** A function of its own type for each side: callers give inputs and get outputs, servers get outputs and give inputs. */
export type Contract<A, R> = Procedure<
  (...args: Arguments<Given<A>>) => Made<R>,
  (...args: Arguments<Made<A>>) => Given<R> | Promise<Given<R>>
>;

/**
 * Declares a function that one side exposes and the other calls through a stub. Arguments are validated on both sides,
 * before they are sent and before they are used; so are results.
 *
 * @example
 * ```ts ignore
 * const add = procedure("add", { args: v.tuple([v.number(), v.number()]), returns: v.number() });
 * await bus.expose(add, (a, b) => a + b);
 * const sum = await bus.stub(add)(1, 2); // number
 * ```
 */
export function procedure<F extends Fn>(name: string): Procedure<F>;
/** Declares a function by its schemas, from which both sides have their types. */
export function procedure<
  A extends ArgsSchema | undefined = undefined,
  R extends StandardSchemaV1 | undefined = undefined,
>(
  name: string,
  contract?: { args?: A; returns?: R },
): Contract<A, R>;
export function procedure(
  name: string,
  contract: { args?: StandardSchemaV1; returns?: StandardSchemaV1 } = {},
): Procedure {
  return new Procedure(name, contract);
}

/** What a server answered. */
export interface RpcResponse<R = unknown> {
  /** The function. */
  readonly fn: string;
  /** Its result, or the arguments of the error. */
  readonly result: R;
  /** The name of the result's type as Python knows it, or of the error's class. */
  readonly resultType: string;
  /** Whether the function threw. */
  readonly isError: boolean;
}

/** Options of `stub`. */
export interface StubOptions {
  /** Milliseconds for the whole call. Default: the bus's `timeout`. */
  readonly timeout?: number;
  /** Calls every server of the function rather than one. Default false. */
  readonly multi?: boolean;
  /** Ends the calls of this stub; they reject with its reason. */
  readonly signal?: AbortSignal;
}

/** What a call of the function gives in the end. */
export type Result<F extends Fn> = Awaited<ReturnType<F>>;

/** Calls one server of the function. */
export type Stub<F extends Fn = (...args: unknown[]) => unknown> = {
  (...args: Parameters<F>): Promise<Result<F>>;
  /** The raw response; an error that the function threw is in it. */
  rpc(...args: Parameters<F>): Promise<RpcResponse<Result<F>>>;
};

/** Calls every server of the function: one result for each. */
export type MultiStub<F extends Fn = (...args: unknown[]) => unknown> = {
  (...args: Parameters<F>): Promise<PromiseSettledResult<Result<F>>[]>;
  /** The raw responses of those that answered. */
  rpc(...args: Parameters<F>): Promise<RpcResponse<Result<F>>[]>;
};

/** The names of the methods of a class that are served. */
export type MethodName<C> = {
  [K in keyof C]: K extends `_${string}` ? never : K extends string ? C[K] extends Fn ? K : never : never;
}[keyof C];

/** A stub for each method of a class. */
export type ObjectStub<C> = { readonly [K in MethodName<C>]: C[K] extends Fn ? Stub<C[K]> : never };
/** A multi-stub for each method of a class. */
export type MultiObjectStub<C> = { readonly [K in MethodName<C>]: C[K] extends Fn ? MultiStub<C[K]> : never };

/** A class. */
export type Class<C = unknown> = abstract new (...args: never[]) => C;

/** Whether a function is a class rather than a function to call. */
export function isClass(target: unknown): target is Class {
  return typeof target === "function" && /^class\b/.test(Function.prototype.toString.call(target));
}

/** The methods of a prototype chain below `Object`: no accessors, no constructor, none that begins with `_`. */
export function methodsOf(prototype: object): string[] {
  const names = new Set<string>();
  for (let link: object = prototype; link && link !== Object.prototype; link = Object.getPrototypeOf(link)) {
    for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(link))) {
      if (typeof value === "function" && name !== "constructor" && !name.startsWith("_")) names.add(name);
    }
  }
  return [...names];
}

/** The functions that an exposed target stands for, by the names they are served under. */
export function exposures(target: unknown, second: unknown): Map<string, { fn: Fn; procedure?: Procedure }> {
  const one = (name: string, fn: unknown, procedure?: Procedure) => {
    if (typeof fn !== "function") throw new ValidationError(`Cannot expose "${name}": there is no function`);
    return new Map([[checkName("a function", name), { fn: fn as Fn, procedure }]]);
  };
  if (target instanceof Procedure) return one(target.name, second, target);
  if (typeof target === "string") return one(target, second);
  if (isClass(target)) throw new ValidationError(`Cannot expose class ${target.name}: expose an object of it`);
  if (typeof target === "function") return one(target.name, target);
  if (typeof target !== "object" || target === null) {
    throw new ValidationError("Cannot expose a value: it is no function, name, procedure or object");
  }
  const type = classOf(target);
  const methods = methodsOf(Object.getPrototypeOf(target));
  if (second !== undefined && !methods.includes(second as string)) {
    throw new ValidationError(`Cannot expose ${type}.${String(second)}: there is no such method`);
  }
  const names = second === undefined ? methods : [second as string];
  if (names.length === 0) {
    throw new ValidationError(`Cannot expose an object of ${type}: it has no methods`);
  }
  const object = target as Record<string, Fn>;
  return new Map(names.map((name) => [`${type}.${name}`, { fn: object[name]!.bind(target) as Fn }]));
}

/** The names that `unexpose` means. */
export function exposedNames(target: unknown): string[] {
  if (typeof target === "string") return [target];
  if (target instanceof Procedure) return [target.name];
  if (typeof target === "function") return [target.name];
  if (typeof target !== "object" || target === null) {
    throw new ValidationError("Cannot unexpose a value: it is no function, name, procedure or object");
  }
  const type = classOf(target);
  return methodsOf(Object.getPrototypeOf(target)).map((name) => `${type}.${name}`);
}

/** The name of an object's class, under which its methods are served. */
function classOf(object: object): string {
  const name: unknown = object.constructor?.name;
  if (typeof name === "string") return name;
  throw new ValidationError("Cannot serve an object: it has no class to name its methods");
}
