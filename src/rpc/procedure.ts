/**
 * RPC as users hold it: procedures, stubs, and the types of both.
 *
 * @module
 */
import { checkName, checkSchema } from "../internal/arguments.ts";
import type { StandardSchemaV1 } from "../codec/schema.ts";

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

/** The names of the functions of an object, which `expose` may list. */
export type FunctionName<O> = {
  [K in keyof O]: K extends `_${string}` ? never : K extends string ? O[K] extends Fn ? K : never : never;
}[keyof O];

/**
 * The names of the methods of a class that are served. Arrow fields and getters that give a function are no methods; a field
 * without parameters looks like one to the compiler, and reading it from a stub throws. The compiler tells a field by its
 * parameters, of which only a method's are compared both ways, and a getter by being readonly.
 */
export type MethodName<C> = {
  [K in FunctionName<C>]: ((...args: never[]) => never) extends C[K]
    ? (<T>() => T extends Pick<C, K> ? 1 : 2) extends (<T>() => T extends { -readonly [P in K]: C[P] } ? 1 : 2) ? K
    : never
    : never;
}[FunctionName<C>];

/** A stub for each method of a class. */
export type ObjectStub<C> = { readonly [K in MethodName<C>]: C[K] extends Fn ? Stub<C[K]> : never };
/** A multi-stub for each method of a class. */
export type MultiObjectStub<C> = { readonly [K in MethodName<C>]: C[K] extends Fn ? MultiStub<C[K]> : never };
